"""Precision: TF32 switches, and dynamic loss scaling for float16."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


@contextlib.contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Allow TF32 on CUDA inside the ``with`` block unless ``precision`` is ``float32``.

    PyTorch's convolutions use TF32 by default. The settings are global to the process, so the block
    restores them.
    """
    if device.type != "cuda":
        yield
        return
    # Only the newer of torch's two interfaces: `allow_tf32` cannot be read where a program used
    # `fp32_precision`, nor inside this block.
    wanted = "ieee" if precision == "float32" else "tf32"
    everything: Any = torch.backends
    cuda: Any = torch.backends.cudnn  # its `fp32_precision` is that of all CUDA operations
    operations = (torch.backends.cuda.matmul, cuda.conv)
    inherits = cuda.fp32_precision == everything.fp32_precision
    before = "none" if inherits else cuda.fp32_precision
    cuda.fp32_precision = wanted
    # An operation without a setting of its own follows, and must not get one: it could not be
    # taken away again from convolutions.
    own = [(each, each.fp32_precision) for each in operations if each.fp32_precision != wanted]
    for operation, _ in own:
        operation.fp32_precision = wanted
    try:
        yield
    finally:
        for operation, value in own:
            operation.fp32_precision = value
        cuda.fp32_precision = before


def exact_by_default() -> None:
    """Turn TF32 off for this process, except inside `arithmetic`.

    Scores are computed in another thread, which shares these flags. While a lane with a precision
    below float32 takes its steps, scores may still be computed with TF32.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


class LossScaler:
    """Dynamic loss scaling with one scale per lane.

    Micikevicius et al., arXiv 1710.03740, section 3.2. Small gradients of features become zero in
    float16, so the loss is multiplied by a scale. When the gradient of a lane overflows, the lane
    skips this step and its scale is reduced; after `GROW_AFTER_STEPS` steps without overflow the
    scale is doubled. It is reduced by 8 instead of the usual 2, because loss weights span many
    decades and each further overflow would cost a step.
    """

    #: VGG16 at 96 px with the weights 1 and 10 needs 512.
    START = 2.0**10
    SHRINK = 8.0
    #: At a lower scale, the gradient is not finite for another reason than overflow.
    LEAST = 2.0**-60
    GROW_AFTER_STEPS = 50

    @classmethod
    def adapted(cls, good_N: Tensor, scale_N: Tensor, clean_N: Tensor) -> dict[str, Tensor]:
        """Return scales and counts of steps without overflow after a step.

        Args:
            good_N: whether the gradient of a lane was finite.
            scale_N: scales before the step.
            clean_N: number of steps without overflow since the last change of the scale.

        Returns:
            ``loss_scale`` and ``clean_steps``, of shape [N].
        """
        clean_N = torch.where(good_N, clean_N + 1, torch.zeros_like(clean_N))
        grows_N = clean_N >= cls.GROW_AFTER_STEPS
        scale_N = torch.where(good_N, scale_N, scale_N / cls.SHRINK)
        return {
            "loss_scale": torch.where(grows_N, scale_N * 2, scale_N),
            "clean_steps": torch.where(grows_N, torch.zeros_like(clean_N), clean_N),
        }


def where_lanes(good_N: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Return ``new`` in lanes where ``good_N`` is true, ``old`` in others, both [N, …]."""
    return torch.where(good_N.view(-1, *[1] * (new.ndim - 1)), new, old)
