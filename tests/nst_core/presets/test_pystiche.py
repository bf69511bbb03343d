"""pystiche 1.0.1 (Meier & Lohweg, JOSS 2020), an engine of other hands, as an oracle of our losses.

Both read one real VGG16 and real pictures; ours goes the whole way from `StyleConfig` to
`BatchLoss`. Where pystiche differs on purpose, the relation that holds is tested instead.
"""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
import torchvision
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.images.tensors import resize_longer_side
from nst_core.losses.batch_loss import BatchLoss
from nst_core.losses.functional import total_variation
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.targets import FeatureStore
from nst_core.networks.extractors import Normalizer
from nst_core.networks.weights import Weights
from nst_core.presets.conversions import to_style_config

#: Building a torchvision network the old way, as pystiche does, is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The parameter 'pretrained'", "ignore:Arguments")

SIZE_PX = 112
CONTENT_LAYER = "relu4_2"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
SHARES = (0.4, 0.3, 0.15, 0.1, 0.05)

#: pystiche's words for equal weights, and a list.
LAYER_WEIGHTS: tuple[Any, ...] = ("mean", "sum", SHARES)

Loss = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def pystiche() -> Iterator[ModuleType]:
    """Import pystiche with the names that torchvision has removed, and for float64."""
    assert torchvision.models
    with pytest.MonkeyPatch.context() as patch:
        for family, network in (("alexnet", "alexnet"), ("vgg", "vgg16")):
            # `torchvision.models.alexnet` is a function; the module of that name is only here.
            module = sys.modules[f"torchvision.models.{family}"]
            addresses = {network: "unused: weights are handed over"}
            patch.setattr(module, "model_urls", addresses, raising=False)
        for name in ("pystiche.enc", "pystiche.loss", "pystiche.image.utils"):
            importlib.import_module(name)
        # The check of the type alone stands against float64; the computation does not mind.
        patch.setattr("pystiche.image.utils._verify_image_type", lambda image: None)
        yield sys.modules["pystiche"]


@pytest.fixture(scope="module")
def encoder(pystiche: ModuleType, weights: Mapping[str, Weights]) -> Any:
    """Return pystiche's VGG16 with our weights and its own preprocessing."""
    made = pystiche.enc.vgg16_multi_layer_encoder(pretrained=False)
    keys = made.load_state_dict(dict(weights["vgg16"]))
    assert not keys.missing_keys and not keys.unexpected_keys
    return made.eval().requires_grad_(False).double()


@pytest.fixture(scope="module")
def store(weights: Mapping[str, Weights]) -> FeatureStore:
    """In float64: in float32, a ReLU near zero may open in one engine only, for a gradient of 1e-4.

    pystiche rounds its means to float32 all the same, which is 1e-8 of a pixel.
    """
    return FeatureStore(weights.__getitem__, dtype=torch.float64)


def photo(name: str, size_px: int = SIZE_PX) -> Tensor:
    pixels = np.ascontiguousarray(getattr(skimage.data, name)()).astype(np.float32) / 255
    return resize_longer_side(torch.from_numpy(pixels).permute(2, 0, 1), size_px)


#: The second style has another size than the result.
CONTENT, STYLE, OTHER_STYLE = photo("chelsea"), photo("coffee"), photo("astronaut", 96)
SQUARE_PX = 96
CONTENT_SQUARE, STYLE_SQUARE, OTHER_SQUARE = (
    photo(name, 160)[:, :SQUARE_PX, :SQUARE_PX].clone() for name in ("chelsea", "coffee", "rocket")
)


def made_from(content_3HW: Tensor) -> Tensor:
    """Return a test picture: content mixed with its mirror image and noise, image_13HW."""
    grain = torch.randn(content_3HW.shape, generator=torch.Generator().manual_seed(0))
    mixed = 0.6 * content_3HW + 0.4 * content_3HW.flip(2) + 0.05 * grain
    return mixed.clamp(0, 1)[None].double()


IMAGE = made_from(CONTENT)


def inputs(*styles: Style | tuple[Tensor, float], content: Tensor = CONTENT) -> LossInputs:
    return LossInputs.at_size(content, styles, max(content.shape))


def ours(store: FeatureStore, config: StyleConfig, pictures: LossInputs) -> Loss:
    loss = BatchLoss(store, [(config, pictures)])
    return lambda image_13HW: torch.stack(loss(image_13HW)).sum()


def config_for(content: Tensor = CONTENT, **changes: Any) -> StyleConfig:
    """Return the fields of `StyleConfig` for pystiche's weights."""
    height, width = content.shape[1:]
    given: dict[str, Any] = {
        "content_weight": 0.0,
        "style_weight": 0.0,
        "content_layers": [CONTENT_LAYER],
        "style_layers": STYLE_LAYERS,
        "height": height,
        "width": width,
        "extractor": "vgg16",
    }
    return StyleConfig.from_dict(to_style_config("pystiche", **{**given, **changes}))


