"""ComfyUI, as far as nodes see it: what its nodes.py, execution.py and main.py do, without its models and its page."""

import asyncio
import importlib.util
import inspect
import io
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

_CONVERTED = {"INT": int, "FLOAT": float, "STRING": str}
_node_id: ContextVar[str] = ContextVar("node_id", default="")


class InterruptProcessingException(Exception):  # noqa: N818  ComfyUI's name
    """The user has canceled."""


class PreviewImage:
    """The core's: it shows a batch of pictures."""

    FUNCTION = "show"
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"images": ("IMAGE",)}}

    def show(self, images):
        pixels = [np.clip(255.0 * image.numpy(), 0, 255).astype(np.uint8) for image in images]
        return {"ui": {"images": [Image.fromarray(one) for one in pixels]}}


@dataclass(frozen=True)
class Shown:
    """What the page is told of a running node; a preview as the file that it gets."""

    node_id: str
    value: int
    total: int
    preview: bytes | None


class ComfyUI:
    """One process of it, as long as the test has `comfy` imported from here."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.nodes: dict[str, Any] = {"PreviewImage": PreviewImage}
        self.shown: list[Shown] = []
        self._interrupted = Event()
        management, utils = ModuleType("comfy.model_management"), ModuleType("comfy.utils")
        management.throw_exception_if_processing_interrupted = self._throw
        utils.ProgressBar = self._progress_bar()
        for module in (ModuleType("comfy"), management, utils):
            patch.setitem(sys.modules, module.__name__, module)
        sys.modules["comfy"].__dict__.update(model_management=management, utils=utils)

    def load(self, folder: Path) -> ModuleType:
        """As a folder of custom_nodes/ is imported: under a name of its own, and never found again by `import`."""
        name = str(folder).replace(".", "_x_")
        spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        self.nodes |= module.NODE_CLASS_MAPPINGS
        return module

    def prompt_of(self, workflow: dict) -> dict[str, dict]:
        """What the page posts of a graph that was saved: the widgets' values by their names."""
        sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
        return {str(node["id"]): self._posted(node, sources) for node in workflow["nodes"]}

    def run(self, prompt: dict[str, dict]) -> dict[str, Any]:
        """Of each node what it gives, or shows; in the order of their ids, where links come from lower ones."""
        return asyncio.run(self._run(prompt))

    def interrupt(self) -> None:
        self._interrupted.set()

    async def _run(self, prompt):
        outputs = {}
        for node_id, node in prompt.items():
            self._throw()
            _node_id.set(node_id)
            made = self._method(node["class_type"])(**self._given(node, prompt, outputs))
            made = await asyncio.create_task(made) if inspect.isawaitable(made) else made
            outputs[node_id] = made["ui"] if isinstance(made, dict) else made
        return outputs

    def _method(self, class_type):
        return getattr(self.nodes[class_type](), self.nodes[class_type].FUNCTION)

    def _inputs(self, class_type):
        types = self.nodes[class_type].INPUT_TYPES()
        return types["required"] | types.get("optional", {})

    def _given(self, node, prompt, outputs):
        """What stands at the links' other ends, and the widgets' values: converted, and within their bounds."""
        given = {}
        for name, value in node["inputs"].items():
            kind, *options = self._inputs(node["class_type"])[name]
            if isinstance(value, list):
                source, slot = value
                assert self.nodes[prompt[source]["class_type"]].RETURN_TYPES[slot] == kind
                given[name] = outputs[source][slot]
            else:
                given[name] = _CONVERTED[kind](value)
                low, high = options[0].get("min", given[name]), options[0].get("max", given[name])
                assert low <= given[name] <= high
        return given

    def _posted(self, node, sources):
        links = {one["name"]: sources[one["link"]] for one in node["inputs"]}
        values, widgets = iter(node.get("widgets_values", [])), {}
        for name, (_, *options) in self._inputs(node["type"]).items():
            if name not in links:
                widgets[name] = next(values)
                if options and options[0].get("control_after_generate"):
                    assert next(values) in {"fixed", "increment", "decrement", "randomize"}
        assert not [*values]
        return {"class_type": node["type"], "inputs": links | widgets}

    def _throw(self):
        if self._interrupted.is_set():
            self._interrupted.clear()
            raise InterruptProcessingException

    def _progress_bar(self):
        def told(value, total, preview):
            self._throw()
            self.shown.append(Shown(_node_id.get(), value, total, preview and _encoded(*preview)))

        class ProgressBar:
            def __init__(self, total):
                self.total, self.current = total, 0

            def update_absolute(self, value, total=None, preview=None):
                self.total = self.total if total is None else total
                self.current = min(value, self.total)
                told(self.current, self.total, preview)

        return ProgressBar


def _encoded(kind, image, max_size):
    file = io.BytesIO()
    ImageOps.contain(image, (max_size, max_size)).save(file, kind)
    return file.getvalue()
