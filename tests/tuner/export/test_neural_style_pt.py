"""Commands for neural-style-pt: its options, and warnings about what it cannot repeat."""

import pytest

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.presets.preset import Preset
from tests.tuner.helpers import TWO_STYLES
from tuner.export.neural_style_pt import neural_style_pt
from tuner.export.script import script_of
from tuner.job.spec import StyleImage


def command_of(config: StyleConfig) -> tuple[str, list[str]]:
    """Return the command and the warnings for a configuration at 64x64 px."""
    return neural_style_pt(Preset(name="x", config=config), height=64, width=64)


def test_exports_contain_the_weights_of_style_images() -> None:
    """Weights of 3 and 1 become shares of 0.75 and 0.25, unless the preset has a `style_blend`."""
    config = StyleConfig(normalization="caffe", clamp="save", gram="per_element", style_weight=1.0)
    for fields, shares in (({}, [0.75, 0.25]), ({"style_blend": [1.0, 4.0]}, [0.2, 0.8])):
        preset = Preset(name="x", config=config.replace(**fields))
        script, warnings = script_of(preset, "x.py", TWO_STYLES)
        assert f"shares = {shares}\n" in script and not warnings
        command, _ = neural_style_pt(preset, TWO_STYLES, height=64, width=64)
        assert "-style_image STYLE1,STYLE2 " in command
        assert f"-style_blend_weights {shares[0]:g},{shares[1]:g}\n" in command


def test_exports_warn_about_masks() -> None:
    """Every export except the preset warns that a style applies to the whole picture."""
    preset = Preset(name="x", config=StyleConfig(gram="per_element"))
    for mask in ({"region": "m.png"}, {"style_region": "m.png"}):
        styles = [StyleImage(image="a.png", **mask), StyleImage(image="b.png")]
        script, warnings = script_of(preset, "x.py", styles)
        assert "masks have no counterpart" in warnings[0] and warnings[0] in script
        _, warnings = neural_style_pt(preset, styles, height=64, width=64)
        assert any("masks have no counterpart" in line for line in warnings)


@pytest.mark.parametrize("init", ["style", "feed_forward", "mix", "image", "noise", "style_noise"])
def test_command_warns_about_another_start(init: str) -> None:
    """A warning names each `init` that the engine does not have; `image` is passed on."""
    command, warnings = command_of(StyleConfig(init=init, gram="per_element"))
    about_start = [line for line in warnings if "start" in line]
    assert any(init in line for line in about_start) == (init != "image")
    assert ("-init_image START" in command) == (init == "image")


def test_command_warns_about_settings_without_a_counterpart() -> None:
    """Warnings name Adam's betas and stylization of the brightness alone."""
    config = StyleConfig(gram="per_element", beta1=0.5, preserve_color="luminance")
    warnings = " ".join(command_of(config)[1])
    assert "beta1 and beta2 are 0.9 and 0.999, not 0.5" in warnings
    assert "stylizes brightness alone" in warnings


def test_command_uses_the_units_of_the_engine() -> None:
    """Weights belong to sums over pixels, and learning rates to pixel values up to 255."""
    config = StyleConfig(
        content_weight=5.0,
        style_weight=100.0,
        gram="per_element",
        style_layers=dict.fromkeys(("relu1_1", "relu2_1"), 1.0),
        tv_weight=1.0,
        tv_norm="l1",
        normalization="caffe",
        clamp="save",
        lr=0.01,
    )
    command, warnings = command_of(config)
    assert "-content_weight 5 " in command and "-style_weight 100 " in command
    assert "-learning_rate 2.56 " in command
    assert len(warnings) == 1 and "differ from torchvision's" in warnings[0]
    provenance = {"weights": {config.extractor: {"file": "vgg-caffe.pth"}}}
    preset = Preset(name="x", config=config, provenance=provenance)
    _, warnings = neural_style_pt(preset, height=64, width=64)
    assert len(warnings) == 1 and "from vgg-caffe.pth" in warnings[0]
    changes = {"style_layers": {"relu1_1": 1.0, "relu2_1": 4.0}, "scales": 2, "gram": "per_pixel"}
    all_warnings = " ".join(command_of(config.replace(**changes))[1])
    assert "differ by up to" in all_warnings and "one size only" in all_warnings


@pytest.mark.parametrize("pooling", ["max", "average", "l2"])
def test_command_warns_about_another_pooling(pooling: str) -> None:
    """A warning says that average pooling differs, and that L2 pooling becomes max pooling."""
    config = StyleConfig(pooling=pooling, gram="per_element", style_layers={"relu3_1": 1.0})
    command, warnings = command_of(config)
    about_pooling = [line for line in warnings if "pool" in line]
    assert {"max": 0, "average": 1, "l2": 1}[pooling] == len(about_pooling)
    assert (pooling != "l2") or about_pooling == ["no l2 pooling: it pools by maximum"]
    assert f"-pooling {'avg' if pooling == 'average' else 'max'} " in command


def test_weights_compensate_for_average_pooling() -> None:
    """After two poolings that do not double features, content weighs 16 and style 256 times more.

    Features are 4 times smaller there: squared errors 16 times, those of Gram matrices 256 times.
    """
    layers = {"relu3_1": 1.0}
    config = StyleConfig(
        gram="per_element",
        content_weight=1.0,
        style_weight=1.0,
        content_layers=layers,
        style_layers=layers,
    )
    maximum, average = (
        command_of(config.replace(pooling=pooling))[0] for pooling in ("max", "average")
    )
    assert "-content_weight 1 " in maximum and "-content_weight 16 " in average
    assert "-style_weight 1 " in maximum and "-style_weight 256 " in average


def test_network_that_the_engine_lacks_is_refused() -> None:
    """A preset of a network other than VGG16 and VGG19 has no command."""
    with pytest.raises(InputError, match="resnet18"):
        command_of(StyleConfig(extractor="resnet18"))
