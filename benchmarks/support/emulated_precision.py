"""Emulated matrix products and convolutions of lower precision, on any device.

A GPU with TF32 or bfloat16 rounds both factors of a product and adds the products in float32.
These modes do the same in float32 arithmetic: they round the factors of float32 products and
convolutions inside a ``with`` block. Products of other dtypes stay as they are.

A mode belongs to a thread. The backward pass of tensors on a CPU runs in the calling thread, so
``torch.autograd.grad`` inside the block is emulated too; that of CUDA tensors is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten

#: Positions of the arguments that an operation multiplies.
_FACTORS: Mapping[Any, tuple[int, ...]] = {
    _aten.mm: (0, 1),
    _aten.bmm: (0, 1),
    _aten.addmm: (1, 2),
    _aten.addmm_: (1, 2),
    _aten.baddbmm: (1, 2),
    _aten.baddbmm_: (1, 2),
    _aten.addbmm: (1, 2),
    _aten.convolution: (0, 1),
    _aten.convolution_backward: (0, 1, 2),
}

#: Bits of float32's significand that TF32 does not have: 23 - 10.
_DROPPED_BITS = 13


def rounded_to_tf32(value: Tensor) -> Tensor:
    """Return a float32 tensor rounded to TF32's 10 bits of significand, ties away from zero.

    This is the rounding of the instruction ``cvt.rna.tf32.f32``. Values that are not finite stay.
    """
    half = 1 << (_DROPPED_BITS - 1)
    bits = (value.contiguous().view(torch.int32) + half) >> _DROPPED_BITS << _DROPPED_BITS
    return torch.where(value.isfinite(), bits.view(torch.float32), value)


def rounded_to_bfloat16(value: Tensor) -> Tensor:
    """Return a float32 tensor rounded to bfloat16's 7 bits of significand, ties to even."""
    return value.to(torch.bfloat16).to(torch.float32)


class _RoundedProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Round the factors of float32 products and convolutions inside a ``with`` block.

    Attributes:
        rounded_products: number of operations so far whose factors were rounded.
    """

    rounding: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rounded_products = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation, with rounded factors if it multiplies float32 tensors."""
        positions = _FACTORS.get(func.overloadpacket, ())
        if any(args[position].dtype == torch.float32 for position in positions):
            args = tuple(
                type(self).rounding(value) if position in positions else value
                for position, value in enumerate(args)
            )
            self.rounded_products += 1
        return func(*args, **(kwargs or {}))


class Tf32Products(_RoundedProducts):  # type: ignore[no-untyped-call]
    """Emulate ``fp32_precision = "tf32"``: factors have 10 bits of significand."""

    rounding = staticmethod(rounded_to_tf32)


class Bfloat16Products(_RoundedProducts):  # type: ignore[no-untyped-call]
    """Emulate ``fp32_precision = "bf16"``: factors have 7 bits of significand."""

    rounding = staticmethod(rounded_to_bfloat16)
