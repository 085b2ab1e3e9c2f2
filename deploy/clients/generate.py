"""Write what follows from the application: its contract, the Python client for threads and the TypeScript client."""

import hashlib
import json
import runpy
import secrets
from pathlib import Path

from pydantic import SecretStr

from api.app import create_app
from deploy.clients.npm import INSTALL, npm
from services.settings import Settings

HERE = Path(__file__).parent
CONTRACT = HERE / "openapi.json"
GENERATED = HERE / "typescript" / "src" / "generated"
STAMP = GENERATED / "openapi.sha256"


def contract() -> str:
    """The OpenAPI document of a gateway with keys, which has all that may be answered; no server is asked."""
    document = create_app(Settings(auth="keys", signing_key=SecretStr(secrets.token_hex()))).openapi()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Do it all; the generator is the one that package-lock.json names."""
    CONTRACT.write_text(contract())
    runpy.run_path(str(HERE / "python" / "make_sync.py"), run_name="__main__")
    for words in (INSTALL, "run generate", "run build"):
        npm(words, GENERATED.parents[1])
    STAMP.write_text(hashlib.sha256(CONTRACT.read_bytes()).hexdigest() + "\n")


if __name__ == "__main__":
    main()