def style_loss(
    pystiche: ModuleType, encoder: Any, style_3HW: Tensor, weight: float, layer_weights: Any
) -> Any:
    """pystiche's Gram loss over several layers."""
    loss = pystiche.loss.MultiLayerEncodingLoss(
        encoder,
        STYLE_LAYERS,
        lambda encoder, share: pystiche.loss.GramLoss(encoder, score_weight=share),
        layer_weights=layer_weights,
        score_weight=weight,
    )
    weight_dtype = next(encoder.parameters()).dtype
    loss.set_target_image(style_3HW[None].to(weight_dtype))
    return loss


def value_and_gradient(loss: Loss, at: Tensor) -> tuple[float, Tensor]:
    pixels = at.clone().requires_grad_()
    value = loss(pixels)
    # pystiche hands out several losses as a dictionary, which sums itself.
    total = value if isinstance(value, Tensor) else value.total()
    (gradient,) = torch.autograd.grad(total, pixels)
    return total.item(), gradient


def check_equal(
    found: Loss, expected: Loss, at: Tensor, rtol: float = 1e-6, grad_rtol: float = 1e-6
) -> None:
    """Check that value and gradient are equal and not zero."""
    (our_value, our_grad), (value, grad) = (value_and_gradient(f, at) for f in (found, expected))
    assert our_value == pytest.approx(value, rel=rtol)
    assert (our_grad - grad).norm() <= grad_rtol * grad.norm()
    assert grad.norm() > 0


def test_content_loss(pystiche: ModuleType, encoder: Any, store: FeatureStore) -> None:
    """Our content loss equals pystiche's feature reconstruction loss."""
    theirs = pystiche.loss.FeatureReconstructionLoss(
        encoder.extract_encoder(CONTENT_LAYER), score_weight=3.0
    )
    theirs.set_target_image(CONTENT[None].double())
    config = config_for(content_weight=3.0)
    check_equal(ours(store, config, inputs((STYLE, 1.0))), theirs, IMAGE)


def test_single_precision(
    pystiche: ModuleType, encoder: Any, weights: Mapping[str, Weights]
) -> None:
    """In float32, in which stylizations run, the losses agree as well.

    Gradients less so: a ReLU whose input is nearer to zero than rounding lets through or not.
    """
    single = copy.deepcopy(encoder).float()
    theirs = style_loss(pystiche, single, STYLE, 1e3, "mean")
    store = FeatureStore(weights.__getitem__)
    found = ours(store, config_for(style_weight=1e3), inputs((STYLE, 1.0)))
    check_equal(found, theirs, IMAGE.float(), rtol=1e-5, grad_rtol=5e-3)


@pytest.mark.parametrize("layer_weights", LAYER_WEIGHTS, ids=str)
def test_style_loss(
    layer_weights: Any, pystiche: ModuleType, encoder: Any, store: FeatureStore
) -> None:
    """Our Gram loss equals pystiche's for each of its ways to weight layers."""
    theirs = style_loss(pystiche, encoder, STYLE, 1e3, layer_weights)
    weights: Any = dict.fromkeys(STYLE_LAYERS, 5.0 if layer_weights == "sum" else 1.0)
    if layer_weights is SHARES:
        weights = {layer: 5 * share for layer, share in zip(STYLE_LAYERS, SHARES, strict=True)}
    config = config_for(style_weight=1e3, style_layers=weights)
    check_equal(ours(store, config, inputs((STYLE, 1.0))), theirs, IMAGE)


def test_a_style_of_another_size(pystiche: ModuleType, encoder: Any, store: FeatureStore) -> None:
    """The losses are equal for a style image of another size."""
    pictures = inputs((OTHER_STYLE, 1.0))
    # Ours scales it to the result's longer side; what is compared is the loss on that.
    scaled = resize_longer_side(OTHER_STYLE, SIZE_PX)
    assert scaled.shape != CONTENT.shape
    theirs = style_loss(pystiche, encoder, scaled, 10.0, "mean")
    check_equal(ours(store, config_for(style_weight=10.0), pictures), theirs, IMAGE)


def test_a_blend_of_styles(pystiche: ModuleType, encoder: Any, store: FeatureStore) -> None:
    """Our loss to a blend of Grams has the gradient of pystiche's blend of losses.

    With shares a + b = 1, ``a |G-A|^2 + b |G-B|^2 = |G - (a A + b B)|^2 + a b |A-B|^2``.
    """
    blend = inputs((STYLE, 3.0), (OTHER_STYLE, 1.0))
    scaled = resize_longer_side(OTHER_STYLE, SIZE_PX)
    first = style_loss(pystiche, encoder, STYLE, 1e3, "mean")
    second = style_loss(pystiche, encoder, scaled, 1e3, "mean")
    with torch.no_grad():
        between = second(STYLE[None].double()).total()

    def theirs(image_13HW: Tensor) -> Tensor:
        losses = 0.75 * first(image_13HW).total() + 0.25 * second(image_13HW).total()
        return losses - 0.75 * 0.25 * between  # type: ignore[no-any-return]

    check_equal(ours(store, config_for(style_weight=1e3), blend), theirs, IMAGE)


def horizontal(image_13HW: Tensor) -> Tensor:
    """Return the horizontal part of our total variation."""
    rows_H3W = image_13HW[0].transpose(0, 1)
    return total_variation(rows_H3W[:, :, None].expand(-1, -1, 2, -1)).mean()


