"""Loss of every engine, computed by its own formulas, compared with ours after conversion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.losses import functional
from nst_core.losses.batch_loss import BatchLoss
from nst_core.losses.functional import moments, total_variation, wasserstein_loss
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.networks.extractors import Normalizer
from nst_core.networks.weights import Weights
from nst_core.presets.conversions import to_style_config
from nst_core.presets.public_engines import ENGINES
from tests.nst_core.published_losses import (
    CONTENT_LAYERS,
    CONTENT_WEIGHT,
    DOUBLE,
    PUBLISHED,
    STYLE_LAYERS,
    STYLE_WEIGHT,
    TV_WEIGHT,
    Seen,
    crowsonkb_tv,
    down,
    flat,
    product,
    right,
)

ROOT = Path(__file__).parents[3]
SIDE_PX = 36  # not a multiple of 16: poolings round down

#: What the pixels that engines optimize go to; 255 in all others.
PIXELS_TO = {
    "neural-style-pt": 256,
    "neural-style-lua": 256,
    "pystiche": 1,
    "pytorch-tutorial": 1,
    "crowsonkb": 1,
}

#: What each engine divides by is the image's for both, so that the style must have its size.
ONE_SIZE = ("gatys-paper", "keras")

#: A gradient is computed apart from the loss, whose value says nothing.
GRADIENT_ONLY = (
    ("neural-style-lua", "tv"),
    *((engine, term) for engine in ("maua", "maua-early") for term in ("content", "style")),
)

#: The last row and column have no say there.
CROPPED = (("neural-style-lua", "tv"), ("pystiche", "tv"))

CASES = [(engine, term) for engine, terms in PUBLISHED.items() for term in terms]


@pytest.fixture(scope="module")
def store(random_weights: Callable[[str], Weights]) -> FeatureStore:
    return FeatureStore(random_weights, dtype=DOUBLE)


@pytest.fixture
def sharp_l1(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replace our smoothed absolute value, which the engines do not have."""
    monkeypatch.setattr(functional, "L1_SMOOTHING", 0.0)
    yield


def picture(seed: int, height: int = SIDE_PX, width: int = SIDE_PX) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def materials_for(engine: str) -> LossInputs:
    style = picture(1) if engine in ONE_SIZE else picture(1, SIDE_PX, 32)
    return LossInputs.at_size(picture(0), [(style, 1.0)], SIDE_PX)


def converted(engine: str, **changes: Any) -> StyleConfig:
    """Return our configuration for the weights in `PUBLISHED`."""
    weights: Mapping[str, float] = dict.fromkeys(STYLE_LAYERS, 1.0)
    if engine == "anishathalye":
        weights = {layer: 0.5**i for i, layer in enumerate(STYLE_LAYERS)}
    given: dict[str, Any] = {
        "content_weight": CONTENT_WEIGHT,
        "style_weight": STYLE_WEIGHT,
        "tv_weight": TV_WEIGHT if ENGINES[engine].tv else 0.0,
        "content_layers": CONTENT_LAYERS,
        "style_layers": weights,
        "height": SIDE_PX,
        "width": SIDE_PX,
    }
    return StyleConfig.from_dict(to_style_config(engine, **{**given, **changes}))


def seen_by(
    engine: str, config: StyleConfig, store: FeatureStore, inputs: LossInputs, image_13HW: Tensor
) -> Seen:
    """Return the features that an engine would compute with our network."""
    extractor = store.extractor(config.backbone, config.layers)
    normalize = Normalizer([config.normalization], image_13HW)

    def features(image: Tensor) -> dict[str, Tensor]:
        return {k: feat[0] for k, feat in extractor(normalize(image)).items()}

    with torch.no_grad():
        content = features(inputs.content_3HW[None].to(DOUBLE))
        ((style_3HW, _),) = inputs.styles
        style = features(style_3HW[None].to(DOUBLE))
    return Seen(
        image=features(image_13HW),
        content=content,
        style=style,
        pixels_3HW=image_13HW[0] * PIXELS_TO.get(engine, 255),
    )


