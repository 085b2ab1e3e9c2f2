"""A device that any machine has: values of the CPU under another device's name, which mix with nothing else.

An operator of two devices raises, but for what CUDA forgives, and values come back through an explicit copy alone:
`.cpu()`, `.item()` or `.tolist()`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("pretended")  # when imported: the first backward counts the devices
CPU, DEVICE = torch.device("cpu"), torch.device("pretended:0")
aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


class PretendedTensor(Tensor):
    """On the device; `host` has its values."""

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor) -> "PretendedTensor":
        outer = Tensor._make_wrapper_subclass(
            cls, host.shape, host.stride(), host.storage_offset(), dtype=host.dtype, device=DEVICE
        )
        outer.host = host
        return outer

    @classmethod
    def __torch_dispatch__(cls, operator: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(operator, args, kwargs or {})

    def tolist(self) -> Any:
        """Torch's own refuses every subclass."""
        return self.cpu().tolist()

    def __repr__(self) -> str:
        return f"PretendedTensor({self.host})"


class Pretended(TorchDispatchMode):
    """While it is entered, tensors can be made on the device."""

    def __enter__(self) -> "Pretended":
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor copies to the device where a mode can see it
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(False)

    def __torch_dispatch__(self, operator: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(operator, args, kwargs or {})


def run(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The operator on the CPU's values, its results on the device that is asked for or that the arguments are on."""
    given: dict[int, PretendedTensor] = {}

    def on_host(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, PretendedTensor):
            return tensor
        given[id(tensor.host)] = tensor
        return tensor.host

    host_args, host_kwargs = changed(args, on_host), changed(dict(kwargs), on_host)
    device = kwargs.get("device") or (DEVICE if given else CPU)
    if given or device.type == DEVICE.type:
        refuse_to_mix(operator, args, kwargs, device)
    if device.type != DEVICE.type:
        return operator(*host_args, **host_kwargs)
    if "device" in host_kwargs:
        host_kwargs["device"] = CPU
    result = operator(*host_args, **host_kwargs)
    if torch.Tag.inplace_view in operator.tags:
        reshape_outside(operator, args, kwargs)
    return changed(result, lambda host: given[id(host)] if id(host) in given else PretendedTensor(host))


def refuse_to_mix(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device) -> None:
    """RuntimeError for what CUDA refuses: the CPU's noise and tensors, but for single numbers and indices."""

    def refuse(tensor: Tensor) -> Tensor:
        if isinstance(tensor, PretendedTensor) or operator in COPIES:
            return tensor
        raise RuntimeError(f"Expected all tensors of {operator} to be on {DEVICE}, but found one on {tensor.device}")

    if kwargs.get("generator") is not None:
        raise RuntimeError(f"Expected a {device.type!r} generator for {operator}, but found one of the CPU")
    own = (args[0], *args[2:]) if operator in INDEXING else args
    changed([arg for arg in own if not (isinstance(arg, Tensor) and arg.dim() == 0)], refuse)


def reshape_outside(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Give the tensor itself the shape that its values have now, as torch's own subclasses do."""
    before = torch._C._meta_in_tls_dispatch_include()
    torch._C._set_meta_in_tls_dispatch_include(True)
    try:
        with no_dispatch():
            operator(*args, **kwargs)
    finally:
        torch._C._set_meta_in_tls_dispatch_include(before)


def changed(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same tuples, lists and dicts of other tensors."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, tuple | list):
        return type(tree)(changed(node, change) for node in tree)
    return {key: changed(node, change) for key, node in tree.items()} if isinstance(tree, dict) else tree
