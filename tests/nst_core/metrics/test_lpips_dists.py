"""LPIPS and DISTS against the packages of their authors, and their caches."""

from collections.abc import Mapping
from pathlib import Path

import DISTS_pytorch.DISTS_pt as dists_package
import lpips as lpips_package
import numpy as np
import pytest
import skimage.data
import skimage.filters
import torch
import torchvision

from nst_core.metrics.identity_cache import IdentityCache
from nst_core.metrics.lpips_dists import Dists, Lpips
from nst_core.metrics.pixel_metrics import Rmse, Ssim
from nst_core.networks.weights import Weights

CAT = skimage.data.chelsea()[60:188, 100:260]
CUP = skimage.data.coffee()[60:188, 100:260]
BLURRED = (skimage.filters.gaussian(CAT, 2.0, channel_axis=2) * 255).astype(np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, CAT.shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def lpips(weights: Mapping[str, Weights]) -> Lpips:
    return Lpips(weights["alexnet"], weights["lpips-alex"])


@pytest.fixture(scope="module")
def dists(weights: Mapping[str, Weights]) -> Dists:
    return Dists(weights["vgg16"], weights["dists"])


def pixels(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255


def test_lpips_equals_the_package(lpips: Lpips, weights: Mapping[str, Weights]) -> None:
    """LPIPS equals the package of its authors, which has its own file of linear weights."""
    oracle = lpips_package.LPIPS(net="alex", pnet_rand=True, verbose=False)
    convs = [m for m in oracle.net.modules() if isinstance(m, torch.nn.Conv2d)]
    for conv, index in zip(convs, (0, 3, 6, 8, 10), strict=True):
        conv.weight.data = weights["alexnet"][f"features.{index}.weight"]
        conv.bias.data = weights["alexnet"][f"features.{index}.bias"]
    for other in (CUP, BLURRED):
        with torch.no_grad():
            expected = oracle(pixels(other) * 2 - 1, pixels(CAT) * 2 - 1).item()
        assert lpips(other, CAT) == pytest.approx(expected, abs=1e-5)


def test_dists_equals_the_package(
    dists: Dists, weights: Mapping[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DISTS equals the package of its authors, which has its own file of learned weights."""
    network = torchvision.models.vgg16(weights=None)
    convolutions = {key.removeprefix("features."): w for key, w in weights["vgg16"].items()}
    network.features.load_state_dict(convolutions)
    # The constructor would download the network, and expects the file of weights elsewhere.
    monkeypatch.setattr(dists_package.models, "vgg16", lambda pretrained: network)
    oracle = dists_package.DISTS(load_weights=False)
    file = Path(dists_package.__file__).with_name("weights.pt")
    for name, value in torch.load(file, weights_only=True).items():
        getattr(oracle, name).data = value
    odd = (slice(0, 61), slice(0, 83))  # odd side lengths
    for image, reference in ((CUP, CAT), (BLURRED, CAT), (NOISE, CAT), (CUP[odd], NOISE[odd])):
        expected = oracle(pixels(image), pixels(reference)).item()
        assert dists(image, reference) == pytest.approx(expected, abs=1e-5)


def test_dists_prefers_the_same_texture_to_a_blur(dists: Dists) -> None:
    """For DISTS, other grass is closer to grass than a blurred copy, unlike for pixel metrics."""
    grass = skimage.data.grass()
    one, other = (np.stack([part] * 3, 2) for part in (grass[:128, :128], grass[200:328, 200:328]))
    smooth = (skimage.filters.gaussian(one, 2.0, channel_axis=2) * 255).astype(np.uint8)
    assert dists(other, one) < dists(smooth, one)
    assert Ssim()(other, one) < Ssim()(smooth, one)
    assert Rmse()(other, one) > Rmse()(smooth, one)


@pytest.mark.parametrize("metric", ["lpips", "dists"])
def test_a_reference_is_computed_once(
    metric: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second image with the same reference costs one pass, and its score does not change."""
    measure = request.getfixturevalue(metric)
    passes: list[int] = []
    forward = measure._extractor.forward

    def counted(pixels_N3HW: torch.Tensor) -> Mapping[str, torch.Tensor]:
        passes.append(len(pixels_N3HW))
        return forward(pixels_N3HW)

    monkeypatch.setattr(measure._extractor, "forward", counted)
    reference = CAT.copy()
    measure(CUP, reference)
    assert sum(passes) == 2
    again = measure(BLURRED, reference)
    assert sum(passes) == 3
    assert again == measure(BLURRED, CAT.copy())


def test_the_cache_keeps_the_last_arrays_by_identity() -> None:
    """The result of an array is computed once while it is cached; an equal array is another key."""
    computed: list[int] = []

    def compute(image_HW3: np.ndarray) -> list[torch.Tensor]:
        computed.append(int(image_HW3.ravel()[0]))
        return [torch.zeros(len(image_HW3), dtype=torch.uint8)]

    cached = IdentityCache(compute, max_bytes=20)
    one, two, three = (np.full((10, 1, 3), value) for value in (1, 2, 3))
    for image in (one, one, two, one, three, one, two, two.copy()):
        cached(image)
    assert computed == [1, 2, 3, 2, 2]


def test_a_result_that_is_too_large_is_not_cached() -> None:
    """A result above the limit is returned, not cached, and does not displace others."""
    computed: list[int] = []

    def compute(image_HW3: np.ndarray) -> list[torch.Tensor]:
        computed.append(len(image_HW3))
        return [torch.zeros(len(image_HW3), dtype=torch.uint8)]

    cached = IdentityCache(compute, max_bytes=20)
    small, large = np.zeros((10, 1, 3)), np.zeros((21, 1, 3))
    for image in (small, large, large, small):
        assert len(cached(image)[0]) == len(image)
    assert computed == [10, 21, 21]
