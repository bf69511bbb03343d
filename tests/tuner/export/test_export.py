import ast
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import tifffile
import torch
from hypothesis import given, settings
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from benchmarks.support.made_run import made_run
from nst_core.config import StyleConfig
from nst_core.images.tensors import load_image, resize, to_uint8
from nst_core.lanes.initialization import initial_image
from nst_core.lanes.schedules import stages
from nst_core.losses.inputs import LossInputs
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import Weights
from nst_core.presets.built_in import BUILT_IN, load_preset
from nst_core.presets.preset import Preset
from nst_core.stylization import stylize
from search_spaces import CATALOGUE, Params
from tests.nst_core.picture_files import LINEAR_GRAY, LINEAR_RGB, ODD_EXIF, jpeg_with_exif
from tests.search_spaces.test_catalogue import samples
from tests.tuner.helpers import TWO_STYLES, nst_tuner
from tuner.export.engines import neural_style_pt
from tuner.export.script import script_of
from tuner.pages.report.facts import report_facts
from tuner.results.results import load_results

#: Every setting that changes what the script does, several at a time.
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
    """VGG16's weights as torchvision saves them."""
    path = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    torch.save(dict(weights["vgg16"]), path)
    return path


def run_alone(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script where nothing of ours can be imported."""
    guard = (
        "import sys, runpy\n"
        "class Closed:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('nst_core', 'tuner', 'search_spaces', 'ray'):\n"
        "            raise ImportError(name + ' is not to be had here')\n"
        "sys.meta_path.insert(0, Closed())\n"
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


def transparent_and_in_other_colours(source: Path, out: Path) -> None:
    """What a program may write: a corner to see through, and a profile of channels swapped."""
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
def test_the_script_reproduces_the_score(
    fields: dict[str, Any],
    tmp_path: Path,
    pictures: Path,
    weights: dict[str, Weights],
    weights_file: Path,
) -> None:
    """Alone, with torch, torchvision and pillow, it reaches the preset's LPIPS within 2 %."""
    config = StyleConfig(**{"steps": 12, "size_px": 64, **fields})
    text, warnings = script_of(Preset(name="x", config=config), "x.py")
    assert not warnings
    script = tmp_path / "x.py"
    script.write_text(text)
    content, style = tmp_path / "content.png", tmp_path / "style.png"
    transparent_and_in_other_colours(pictures / "content.png", content)
    transparent_and_in_other_colours(pictures / "style.png", style)
    done = run_alone(
        script,
        *("--content", content, "--style", style),
        *("--out", tmp_path / "x.png", "--weights", weights_file),
    )
    assert done.returncode == 0, done.stderr
    pair = load_image(content), [(load_image(style), 1.0)]
    *_, last = stylize(config, *pair, weights=weights.__getitem__, device="cpu")
    judge = MetricSuite.load(weights.__getitem__, metrics=["lpips", "rmse"])
    reference = to_uint8(resize(load_image(style), *last.image_3HW.shape[1:]))
    found = load_image(tmp_path / "x.png")
    ours = judge.score(to_uint8(last.image_3HW), reference, None)
    alone = judge.score(to_uint8(found), reference, None)
    assert alone["lpips"] == pytest.approx(ours["lpips"], rel=0.02)
    assert alone["rmse"] == pytest.approx(ours["rmse"], rel=0.02)


def loaded(config: StyleConfig, path: Path) -> dict[str, Any]:
    """What is defined in the script of a configuration."""
    text, _ = script_of(Preset(name="x", config=config), path.name)
    found: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, path, "exec"), found)
    return found


def tuned_with(file: Path, config: StyleConfig) -> Preset:
    """A preset whose network had weights of somebody's own."""
    entry = {config.extractor: {"file": str(file), "digest": None}}
    return Preset(name="x", config=config, provenance={"kind": "tuned", "weights": entry})


def test_weights_of_ones_own_are_in_every_export(tmp_path: Path, pictures: Path) -> None:
    """Commands and the preset name the file, and so does what cannot carry it."""
    file = tmp_path / "caffe's weights.pth"
    file.touch()
    files = {"vgg16": str(file)}
    run = made_run(tmp_path / "run", pictures, trials=4, presets=0, weights=files)
    done = nst_tuner("export", run, "--out", tmp_path / "p.json")
    assert f"vgg16={file}" in shlex.split(done.stderr.replace("\n", " "))
    preset = load_preset(str(tmp_path / "p.json"))
    assert preset.weights_file == str(file)
    assert "its author decides" in preset.provenance["licence"]
    assert "torchvision" not in preset.provenance["licence"]
    commands = dict(report_facts(load_results(run))["reproduce"]["commands"])
    assert f"vgg16={file}" in shlex.split(commands["Apply it"])
    done = nst_tuner("export", run, "--out", tmp_path / "p.py", "--format", "script")
    text = (tmp_path / "p.py").read_text()
    ast.parse(text)
    assert "from caffe's weights.pth: give them with --weights" in done.stderr
    assert "NOTE: tuned with weights of vgg16" in text and "its author decides" in text
    assert str(tmp_path) not in text
    for kind in ("neural-style-pt", "pystiche"):
        done = nst_tuner("export", run, "--out", tmp_path / "x", "--format", kind)
        assert "weights of vgg16 from caffe's weights.pth" in done.stderr


