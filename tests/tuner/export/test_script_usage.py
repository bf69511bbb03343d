"""Usage lines of exported scripts: the command in a script's docstring works as it is written."""

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

#: Environment variables with proxies that do not exist, so that no download works.
NO_NETWORK = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")}


def usage(text: str) -> list[str]:
    """Return the words of the command in a script's docstring."""
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
    """Folder with the pictures that the docstring names."""
    for name, picture in (("photo", "content"), ("style", "style"), ("start", "reference")):
        with Image.open(pictures / f"{picture}.png") as image:
            image.convert("RGB").save(tmp_path / f"{name}.jpg")
    return tmp_path


@pytest.mark.parametrize("name", ["cafe.py", "my café.py", "-it's.py"])
def test_usage_line_works_without_a_network(folder: Path, name: str) -> None:
    """The usage line makes the result without changes, from weights in the cache of nst-tuner."""
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


def test_usage_line_names_the_users_weights_file(folder: Path) -> None:
    """The usage line names the weights file that the preset was tuned with."""
    provenance = {"weights": {"vgg16": {"file": "/elsewhere/my own.safetensors"}}}
    preset = Preset(name="x", config=StyleConfig(steps=1, size_px=48), provenance=provenance)
    text, _ = script_of(preset, "s.py")
    (folder / "s.py").write_text(text)
    words = usage(text)
    assert words[-2:] == ["--weights", "my own.safetensors"]
    shutil.copy(cache_dir() / "weights" / "vgg16.safetensors", folder / words[-1])
    assert run(words, folder).returncode == 0


def test_script_reports_problems_in_one_line(folder: Path) -> None:
    """Missing weights and unusable outputs end a script with one line, and replace no input."""
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
