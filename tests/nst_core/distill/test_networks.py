"""Networks: any size, styles and strength as inputs, a start near the photo."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nst_core.distill.networks import StyleNetwork
from nst_core.distill.settings import NETWORKS

MOBILE = StyleNetwork("mobile", 2).eval()


def run(network: StyleNetwork, image: Tensor, strength: float = 1.0, share: float = 1.0) -> Tensor:
    """Return the result of one picture, in a blend of two styles."""
    with torch.no_grad():
        shares = torch.tensor([[share, 1 - share]])
        result: Tensor = network(image, torch.tensor([strength]), shares)
        return result


@settings(max_examples=8)
@given(height=st.integers(16, 70), width=st.integers(16, 70))
def test_the_result_has_the_size_of_the_picture(height: int, width: int) -> None:
    """Every size from 16 px gives a result of the same size with pixels in [0, 1]."""
    result = run(MOBILE, torch.rand(1, 3, height, width))
    assert result.shape == (1, 3, height, width)
    assert result.min() >= 0 and result.max() <= 1


def test_the_mobile_network_is_small() -> None:
    """The mobile network has at most 250,000 parameters, the other about those of Johnson et al."""
    assert MOBILE.parameter_count <= 250_000
    assert 1.5e6 < StyleNetwork("small").parameter_count < 2e6


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_untrained_network_nearly_returns_the_photo(kind: str) -> None:
    """Training starts near the photo, so that few steps are enough, but without its colors."""
    image = torch.rand(1, 3, 40, 48) * 0.9 + 0.05
    network = StyleNetwork(kind)
    with torch.no_grad():
        result, dark = (network(x, torch.ones(1), torch.ones(1, 1)) for x in (image, image * 0.5))
    shapes = torch.corrcoef(torch.stack([image.flatten(), result.flatten()]))
    assert shapes[0, 1] > 0.9
    assert (dark.mean((2, 3)) - result.mean((2, 3))).abs().max() < 0.1


def test_style_and_strength_change_the_result() -> None:
    """With other parameters for a style or a strength, only their results change."""
    network = StyleNetwork("mobile", 2).eval()
    image = torch.rand(1, 3, 32, 32)
    before = run(network, image)
    assert torch.equal(before, run(network, image, share=0.0))
    assert torch.equal(before, run(network, image, strength=5.0))
    with torch.no_grad():
        for block in network.blocks:
            block.project.norm.affine.weight[:, 4] += 1.0  # second style, first power of strength
    assert torch.equal(before, run(network, image))
    assert torch.equal(before, run(network, image, strength=1.0, share=0.0))
    assert not torch.allclose(before, run(network, image, strength=5.0, share=0.0), atol=1e-3)
    half, whole = (run(network, image, strength=5.0, share=s) for s in (0.5, 0.0))
    assert not torch.allclose(half, whole, atol=1e-4)