@pytest.mark.usefixtures("sharp_l1")
@pytest.mark.parametrize(("engine", "term"), CASES)
def test_ours_equals_the_engines_own_formula(engine: str, term: str, store: FeatureStore) -> None:
    """With converted weights each of our loss terms has the value and gradient of the engine's."""
    config, inputs = converted(engine), materials_for(engine)
    image = picture(2)[None].to(DOUBLE).requires_grad_()
    ours = getattr(BatchLoss(store, [(config, inputs)])(image), term)[0]
    theirs = PUBLISHED[engine][term](seen_by(engine, config, store, inputs, image))
    (our_grad,) = torch.autograd.grad(ours, image)
    (their_grad,) = torch.autograd.grad(theirs, image)
    if (engine, term) in CROPPED:
        our_grad, their_grad = our_grad[..., :-1, :-1], their_grad[..., :-1, :-1]
    elif (engine, term) not in GRADIENT_ONLY:
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-9)
    # maua adds 1e-8 to the norm of 1 that it divides by.
    rtol = 3e-8 if engine.startswith("maua") else 1e-9
    assert (our_grad - their_grad).norm() <= rtol * their_grad.norm()
    assert their_grad.norm() > 0


def test_every_engine_is_compared() -> None:
    """The tests have a formula for every engine and each of its terms."""
    assert PUBLISHED.keys() == ENGINES.keys()
    for name, engine in ENGINES.items():
        # crowsonkb's style and total variation equal ours in a limit only: see below.
        expected = {"content", "style", *(["tv"] if engine.tv else [])}
        assert PUBLISHED[name].keys() == (expected if name != "crowsonkb" else {"content"})


def border(pixels_3HW: Tensor) -> Tensor:
    """Return the sum of squared differences along the last row and the last column."""
    return (right(pixels_3HW[:, -1:]) ** 2).sum() + (down(pixels_3HW[:, :, -1:]) ** 2).sum()


@pytest.mark.parametrize(
    ("engine", "per_difference"), [("neural-style-lua", 0.5), ("pystiche", 1 / (3 * 35 * 35))]
)
def test_ours_has_the_last_row_and_column_as_well(engine: str, per_difference: float) -> None:
    """Our total variation exceeds a cropped one by the cropped differences."""
    image = picture(3).to(DOUBLE)
    ours = converted(engine).tv_weight * total_variation(image[None])[0]
    pixels = image * PIXELS_TO[engine]
    # Sums of squares are what both gradients come from: lua has no value of its own.
    block = (right(pixels[:, :-1]) ** 2).sum() + (down(pixels[:, :, :-1]) ** 2).sum()
    expected = TV_WEIGHT * per_difference * (block + border(pixels))
    assert ours.item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.usefixtures("sharp_l1")
@pytest.mark.parametrize(("height", "width"), [(24, 36), (60, 40)])
def test_sums_of_absolutes_depend_on_the_shape_a_little(height: int, width: int) -> None:
    """In a picture that is no square, directions have other weights than in the engine."""
    image = picture(4, height, width).to(DOUBLE)
    factor = ENGINES["gordicaleksa"].tv_factor(height, width)
    ours = factor * total_variation(image[None], "l1")[0]
    theirs = 255 * (right(image).abs().sum() + down(image).abs().sum())
    off = abs(height - width) / (2 * min(height * (width - 1), (height - 1) * width))
    assert 0 < (ours - theirs).abs() <= off * theirs


def test_rounding_lowers_our_l1_by_a_constant() -> None:
    """Our l1 is below an engine's by at most 1e-4 per difference, with the same gradient."""
    image = picture(5).to(DOUBLE).requires_grad_()
    ours = converted("neural-style-pt").tv_weight * total_variation(image[None], "l1")[0]
    theirs = TV_WEIGHT * 256 * (right(image).abs().sum() + down(image).abs().sum())
    gap = TV_WEIGHT * 256 * 2 * (3 * SIDE_PX * (SIDE_PX - 1)) * 1e-4
    assert 0 < (theirs - ours).item() <= gap
    (our_grad,) = torch.autograd.grad(ours, image)
    (their_grad,) = torch.autograd.grad(theirs, image)
    # Only differences near 1e-4 have a smaller slope, and noise has few.
    assert (our_grad - their_grad).norm() < 1e-2 * their_grad.norm()


