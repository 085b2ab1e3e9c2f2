"""Where a run stands, as one safetensors file, so that it can go on elsewhere and end as if it had never stopped."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from services.diffusion.runtime.checkpoint import described
from services.errors import CheckpointError

Tree = dict[str, Any]  # of dicts, lists, JSON's values and tensors
_DOCUMENT, _TENSOR = "document", "tensor"
_FORMAT = 2
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Savepoint:
    """`found` is what an earlier attempt kept last, `keep` takes what this one keeps; `run` says of which run it is."""

    found: bytes | None = None
    keep: Callable[[bytes], None] | None = None
    run: Tree = field(default_factory=dict)

    def of(self, run: Mapping[str, object]) -> "Savepoint":
        """For the run that depends on exactly this: another seed, model or number of threads is another run."""
        return replace(self, run=json.loads(json.dumps({"format": _FORMAT, **run})))

    def load(self) -> Tree | None:
        """The state that was kept, None unless it is of this very run and whole."""
        if not self.found:
            return None
        try:
            with described("the savepoint"):
                kept = unpack(self.found)
                state: Tree = kept["state"]
                return state if kept["run"] == self.run else None
        except CheckpointError as error:
            logger.warning("the run begins anew: %s", error)
            return None

    def save(self, state: Tree) -> None:
        if self.keep:
            self.keep(pack({"run": self.run, "state": state}))


NOWHERE = Savepoint()


def pack(tree: Tree) -> bytes:
    """Safetensors of the tree's tensors; the rest is JSON, in a tensor of its own."""
    tensors: dict[str, Tensor] = {}

    def plain(node: Any) -> Any:
        if isinstance(node, Tensor):
            name = str(len(tensors))
            tensors[name] = node.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {_TENSOR: name}
        if isinstance(node, Mapping):
            return {str(key): plain(value) for key, value in node.items()}
        return [plain(value) for value in node] if isinstance(node, list | tuple) else node

    document = bytearray(json.dumps(plain(tree)).encode())
    return save(tensors | {_DOCUMENT: torch.frombuffer(document, dtype=torch.uint8)})


def unpack(data: bytes) -> Tree:
    """What `pack` was given, with keys as strings, tuples as lists and tensors on the CPU."""
    tensors = load(data)

    def whole(node: Any) -> Any:
        if isinstance(node, list):
            return [whole(value) for value in node]
        if isinstance(node, dict):
            return tensors[node[_TENSOR]] if _TENSOR in node else {key: whole(value) for key, value in node.items()}
        return node

    tree: Tree = whole(json.loads(tensors[_DOCUMENT].numpy().tobytes()))
    return tree
