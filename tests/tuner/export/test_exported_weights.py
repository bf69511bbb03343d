"""Weights files that presets were tuned with: exports name them, and `stylize` asks for them."""

import ast
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from benchmarks.support.made_run import made_run
from nst_core.config import StyleConfig
from nst_core.networks.weights import Weights
from nst_core.presets.built_in import load_preset
from nst_core.presets.preset import Preset
from tests.tuner.helpers import nst_tuner
from tuner.export.script import script_of
from tuner.pages.report.page_data import report_data
from tuner.results.results import load_results


def tuned_with(file: Path, config: StyleConfig) -> Preset:
    """Return a preset that was tuned with a weights file of the user."""
    entry = {config.extractor: {"file": str(file), "digest": None}}
    return Preset(name="x", config=config, provenance={"kind": "tuned", "weights": entry})


def test_every_export_names_the_users_weights_file(tmp_path: Path, pictures: Path) -> None:
    """The preset and the commands contain the file; other exports have a warning about it."""
    file = tmp_path / "caffe's weights.pth"
    file.touch()
    files = {"vgg16": str(file)}
    run = made_run(tmp_path / "run", pictures, trials=4, presets=0, weights=files)
    done = nst_tuner("export", run, "--out", tmp_path / "p.json")
    assert f"vgg16={file}" in shlex.split(done.stderr.replace("\n", " "))
    preset = load_preset(str(tmp_path / "p.json"))
    assert preset.weights_file == str(file)
    assert "its author decides the license" in preset.provenance["licence"]
    assert "torchvision" not in preset.provenance["licence"]
    commands = dict(report_data(load_results(run))["reproduce"]["commands"])
    assert f"vgg16={file}" in shlex.split(commands["Apply the preset"])
    done = nst_tuner("export", run, "--out", tmp_path / "p.py", "--format", "script")
    text = (tmp_path / "p.py").read_text()
    ast.parse(text)
    assert "from caffe's weights.pth: give them with --weights" in done.stderr
    assert "NOTE: tuned with weights of vgg16" in text and "its author decides the license" in text
    assert str(tmp_path) not in text
    done = nst_tuner("export", run, "--out", tmp_path / "x", "--format", "neural-style-pt")
    assert "weights of vgg16 from caffe's weights.pth" in done.stderr


def test_preset_ignores_weights_files_that_its_network_does_not_read(
    tmp_path: Path, pictures: Path
) -> None:
    """A job's weights file for another network, or for a metric, is not part of the preset."""
    files = {name: str(tmp_path / f"{name}.pth") for name in ("vgg19", "alexnet")}
    for file in files.values():
        Path(file).touch()
    run = made_run(tmp_path / "run", pictures, trials=4, presets=0, weights=files)
    preset = load_results(run).preset()
    assert preset.config.extractor == "vgg16" and preset.weights_file is None
    assert "torchvision" in preset.provenance["licence"]
    commands = dict(report_data(load_results(run))["reproduce"]["commands"])
    assert "--weights" not in commands["Apply the preset"]


@pytest.mark.parametrize("provenance", [{}, {"weights": 3}, {"weights": {"vgg16": {"file": 3}}}])
def test_invalid_weights_entry_of_a_preset_is_ignored(provenance: dict[str, Any]) -> None:
    """A `weights` entry that does not name a file means that the preset has no weights file."""
    preset = Preset(name="x", config=StyleConfig(extractor="vgg16"), provenance=provenance)
    assert preset.weights_file is None


@pytest.mark.parametrize("is_folder", [False, True])
def test_stylize_names_the_weights_file_that_is_missing(
    is_folder: bool, tmp_path: Path, pictures: Path, weights: dict[str, Weights]
) -> None:
    """One line names the weights file that the preset was tuned with, unless --weights gives it."""
    config = StyleConfig(extractor="vgg16", steps=1, size_px=48)
    weights_file = tmp_path / "vgg16.pth"
    torch.save(dict(weights["vgg16"]), weights_file)
    tuned_with(weights_file, config).save(tmp_path / "p.json")
    photos, out = pictures / "content.png", tmp_path / "o.png"
    if is_folder:
        (tmp_path / "photos").mkdir()
        shutil.copy(photos, tmp_path / "photos")
        photos, out = tmp_path / "photos", tmp_path / "results"
    command = ("stylize", "--content", photos, "--style", pictures / "style.png", "--out", out)
    preset = ("--preset", tmp_path / "p.json")
    done = nst_tuner(*command, *preset)
    assert done.returncode == 0, done.stderr
    hints = [line for line in done.stderr.splitlines() if "other weights of vgg16" in line]
    assert len(hints) == 1 and f"vgg16={weights_file}" in hints[0]
    done = nst_tuner(*command, *preset, "--weights", f"vgg16={weights_file}")
    assert done.returncode == 0 and "other weights" not in done.stderr


def test_script_reads_a_safetensors_file(tmp_path: Path, weights: dict[str, Weights]) -> None:
    """A script reads weights in a safetensors file, and then needs that package as well."""
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
