"""What a type checker and a linter find wrong with the studio, at the versions that package-lock.json pins."""

from pathlib import Path

from deploy.clients.npm import install, npm

HERE = Path(__file__).parent
LINT = HERE / "lint"


def main() -> None:
    """Install them when their versions have changed; ends with the exit code of the first that finds an error."""
    install(LINT)
    for command in (f"tsc -p {LINT}", f"eslint -c {LINT}/eslint.config.mjs --max-warnings 0 api/studio/js"):
        npm(f"exec --prefix {LINT} -- {command}", HERE.parents[1])


if __name__ == "__main__":
    main()
