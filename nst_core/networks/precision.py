"""Number formats: which arithmetic a batch may use, and losses scaled for float16."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor


@contextlib.contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Let CUDA use TF32 where asked, and only there; PyTorch's convolutions use it by default.

    The flags are global to the process, so they are put back.
    """
    if device.type != "cuda":
        yield
        return
    wanted = precision != "float32"
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32)
    matmul.allow_tf32 = cudnn.allow_tf32 = wanted
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def exact_by_default() -> None:
    """Turn TF32 off for this process but where `arithmetic` lets it in.

    For whoever scores in another thread, which shares the flags. Lanes with ``precision: tf32`` and
    less still let it into scores that are computed during their steps.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


class LossScaler:
    """Dynamic loss scaling, one scale a lane (Micikevicius et al., arXiv 1710.03740, section 3.2).

    Gradients of features are small and vanish in float16, so the loss is scaled up. Where a
    lane's gradient overflows, the lane skips its step and shrinks its scale; after many clean steps
    it doubles it again. The weights of losses here span many decades, so it shrinks by more than
    the usual half: every step on the way is lost.
    """

    #: VGG16 at 96 px with weights of 1 and 10 takes 512.
    START = 2.0**10
    SHRINK = 8.0
    #: Below this the gradient itself is not finite, however it is scaled.
    LEAST = 2.0**-60
    GROW_AFTER_STEPS = 50

    @classmethod
    def adapted(cls, good_N: Tensor, scale_N: Tensor, clean_N: Tensor) -> dict[str, Tensor]:
        """Scales after a step whose gradients were finite where ``good_N``, and clean steps."""
        clean_N = torch.where(good_N, clean_N + 1, torch.zeros_like(clean_N))
        grows_N = clean_N >= cls.GROW_AFTER_STEPS
        scale_N = torch.where(good_N, scale_N, scale_N / cls.SHRINK)
        return {
            "loss_scale": torch.where(grows_N, scale_N * 2, scale_N),
            "clean_steps": torch.where(grows_N, torch.zeros_like(clean_N), clean_N),
        }


def where_lanes(good_N: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """``new`` in the lanes where ``good_N``, ``old`` in the others; any shape behind the lanes."""
    return torch.where(good_N.view(-1, *[1] * (new.ndim - 1)), new, old)
