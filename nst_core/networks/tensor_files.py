"""Files of named tensors that users give: read without running anything in them, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from nst_core.errors import WeightsError
from nst_core.files import is_file

#: Wrong tensors that an error lists before it counts the rest.
LISTED = 8


def read_tensors(path: Path, what: str) -> Any:
    """What a ``.safetensors`` file, or a torch file of plain tensors, holds.

    Args:
        path: the file.
        what: it should hold, for errors: ``vgg16``.

    Raises:
        WeightsError: no such file, or one of another kind.
    """
    if not is_file(path):
        raise WeightsError(f"{path}: no such weights file for {what}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a damaged pickle may raise anything, UnicodeDecodeError and IndexError too
        raise WeightsError(
            f"{path}: neither a safetensors file nor a torch state dict of plain tensors"
        ) from None


def select_tensors(
    content: Any, shapes: Mapping[str, tuple[int, ...]], what: str, source: str
) -> dict[str, Tensor]:
    """The tensors that are read, as float32; ``source`` names the file in errors.

    Raises:
        WeightsError: any of them is missing or of another shape.
    """
    if not isinstance(content, Mapping):
        raise WeightsError(f"{source}: holds {type(content).__name__}, expected named tensors")
    problems = []
    for key, shape in shapes.items():
        found = content.get(key)
        if not isinstance(found, Tensor) or tuple(found.shape) != shape:
            seen = tuple(found.shape) if isinstance(found, Tensor) else "nothing"
            problems.append(f"  - `{key}` {seen} where {shape} was expected")
    if problems:
        more = [f"  - and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        lines = [f"{source}: not weights of {what}:", *problems[:LISTED], *more]
        raise WeightsError("\n".join(lines))
    return {key: content[key].float().contiguous() for key in shapes}
