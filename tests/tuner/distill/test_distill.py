"""The command distill: a network with its quality, an interruption, and bad input."""

import json
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from nst_core.distill import networks
from nst_core.distill.onnx_file import OnnxNetwork
from tests.nst_core.distill.tiny_network import _TINY
from tests.tuner.helpers import nst_tuner

#: Settings of a short optimization on shallow layers.
QUICK = (
    *("--set", "steps=3", "--set", "content_layers={relu2_2: 1}"),
    *("--set", "style_layers={relu1_1: 1}", "--size-px", 32),
)


@pytest.fixture(autouse=True)
def tiny() -> object:
    """Let `mobile` be a tiny network, whose export is quick."""
    with mock.patch.dict(networks._KINDS, {"mobile": _TINY}):
        yield


def distill(out: Path, *options: object) -> list[object]:
    """Return a command that trains for two steps on sample photos."""
    return [
        *("distill", *QUICK, "--out", out, "--photos", "samples"),
        *("--network", "mobile", "--steps", 2, "--batch", 1, *options),
    ]


def test_two_presets_become_one_network(pictures: Path, tmp_path: Path) -> None:
    """The command trains, exports and measures; the same command with more steps continues."""
    styles = ["--style", pictures / "style.png", "--style", pictures / "content.png"]
    out = tmp_path / "n.onnx"
    done = nst_tuner(*distill(out, *styles, "--json"))
    assert done.returncode == 0, done.stderr
    for words in ("11 photos to train on", "fewer than 200", "exporting", "allowed: 0.001"):
        assert words in done.stderr
    network = OnnxNetwork.load(out)
    assert network.styles == ["style", "content"]
    assert network.facts["styles"][0]["preset"]["config"]["size_px"] == 32
    quality = json.loads(done.stdout)
    assert len(quality["rows"]) == 2 * 2 * 3
    rows = {row["picture"]: row for row in quality["summary"] if row["style"] == "style"}
    assert rows["optimization"]["loss / optimization"] == 1.0
    assert rows["untouched"]["loss / untouched"] == 1.0
    assert rows["optimization"]["lpips"] == 0.0 < rows["untouched"]["lpips"]
    assert rows["network"]["ms"] > 0
    folder = tmp_path / "n.onnx.training"
    names = {path.name for path in folder.iterdir()}
    pictures_and_page = {"quality.html", "quality.json", "quality.jpg", "pictures"}
    assert names == {"checkpoint.safetensors", "strip.jpg", "program.pt2", *pictures_and_page}
    page = (folder / "quality.html").read_text()
    assert "chelsea in the style content" in page and "pictures/000-network.png" in page
    again = nst_tuner(*distill(out, *styles, "--steps", 3))
    assert again.returncode == 0, again.stderr
    assert "continues after 2 steps" in again.stderr and "replaces the existing" in again.stderr
    assert "optimization" in again.stdout


def test_bad_input_is_one_error(pictures: Path, tmp_path: Path) -> None:
    """No photos, unreadable ones, presets and styles that do not fit: exit code 2, nothing made."""
    style = ["--style", pictures / "style.png"]
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    for folder in (empty, broken):
        folder.mkdir()
    (broken / "a.jpg").write_bytes(b"\xff\xd8\xff no photo")
    Image.new("L", (96, 64), 255).save(tmp_path / "mask.png")
    out = tmp_path / "o" / "n.onnx"
    wrong = {
        "no pictures in it": distill(out, *style, "--photos", empty),
        "no picture in it can be read": distill(out, *style, "--photos", broken),
        "no such folder": distill(out, *style, "--photos", tmp_path / "none"),
        "region masks": distill(out, "--style", f"{style[1]}@{tmp_path / 'mask.png'}"),
        "photo_weight": distill(out, *style, "--set", "photo_weight=1"),
        "the weight has no effect": distill(out, "--style", f"{style[1]}:2"),
        "one for each style": distill(out, *style, "-p", "tv-amp", "-p", "adam-1000"),
        "ends in .onnx": distill(tmp_path / "n.pt", *style),
        "did you mean `mobile`": distill(out, *style, "--network", "mobil"),
        "nothing to distill": ["distill", *style, "--photos", "samples", "--out", out],
    }
    for words, command in wrong.items():
        done = nst_tuner(*command)
        assert done.returncode == 2 and words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert not out.exists()
