"""Exported scripts: they repeat the score of their preset, and say what they leave out."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from PIL import Image, ImageCms

from nst_core.config import StyleConfig
from nst_core.images.tensors import load_image, resize, to_uint8
from nst_core.lanes.initialization import initial_image
from nst_core.lanes.schedules import stages
from nst_core.losses.inputs import LossInputs
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import Weights
from nst_core.presets.built_in import BUILT_IN
from nst_core.presets.preset import Preset
from nst_core.stylization import stylize
from search_spaces import CATALOGUE, Params
from tests.search_spaces.test_catalogue import samples
from tests.tuner.export.scripts import script_namespace
from tests.tuner.helpers import TWO_STYLES
from tuner.export.neural_style_pt import neural_style_pt
from tuner.export.script import script_of

#: Configurations that together use every setting that a script has code for.
CONFIGS: list[dict[str, Any]] = [
    {"steps": 20},
    {
        "size_px": 96,
        "scales": 2,
        "lr_schedule": "cosine",
        "warmup_steps": 3,
        "tv_weight": 10.0,
        "keep": "ema",
        "weight_schedule": "ramp",
    },
    {
        "optimizer": "adamw",
        "preserve_color": "luminance",
        "pooling": "average",
        "normalization": "caffe",
        "clamp": "save",
    },
    {
        "preserve_color": "luminance",
        "tv_weight": 3000.0,
        "match_colors": "mean_cov",
        "color_weight": 100.0,
        "style_weight": 1.0,
    },
    {"match_colors": "histogram", "weight_schedule": "balance", "scales": 2, "init": "mix"},
    {
        "optimizer": "lamb",
        "match_colors": "mean_cov",
        "style_loss": "wasserstein",
        "padding": "replicate",
        "color_weight": 5.0,
        "color_loss": "histogram",
        "init": "style_noise",
    },
    {
        "optimizer": "sgd",
        "lr": 0.05,
        "gram": "per_element",
        "pooling": "l2",
        "padding": "replicate_first",
        "tv_weight": 3.0,
        "tv_norm": "l1",
        "preserve_color": "after",
        "init": "mix",
        "style_scale": 0.6,
        "match_colors": "mean",
        "color_weight": 1.0,
    },
    {"optimizer": "lbfgs", "style_loss": "mean_cov", "keep": "best", "init": "style"},
]


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Weights]) -> Path:
    """File of VGG16's weights in the format of torchvision."""
    path = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    torch.save(dict(weights["vgg16"]), path)
    return path


def run_alone(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script in a process that cannot import our packages."""
    guard = (
        "import sys, runpy\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('nst_core', 'tuner', 'search_spaces', 'ray'):\n"
        "            raise ImportError(name + ' cannot be imported here')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        f"sys.argv = [{str(script)!r}, *sys.argv[1:]]\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", guard, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )


def save_with_alpha_and_profile(source: Path, out: Path) -> None:
    """Save a copy with a transparent corner and a color profile that swaps red and blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    with Image.open(source) as picture:
        clear = picture.convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 20, 20))
    clear.save(out, icc_profile=swapped)


@pytest.mark.parametrize(
    "fields",
    [
        CONFIGS[1],
        CONFIGS[3],
        CONFIGS[4],
        *(pytest.param(fields, marks=pytest.mark.slow) for fields in CONFIGS),
    ],
    ids=lambda fields: fields.get("optimizer", "adam"),
)
def test_script_repeats_the_score_of_its_preset(
    fields: dict[str, Any],
    tmp_path: Path,
    pictures: Path,
    weights: dict[str, Weights],
    weights_file: Path,
) -> None:
    """A script without our packages gives a result with the LPIPS of the preset, within 2 %."""
    config = StyleConfig(**{"steps": 12, "size_px": 64, **fields})
    text, warnings = script_of(Preset(name="x", config=config), "x.py")
    assert not warnings
    script = tmp_path / "x.py"
    script.write_text(text)
    content, style = tmp_path / "content.png", tmp_path / "style.png"
    save_with_alpha_and_profile(pictures / "content.png", content)
    save_with_alpha_and_profile(pictures / "style.png", style)
    done = run_alone(
        script,
        *("--content", content, "--style", style),
        *("--out", tmp_path / "x.png", "--weights", weights_file),
    )
    assert done.returncode == 0, done.stderr
    pair = load_image(content), [(load_image(style), 1.0)]
    *_, last = stylize(config, *pair, weights=weights.__getitem__, device="cpu")
    suite = MetricSuite.load(weights.__getitem__, metrics=["lpips", "rmse"])
    reference = to_uint8(resize(load_image(style), *last.image_3HW.shape[1:]))
    result = load_image(tmp_path / "x.png")
    ours = suite.score(to_uint8(last.image_3HW), reference, None)
    alone = suite.score(to_uint8(result), reference, None)
    assert alone["lpips"] == pytest.approx(ours["lpips"], rel=0.02)
    assert alone["rmse"] == pytest.approx(ours["rmse"], rel=0.02)