def test_weights_that_a_configuration_does_not_read_are_not_its_own(
    tmp_path: Path, pictures: Path
) -> None:
    """A job's file for another network, or for a metric, changes nothing about the preset."""
    files = {name: str(tmp_path / f"{name}.pth") for name in ("vgg19", "alexnet")}
    for file in files.values():
        Path(file).touch()
    run = made_run(tmp_path / "run", pictures, trials=4, presets=0, weights=files)
    preset = load_results(run).preset()
    assert preset.config.extractor == "vgg16" and preset.weights_file is None
    assert "torchvision" in preset.provenance["licence"]
    commands = dict(report_facts(load_results(run))["reproduce"]["commands"])
    assert "--weights" not in commands["Apply it"]


@pytest.mark.parametrize("provenance", [{}, {"weights": 3}, {"weights": {"vgg16": {"file": 3}}}])
def test_a_preset_may_say_anything_about_weights(provenance: dict[str, Any]) -> None:
    """Somebody else may have written it: what is no file name is none."""
    preset = Preset(name="x", config=StyleConfig(extractor="vgg16"), provenance=provenance)
    assert preset.weights_file is None


@pytest.mark.parametrize("many", [False, True])
def test_applying_with_other_weights_than_tuned_is_said(
    many: bool, tmp_path: Path, pictures: Path, weights_file: Path
) -> None:
    """Without --weights one line names the file; with it there is none."""
    config = StyleConfig(extractor="vgg16", steps=1, size_px=48)
    tuned_with(weights_file, config).save(tmp_path / "p.json")
    photos, out = pictures / "content.png", tmp_path / "o.png"
    if many:
        (tmp_path / "photos").mkdir()
        shutil.copy(photos, tmp_path / "photos")
        photos, out = tmp_path / "photos", tmp_path / "results"
    command = ("stylize", "--content", photos, "--style", pictures / "style.png", "--out", out)
    preset = ("--preset", tmp_path / "p.json")
    done = nst_tuner(*command, *preset)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "other weights of vgg16" in line]
    assert len(said) == 1 and f"vgg16={weights_file}" in said[0]
    done = nst_tuner(*command, *preset, "--weights", f"vgg16={weights_file}")
    assert done.returncode == 0 and "other weights" not in done.stderr


def test_a_script_reads_the_file_that_its_preset_was_tuned_with(
    tmp_path: Path, weights: dict[str, Weights]
) -> None:
    """Weights in a safetensors file, too, which needs a package more."""
    file = tmp_path / "own.safetensors"
    safetensors.torch.save_file(dict(weights["vgg16"]), file)
    config = StyleConfig(extractor="vgg16", style_layers={"relu1_1": 1.0})
    text, _ = script_of(tuned_with(file, config), "x.py")
    assert "pillow and safetensors, nothing else" in text and "--weights own.safetensors" in text
    script: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "x.py", "exec"), script)
    read = script["network"](str(file)).state_dict()
    torch.testing.assert_close(
        read["features.0.weight"].cpu(), weights["vgg16"]["features.0.weight"]
    )
    assert "safetensors" not in script_of(Preset(name="x", config=config), "x.py")[0]


@pytest.mark.parametrize("scales", [1, 3])
def test_a_given_start_takes_the_same_path_as_in_the_engine(
    scales: int, tmp_path: Path, pictures: Path
) -> None:
    """It is brought to the result's size, and from that to the first size of the run."""
    config = StyleConfig(init="image", scales=scales, size_px=128, steps=30)
    script = loaded(config, tmp_path / "x.py")
    names = ("content", "style", "reference")
    content, style, start = (load_image(pictures / f"{name}.png") for name in names)
    begin, begun = script["start"], []

    def noted(*arguments: object) -> torch.Tensor:
        begun.append(begin(*arguments))
        return begun[-1]

    script |= {"start": noted, "Goal": lambda *_: None, "DEVICE": "cpu", "STEPS": 0}
    script["stylize"](None, content, [style], [1.0], config.size_px, start)
    materials = LossInputs.at_size(content, [(style, 1.0)], config.size_px, {"image": start})
    first = stages(config, *materials.height_width)[0].size_px
    torch.testing.assert_close(begun[0], initial_image(config, materials.at(first)))


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("L", LINEAR_GRAY), ("LA", LINEAR_GRAY), ("RGB", LINEAR_GRAY), ("L", LINEAR_RGB), ("1", b"")],
)
def test_the_script_reads_a_picture_as_the_engine_does(
    mode: str, profile: bytes, tmp_path: Path, pictures: Path
) -> None:
    """Grey pictures with profiles of their own among them; one that does not fit says nothing."""
    with Image.open(pictures / "content.png") as picture:
        picture.convert(mode).save(tmp_path / "p.png", icc_profile=profile or None)
    script = loaded(StyleConfig(), tmp_path / "x.py")
    torch.testing.assert_close(script["load"](tmp_path / "p.png"), load_image(tmp_path / "p.png"))


