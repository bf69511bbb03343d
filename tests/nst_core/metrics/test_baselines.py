"""The images beside which every result stands."""

import numpy as np
import pytest
import skimage.data
import torch

from nst_core.images.tensors import from_uint8
from nst_core.metrics.baselines import baselines, degraded
from nst_core.metrics.suite import rmse

CAT = skimage.data.chelsea()[60:188, 100:260]


def test_baselines_have_the_references_size() -> None:
    """The four baselines are made at the reference's size and lose what they should lose."""
    picture = torch.rand(3, 50, 60)
    found = baselines(picture, picture, from_uint8(CAT))
    assert set(found) == {"content", "style", "blurred_reference", "grey_reference"}
    assert all(image.shape == CAT.shape for image in found.values())
    grey = found["grey_reference"]
    assert (grey[..., 0] == grey[..., 2]).all()


def test_degraded_copies_are_the_reference_still() -> None:
    """Each copy differs from the reference, and less than a picture that has nothing of it."""
    picture = torch.rand(3, 50, 60, generator=torch.Generator().manual_seed(0))
    found = degraded(picture, picture, from_uint8(CAT))
    away = rmse(found["content"], CAT)
    copies = {name: image for name, image in found.items() if name.endswith("_reference")}
    assert len(copies) == 6
    for name, image in copies.items():
        assert image.shape == CAT.shape and image.dtype == np.uint8
        assert 0 < rmse(image, CAT) < away, name
    assert rmse(copies["half_reference"], CAT) == pytest.approx(away / 2, rel=0.02)


def test_the_shifted_copy_is_shifted() -> None:
    """It is the reference moved right and down by a sixty-fourth of its longer side."""
    picture = torch.rand(3, 50, 60)
    moved = degraded(picture, picture, from_uint8(CAT))["shifted_reference"]
    assert (moved[2:, 2:] == CAT[:-2, :-2]).all()
