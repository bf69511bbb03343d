"""PSNR and edges: caps, and images without edges; SSIM of small images."""

import numpy as np
import pytest
import skimage.data
from skimage.metrics import peak_signal_noise_ratio

from nst_core.errors import InputError
from nst_core.metrics.pixel_metrics import PSNR_CAP_DB, Edges, Psnr, Ssim

CAT = skimage.data.chelsea()[60:188, 100:260]
CUP = skimage.data.coffee()[60:188, 100:260]
BLACK = np.zeros_like(CAT)


def test_psnr_agrees_with_scikit_image_and_is_capped() -> None:
    """PSNR equals that of scikit-image, and is finite for equal images."""
    assert Psnr()(CAT, CUP) == pytest.approx(peak_signal_noise_ratio(CUP, CAT, data_range=255))
    assert Psnr()(CAT, CAT) == PSNR_CAP_DB


def test_edges_ignore_color_and_contrast() -> None:
    """An image with less contrast and no color keeps the edges; another image does not."""
    faded = (64 + CAT[..., [1, 1, 1]].astype(float) * 0.4).round().astype(np.uint8)
    assert Edges()(faded, CAT) > 0.95
    assert Edges()(CUP, CAT) < 0.3
    assert Edges()(CAT[:, ::-1].copy(), CAT) < 0.3


def test_edges_of_uniform_images() -> None:
    """A uniform image keeps all edges of uniform content, and none of other content."""
    assert Edges()(BLACK + 7, BLACK) == 1.0
    assert Edges()(BLACK, CAT) == Edges()(CAT, BLACK) == 0.0


def test_ssim_needs_a_whole_window() -> None:
    """SSIM of a picture smaller than its window of 11 px is refused; 11 px are enough."""
    assert Ssim()(CAT[:11, :11], CAT[:11, :11]) == 1
    with pytest.raises(InputError, match=r"ssim: a picture has 20x10 pixels, expected at least 11"):
        Ssim()(CAT[:10, :20], CAT[:10, :20])