@pytest.mark.parametrize(
    "kind",
    [*(f"turned {number}" for number in range(1, 9)), "odd exif", "damaged profile", "large text"],
)
def test_the_script_ignores_metadata_as_the_engine_does(
    kind: str, tmp_path: Path, pictures: Path
) -> None:
    """Of EXIF the orientation alone counts; what cannot be read refuses no picture."""
    path = tmp_path / "p.png"
    with Image.open(pictures / "content.png") as picture:
        if kind.startswith("turned"):
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = int(kind[-1])
            picture.save(path, exif=exif)
        elif kind == "odd exif":
            path = tmp_path / "p.jpg"
            path.write_bytes(jpeg_with_exif(picture, ODD_EXIF["rational"]))
        elif kind == "damaged profile":
            picture.save(path, icc_profile=b"none" * 64)
        else:
            text = PngImagePlugin.PngInfo()
            text.add_text("workflow", "x" * 2_000_000, zip=True)
            picture.save(path, pnginfo=text)
    script = loaded(StyleConfig(), tmp_path / "x.py")
    torch.testing.assert_close(script["load"](path), load_image(path))


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_the_script_reads_16_bit_gray_as_the_engine_does(photometric: str, tmp_path: Path) -> None:
    """The script and the engine scale 16-bit gray to the same range."""
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (48, 1))
    tifffile.imwrite(tmp_path / "p.tif", ramp, photometric=photometric)
    image = loaded(StyleConfig(), tmp_path / "x.py")["load"](tmp_path / "p.tif")
    torch.testing.assert_close(image, load_image(tmp_path / "p.tif"), atol=2e-5, rtol=0)
    assert image.mean().item() == pytest.approx(0.5, abs=0.02)


def test_the_script_names_a_picture_that_it_cannot_read(tmp_path: Path, pictures: Path) -> None:
    """Whatever a decoder raises becomes one line that begins with the file's name."""
    whole = (pictures / "content.png").read_bytes()
    script = loaded(StyleConfig(), tmp_path / "x.py")
    for content in (b"", b"text", whole[:500], whole[:30]):
        (tmp_path / "p.png").write_bytes(content)
        with pytest.raises(SystemExit) as caught:
            script["load"](tmp_path / "p.png")
        assert str(caught.value.code).startswith(f"{tmp_path / 'p.png'}: cannot be read")


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_the_script_of_any_configuration_is_python(name: str) -> None:
    """Whatever a space draws becomes a script that parses and says what it leaves out."""
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


def test_names_cannot_break_out_of_the_script() -> None:
    """A preset's name and description are text in it, whatever they hold."""
    evil = '"""\nraise SystemExit("broken out")\n"""'
    preset = Preset(name=evil, config=StyleConfig(), description=evil)
    text, _ = script_of(preset, evil)
    tree = ast.parse(text)
    raised = [node for node in tree.body if isinstance(node, ast.Raise)]
    assert not raised


def test_what_the_script_leaves_out_is_said() -> None:
    """Terms without a counterpart are named."""
    config = StyleConfig(photo_weight=1.0, init="feed_forward", precision="bfloat16")
    text, warnings = script_of(Preset(name="x", config=config), "x.py")
    assert len(warnings) == 3 and all(f"NOTE: {warning}" in text for warning in warnings)


def test_built_in_presets_have_scripts() -> None:
    """Every built-in preset can be exported as a script."""
    for preset in BUILT_IN.values():
        ast.parse(script_of(preset, "x.py")[0])


def test_a_term_that_weighs_nothing_is_read_nowhere() -> None:
    """Without content the script reads no layer for it, and engines get a weight of 0."""
    config = StyleConfig(
        content_weight=0.0, content_layers={"relu5_1": 1.0}, style_layers={"relu1_1": 1.0}
    )
    preset = Preset(name="x", config=config)
    assert "relu5_1" not in script_of(preset, "x.py")[0].split("NODES")[1]
    assert "-content_weight 0 " in neural_style_pt(preset, height=64, width=64).text
