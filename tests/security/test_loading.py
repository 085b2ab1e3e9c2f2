"""Weights are safetensors, documents are JSON, and no file that is read can bring code with it.

All of the source is read but deploy/checkpoints, which trains the embedded model and loads what its own runs wrote.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.jobs.queue import celery_app

ROOT = Path(__file__).parents[2]
MODULES = [path for package in ("api", "services", "worker", "deploy") for path in (ROOT / package).rglob("*.py")]
SOURCE = [path for path in MODULES if ROOT / "deploy/checkpoints" not in path.parents]
WITH_CODE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
NEVER = ("hub.load", "jit.load", "read_pickle", "load_state_dict_from_url", "from_single_file", "from_pickle")
NEVER += ("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load")


def dangers(source: str) -> Iterator[str]:
    """What in the source could run code that a file brings, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from (f"{node.lineno}: imports {name}" for name in names if name.partition(".")[0] in WITH_CODE)
        if isinstance(node, ast.Call):
            yield from (f"{node.lineno}: {danger}" for danger in _dangers_of_call(node))


def _dangers_of_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
    if name.removeprefix("builtins.") in BUILTINS or name.endswith(NEVER):
        yield f"calls {name}"
    if name.endswith("torch.load") and given.get("weights_only") is not True:
        yield "torch.load without weights_only=True"
    for word in call.keywords:
        if word.arg in {"trust_remote_code", "allow_pickle"} and given.get(word.arg) is not False:
            yield f"{word.arg} is not False"
    if (
        name.endswith("from_pretrained")
        and not {"use_safetensors": True, "trust_remote_code": False}.items() & given.items()
    ):
        yield "from_pretrained with neither use_safetensors=True nor trust_remote_code=False"


@pytest.mark.parametrize("path", SOURCE, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_loads_no_code(path):
    assert list(dangers(path.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "import torch.hub as h, dill",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=wanted)",
        "yaml.load(text, Loader=Loader)",
        "eval(text)",
        "exec(text)",
        "builtins.exec(text)",
        "compile(text, 'x', 'exec')",
        "AutoModel.from_pretrained(folder)",
        "AutoModel.from_pretrained(folder, use_safetensors=safe)",
        "AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=True)",
        "torch.hub.load('a/b', 'c')",
    ],
)
def test_line_that_could_load_code_is_found(line):
    assert list(dangers(line)) != []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "model.eval()",
        "re.compile(pattern)",
        "yaml.safe_load(text)",
        "AutoModel.from_pretrained(folder, use_safetensors=True)",
        "AutoTokenizer.from_pretrained(folder, trust_remote_code=False)",
    ],
)
def test_line_that_cannot_load_code_is_left_alone(line):
    assert list(dangers(line)) == []


def test_worker_takes_json_messages_only(settings):
    conf = celery_app(settings).conf
    assert (conf.accept_content, conf.task_serializer) == (["json"], "json")


def test_embedded_checkpoint_is_safetensors_and_json():
    folder = ROOT / "deploy/checkpoints/rarebit-mini"
    init = folder / "__init__.py"  # makes a package of it, and has nothing to run
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts and path != init]
    assert {path.suffix for path in files} == {".safetensors", ".json", ".md", ".webp"}
    assert [type(node) for node in ast.parse(init.read_text()).body] == [ast.Expr]
