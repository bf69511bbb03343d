"""LossInputs: weights, regions, masks and sizes."""

import pickle

import pytest
import torch

from nst_core.config import MIN_SIDE_PX
from nst_core.errors import InputError
from nst_core.losses.inputs import LossInputs, Style

PHOTO = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
PAINTING = torch.rand(3, 300, 200, generator=torch.Generator().manual_seed(1))


def left_mask(share: float) -> torch.Tensor:
    mask = torch.zeros(40, 60)
    mask[:, : round(60 * share)] = 1
    return mask


def test_weights_sum_to_one() -> None:
    """Weights of style images are scaled to sum 1: 1 and 3 become 1/4 and 3/4."""
    inputs = LossInputs.at_size(PHOTO, [(PAINTING, 1.0), (PHOTO, 3.0)], 60)
    assert [weight for _, weight in inputs.styles] == [0.25, 0.75]
    assert len(inputs.regions) == 1 and inputs.regions[0].mask_HW is None


def test_a_style_without_a_region_covers_the_rest() -> None:
    """A style without a region applies where no mask is; shares are areas of the regions."""
    inputs = LossInputs.at_size(
        PHOTO, [Style(image_3HW=PAINTING, region_HW=left_mask(0.25)), Style(image_3HW=PHOTO)], 60
    )
    masks = [region.mask_HW for region in inputs.regions]
    assert [region.share for region in inputs.regions] == pytest.approx([0.25, 0.75])
    torch.testing.assert_close(masks[0] + masks[1], torch.ones(40, 60))  # type: ignore[operator]


def test_styles_of_one_region_blend() -> None:
    """Styles with the same mask are blended by their weights."""
    inputs = LossInputs.at_size(
        PHOTO,
        [
            Style(image_3HW=PAINTING, region_HW=left_mask(0.5), weight=3),
            Style(image_3HW=PHOTO, region_HW=left_mask(0.5)),
            Style(image_3HW=PHOTO.flip(1), region_HW=1 - left_mask(0.5)),
        ],
        60,
    )
    assert [[s.weight for s in r.styles] for r in inputs.regions] == [[0.75, 0.25], [1.0]]


def test_an_empty_region_is_refused() -> None:
    """An empty mask, a rest without area, and a lack of styles are errors."""
    with pytest.raises(InputError, match="region mask is empty"):
        LossInputs.at_size(PHOTO, [Style(image_3HW=PAINTING, region_HW=torch.zeros(9, 9))], 60)
    with pytest.raises(InputError, match="regions cover the whole content image"):
        everything = Style(image_3HW=PAINTING, region_HW=torch.ones(9, 9))
        LossInputs.at_size(PHOTO, [everything, Style(image_3HW=PHOTO)], 60)
    with pytest.raises(InputError, match="no style image"):
        LossInputs.at_size(PHOTO, [], 60)


def test_each_size_is_computed_once() -> None:
    """`at` returns one object per size, with masks and starts of that size."""
    full = LossInputs.at_size(
        PHOTO,
        [Style(image_3HW=PAINTING, region_HW=left_mask(0.5)), Style(image_3HW=PHOTO)],
        60,
        {"image": PHOTO},
    )
    assert full.at(60) is full
    half = full.at(48)
    assert half is full.at(48) and half.height_width == (32, 48)
    assert half.regions[0].mask_HW is not None and half.regions[0].mask_HW.shape == (32, 48)
    assert half.starts["image"].shape == (3, 32, 48)
    assert half.key != full.key


def test_style_images_are_reduced_to_twice_the_result() -> None:
    """A style image larger than twice the result is reduced, and never enlarged."""
    inputs = LossInputs.at_size(PHOTO, [(PAINTING, 1.0)], 60)
    assert inputs.styles[0][0].shape == (3, 120, 80)
    assert LossInputs.at_size(PHOTO, [(PHOTO, 1.0)], 60).styles[0][0].shape == (3, 40, 60)


def test_other_sizes_are_not_pickled() -> None:
    """Pickled inputs do not contain the sizes that `at` made; `at` computes them again."""
    full = LossInputs.at_size(PHOTO, [(PAINTING, 1.0)], 60)
    before = len(pickle.dumps(full))
    full.at(48)
    copy = pickle.loads(pickle.dumps(full))
    assert len(pickle.dumps(full)) == before
    assert copy.key == full.key and copy.at(48).height_width == (32, 48)


def test_very_long_style_images_keep_a_minimum_width() -> None:
    """The shorter side of a reduced style image is at least what networks need."""
    content, ribbon = torch.rand(3, 64, 64), torch.rand(3, 60, 1500)
    inputs = LossInputs.at_size(content, [(ribbon, 1.0)], 64)
    (style,) = inputs.regions[0].styles
    assert min(style.image_3HW.shape[1:]) == MIN_SIDE_PX


def test_an_empty_mask_on_a_style_image_is_refused() -> None:
    """A style image of which no pixel counts is an error."""
    style = Style(image_3HW=torch.rand(3, 64, 64), style_region_HW=torch.zeros(64, 64))
    with pytest.raises(InputError, match="mask of a style image is empty"):
        LossInputs.at_size(torch.rand(3, 64, 64), [style], 64)
