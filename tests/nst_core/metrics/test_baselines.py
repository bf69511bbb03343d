"""Baselines and degraded copies of a reference."""

import numpy as np
import pytest
import skimage.data
import torch

from nst_core.images.tensors import from_uint8
from nst_core.metrics.baselines import baselines, degraded
from nst_core.metrics.pixel_metrics import Rmse

CAT = skimage.data.chelsea()[60:188, 100:260]


def test_baselines_have_the_references_size() -> None:
    """All four baselines have the size of the reference, and the gray one has no color."""
    picture = torch.rand(3, 50, 60)
    images = baselines(picture, picture, from_uint8(CAT))
    assert set(images) == {"content", "style", "blurred_reference", "grey_reference"}
    assert all(image.shape == CAT.shape for image in images.values())
    gray = images["grey_reference"]
    assert (gray[..., 0] == gray[..., 2]).all()


def test_degraded_copies_are_close_to_the_reference() -> None:
    """Each copy differs from the reference, but less than the content does."""
    picture = torch.rand(3, 50, 60, generator=torch.Generator().manual_seed(0))
    images = degraded(picture, picture, from_uint8(CAT))
    content_error = Rmse()(images["content"], CAT)
    copies = {name: image for name, image in images.items() if name.endswith("_reference")}
    assert len(copies) == 6
    for name, image in copies.items():
        assert image.shape == CAT.shape and image.dtype == np.uint8
        assert 0 < Rmse()(image, CAT) < content_error, name
    assert Rmse()(copies["half_reference"], CAT) == pytest.approx(content_error / 2, rel=0.02)


def test_the_shifted_copy_is_shifted() -> None:
    """The shifted copy is the reference moved right and down by 1/64 of its longer side."""
    picture = torch.rand(3, 50, 60)
    shifted = degraded(picture, picture, from_uint8(CAT))["shifted_reference"]
    assert (shifted[2:, 2:] == CAT[:-2, :-2]).all()
