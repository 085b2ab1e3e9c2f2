"""What others' linters find wrong with the contract, at the versions that package-lock.json pins."""

from deploy.clients.generate import CONTRACT, HERE
from deploy.clients.npm import install, npm

LINTERS = HERE / "lint"


def main() -> None:
    """Install them when their versions have changed; ends with the exit code of the first that finds an error."""
    install(LINTERS)
    for linter in ("spectral", "redocly"):
        npm(f"exec -- {linter} lint {CONTRACT}", LINTERS)


if __name__ == "__main__":
    main()