def test_crowsonkbs_total_variation_is_ours_in_smooth_pictures() -> None:
    """A total variation with diagonals is equal in a ramp, 5/6 in noise, 2/3 in a checkerboard."""
    side = torch.linspace(0, 1, 300, dtype=DOUBLE)
    noise = torch.rand(3, 300, 300, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    board = ((torch.arange(300)[:, None] + torch.arange(300)) % 2).to(DOUBLE).expand(3, -1, -1)
    ramp = (side[:, None] + 2 * side).expand(3, -1, -1) / 3
    for image, expected in ((ramp, 1.0), (noise, 5 / 6), (board, 2 / 3)):
        seen = Seen(image={}, content={}, style={}, pixels_3HW=image)
        ours = converted("crowsonkb").tv_weight * total_variation(image[None])[0]
        assert (crowsonkb_tv(seen) / ours).item() == pytest.approx(expected, rel=1e-2)


def newton_schulz(matrix_CC: Tensor) -> Tensor:
    """Return the square root of a matrix by 12 Newton-Schulz iterations, as crowsonkb does."""
    norm = (matrix_CC**2).sum().sqrt()
    identity = torch.eye(len(matrix_CC), dtype=DOUBLE)
    y, z = matrix_CC / norm, identity
    for _ in range(12):
        step = (3 * identity - z @ y) / 2
        y, z = y @ step, step @ z
    return y * norm.sqrt()


def crowsonkb_style(found_CHW: Tensor, target_CHW: Tensor, ridge: float) -> Tensor:
    """Return crowsonkb's StyleLossW2 of one layer."""

    def statistics(feat_CHW: Tensor) -> tuple[Tensor, Tensor]:
        mean = feat_CHW.mean((1, 2))
        raw = product(feat_CHW) / flat(feat_CHW).shape[1]
        return mean, raw - torch.outer(mean, mean) + ridge * torch.eye(len(mean), dtype=DOUBLE)

    (mean, covariance), (wanted, target) = statistics(found_CHW), statistics(target_CHW)
    root = newton_schulz(target)
    cross = newton_schulz(root @ covariance @ root)
    return ((mean - wanted) ** 2).mean() + (target + covariance - 2 * cross).diagonal().mean()


@pytest.mark.parametrize(("ridge", "rtol"), [(0.0, 1e-9), (1e-4, 1e-3)])
def test_crowsonkbs_style_is_our_wasserstein_loss(
    ridge: float, rtol: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two losses are equal without the regularization of roots, and within 0.1 % with it."""
    monkeypatch.setattr(functional, "COVARIANCE_RIDGE", ridge)
    generator = torch.Generator().manual_seed(0)
    found, target = (
        torch.randn(6, 20, 30, generator=generator, dtype=DOUBLE) * scale + 0.3 * scale
        for scale in (1.0, 1.4)
    )
    found.requires_grad_()
    config = converted("crowsonkb", style_layers={"relu1_1": 256, "relu2_1": 64})
    weight = config.style_weight * config.style_layers["relu1_1"]
    ours = weight * wasserstein_loss(moments(found[None]), moments(target[None]))[0]
    theirs = STYLE_WEIGHT * 256 / (256 + 64) * crowsonkb_style(found, target, ridge)
    assert config.style_loss == "wasserstein"
    assert ours.item() == pytest.approx(theirs.item(), rel=rtol)
    (our_grad,) = torch.autograd.grad(ours, found)
    (their_grad,) = torch.autograd.grad(theirs, found)
    assert (our_grad - their_grad).norm() <= rtol * their_grad.norm()
