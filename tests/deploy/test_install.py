"""What is installed is enough without a checkout, for a gateway without torch, and is what is locked."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from functools import cache
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.local.stack.child import RAREBIT
from installed import EXTRAS, PROJECT, ROOT, block_all_but, closure, declared
from servers import SIGNING_KEY, Server, free_port

INSIDE = ("api", "deploy/evaluate", "deploy/local", "services", "worker")
CLIENT = ROOT / "deploy/clients/python/rarebit_client"
UNLOCKED = re.compile("cuda|nvidia-(?!ml-py)|triton|pip$")  # each build of torch names its own; pip was there before
INDEX_LIMIT_BYTES = 100_000_000
INSTALLED = (sys.executable, "-P", "-m", "deploy.local")  # what is in the current folder is not looked at


def files_of(folder: Path, base: Path) -> set[str]:
    paths = folder.rglob("*") if not folder.is_symlink() else folder.glob("*.md")
    return {str(path.relative_to(base)) for path in paths if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The distribution of the code, made of a copy, since setuptools leaves its own files beside what it reads."""
    copy, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    unread = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "data", "node_modules", "rarebit-mini")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=unread, dirs_exist_ok=True)
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(copy)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    (file,) = out.iterdir()
    return file


@pytest.fixture(scope="module")
def gateways_install(wheel, tmp_path_factory) -> dict[str, str]:
    """The environment of a Python with the wheel and what a plain `pip install rarebit` brings."""
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(site)
    block_all_but(closure(declared()), site)
    return {"PYTHONPATH": str(site), "PATH": ""}


def test_wheel_has_all_of_its_packages_and_nothing_else(wheel):
    expected = {name for folder in INSIDE for name in files_of(ROOT / folder, ROOT)} | {"deploy/__init__.py"}
    expected |= files_of(CLIENT, CLIENT.parent) | files_of(ROOT / "api/guide", ROOT)
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {name for name in expected if not name.startswith("api/guide/") or name.endswith(".md")}
    assert {f"api/guide/{path.name}" for path in (ROOT / "docs").glob("*.md")} < names


def test_wheel_has_the_licences_of_what_is_inside(wheel):
    file = zipfile.ZipFile(wheel)
    licences = {name.partition("/licenses/")[2] for name in file.namelist() if "/licenses/" in name}
    assert licences == {"LICENSE", "api/studio/fonts/OFL.txt"}
    (metadata,) = (name for name in file.namelist() if name.endswith("METADATA"))
    assert Parser().parsestr(file.read(metadata).decode())["License-Expression"] == "Apache-2.0 AND OFL-1.1"


def test_checkpoint_stays_below_what_package_indexes_take():
    folder = ROOT / "deploy/checkpoints/rarebit-mini"
    assert sum((folder.parent / name).stat().st_size for name in files_of(folder, folder.parent)) < INDEX_LIMIT_BYTES


def test_gateway_serves_from_its_install_alone(gateways_install, redis_url, tmp_path):
    port = free_port()
    env = {"RAREBIT_REDIS_URL": redis_url, "RAREBIT_DATA_DIR": str(tmp_path), "RAREBIT_SIGNING_KEY": SIGNING_KEY}
    server = Server([*INSTALLED, "gateway", "--port", str(port)], port, env | gateways_install)
    server.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        pages = [client.get(path).status_code for path in ("/", "/health/ready", "/guide/operating", "/docs")]
        served, taken = client.get("/openapi.json").json(), client.post("/jobs", json={"concept": "lamp"})
    server.stop()
    assert (pages, taken.status_code) == ([200] * 4, 202)
    assert served["paths"].keys() == json.loads((ROOT / "deploy/clients/openapi.json").read_text())["paths"].keys()


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("demo", "embedded"),
        ("serve", "embedded"),
        ("generate handbag", "embedded"),
        ("worker", "worker"),
        ("models pull owner/name", "worker"),
        ("evaluate", "evaluate"),
        ("mcp", "mcp"),
    ],
)
def test_command_that_is_not_installed_names_its_extra(gateways_install, tmp_path, words, extra):
    command, where = [*INSTALLED, *words.split()], {"env": gateways_install, "cwd": tmp_path}
    run = subprocess.run(command, **where, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    sentence = rf"rarebit: there is no package \w+: pip install 'rarebit\[{extra}\]'\n"
    assert re.fullmatch(sentence, run.stderr), run.stderr
    assert list(tmp_path.iterdir()) == []


def test_sampler_runs_from_the_workers_install_and_misses_only_weights(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    block_all_but(closure(declared() + declared("worker")), tmp_path)
    command, where = [*INSTALLED, "fit", "chair"], {"env": {"PYTHONPATH": str(tmp_path)}, "cwd": tmp_path}
    run = subprocess.run(command, **where, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "rarebit: there is no embedded prior: pip install 'rarebit[embedded]', or name one in RAREBIT_PRIOR"
    ]


def test_every_requirement_is_locked_to_a_version_that_it_allows():
    wrong = [str(one) for extra in (None, *EXTRAS) for one in declared(extra) if not allowed(one)]
    assert wrong == [], "run: make lock"


def test_what_is_installed_is_what_is_locked():
    """In this environment, which make has installed."""
    names = {name for name in closure(declared("dev") + declared()) if not UNLOCKED.match(name)}
    different = {name: version(name) for name in names if version(name).partition("+")[0] != locked().get(name)}
    assert different == {}, "constraints.txt has not these: run make lock, or erase .venv"


@cache
def locked() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in here}


def allowed(one: Requirement) -> bool:
    pinned = locked().get(canonicalize_name(one.name))
    return pinned is not None and one.specifier.contains(pinned)


def test_version_is_the_same_everywhere():
    run = subprocess.run([*RAREBIT, "--version"], capture_output=True, text=True, check=True)
    contract = json.loads((ROOT / "deploy/clients/openapi.json").read_text())
    (latest, *_) = re.findall(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert run.stdout == f"rarebit {PROJECT['version']}\n"
    assert {PROJECT["version"], version("rarebit"), contract["info"]["version"], latest} == {PROJECT["version"]}
