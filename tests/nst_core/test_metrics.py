from collections.abc import Mapping
from itertools import pairwise

import lpips as lpips_package
import numpy as np
import pytest
import skimage.data
import skimage.filters
import torch
from skimage.metrics import peak_signal_noise_ratio

from nst_core.metric_names import METRICS
from nst_core.metrics import PSNR_CAP_DB, Judge, baselines, psnr
from nst_core.weights import Weights

CAT = skimage.data.chelsea()[60:188, 100:260]
CUP = skimage.data.coffee()[60:188, 100:260]


@pytest.fixture(scope="module")
def judge(weights: Mapping[str, Weights]) -> Judge:
    return Judge.load(weights.__getitem__)


def blurred(sigma: float) -> np.ndarray:
    smooth = skimage.filters.gaussian(CAT, sigma, channel_axis=2)
    return (smooth * 255).astype(np.uint8)


@pytest.mark.parametrize("metric", list(METRICS))
def test_equal_images_are_best(judge: Judge, metric: str) -> None:
    """No image scores better than the reference itself, by the metric's own direction."""
    equal = judge.score(CAT, CAT)[metric]
    for other in (CUP, blurred(2.0), np.zeros_like(CAT)):
        assert METRICS[metric].better(equal, judge.score(other, CAT)[metric])


@pytest.mark.parametrize("metric", list(METRICS))
def test_symmetric(judge: Judge, metric: str) -> None:
    """Swapping image and reference changes nothing."""
    assert judge.score(CAT, CUP)[metric] == pytest.approx(judge.score(CUP, CAT)[metric], rel=1e-5)


@pytest.mark.parametrize("metric", list(METRICS))
def test_monotone_in_blur(judge: Judge, metric: str) -> None:
    """The more an image is blurred, the worse it scores."""
    scores = [judge.score(blurred(sigma), CAT)[metric] for sigma in (0.5, 1.0, 2.0, 4.0)]
    assert all(METRICS[metric].better(a, b) for a, b in pairwise(scores))


def test_lpips_equals_the_package(judge: Judge, weights: Mapping[str, Weights]) -> None:
    """LPIPS agrees with the authors' package, whose linear layers come from its own file."""
    oracle = lpips_package.LPIPS(net="alex", pnet_rand=True, verbose=False)
    convs = [m for m in oracle.net.modules() if isinstance(m, torch.nn.Conv2d)]
    for conv, index in zip(convs, (0, 3, 6, 8, 10), strict=True):
        conv.weight.data = weights["alexnet"][f"features.{index}.weight"]
        conv.bias.data = weights["alexnet"][f"features.{index}.bias"]
    for other in (CUP, blurred(2.0)):
        pixels = [torch.from_numpy(x).permute(2, 0, 1)[None] / 127.5 - 1 for x in (other, CAT)]
        with torch.no_grad():
            expected = oracle(*pixels).item()
        assert judge.lpips(other, CAT) == pytest.approx(expected, rel=1e-4)


def test_psnr_agrees_with_scikit_image_and_is_capped() -> None:
    """PSNR is scikit-image's, and a number for equal images."""
    assert psnr(CAT, CUP) == pytest.approx(peak_signal_noise_ratio(CUP, CAT, data_range=255))
    assert psnr(CAT, CAT) == PSNR_CAP_DB


def test_baselines_have_the_references_size(judge: Judge) -> None:
    """The four baselines are scored at the reference's size and lose what they should lose."""
    picture = torch.rand(3, 50, 60)
    reference = torch.from_numpy(CAT.copy()).permute(2, 0, 1) / 255
    found = baselines(picture, picture, reference)
    assert set(found) == {"content", "style", "blurred_reference", "grey_reference"}
    assert all(image.shape == CAT.shape for image in found.values())
    grey = found["grey_reference"]
    assert (grey[..., 0] == grey[..., 2]).all()
