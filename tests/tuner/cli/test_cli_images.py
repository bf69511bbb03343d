"""The commands stylize, reference and extractors, with real weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst_core.networks.registry import EXTRACTORS
from nst_core.presets.built_in import BUILT_IN
from tests.tuner.helpers import nst_tuner

#: A short run at 64 px.
FEW = ("--set", "steps=6", "--size-px", 64)


@pytest.fixture
def on(pictures: Path) -> list[object]:
    """The options --content and --style with the test pictures."""
    return ["--content", pictures / "content.png", "--style", pictures / "style.png"]


@pytest.mark.parametrize("preset", BUILT_IN)
def test_every_preset_runs_by_its_name(preset: str, on: list[object], tmp_path: Path) -> None:
    """``stylize --preset NAME`` works for every preset, and says so if it replaces the network."""
    out_file = tmp_path / "o.png"
    done = nst_tuner("stylize", *on, "--preset", preset, "--out", out_file, *FEW)
    assert done.returncode == 0, done.stderr
    with Image.open(out_file) as image:
        written = json.loads(image.text["nst-tuner-preset"])  # type: ignore[attr-defined]
    network = BUILT_IN[preset].config.extractor
    assert written["config"]["extractor"] in (network, "vgg16")
    assert (written["config"]["extractor"] == network) != (
        f"no weights for {network}" in done.stderr
    )


def test_frames_animation_plot_and_bit_depth(on: list[object], tmp_path: Path) -> None:
    """One command writes frames, an animation, a plot and a 16-bit result."""
    done = nst_tuner(
        *("stylize", *on, "--out", tmp_path / "o.png", *FEW, "--set", "lr=0.02"),
        *("--every", 2, "--gif", tmp_path / "a.gif", "--plot", tmp_path / "l.png", "--bits", 16),
    )
    assert done.returncode == 0, done.stderr
    names = ["a.gif", "l.png", "o-00002.png", "o-00004.png", "o.png"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 3  # type: ignore[attr-defined]
    with Image.open(tmp_path / "l.png") as plot:
        assert plot.width > 300
    assert (tmp_path / "o.png").read_bytes()[24] == 16  # bit depth in the PNG's header


def test_transparency_is_kept_on_request(pictures: Path, on: list[object], tmp_path: Path) -> None:
    """--keep-alpha gives the result the content's transparency, at the result's size."""
    with Image.open(pictures / "content.png") as image:
        transparent = image.convert("RGBA")
    transparent.paste((0, 0, 0, 0), (0, 0, 48, 64))
    transparent.save(tmp_path / "transparent.png")
    done = nst_tuner(
        *("stylize", "--content", tmp_path / "transparent.png", *on[2:]),
        *("--out", tmp_path / "o.png"),
        *(*FEW, "--set", "lr=0.02", "--keep-alpha"),
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "o.png") as image:
        assert image.mode == "RGBA"
        alpha = np.asarray(image)[..., 3]
    assert alpha[:, :28].max() == 0 and alpha[:, 36:].min() == 255


def test_start_is_the_first_image(pictures: Path, on: list[object], tmp_path: Path) -> None:
    """A run starts from the picture of --start: with a tiny learning rate it is the result."""
    done = nst_tuner(
        *("stylize", *on, "--start", pictures / "reference.png", "--out", tmp_path / "o.png"),
        *("--set", "lr=1e-6", "--set", "steps=1", "--size-px", 48),
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "o.png") as a, Image.open(pictures / "reference.png") as b:
        assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


def test_styles_for_regions(pictures: Path, on: list[object], tmp_path: Path) -> None:
    """STYLE:WEIGHT@MASK applies a style only where its mask is white."""
    mask = np.zeros((64, 96), dtype=np.uint8)
    mask[:, :48] = 255
    Image.fromarray(mask).save(tmp_path / "left.png")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    other = ("--style", f"{tmp_path / 'red.png'}:1@{tmp_path / 'left.png'}")
    done = nst_tuner(
        *("stylize", *on, *other, "--out", tmp_path / "o.png", *FEW, "--set", "lr=0.05"),
        *("--set", "steps=15", "--set", "style_layers={relu1_1: 1}", "--set", "style_weight=1e4"),
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "o.png") as image, Image.open(pictures / "content.png") as before:
        change = np.asarray(image).astype(float) - np.asarray(before.resize(image.size))
    redder = change @ [1, -0.5, -0.5]
    assert redder[:, :24].mean() > redder[:, 40:].mean() + 20


@pytest.mark.parametrize("source", ["feed-forward", "long-run"])
def test_references(source: str, on: list[object], tmp_path: Path) -> None:
    """A reference has the content's size, and its metadata says how it was made."""
    out_file = tmp_path / "r.png"
    steps = ("--steps", 5) if source == "long-run" else ()
    done = nst_tuner("reference", *on, "--from", source, "--out", out_file, *steps)
    assert done.returncode == 0, done.stderr
    with Image.open(out_file) as image:
        assert image.size == (96, 64)
        assert image.text["nst-tuner-reference"] == source  # type: ignore[attr-defined]


def test_a_large_learning_rate_diverges(on: list[object], tmp_path: Path) -> None:
    """The preset ``tv-amp`` diverges at a learning rate of 100, which gives exit code 1."""
    done = nst_tuner(
        *("stylize", *on, "--preset", "tv-amp", "--out", tmp_path / "o.png", "--size-px", 64),
        *("--set", "lr=100", "--set", "steps=60"),
    )
    assert done.returncode == 1
    assert "diverged" in done.stderr and "smaller learning rate" in done.stderr
    assert not list(tmp_path.iterdir())


def test_extractors_are_listed() -> None:
    """extractors lists every network, and the layers of one with receptive field and cost."""
    done = nst_tuner("extractors", "--json")
    assert json.loads(done.stdout).keys() == set(EXTRACTORS)
    assert "squeezenet1_1" in nst_tuner("extractors").stdout
    table = nst_tuner("extractors", "vgg16").stdout
    assert "conv4_2" in table and "sees px" in table
