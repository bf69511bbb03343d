"""Traffic between host and device, found without a GPU: real code on tensors without data.

`pretended_device` gives tensors that say they are on a GPU and have shapes and dtypes, but no
values. `Traffic` records every operation that makes the host and such a device wait for each other
or copy. Both devices of `DEVICES` are needed: on ``cuda``, torch takes the branches of a GPU, but
autograd's engine asks the driver for a context, so gradients are zeros there; ``lazy:0`` is only a
name, and its backward pass runs.

A test that passes shows that no tensor is on the wrong device and where the host waits. It cannot
show that a kernel runs, or that it computes the right numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Devices that need no hardware, see above.
DEVICES = ("cuda", "lazy:0")

#: Operations that return numbers or shapes which depend on values: the host waits for the device.
#: Eigenvalues are here since the host reads whether the computation has converged.
WAITS = frozenset(
    {
        "_linalg_check_errors",
        "_linalg_eigh",
        "_local_scalar_dense",
        "_unique2",
        "equal",
        "masked_select",
        "nonzero",
        "unique_consecutive",
    }
)

#: Operations that only ask for the device, dtype or shape of their second tensor.
HARMLESS = frozenset({"empty_like", "zeros_like", "ones_like", "new_empty", "new_zeros"})


class Traffic(TorchDispatchMode):
    """Records traffic inside its ``with`` block, which must be inside `pretended_device`.

    Attributes:
        found: number of times that each kind of traffic occurred. Kinds are ``upload`` (host to
            device), ``download`` (device to host), ``queued upload`` and ``queued download`` (the
            same, and the host does not wait), ``index`` (indices on the host select from a tensor
            on the device), ``mixed NAME`` (another operation on both) and ``wait NAME``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        name = func.name().removeprefix("aten::").split(".")[0]
        inside = _types_of((args, kwargs))
        if name in WAITS and inside - {"cpu"}:
            self.found[f"wait {name}"] += 1
        if name == "equal":
            return False
        if name == "_local_scalar_dense":
            return _some_number(args[0])
        if len(inside) > 1 and name not in HARMLESS:
            self.found[_kind_of_mixed(name, args)] += 1
        out = func(*args, **(kwargs or {}))
        after = _types_of(out)
        if len(inside) == 1 and after and after != inside:
            kind = "download" if after == {"cpu"} else "upload"
            queued = "queued " if (kwargs or {}).get("non_blocking") else ""
            self.found[queued + kind] += 1
        return out


def _types_of(tree: Any) -> set[str]:
    """Return the types of the devices on which the tensors in some arguments are."""
    types = {leaf.device.type for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)}
    return types - {"meta"}


def _kind_of_mixed(name: str, args: Sequence[Any]) -> str:
    if name == "copy_":
        return "upload" if args[1].device.type == "cpu" else "download"
    is_index = name.startswith("index") and not _types_of(args[0]) <= {"cpu"}
    return "index" if is_index else f"mixed {name}"


def _some_number(scalar: Tensor) -> complex | float | int | bool:
    """Return a number in place of one that the host reads: 1 or False."""
    if scalar.dtype == torch.bool:
        return False
    return 1.0 if scalar.is_floating_point() else 1


@contextmanager
def pretended_device(device: str) -> Iterator[None]:
    """Give every tensor that is made inside the block no data, also on a device without hardware.

    Whatever the host reads inside the block is 0, 1 or False; `Traffic` counts readings from the
    device. Products with a sparse matrix are dense here, since torch has no
    sparse tensors without data.

    Args:
        device: one of `DEVICES`.
    """
    with ExitStack() as stack:
        if device == "cuda":
            stack.enter_context(mock.patch("torch.autograd.grad", _zero_gradient))
            stack.enter_context(mock.patch("torch.cuda.synchronize", _synchronize))
        stack.enter_context(mock.patch("torch.sparse.mm", torch.mm))
        stack.enter_context(mock.patch.object(torch.nn.Module, "to", _moved))
        stack.enter_context(mock.patch.object(Tensor, "numpy", _zeros))
        stack.enter_context(mock.patch.object(FakeTensor, "tolist", _read_list))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield


def traffic_of(action: Callable[[], object]) -> Counter[str]:
    """Return the traffic of an action inside `pretended_device`."""
    with Traffic() as traffic:
        action()
    return traffic.found


def _synchronize(device: torch.device | None = None) -> None:
    for mode in torch.utils._python_dispatch._get_current_dispatch_mode_stack():
        if isinstance(mode, Traffic):
            mode.found["wait synchronize"] += 1


def _moved(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Move the parameters of a module, which torch does by exchanging contents of tensors."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, value in tensors.items():
                if value is not None:
                    moved = value.to(device)
                    is_parameter = isinstance(value, torch.nn.Parameter)
                    tensors[name] = torch.nn.Parameter(moved, False) if is_parameter else moved
    return module


def _zero_gradient(
    outputs: Tensor, inputs: Tensor | Sequence[Tensor], *args: Any, **options: Any
) -> tuple[Tensor, ...]:
    wanted = [inputs] if isinstance(inputs, Tensor) else inputs
    return tuple(torch.zeros_like(value) for value in wanted)


def _zeros(tensor: Tensor, *args: Any, **options: Any) -> np.ndarray:
    assert tensor.device.type == "cpu", f"numpy() of a tensor on {tensor.device}"
    return np.zeros(tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))


def _read_list(tensor: Tensor) -> Any:
    """Return `Tensor.tolist` of a tensor without data; like the real one, it copies once."""
    return _zeros(tensor.detach().cpu()).tolist()
