"""Applying a network: pictures, folders and videos, and options that do not fit."""

from pathlib import Path

import av
import pytest
from PIL import Image

from nst_core.images.tensors import load_image
from tests.nst_core.distill.tiny_network import write_tiny
from tests.tuner.apply.test_apply_to_video import make_video
from tests.tuner.helpers import nst_tuner


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a tiny network with two styles."""
    path = tmp_path_factory.mktemp("network") / "tiny.onnx"
    write_tiny(path)
    return path


def test_a_picture(network: Path, pictures: Path, tmp_path: Path) -> None:
    """The result has the picture's size or --size-px; style and strength change it."""
    command = ["stylize", "--network", network, "--content", pictures / "content.png", "--out"]
    options = {"a": [], "b": ["--style", "waves"], "c": ["--strength", 1.7], "d": ["--size-px", 48]}
    for name, more in options.items():
        done = nst_tuner(*command, tmp_path / f"{name}.png", *more)
        assert done.returncode == 0, done.stderr
    images = {name: load_image(tmp_path / f"{name}.png") for name in options}
    assert images["a"].shape == (3, 64, 96) and images["d"].shape == (3, 32, 48)
    assert not images["a"].equal(images["b"]) and not images["a"].equal(images["c"])
    with Image.open(tmp_path / "b.png") as image:
        assert '"shares": [0.0, 1.0]' in image.text["nst-tuner-network"]  # type: ignore[attr-defined]


def test_a_folder_continues(network: Path, pictures: Path, tmp_path: Path) -> None:
    """Every picture of a folder is stylized, and finished results are kept."""
    command = ["stylize", "--network", network, "--content", pictures, "--out", tmp_path / "out"]
    assert "3 done, 0 there already" in nst_tuner(*command).stderr
    assert "0 done, 3 there already" in nst_tuner(*command).stderr
    assert "was not made with these settings" in nst_tuner(*command, "--strength", 2).stderr


def test_a_video(network: Path, tmp_path: Path) -> None:
    """Every frame of a video is stylized, at its size, with the sound."""
    make_video(tmp_path / "in.mp4", 3, sound=True)
    done = nst_tuner(
        *("stylize", "--network", network, "--content", tmp_path / "in.mp4"),
        *("--out", tmp_path / "out.mp4"),
    )
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "out.mp4")) as result:
        assert result.streams.audio and len(list(result.decode(video=0))) == 3
        assert result.streams.video[0].width == 64


def test_a_picture_that_does_not_fit_into_memory(
    network: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that needs more memory than there is names a size that fits."""
    monkeypatch.setattr("tuner.apply.network._BYTES_PER_PIXEL", 2**40)
    command = ["stylize", "--network", network, "--content", pictures / "content.png"]
    done = nst_tuner(*command, "--out", tmp_path / "o.png")
    assert done.returncode == 2 and "--size-px" in done.stderr
    assert not list(tmp_path.iterdir())


def test_options_that_do_not_fit(network: Path, pictures: Path, tmp_path: Path) -> None:
    """Options of optimizations, unknown styles and wrong numbers are one error each."""
    content = ["stylize", "--content", pictures / "content.png", "--out", tmp_path / "o.png"]
    by_network = [*content, "--network", network]
    wrong = {
        "for optimizations only": [*by_network, "--preset", "adam-1000", "--seed", 0],
        "no such style": [*by_network, "--style", "wave"],
        "weight above 0": [*by_network, "--style", "waves:-1"],
        "given twice": [*by_network, "--style", "waves", "--style", "waves:2"],
        "for optimizations only, and": [*by_network, "--trust"],
        "0.5 to 2": [*by_network, "--strength", 0],
        "not an ONNX file": [*content, "--network", pictures / "style.png"],
        "no style image": [*content, "--set", "lr=1"],
    }
    for words, command in wrong.items():
        done = nst_tuner(*command)
        assert done.returncode == 2 and words in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())
