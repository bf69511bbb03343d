"""The command distill: a network with its quality, an interruption, and bad input."""

import json
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from nst_core.distill import networks
from nst_core.distill.onnx_file import OnnxNetwork
from nst_core.distill.settings import TrainingSettings
from tests.nst_core.distill.tiny_network import _TINY
from tests.tuner.helpers import nst_tuner
from tuner.distill.request import Request, check
from tuner.study.lock import held

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
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    pictures_and_page = {"quality.html", "quality.json", "quality.jpg", "pictures"}
    assert names == {"checkpoint.safetensors", "strip.jpg", "program.pt2", *pictures_and_page}
    page = (folder / "quality.html").read_text()
    assert "chelsea in the style content" in page and "pictures/000-network.png" in page
    again = nst_tuner(*distill(out, *styles, "--steps", 3))
    assert again.returncode == 0, again.stderr
    assert "continues after 2 steps" in again.stderr and "replaces the existing" in again.stderr
    assert "optimization" in again.stdout
    with held(folder, "distill"):
        second = nst_tuner(*distill(out, *styles, "--steps", 4))
    assert second.returncode == 2, second.stderr
    assert "in use by `nst-tuner distill`" in second.stderr


def test_bad_input_is_one_error(pictures: Path, tmp_path: Path) -> None:
    """No photos, unreadable ones, presets and styles that do not fit: exit code 2, nothing made."""
    style = ["--style", pictures / "style.png"]
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    for folder in (empty, broken):
        folder.mkdir()
    (broken / "a.jpg").write_bytes(b"\xff\xd8\xff no photo")
    (tmp_path / "photos").mkdir()
    for index in range(2):
        Image.new("RGB", (48, 40), (90 * index, 0, 0)).save(tmp_path / "photos" / f"{index}.png")
    Image.new("L", (96, 64), 255).save(tmp_path / "mask.png")
    (tmp_path / "cut").mkdir()
    jpeg = tmp_path / "cut" / "a.jpg"
    Image.effect_noise((64, 64), 99).save(jpeg)
    jpeg.write_bytes(jpeg.read_bytes()[:900])
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"of somebody")
    out = tmp_path / "o" / "n.onnx"
    photos = ["--photos", tmp_path / "photos"]
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
        "so none is left to train": distill(
            out, *style, *photos, "--held-out", tmp_path / "photos"
        ),
        "no held-out photo can be read": distill(out, *style, "--held-out", tmp_path / "cut"),
        "expected 0 to 2^63 - 1": distill(out, *style, "--seed", 2**64),
        "it is not certain": distill(foreign, *style),
        "nothing to distill": ["distill", *style, "--photos", "samples", "--out", out],
    }
    for words, command in wrong.items():
        done = nst_tuner(*command)
        assert done.returncode == 2 and words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert not out.parent.exists()
    assert not foreign.with_name("foreign.onnx.training").exists()


def test_photos_that_are_held_out_are_not_trained_on(pictures: Path, tmp_path: Path) -> None:
    """Copies of held-out photos are left out; a training does not continue with other photos."""
    folders = [tmp_path / "photos", tmp_path / "held"]
    for folder in folders:
        folder.mkdir()
        for index in range(3 if folder.name == "photos" else 1):
            Image.new("RGB", (48, 40), (90 * index, 9, 9)).save(folder / f"{index}.png")
    style, out = ["--style", pictures / "style.png"], tmp_path / "n.onnx"
    done = nst_tuner(
        *distill(out, *style, "--photos", folders[0], "--held-out", folders[1], "--steps", 1)
    )
    assert done.returncode == 0, done.stderr
    assert "left out of the training: 1 photos" in done.stderr
    assert "2 photos to train on, 1 to measure on" in done.stderr
    again = nst_tuner(*distill(out, *style))
    assert again.returncode == 2 and "a training with other photos" in again.stderr


def test_one_image_in_two_presets(pictures: Path, tmp_path: Path) -> None:
    """Styles of one image are named by their presets, too."""
    style = ["--style", pictures / "style.png"]
    request = Request(
        presets=["tv-amp", "adam-1000"],
        styles=[str(style[1])] * 2,
        photos="samples",
        out=tmp_path / "n.onnx",
        training=TrainingSettings(steps=1),
        size_px=32,
    )
    work = check(request, lambda line: None)
    assert [style.name for style in work.styles] == ["style-tv-amp", "style-adam-1000"]
