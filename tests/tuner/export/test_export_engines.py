"""What other engines are told of a configuration, and what they lack."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.images.tensors import load_image
from nst_core.networks.weights import Weights
from nst_core.presets.preset import Preset
from nst_core.stylization import stylize
from tests.tuner.helpers import TWO_STYLES
from tuner.export.engines import neural_style_pt, pystiche
from tuner.export.script import script_of
from tuner.job.spec import StyleImage


def test_style_weights_go_into_every_export() -> None:
    """3 and 1 are three quarters and a quarter, unless the preset weighs the styles itself."""
    config = StyleConfig(normalization="caffe", clamp="save", gram="per_element", style_weight=1.0)
    for fields, blend in (({}, [0.75, 0.25]), ({"style_blend": [1.0, 4.0]}, [0.2, 0.8])):
        preset = Preset(name="x", config=config.replace(**fields))
        text, warnings = script_of(preset, "x.py", TWO_STYLES)
        assert f"shares = {blend}\n" in text and not warnings
        found = neural_style_pt(preset, TWO_STYLES, height=64, width=64)
        assert "-style_image STYLE1,STYLE2 " in found.text
        assert f"-style_blend_weights {blend[0]:g},{blend[1]:g}\n" in found.text
        said = pystiche(preset, TWO_STYLES, height=64, width=64).warnings
        assert any("the preset blends 2" in line for line in said)


def test_masks_that_an_export_cannot_carry_are_said() -> None:
    """Each export but a preset says that styles apply everywhere in it."""
    preset = Preset(name="x", config=StyleConfig(gram="per_element"))
    for masked in ({"region": "m.png"}, {"style_region": "m.png"}):
        styles = [StyleImage(image="a.png", **masked), StyleImage(image="b.png")]
        text, warnings = script_of(preset, "x.py", styles)
        assert "masks have no counterpart" in warnings[0] and warnings[0] in text
        for translate in (neural_style_pt, pystiche):
            said = translate(preset, styles, height=64, width=64).warnings
            assert any("masks have no counterpart" in line for line in said)


@pytest.mark.parametrize("init", ["style", "feed_forward", "mix", "image", "noise", "style_noise"])
def test_starts_that_an_engine_lacks_are_said(init: str) -> None:
    """Whatever is not the preset's own start is named; a given picture stays one."""
    preset = Preset(name="x", config=StyleConfig(init=init, gram="per_element"))
    found = neural_style_pt(preset, height=64, width=64)
    starts = [line for line in found.warnings if "start" in line]
    assert any(init in line for line in starts) == (init != "image")
    assert ("-init_image START" in found.text) == (init == "image")
    said = pystiche(preset, height=64, width=64).warnings
    assert any(f"no start from {init}" in line for line in said) == (init != "noise")


def test_settings_that_an_engine_lacks_are_said() -> None:
    """Adam's betas and luminance for neural-style-pt, other networks' inputs for pystiche."""
    config = StyleConfig(gram="per_element", beta1=0.5, preserve_color="luminance")
    preset = Preset(name="x", config=config.replace(normalization="half"))
    said = " ".join(neural_style_pt(preset, height=64, width=64).warnings)
    assert "beta1 and beta2 are 0.9 and 0.999, not 0.5" in said
    assert "stylizes brightness alone" in said
    found = pystiche(preset, height=64, width=64)
    assert "no normalization half" in " ".join(found.warnings)
    assert "betas=(0.5, 0.999)" in found.text


def test_neural_style_pt_is_given_its_own_units() -> None:
    """Weights are of its sums and pixels of 256; what it cannot do is said."""
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
    found = neural_style_pt(Preset(name="x", config=config), height=64, width=64)
    assert "-content_weight 5 " in found.text and "-style_weight 100 " in found.text
    assert "-learning_rate 2.56 " in found.text
    assert ["other weights than torchvision's" in line for line in found.warnings] == [True]
    own = {"weights": {config.extractor: {"file": "vgg-caffe.pth"}}}
    said = neural_style_pt(Preset(name="x", config=config, provenance=own), height=64, width=64)
    assert ["from vgg-caffe.pth" in line for line in said.warnings] == [True]
    odd = config.replace(style_layers={"relu1_1": 1.0, "relu2_1": 4.0}, scales=2, gram="per_pixel")
    said = " ".join(neural_style_pt(Preset(name="x", config=odd), height=64, width=64).warnings)
    assert "differ by up to" in said and "one size only" in said


