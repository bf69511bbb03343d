"""The images beside which every result stands."""

import skimage.data
import torch

from nst_core.baselines import baselines
from nst_core.images import from_uint8

CAT = skimage.data.chelsea()[60:188, 100:260]


def test_baselines_have_the_references_size() -> None:
    """The four baselines are made at the reference's size and lose what they should lose."""
    picture = torch.rand(3, 50, 60)
    found = baselines(picture, picture, from_uint8(CAT))
    assert set(found) == {"content", "style", "blurred_reference", "grey_reference"}
    assert all(image.shape == CAT.shape for image in found.values())
    grey = found["grey_reference"]
    assert (grey[..., 0] == grey[..., 2]).all()
