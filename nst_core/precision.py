"""Number formats: which arithmetic a batch may use, and losses scaled for float16."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

State = dict[str, Tensor]


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
    def checked(
        cls, before: Tensor, after: Tensor, old: State, new: State, grad: Tensor
    ) -> tuple[Tensor, State]:
        """Undo the step of lanes whose gradient is not finite; adapt every lane's scale."""
        good_N = grad.flatten(1).isfinite().all(1)

        def where_good(a: Tensor, b: Tensor) -> Tensor:
            return torch.where(good_N.view(-1, *[1] * (a.ndim - 1)), a, b)

        kept = {name: where_good(value, old[name]) for name, value in new.items()}
        clean_N = where_good(old["clean_steps"] + 1, torch.zeros_like(old["clean_steps"]))
        grows_N = clean_N >= cls.GROW_AFTER_STEPS
        scale_N = where_good(old["loss_scale"], old["loss_scale"] / cls.SHRINK)
        kept["loss_scale"] = torch.where(grows_N, scale_N * 2, scale_N)
        kept["clean_steps"] = torch.where(grows_N, torch.zeros_like(clean_N), clean_N)
        return where_good(after, before), kept