@pytest.mark.parametrize("scales", [1, 3])
def test_script_scales_the_start_picture_as_the_engine_does(scales: int, pictures: Path) -> None:
    """A start picture is scaled to the size of the result, and from there to the first size."""
    config = StyleConfig(init="image", scales=scales, size_px=128, steps=30)
    script = script_namespace(config)
    names = ("content", "style", "reference")
    content, style, start = (load_image(pictures / f"{name}.png") for name in names)
    original, starts = script["start"], []

    def recording(*arguments: object) -> torch.Tensor:
        starts.append(original(*arguments))
        return starts[-1]

    script |= {"start": recording, "Targets": lambda *_: None, "DEVICE": "cpu", "STEPS": 0}
    script["stylize"](None, content, [style], [1.0], config.size_px, start)
    inputs = LossInputs.at_size(content, [(style, 1.0)], config.size_px, {"image": start})
    first = stages(config, *inputs.height_width)[0].size_px
    torch.testing.assert_close(starts[0], initial_image(config, inputs.at(first)))


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_script_of_any_configuration_is_valid_python(name: str) -> None:
    """The script of every configuration of a space parses and contains its warnings."""
    space = CATALOGUE[name]

    @settings(max_examples=20)
    @given(samples(space))
    def check(params: Params) -> None:
        config = space.build(params)
        text, warnings = script_of(Preset(name="x", config=config), "x.py", TWO_STYLES)
        ast.parse(text)
        assert all(warning in text for warning in warnings)
        imports = {n.names[0].name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Import)}
        assert imports <= {"argparse", "io", "math", "torch", "torch.nn.functional", "torchvision"}

    check()


def test_text_of_a_preset_never_becomes_code() -> None:
    """The name and the description of a preset stay text in its script, even with quotes."""
    evil = '"""\nraise SystemExit("broken out")\n"""'
    preset = Preset(name=evil, config=StyleConfig(), description=evil)
    text, _ = script_of(preset, evil)
    tree = ast.parse(text)
    raised = [node for node in tree.body if isinstance(node, ast.Raise)]
    assert not raised


def test_script_names_settings_that_it_leaves_out() -> None:
    """The script has a note about each setting that it has no code for."""
    config = StyleConfig(photo_weight=1.0, init="feed_forward", precision="bfloat16")
    text, warnings = script_of(Preset(name="x", config=config), "x.py")
    assert len(warnings) == 3 and all(f"NOTE: {warning}" in text for warning in warnings)


def test_every_built_in_preset_has_a_script() -> None:
    """Every built-in preset can be exported as a script that parses."""
    for preset in BUILT_IN.values():
        ast.parse(script_of(preset, "x.py")[0])


def test_term_with_weight_zero_reads_no_layer() -> None:
    """With a content weight of 0, no script reads a content layer, and commands have weight 0."""
    config = StyleConfig(
        content_weight=0.0, content_layers={"relu5_1": 1.0}, style_layers={"relu1_1": 1.0}
    )
    preset = Preset(name="x", config=config)
    assert "relu5_1" not in script_of(preset, "x.py")[0].split("NODES")[1]
    assert "-content_weight 0 " in neural_style_pt(preset, height=64, width=64)[0]
