"""Conversion of weights, layers and learning rates from and to public engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.losses import functional
from nst_core.losses.targets import FeatureStore
from nst_core.networks import extractors
from nst_core.networks.extractors import Extractor
from nst_core.networks.registry import Backbone
from nst_core.networks.weights import Weights
from nst_core.presets.built_in import BUILT_IN
from nst_core.presets.conversions import to_engine_weights, to_style_config
from nst_core.presets.public_engines import ENGINES, Grid
from tests.nst_core.presets.test_conversions import converted
from tests.nst_core.published_losses import DOUBLE, product

ROOT = Path(__file__).parents[3]


def test_layer_weights_follow_the_engines_rule() -> None:
    """Layer weights are unchanged, divided by their number, or divided by their sum."""
    given = {"relu1_1": 3.0, "relu2_1": 1.0}

    def layers(engine: str) -> Mapping[str, float]:
        return converted(engine, style_layers=given).style_layers

    assert layers("neural-style-pt") == given
    assert layers("pystiche") == {"relu1_1": 1.5, "relu2_1": 0.5}
    assert layers("anishathalye") == {"relu1_1": 0.75, "relu2_1": 0.25}


@pytest.mark.parametrize(
    ("layer", "extractor", "expected"),
    [
        ("relu1_1", "vgg19", Grid(64, 50 * 37, 50 * 37)),
        ("conv3_4", "vgg19", Grid(256, 12 * 9, 50 * 37)),
        ("conv5_1", "vgg16", Grid(512, 3 * 2, 50 * 37)),
        ("pool4", "vgg16", Grid(512, 3 * 2, 50 * 37)),
    ],
)
def test_layer_shapes_are_those_of_the_network(
    layer: str, extractor: str, expected: Grid, random_weights: Callable[[str], Weights]
) -> None:
    """Channels and sizes of the table equal those of the network."""
    store = FeatureStore(random_weights)
    config = StyleConfig(extractor=extractor)
    (feat,) = store.extractor(config.backbone, [layer])(torch.rand(1, 3, 50, 37)).values()
    assert feat.shape[1] == expected.channels
    assert feat.shape[2] * feat.shape[3] == expected.positions
    content = converted(
        "keras", content_layers=[layer], extractor=extractor, height=50, width=37
    ).content_layers
    assert content == {layer: expected.channels * expected.positions}


@pytest.mark.parametrize(
    ("engine", "formula"),
    [
        ("neural-style-pt", lambda g: 1 / g.channels**2),
        ("gordicaleksa", lambda g: 1.0),
        ("gatys-paper", lambda g: 0.25),
        ("keras", lambda g: (g.channels * g.positions / (6 * g.pixels)) ** 2),
        ("crowsonkb", lambda g: 1.0),
    ],
)
def test_style_factors_are_of_per_pixel_grams(
    engine: str, formula: Callable[[Grid], float]
) -> None:
    """A style factor includes the division by channels for all engines."""
    grid = Grid(128, 300, 1200)
    assert ENGINES[engine].style_factor(grid) == pytest.approx(formula(grid))


def follow(
    optimizer: Callable[[list[Tensor]], torch.optim.Optimizer], start: Tensor, scale: float
) -> Tensor:
    """Return the picture after three optimizer steps on pixels of a given range."""
    pixels = (start * scale).requires_grad_()
    optimize = optimizer([pixels])
    for _ in range(3):
        optimize.zero_grad()
        loss = ((pixels / scale - 0.5) ** 2 * torch.arange(1, 1 + len(start))).sum()
        (pixels.grad,) = torch.autograd.grad(loss, pixels)
        optimize.step()
    return pixels.detach() / scale


@pytest.mark.parametrize(
    ("name", "optimizer", "lr"),
    [("adam", torch.optim.Adam, 10.0), ("sgd", torch.optim.SGD, 300.0)],
)
def test_a_learning_rate_takes_the_same_path(
    name: str, optimizer: Callable[..., torch.optim.Optimizer], lr: float
) -> None:
    """Steps with an engine's learning rate equal steps with the converted one on [0, 1]."""
    start = torch.rand(8, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    ours = converted("anishathalye", lr=lr, optimizer=name).lr
    theirs = follow(lambda pixels: optimizer(pixels, lr=lr), start, 255)
    found = follow(lambda pixels: optimizer(pixels, lr=ours), start, 1)
    torch.testing.assert_close(found, theirs, rtol=1e-5, atol=1e-7)


def test_the_rate_of_lbfgs_has_no_unit() -> None:
    """The learning rate of L-BFGS does not depend on the pixel range."""
    assert converted("neural-style-pt", lr=1.0, optimizer="lbfgs").lr == 1


@pytest.mark.parametrize(
    ("engine", "changes", "message"),
    [
        ("neural-style", {}, "no such engine; did you mean `neural-style-"),
        ("crowsonkb-gram", {}, "changes in every step"),
        ("keras", {"tv_weight": 1.0}, "expected `tv_weight` 0"),
        ("keras", {"extractor": "resnet18", "content_layers": ["layer1"]}, "vgg16 or vgg19"),
        ("keras", {"content_layers": ["relu9_1"]}, "no such layer"),
        ("pystiche", {"extractor": "vgg91"}, "no such network; did you mean"),
        ("pystiche", {"optimizer": "lamb"}, "adam, sgd, lbfgs"),
        ("pystiche", {"style_layers": {"relu1_1": 0.0}}, "weight above 0"),
        ("pystiche", {"height": 1}, "at least 2x2"),
    ],
)
def test_what_does_not_convert_is_refused(
    engine: str, changes: dict[str, Any], message: str
) -> None:
    """The error about an impossible conversion gives the reason."""
    given: dict[str, Any] = {
        "content_weight": 1,
        "style_weight": 1,
        "content_layers": ["relu4_2"],
        "style_layers": ["relu1_1"],
        "height": 64,
        "width": 64,
    }
    with pytest.raises(InputError, match=message):
        to_style_config(engine, **{**given, **changes})


def test_networks_other_than_vgg_convert_where_nothing_depends_on_the_layer() -> None:
    """A factor that is equal for all layers converts for any network."""
    fields = to_style_config(
        "pytorch-tutorial",
        content_weight=1,
        style_weight=1e6,
        content_layers=["layer1"],
        style_layers=["conv1", "layer1"],
        height=64,
        width=64,
        extractor="resnet18",
    )
    assert StyleConfig.from_dict(fields).style_layers == {"conv1": 1.0, "layer1": 1.0}


@pytest.mark.parametrize(
    ("preset", "engine", "given"),
    [
        (
            "neural-style-pt",
            "neural-style-pt",
            {"content_weight": 5, "style_weight": 100, "tv_weight": 1e-3, "optimizer": "lbfgs"},
        ),
        (
            "neural-style",
            "anishathalye",
            {"content_weight": 5, "style_weight": 500, "tv_weight": 100, "lr": 10},
        ),
        (
            "pystiche",
            "pystiche",
            {"content_weight": 1, "style_weight": 1e3, "tv_weight": 0, "optimizer": "lbfgs"},
        ),
        (
            "style-transfer-pytorch",
            "crowsonkb",
            {
                "content_weight": 0.015,
                "style_weight": 1,
                "tv_weight": 2,
                "style_layers": dict(
                    zip([f"relu{i}_1" for i in range(1, 6)], [256, 64, 16, 4, 1], strict=True)
                ),
                "lr": 0.02,
            },
        ),
    ],
)
def test_built_in_presets_agree_with_the_table(
    preset: str, engine: str, given: dict[str, Any]
) -> None:
    """The presets of engines equal their converted published defaults."""
    config = BUILT_IN[preset].config
    layers = {"style_layers": [f"relu{i}_1" for i in range(1, 6)], "content_layers": ["relu4_2"]}
    found = converted(engine, **{"height": 384, "width": 512, **layers, **given})
    for key in ("content_weight", "style_weight", "tv_weight", "lr"):
        # The preset counts 3 H W differences in a direction, the table those there are.
        assert getattr(config, key) == pytest.approx(getattr(found, key), rel=3e-3)
    for key in ("style_loss", "gram", "normalization", "padding", "tv_norm", "optimizer"):
        assert getattr(config, key) == getattr(found, key), key
    assert config.style_layers == pytest.approx(found.style_layers)
    assert config.content_layers == found.content_layers


@pytest.mark.parametrize("engine", ["neural-style-pt", "pystiche", "gatys-code", "keras"])
@pytest.mark.parametrize("gram", ["per_pixel", "per_element"])
def test_the_way_back_gives_the_same_loss(engine: str, gram: str) -> None:
    """Converting weights to an engine and back gives the same loss."""
    config = StyleConfig(
        extractor="vgg19",
        gram=gram,
        content_weight=3.0,
        style_weight=70.0,
        content_layers={"relu4_2": 1.0},
        style_layers={"relu1_1": 0.25, "relu3_1": 2.0},
    )
    found = to_engine_weights(config, engine, height=48, width=64)
    count = {"mean": len(found.style_layers)}.get(ENGINES[engine].style_layers, 1)
    back = StyleConfig.from_dict(
        to_style_config(
            engine,
            content_weight=1.0,
            style_weight=1.0,
            content_layers=found.content_layers,
            style_layers={layer: count * w for layer, w in found.style_layers.items()},
            height=48,
            width=64,
        )
    )

    def whole(one: StyleConfig) -> dict[str, float]:
        channels = {"relu1_1": 64, "relu3_1": 256}
        return {
            layer: one.style_weight * weight * functional.gram_factor(one.gram, channels[layer])
            for layer, weight in one.style_layers.items()
        }

    assert whole(back) == pytest.approx(whole(config))
    assert back.content_layers["relu4_2"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("engine", "style_loss", "ratio"),
    [
        ("neural-style-pt", "gram", 4.0**4),
        ("crowsonkb", "wasserstein", 1.0),
        ("pystiche", "gram", 1.0),
    ],
)
def test_weights_make_up_for_the_gain_of_average_pooling(
    engine: str, style_loss: str, ratio: float
) -> None:
    """Converted weights compensate for the gain of average pooling."""
    layers = {"relu1_1": 1.0, "relu3_1": 1.0}
    config = StyleConfig(style_loss=style_loss, style_layers=layers, content_layers=layers)
    plain, average = (
        to_engine_weights(config.replace(pooling=kind), engine, height=48, width=64)
        for kind in ("max", "average")
    )
    assert average.style_layers["relu1_1"] == plain.style_layers["relu1_1"]
    assert average.style_layers["relu3_1"] / plain.style_layers["relu3_1"] == pytest.approx(ratio)
    grown = average.content_layers["relu3_1"] / plain.content_layers["relu3_1"]
    assert grown == pytest.approx(ratio**0.5)


def test_without_biases_the_loss_is_the_same_without_the_gain(
    random_weights: Callable[[str], Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    """neural-style-pt's weights on features of plain average pooling give our loss."""
    layers = {"relu1_2": 1.0, "pool1": 1.0, "relu3_1": 1.0}
    config = StyleConfig(
        pooling="average", gram="per_element", content_layers=layers, style_layers=layers
    )
    found = to_engine_weights(config, "neural-style-pt", height=64, width=64)
    given = {
        key: value.to(DOUBLE) * (0 if key.endswith("bias") else 1)
        for key, value in random_weights("vgg16").items()
    }
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)

    def features() -> dict[str, Tensor]:
        return Extractor(Backbone("vgg16", "average"), layers, given)(image)

    ours = features()
    monkeypatch.setattr(extractors, "POOLING_GAIN", {"average": 1.0})
    theirs = features()

    def content(feat_NCHW: Tensor) -> Tensor:
        return (feat_NCHW[0] - feat_NCHW[1]).square().mean()

    def style(feat_NCHW: Tensor) -> Tensor:
        grams = [product(feat) / feat.numel() for feat in feat_NCHW]
        return (grams[0] - grams[1]).square().mean()

    for layer in layers:
        weight = config.content_weight * content(ours[layer])
        assert found.content_layers[layer] * content(theirs[layer]) == pytest.approx(weight)
        weight = config.style_weight * style(ours[layer])
        assert found.style_layers[layer] * style(theirs[layer]) == pytest.approx(weight)


def test_the_way_back_knows_what_is_lacking() -> None:
    """Another total variation or optimizer gives None; another style loss is refused."""
    config = StyleConfig(tv_weight=1.0, tv_norm="l2", optimizer="lamb")
    found = to_engine_weights(config, "neural-style-pt", height=48, width=64)
    assert found.tv_weight is None and found.lr is None
    l1 = to_engine_weights(config.replace(tv_norm="l1"), "neural-style-pt", height=48, width=64)
    assert l1.tv_weight is not None and 0 < l1.tv_weight < 1e-3
    wasserstein = config.replace(style_loss="wasserstein")
    with pytest.raises(InputError, match="wasserstein"):
        to_engine_weights(wasserstein, "pystiche", height=48, width=64)
