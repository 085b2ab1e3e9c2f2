"""One gateway process: the application behind uvicorn, with all that keeps strangers within bounds."""

import uvicorn

from api.app import create_app
from api.http.protocol import BoundedHead
from services import logs, tracing
from services.errors import SettingsError
from services.settings import Settings, log_style

GRACE_S = 5  # for answers on their way; who follows events or waits for an end asks again
KEEP_ALIVE_S = 620  # of an idle connection: longer than any proxy's, since a request that crosses its end is lost


def main(host: str, port: int, fd: int | None = None, log_level: str = "info") -> None:
    """Serve until SIGTERM, at the listening socket `fd` if there is one; exit code 1 when it cannot start."""
    logs.configure(style := log_style())
    try:
        tracing.configure("gateway")
        app = create_app(Settings.read())
    except SettingsError as error:
        logs.end(style, f"rarebit gateway: {error}")
    uvicorn.run(
        app,
        host=host,
        port=port,
        fd=fd,
        http=BoundedHead,
        ws="none",
        workers=1,  # whatever WEB_CONCURRENCY says: gateways share nothing, start more of them
        log_config=None,  # it would bring handlers of its own
        log_level=log_level,
        access_log=False,
        proxy_headers=False,  # nothing that is said there is believed
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