def vertical(image_13HW: Tensor) -> Tensor:
    return horizontal(image_13HW.mT)


def test_total_variation(pystiche: ModuleType, store: FeatureStore) -> None:
    """pystiche leaves the last row out of the differences along rows, and the last column."""
    theirs = pystiche.loss.TotalVariationLoss(score_weight=2.0)
    loss = BatchLoss(store, [(StyleConfig(tv_weight=2.0), inputs((STYLE, 1.0)))])
    check_equal(
        lambda image: 2 * (horizontal(image) + vertical(image)),
        lambda image: loss(image).tv.sum(),
        IMAGE,
    )
    check_equal(
        lambda image: 2 * (horizontal(image[..., :-1, :]) + vertical(image[..., :-1])),
        theirs,
        IMAGE,
    )
    # One row and one column of a photo say little.
    assert loss(IMAGE).tv.item() == pytest.approx(theirs(IMAGE).item(), rel=1 / 50)


#: Weights with which every part has a say; `test_every_part_weighs_in_the_whole` holds them to it.
EVERYTHING = {"content_weight": 1.0, "style_weight": 1.0, "tv_weight": 1e3}


def test_everything_together(pystiche: ModuleType, encoder: Any, store: FeatureStore) -> None:
    """The whole loss with converted weights has pystiche's gradient.

    In a square, and but for the last row and column, where pystiche has no total variation.
    """
    content = pystiche.loss.FeatureReconstructionLoss(encoder.extract_encoder(CONTENT_LAYER))
    theirs = pystiche.loss.PerceptualLoss(
        content,
        style_loss(pystiche, encoder, STYLE_SQUARE, EVERYTHING["style_weight"], "mean"),
        pystiche.loss.TotalVariationLoss(score_weight=EVERYTHING["tv_weight"]),
    )
    theirs.set_content_image(CONTENT_SQUARE[None].double())
    config = config_for(content=CONTENT_SQUARE, **EVERYTHING)
    at = made_from(CONTENT_SQUARE)
    found = ours(store, config, inputs((STYLE_SQUARE, 1.0), content=CONTENT_SQUARE))
    (value, grad), (expected, target) = (value_and_gradient(f, at) for f in (found, theirs))
    inside = (grad - target)[..., :-1, :-1]
    assert inside.norm() <= 1e-6 * target.norm()
    assert expected < value < 1.02 * expected


def test_every_part_weighs_in_the_whole(store: FeatureStore) -> None:
    """Every loss term contributes visibly to the compared total."""
    config = config_for(content=CONTENT_SQUARE, **EVERYTHING)
    pictures = inputs((STYLE_SQUARE, 1.0), content=CONTENT_SQUARE)
    loss = BatchLoss(store, [(config, pictures)])
    pixels = made_from(CONTENT_SQUARE).requires_grad_()
    part = loss(pixels)
    norms = [
        torch.autograd.grad(term.sum(), pixels, retain_graph=True)[0].norm().item()
        for term in (part.content, part.style, part.tv)
    ]
    assert min(norms) > 1e-2 * max(norms)


def test_regions(pystiche: ModuleType, encoder: Any, store: FeatureStore) -> None:
    """Our regions are pystiche's guides times the regions' shares.

    pystiche divides a guided Gram by all positions, ours by those of the region, and weighs the
    region's loss by its share s: ``s |G-A|^2`` where pystiche has ``|s G - s A|^2``.
    """
    left = torch.zeros(SQUARE_PX, SQUARE_PX, dtype=torch.float64)
    left[:, : SQUARE_PX // 2] = 1
    pictures = inputs(
        Style(image_3HW=STYLE_SQUARE, region_HW=left, style_region_HW=left),
        Style(image_3HW=OTHER_SQUARE, style_region_HW=1 - left),
        content=CONTENT_SQUARE,
    )
    guided = pystiche.loss.MultiRegionLoss(
        ["left", "right"],
        lambda region, share: pystiche.loss.GramLoss(
            encoder.extract_encoder("relu1_1"), score_weight=share
        ),
    )
    for region, mask, style in (("left", left, STYLE_SQUARE), ("right", 1 - left, OTHER_SQUARE)):
        guided.set_regional_input_guide(region, mask[None, None])
        guided.set_regional_target_image(region, style[None].double(), guide=mask[None, None])
    config = config_for(content=CONTENT_SQUARE, style_weight=1.0, style_layers=["relu1_1"])
    check_equal(
        ours(store, config, pictures),
        lambda image: guided(image).total() / 0.5,
        made_from(CONTENT_SQUARE),
    )


def test_preprocessing(pystiche: ModuleType) -> None:
    """Preprocessed pixels are equal, except that pystiche rounds Caffe's mean."""
    for name, framework, atol in (("imagenet", "torch", 1e-6), ("caffe", "caffe", 0.11)):
        expected = pystiche.enc.preprocessing(framework)(IMAGE)
        torch.testing.assert_close(Normalizer([name], IMAGE)(IMAGE), expected, rtol=0, atol=atol)
