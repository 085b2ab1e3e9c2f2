"""What others' linters find wrong with the contract, at the versions that package-lock.json pins."""

from deploy.clients.generate import CONTRACT, HERE, INSTALL, npm

LINTERS = HERE / "lint"


def main() -> None:
    """Install them when their versions have changed; ends with the exit code of the first that finds an error."""
    pinned, installed = LINTERS / "package-lock.json", LINTERS / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < pinned.stat().st_mtime:
        npm(INSTALL, LINTERS)
    for linter in ("spectral", "redocly"):
        npm(f"exec -- {linter} lint {CONTRACT}", LINTERS)


if __name__ == "__main__":
    main()
