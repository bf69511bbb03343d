"""Own GPU: which of the GPUs that a process sees is the one that Ray has assigned to it."""

from __future__ import annotations

import os

from nst_core.errors import WorkError


def own_gpu() -> str:
    """Return the torch device of this actor's GPU, such as ``cuda:0``.

    Ray hides other GPUs by CUDA_VISIBLE_DEVICES, unless an administrator has switched that off
    (RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES). Torch counts only the GPUs that it sees.

    Raises:
        WorkError: Ray assigned no GPU, or one that this process does not see.
    """
    import ray

    assigned = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None and len(assigned) == 1:
        return f"cuda:{assigned[0]}"  # torch sees all GPUs, in the order of Ray's ids
    names = [name.strip() for name in (visible or "").split(",")]
    if len(assigned) != 1 or assigned[0] not in names:
        raise WorkError(
            f"Ray assigned {'GPU ' + ', '.join(assigned) if assigned else 'no GPU'} to this engine,"
            f" and CUDA_VISIBLE_DEVICES is {visible!r}; expected one GPU that is listed there."
            " Unset RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES on the nodes and start Ray again"
        )
    return f"cuda:{names.index(assigned[0])}"
