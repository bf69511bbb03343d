"""Initial images of an optimization."""

import pytest
import torch

from nst_core.config import FIELDS, StyleConfig, is_random
from nst_core.errors import InputError
from nst_core.lanes.initialization import initial_image
from nst_core.losses.inputs import LossInputs

PHOTO = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
PAINTING = 0.5 + 0.3 * torch.rand(3, 50, 70, generator=torch.Generator().manual_seed(1))
INPUTS = LossInputs.at_size(
    PHOTO, [(PAINTING, 1.0)], 60, {"image": PHOTO.flip(2), "feed_forward": PHOTO.flip(1)}
)


@pytest.mark.parametrize("init", FIELDS["init"].metadata["options"])
def test_every_start_is_a_valid_image(init: str) -> None:
    """Every start has the size of the result, is in [0, 1], and is reproducible."""
    config = StyleConfig(init=init)
    image = initial_image(config, INPUTS)
    assert image.shape == PHOTO.shape and image.min() >= 0 and image.max() <= 1
    assert torch.equal(image, initial_image(config, INPUTS))


@pytest.mark.parametrize("init_noise", [0.0, 0.5])
@pytest.mark.parametrize("init", FIELDS["init"].metadata["options"])
def test_noise_follows_the_seed(init: str, init_noise: float) -> None:
    """Starts of two seeds differ; starts without noise by less than an 8-bit level."""
    config = StyleConfig(init=init, init_noise=init_noise)
    plain, one, two = (initial_image(config.replace(seed=n), INPUTS) for n in (0, 1, 2))
    assert not torch.equal(one, two) and not torch.equal(plain, one)
    assert is_random(config) == bool((one - two).abs().max() > 1 / 255)


def test_a_mix_ranges_from_content_to_noise() -> None:
    """`init: mix` is the content with `init_noise` 0 and noise with `init_noise` 1."""
    ends = [initial_image(StyleConfig(init="mix", init_noise=n), INPUTS) for n in (0.0, 1.0)]
    torch.testing.assert_close(ends[0], PHOTO)
    torch.testing.assert_close(ends[1], initial_image(StyleConfig(init="noise"), INPUTS))


def test_style_noise_has_the_colors_of_the_style() -> None:
    """The mean color of `init: style_noise` is that of the style image."""
    image = initial_image(StyleConfig(init="style_noise"), INPUTS)
    torch.testing.assert_close(image.mean(dim=(1, 2)), PAINTING.mean(dim=(1, 2)), rtol=0.05, atol=0)


def test_a_given_start_is_used() -> None:
    """A given start is used, and a missing one is an error."""
    assert torch.equal(initial_image(StyleConfig(init="image"), INPUTS), PHOTO.flip(2))
    bare = LossInputs.at_size(PHOTO, [(PAINTING, 1.0)], 60)
    for init in ("image", "feed_forward"):
        with pytest.raises(InputError, match="none was given"):
            initial_image(StyleConfig(init=init), bare)
