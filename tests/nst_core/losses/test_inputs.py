import pickle

import pytest
import torch

from nst_core.config import MIN_SIDE_PX
from nst_core.errors import InputError
from nst_core.losses.inputs import LossInputs, Style

PHOTO = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
PAINTING = torch.rand(3, 300, 200, generator=torch.Generator().manual_seed(1))


def left(share: float) -> torch.Tensor:
    mask = torch.zeros(40, 60)
    mask[:, : round(60 * share)] = 1
    return mask


def test_weights_sum_to_one() -> None:
    """Blend weights are shares: 1 and 3 are a quarter and three quarters."""
    found = LossInputs.at_size(PHOTO, [(PAINTING, 1.0), (PHOTO, 3.0)], 60)
    assert [weight for _, weight in found.styles] == [0.25, 0.75]
    assert len(found.regions) == 1 and found.regions[0].mask_HW is None


def test_styles_without_a_region_take_the_rest() -> None:
    """What no mask covers belongs to the styles that have none; shares are areas."""
    found = LossInputs.at_size(
        PHOTO, [Style(image_3HW=PAINTING, region_HW=left(0.25)), Style(image_3HW=PHOTO)], 60
    )
    masks = [region.mask_HW for region in found.regions]
    assert [region.share for region in found.regions] == pytest.approx([0.25, 0.75])
    torch.testing.assert_close(masks[0] + masks[1], torch.ones(40, 60))  # type: ignore[operator]


def test_styles_of_one_region_blend() -> None:
    """Styles under the same mask share it by their weights."""
    found = LossInputs.at_size(
        PHOTO,
        [
            Style(image_3HW=PAINTING, region_HW=left(0.5), weight=3),
            Style(image_3HW=PHOTO, region_HW=left(0.5)),
            Style(image_3HW=PHOTO.flip(1), region_HW=1 - left(0.5)),
        ],
        60,
    )
    assert [[s.weight for s in r.styles] for r in found.regions] == [[0.75, 0.25], [1.0]]


def test_an_empty_region_is_refused() -> None:
    """A mask without a white pixel would lose its style silently."""
    with pytest.raises(InputError, match="region mask is empty"):
        LossInputs.at_size(PHOTO, [Style(image_3HW=PAINTING, region_HW=torch.zeros(9, 9))], 60)
    with pytest.raises(InputError, match="no region covers is empty"):
        everything = Style(image_3HW=PAINTING, region_HW=torch.ones(9, 9))
        LossInputs.at_size(PHOTO, [everything, Style(image_3HW=PHOTO)], 60)
    with pytest.raises(InputError, match="no style image"):
        LossInputs.at_size(PHOTO, [], 60)


def test_sizes_are_made_once() -> None:
    """The same pictures at a smaller size are one object, with masks and starts of that size."""
    full = LossInputs.at_size(
        PHOTO,
        [Style(image_3HW=PAINTING, region_HW=left(0.5)), Style(image_3HW=PHOTO)],
        60,
        {"image": PHOTO},
    )
    assert full.at(60) is full
    half = full.at(48)
    assert half is full.at(48) and half.height_width == (32, 48)
    assert half.regions[0].mask_HW is not None and half.regions[0].mask_HW.shape == (32, 48)
    assert half.starts["image"].shape == (3, 32, 48)
    assert half.key != full.key


def test_style_images_are_kept_only_as_large_as_needed() -> None:
    """A style image is scaled down to twice the result at most, and never up."""
    found = LossInputs.at_size(PHOTO, [(PAINTING, 1.0)], 60)
    assert found.styles[0][0].shape == (3, 120, 80)
    assert LossInputs.at_size(PHOTO, [(PHOTO, 1.0)], 60).styles[0][0].shape == (3, 40, 60)


def test_they_travel_light() -> None:
    """What was scaled on the way is made again, not sent."""
    full = LossInputs.at_size(PHOTO, [(PAINTING, 1.0)], 60)
    before = len(pickle.dumps(full))
    full.at(48)
    arrived = pickle.loads(pickle.dumps(full))
    assert len(pickle.dumps(full)) == before
    assert arrived.key == full.key and arrived.at(48).height_width == (32, 48)


def test_long_style_images_stay_readable() -> None:
    """Of a style image like a ribbon the shorter side is kept at what networks read."""
    content, ribbon = torch.rand(3, 64, 64), torch.rand(3, 60, 1500)
    made = LossInputs.at_size(content, [(ribbon, 1.0)], 64)
    (kept,) = made.regions[0].styles
    assert min(kept.image_3HW.shape[1:]) == MIN_SIDE_PX


def test_an_empty_mask_on_a_style_image_is_refused() -> None:
    """Where nothing of a style image counts it says nothing."""
    style = Style(image_3HW=torch.rand(3, 64, 64), style_region_HW=torch.zeros(64, 64))
    with pytest.raises(InputError, match="mask on a style image is empty"):
        LossInputs.at_size(torch.rand(3, 64, 64), [style], 64)
