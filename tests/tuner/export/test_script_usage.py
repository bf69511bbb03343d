"""The command in an exported script's own docstring works as it is written."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst_core.config import StyleConfig
from nst_core.networks.weights import cache_dir
from nst_core.presets.preset import Preset
from tuner.export.script import script_of

#: A network that nothing can be fetched by.
NO_NETWORK = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")}


def usage(text: str) -> list[str]:
    """The words of the command in a script's docstring."""
    (line,) = (line for line in text.splitlines() if line.startswith("    python "))
    return shlex.split(line)


def run(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        env={**os.environ, **NO_NETWORK, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path, pictures: Path) -> Path:
    """A folder with the pictures that the docstring names."""
    for name, picture in (("photo", "content"), ("style", "style"), ("start", "reference")):
        with Image.open(pictures / f"{picture}.png") as image:
            image.convert("RGB").save(tmp_path / f"{name}.jpg")
    return tmp_path


@pytest.mark.parametrize("name", ["cafe.py", "my café.py", "-it's.py"])
def test_the_usage_line_works_without_a_network(folder: Path, name: str) -> None:
    """Typed as it stands it makes the result, with the weights that nst-tuner has cached."""
    config = StyleConfig(steps=1, size_px=48, init="image" if name == "cafe.py" else "content")
    text, _ = script_of(Preset(name="x", config=config), name)
    (folder / name).write_text(text, encoding="utf-8")
    words = usage(text)
    assert "--weights" not in words and all(words)
    cached = {"NST_TUNER_CACHE": str(cache_dir())}
    done = run(words, folder, TORCH_HOME=str(folder / "none"), **cached)
    assert done.returncode == 0, done.stderr
    with Image.open(folder / "result.png") as image:
        assert max(image.size) == 48


def test_own_weights_are_named_in_the_usage_line(folder: Path) -> None:
    """A preset of a weights file of somebody's own names that file; the script reads it."""
    known = {"weights": {"vgg16": {"file": "/elsewhere/my own.safetensors"}}}
    preset = Preset(name="x", config=StyleConfig(steps=1, size_px=48), provenance=known)
    text, _ = script_of(preset, "s.py")
    (folder / "s.py").write_text(text)
    words = usage(text)
    assert words[-2:] == ["--weights", "my own.safetensors"]
    shutil.copy(cache_dir() / "weights" / "vgg16.safetensors", folder / words[-1])
    assert run(words, folder).returncode == 0


def test_what_a_script_cannot_have_is_one_line(folder: Path) -> None:
    """No weights and no network, an output that is an input, or no picture: one line each."""
    text, _ = script_of(Preset(name="x", config=StyleConfig(steps=1, size_px=48)), "s.py")
    (folder / "s.py").write_text(text)
    words, before = usage(text), (folder / "photo.jpg").read_bytes()
    nowhere = {"NST_TUNER_CACHE": str(folder / "none"), "TORCH_HOME": str(folder / "none")}
    done = run(words, folder, **nowhere)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "--weights FILE" in done.stderr.splitlines()[-1]
    for out in ("photo.jpg", "result.xyz", "missing/result.png"):
        done = run([*words[:-1], out], folder, **nowhere)
        assert done.returncode == 2 and f"--out {out}" in done.stderr
    assert (folder / "photo.jpg").read_bytes() == before
    assert np.asarray(Image.open(folder / "photo.jpg")).shape == (64, 96, 3)
