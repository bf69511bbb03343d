import ast
import json
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
import torch
from hypothesis import given, settings
from PIL import Image, ImageCms

from benchmarks.made_run import made_run
from nst_core.built_in import BUILT_IN, load_preset
from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.images import load_image, resize, to_uint8
from nst_core.materials import Materials
from nst_core.metrics import Judge
from nst_core.presets import Preset
from nst_core.schedules import stages
from nst_core.starts import initial_image
from nst_core.stylization import stylize
from nst_core.weights import Weights
from search_spaces import CATALOGUE, Params
from tests.nst_core.picture_files import LINEAR_GREY, LINEAR_RGB
from tests.search_spaces.test_catalogue import samples
from tests.tuner.helpers import noisy_space, nst_tuner
from tuner.apply import parse_style
from tuner.export.commands import stylize_inputs
from tuner.export.engines import neural_style_pt, pystiche
from tuner.export.script import script_of
from tuner.job import PairSpec, StyleImage
from tuner.report.facts import report_facts
from tuner.results import load_results

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

TWO_STYLES = [StyleImage(image="a.png", weight=3.0), StyleImage(image="b.png")]


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
    judge = Judge.load(weights.__getitem__, metrics=["lpips", "rmse"])
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
    assert "whoever made it" in preset.provenance["licence"]
    assert "torchvision" not in preset.provenance["licence"]
    commands = dict(report_facts(load_results(run))["reproduce"]["commands"])
    assert f"vgg16={file}" in shlex.split(commands["Apply it"])
    done = nst_tuner("export", run, "--out", tmp_path / "p.py", "--format", "script")
    text = (tmp_path / "p.py").read_text()
    ast.parse(text)
    assert "from caffe's weights.pth: give them with --weights" in done.stderr
    assert "NOTE: tuned with weights of vgg16" in text and "whoever made it" in text
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
    materials = Materials.at_size(content, [(style, 1.0)], config.size_px, {"image": start})
    first = stages(config, *materials.height_width)[0].size_px
    torch.testing.assert_close(begun[0], initial_image(config, materials.at(first)))


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("L", LINEAR_GREY), ("LA", LINEAR_GREY), ("RGB", LINEAR_GREY), ("L", LINEAR_RGB), ("1", b"")],
)
def test_the_script_reads_a_picture_as_the_engine_does(
    mode: str, profile: bytes, tmp_path: Path, pictures: Path
) -> None:
    """Grey pictures with profiles of their own among them; one that does not fit says nothing."""
    with Image.open(pictures / "content.png") as picture:
        picture.convert(mode).save(tmp_path / "p.png", icc_profile=profile or None)
    script = loaded(StyleConfig(), tmp_path / "x.py")
    torch.testing.assert_close(script["load"](tmp_path / "p.png"), load_image(tmp_path / "p.png"))


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


@pytest.mark.parametrize("weight", [1.0, 2.5])
@pytest.mark.parametrize("region", [None, "where.png"])
@pytest.mark.parametrize("style_region", [None, "what.png"])
def test_the_command_says_all_of_a_pair(
    tmp_path: Path, weight: float, region: str | None, style_region: str | None
) -> None:
    """What a report tells to type is read back as the job's own styles, weights, masks, start."""
    names = ["me@home.png", *(name for name in (region, style_region) if name)]
    for shade, name in enumerate(names, 1):
        Image.new("RGB", (40, 40), (60 * shade,) * 3).save(tmp_path / name)
    style = StyleImage(image=names[0], weight=weight, region=region, style_region=style_region)
    pair = PairSpec(content="c.png", style=[style], reference="r.png", start="s.png")
    words = shlex.split(stylize_inputs(tmp_path, pair, {"init": "image"}))
    assert words[::2] == ["--content", "--style", "--start"]
    assert "--start" not in stylize_inputs(tmp_path, pair, {"init": "content"})
    found = parse_style(words[3])
    assert found.weight == weight
    assert float(found.image_3HW.mean()) == pytest.approx(60 / 255)
    for mask, name in ((found.region_HW, region), (found.style_region_HW, style_region)):
        assert (mask is None) == (name is None)
        if name and mask is not None:
            assert float(mask.mean()) == pytest.approx(60 * (1 + names.index(name)) / 255)


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


def test_export_writes_every_format(tmp_path: Path, pictures: Path) -> None:
    """Preset with provenance, script, command and snippet, each from the command line."""
    run = made_run(tmp_path / "run", pictures, noisy_space(tmp_path), trials=8)
    for kind in ("preset", "script", "neural-style-pt", "pystiche"):
        done = nst_tuner("export", run, "--out", tmp_path / f"{kind}.out", "--format", kind)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / f"{kind}.out").stat().st_size > 200
    facts = json.loads((tmp_path / "preset.out").read_text())["provenance"]
    assert facts["spread"] == pytest.approx(float(np.std(facts["finals"], ddof=1)))
    assert facts["licence"] and {"score", "hardware", "environment", "baselines"} <= set(facts)


