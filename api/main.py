"""One gateway process: the application behind uvicorn, with all that keeps strangers within bounds."""

import sys

import uvicorn

from api.app import create_app
from api.http.protocol import BoundedHead
from services.errors import SettingsError
from services.settings import Settings

GRACE_S = 5  # for answers on their way; who follows events or waits for an end asks again


def main(host: str, port: int, fd: int | None = None, log_level: str = "info") -> None:
    """Serve until SIGTERM, at the listening socket `fd` if there is one; exit code 1 when it cannot start."""
    try:
        app = create_app(Settings.read())
    except SettingsError as error:
        sys.exit(f"rarebit gateway: {error}")
    uvicorn.run(
        app,
        host=host,
        port=port,
        fd=fd,
        http=BoundedHead,
        ws="none",
        workers=1,  # whatever WEB_CONCURRENCY says: gateways share nothing, start more of them
        log_level=log_level,
        access_log=False,
        proxy_headers=False,  # nothing that is said there is believed
        timeout_graceful_shutdown=GRACE_S,
    )