@pytest.mark.parametrize("pooling", ["max", "average", "l2"])
def test_poolings_that_an_engine_lacks_are_said(pooling: str) -> None:
    """neural-style-pt has two of the three, with another average; pystiche has the first alone."""
    config = StyleConfig(pooling=pooling, gram="per_element", style_layers={"relu3_1": 1.0})
    preset = Preset(name="x", config=config)
    found = neural_style_pt(preset, height=64, width=64)
    said = [line for line in found.warnings if "pool" in line]
    assert {"max": 0, "average": 1, "l2": 1}[pooling] == len(said)
    assert (pooling != "l2") or said == ["no l2 pooling: it pools by maximum"]
    assert f"-pooling {'avg' if pooling == 'average' else 'max'} " in found.text
    found = pystiche(preset, height=64, width=64)
    said = [line for line in found.warnings if "pool" in line]
    assert said == ([] if pooling == "max" else [f"no {pooling} pooling: it pools by maximum"])


def test_weights_of_neural_style_pt_make_up_for_its_average_pooling() -> None:
    """A layer below two poolings that do not double weighs 4 and 16 times 4 more there."""
    layers = {"relu3_1": 1.0}
    config = StyleConfig(
        gram="per_element",
        content_weight=1.0,
        style_weight=1.0,
        content_layers=layers,
        style_layers=layers,
    )
    found = [
        neural_style_pt(
            Preset(name="x", config=config.replace(pooling=pooling)), height=64, width=64
        ).text
        for pooling in ("max", "average")
    ]
    assert "-content_weight 1 " in found[0] and "-content_weight 16 " in found[1]
    assert "-style_weight 1 " in found[0] and "-style_weight 256 " in found[1]


def test_networks_that_an_engine_lacks_are_refused() -> None:
    """There is no command for a network that the engine does not have."""
    preset = Preset(name="x", config=StyleConfig(extractor="resnet18"))
    for translate in (neural_style_pt, pystiche):
        with pytest.raises(InputError, match="resnet18"):
            translate(preset, height=64, width=64)


def test_pystiches_snippet_has_our_loss(
    tmp_path: Path, pictures: Path, weights: dict[str, Weights]
) -> None:
    """Its criterion at its start equals ours on the same features, weights, pictures and seed."""
    config = StyleConfig(
        steps=1,
        size_px=64,
        style_weight=30.0,
        init="noise",
        seed=3,
        tv_weight=2.0,
        normalization="imagenet",
    )
    *_, first = stylize(
        config,
        load_image(pictures / "content.png"),
        [(load_image(pictures / "style.png"), 1.0)],
        weights=weights.__getitem__,
        device="cpu",
    )
    found = pystiche(Preset(name="x", config=config), height=43, width=64)
    torch.save(dict(weights["vgg16"]), tmp_path / "vgg.pth")
    text = found.text.replace('framework="torch")', "pretrained=False)")
    head, _, _ = text.partition("optimizer = ")
    head = head.replace(
        ".eval()",
        f"; encoder.load_state_dict(torch.load({str(tmp_path / 'vgg.pth')!r})); encoder.eval()",
    )
    probe = "\nprint('LOSS', float(criterion(image)))\n"
    script = tmp_path / "p.py"
    script.write_text(head + probe)
    files = [pictures / "content.png", pictures / "style.png", tmp_path / "out.png"]
    done = subprocess.run(
        [sys.executable, str(script), *map(str, files)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    value = float(done.stdout.split("LOSS")[1])
    assert value == pytest.approx(first.losses["total"], rel=0.02)