def test_a_preset_knows_the_pictures_it_was_scored_with(tmp_path: Path, pictures: Path) -> None:
    """Weights of several styles are in its provenance, in the script, and in what is said."""
    styles = [
        {"image": str(pictures / "style.png"), "weight": 3.0},
        {"image": str(pictures / "reference.png")},
    ]
    names = {role: str(pictures / f"{role}.png") for role in ("content", "reference")}
    run = made_run(tmp_path / "run", pictures, trials=4, pairs_=[{**names, "style": styles}])
    done = nst_tuner("export", run, "--out", tmp_path / "p.json")
    assert "style0.png:3 --style" in done.stderr
    inputs = json.loads((tmp_path / "p.json").read_text())["provenance"]["inputs"]
    assert [style["weight"] for style in inputs["style"]] == [3.0, 1.0]
    done = nst_tuner("export", run, "--out", tmp_path / "p.py", "--format", "script")
    assert "shares = [0.75, 0.25]" in (tmp_path / "p.py").read_text()
    facts = report_facts(load_results(run))["reproduce"]["commands"]
    assert "style0.png:3 --style" in facts[2][1]


def test_a_script_for_another_size_is_fitted(tmp_path: Path, pictures: Path) -> None:
    """A script goes through the tuned size first, as `stylize` does; a preset is left as it is."""
    run = made_run(tmp_path / "run", pictures, trials=4)
    config = load_results(run).preset().config
    size_px = 2 * config.size_px
    larger = ("--size-px", size_px)
    done = nst_tuner("export", run, "--out", tmp_path / "p.py", "--format", "script", *larger)
    assert done.returncode == 0 and f"tuned at {config.size_px} px" in done.stderr
    text = (tmp_path / "p.py").read_text()
    assert f"SIZE_PX = {size_px}\n" in text and "plan = stages" in text
    done = nst_tuner("export", run, "--out", tmp_path / "p.json", *larger)
    assert done.returncode == 2 and "stylize --size-px" in done.stderr
    assert not (tmp_path / "p.json").exists()


def test_options_of_a_single_export_are_refused_with_a_pack(tmp_path: Path, pictures: Path) -> None:
    """A pack has the best presets of its runs; anything else asked of it is no pack."""
    run = made_run(tmp_path / "run", pictures, trials=4)
    options = {"--trial": 0, "--format": "script", "--out": tmp_path / "x", "--size-px": 96}
    for option in options.items():
        done = nst_tuner("export", run, "--pack", tmp_path / "pack", *option)
        assert done.returncode == 2 and f"{option[0]}: of a single export only" in done.stderr
    assert not (tmp_path / "pack").exists()


def test_a_pack_has_all_presets_and_a_sheet(tmp_path: Path, pictures: Path) -> None:
    """Several runs become a folder of presets by safe names; a used folder is refused."""
    runs = [made_run(tmp_path / f"run{k}", pictures, trials=4, name="../a b") for k in range(2)]
    pack = tmp_path / "pack"
    assert nst_tuner("export", *runs, "--pack", pack).returncode == 0
    assert sorted(path.name for path in pack.iterdir()) == [
        "a-b-2.json",
        "a-b.json",
        "contact-sheet.jpg",
    ]
    again = nst_tuner("export", *runs, "--pack", pack)
    assert again.returncode == 2 and "is not empty" in again.stderr
    assert nst_tuner("export", *runs, "--out", tmp_path / "x.json").returncode == 2
    assert nst_tuner("export", runs[0]).returncode == 2


def test_the_sheet_of_a_pack_has_every_style(tmp_path: Path, pictures: Path) -> None:
    """A run with two style images makes it wider, and another one leaves a place free."""
    names = {role: str(pictures / f"{role}.png") for role in ("content", "reference")}
    styles = [{"image": str(pictures / f"{name}.png")} for name in ("style", "reference")]
    pairs = [{**names, "style": styles}]
    one = made_run(tmp_path / "one", pictures, trials=4, name="one")
    two = made_run(tmp_path / "two", pictures, trials=4, name="two", pairs_=pairs)
    widths = []
    for number, runs in enumerate(([one], [one, two])):
        assert nst_tuner("export", *runs, "--pack", tmp_path / f"pack{number}").returncode == 0
        with Image.open(tmp_path / f"pack{number}" / "contact-sheet.jpg") as sheet:
            widths.append(sheet.width)
    assert (widths[1] - 8) * 3 == (widths[0] - 8) * 4  # four columns, where there were three


@pytest.mark.parametrize(
    "objective", [["seconds_per_image", "lpips"], {"lpips": 1.0, "seconds_per_image": 0.01}]
)
def test_an_export_does_not_blame_what_cannot_be_compared(
    tmp_path: Path, pictures: Path, objective: Any
) -> None:
    """Where an objective with a cost leaves it unknown, nobody says that nothing was gained."""
    run = made_run(tmp_path / "run", pictures, trials=4, objective=objective)
    done = nst_tuner("export", run, "--out", tmp_path / "p.json")
    assert done.returncode == 0 and "does NOT beat" not in done.stderr
    done = nst_tuner("export", run, "--pack", tmp_path / "pack")
    assert done.returncode == 0 and "does NOT beat" not in done.stderr


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


def test_what_cannot_be_written_is_one_line(tmp_path: Path, pictures: Path) -> None:
    """A place that is no folder is named, with exit code 2 and no traceback."""
    run = made_run(tmp_path / "run", pictures, trials=4)
    (tmp_path / "file").write_text("")
    nowhere = tmp_path / "file" / "x"
    for command in (
        ("export", run, "--out", nowhere),
        ("export", run, "--out", nowhere, "--format", "script"),
        ("export", run, "--pack", nowhere),
        ("report", run, "--out", nowhere),
    ):
        done = nst_tuner(*command)
        assert done.returncode == 2, command
        assert str(nowhere) in done.stderr and "cannot be written" in done.stderr
