"""Files of named tensors: read without executing code in them, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from nst_core.errors import WeightsError
from nst_core.files import is_file

#: Number of wrong tensors that an error lists; further ones are only counted.
LISTED = 8


def read_tensors(path: Path, what: str) -> Any:
    """Return the content of a ``.safetensors`` file, or of a torch file of plain tensors.

    Args:
        path: file to read.
        what: name of the expected weights in error messages, such as ``vgg16``.

    Raises:
        WeightsError: the file does not exist, or is of another kind.
    """
    if not is_file(path):
        raise WeightsError(f"{path}: no such weights file for {what}; check its name")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a damaged pickle may raise any exception, such as IndexError
        raise WeightsError(
            f"{path}: neither a safetensors file nor a torch state dict of plain tensors; name a"
            f" file with the weights of {what}"
        ) from None


def select_tensors(
    content: Any, shapes: Mapping[str, tuple[int, ...]], what: str, source: str
) -> dict[str, Tensor]:
    """Return the needed tensors as float32.

    Args:
        content: content of a file, as `read_tensors` returns it.
        shapes: names and shapes of the needed tensors.
        what: name of the weights in error messages.
        source: name of the file in error messages.

    Raises:
        WeightsError: a tensor is missing or has another shape; the error lists them.
    """
    if not isinstance(content, Mapping):
        raise WeightsError(f"{source}: holds {type(content).__name__}, expected named tensors")
    problems = []
    for key, shape in shapes.items():
        tensor = content.get(key)
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
            actual = tuple(tensor.shape) if isinstance(tensor, Tensor) else "nothing"
            problems.append(f"  - `{key}`: expected {shape}, got {actual}")
    if problems:
        more = [f"  - and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        lines = [f"{source}: not weights of {what}:", *problems[:LISTED], *more]
        raise WeightsError("\n".join(lines))
    return {key: content[key].float().contiguous() for key in shapes}
