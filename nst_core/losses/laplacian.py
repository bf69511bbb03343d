"""Matting Laplacian of a photo, from the library PyMatting (optional extra ``photorealism``)."""

from __future__ import annotations

import importlib.util

import numpy as np
import torch
from torch import Tensor

from nst_core.errors import InputError

#: Regularization of the local color covariances; the value of Luan et al. (CVPR 2017).
EPSILON = 1e-7


def check_photorealism() -> None:
    """Raise InputError unless PyMatting is installed; call this before long work."""
    if importlib.util.find_spec("pymatting") is None:
        raise InputError(
            "photo_weight above 0 needs PyMatting; install it with"
            " `pip install 'nst-tuner[photorealism]'`, or set photo_weight to 0"
        )


def matting_laplacian(image_3HW: Tensor) -> Tensor:
    """Return the closed-form matting Laplacian of a photo, with windows of 3x3 pixels.

    Source: Levin, Lischinski & Weiss, TPAMI 2008.

    Args:
        image_3HW: photo in [0, 1].

    Returns:
        laplacian_PP over the P = H W pixels in row order: sparse (COO), symmetric, positive
        semi-definite, float64, on the CPU.

    Raises:
        InputError: PyMatting is not installed.
    """
    check_photorealism()
    from pymatting import cf_laplacian

    pixels_HW3 = np.ascontiguousarray(image_3HW.permute(1, 2, 0).cpu().numpy(), dtype=np.float64)
    matrix = cf_laplacian(pixels_HW3, epsilon=EPSILON).tocoo()
    indices = torch.from_numpy(np.stack([matrix.row, matrix.col]).astype(np.int64))
    values = torch.from_numpy(matrix.data)
    # Check once that PyMatting's indices are within the shape.
    return torch.sparse_coo_tensor(indices, values, matrix.shape, check_invariants=True).coalesce()
