"""Files that `nst-tuner export` writes, packs, and options that it refuses."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.support.made_run import made_run
from tests.tuner.helpers import noisy_space, nst_tuner
from tuner.export.commands import stylize_inputs
from tuner.job.spec import PairSpec, StyleImage
from tuner.job.style_arguments import parse_style
from tuner.pages.report.page_data import report_data
from tuner.results.results import load_results


@pytest.mark.parametrize("weight", [1.0, 2.5])
@pytest.mark.parametrize("region", [None, "where.png"])
@pytest.mark.parametrize("style_region", [None, "what.png"])
def test_stylize_options_name_all_inputs_of_a_pair(
    tmp_path: Path, weight: float, region: str | None, style_region: str | None
) -> None:
    """The options that a report shows give back the styles, weights, masks and start of the job."""
    names = ["me@home.png", *(name for name in (region, style_region) if name)]
    for shade, name in enumerate(names, 1):
        Image.new("RGB", (40, 40), (60 * shade,) * 3).save(tmp_path / name)
    style = StyleImage(image=names[0], weight=weight, region=region, style_region=style_region)
    pair = PairSpec(content="c.png", style=[style], reference="r.png", start="s.png")
    words = shlex.split(stylize_inputs(tmp_path, pair, {"init": "image"}))
    assert words[::2] == ["--content", "--style", "--start"]
    assert "--start" not in stylize_inputs(tmp_path, pair, {"init": "content"})
    parsed = parse_style(words[3])
    assert parsed.weight == weight
    assert float(parsed.image_3HW.mean()) == pytest.approx(60 / 255)
    for mask, name in ((parsed.region_HW, region), (parsed.style_region_HW, style_region)):
        assert (mask is None) == (name is None)
        if name and mask is not None:
            assert float(mask.mean()) == pytest.approx(60 * (1 + names.index(name)) / 255)


def test_export_writes_every_format(tmp_path: Path, pictures: Path) -> None:
    """The command writes a preset with provenance, a script, and an engine's command."""
    run = made_run(tmp_path / "run", pictures, noisy_space(tmp_path), trials=8)
    for kind in ("preset", "script", "neural-style-pt"):
        done = nst_tuner("export", run, "--out", tmp_path / f"{kind}.out", "--format", kind)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / f"{kind}.out").stat().st_size > 200
    facts = json.loads((tmp_path / "preset.out").read_text())["provenance"]
    assert facts["spread"] == pytest.approx(float(np.std(facts["finals"], ddof=1)))
    assert facts["licence"] and {"score", "hardware", "environment", "baselines"} <= set(facts)


def test_exports_contain_weights_of_several_styles(tmp_path: Path, pictures: Path) -> None:
    """Weights of style images are in the provenance, in the script and in the shown command."""
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
    commands = report_data(load_results(run))["reproduce"]["commands"]
    assert "style0.png:3 --style" in commands[2][1]


def test_a_script_for_another_size_is_fitted(tmp_path: Path, pictures: Path) -> None:
    """A script for a larger size starts at the tuned size; for a preset --size-px is refused."""
    run = made_run(tmp_path / "run", pictures, trials=4)
    config = load_results(run).preset().config
    size_px = 2 * config.size_px
    option = ("--size-px", size_px)
    done = nst_tuner("export", run, "--out", tmp_path / "p.py", "--format", "script", *option)
    assert done.returncode == 0 and f"tuned at {config.size_px} px" in done.stderr
    text = (tmp_path / "p.py").read_text()
    assert f"SIZE_PX = {size_px}\n" in text and "plan = stages" in text
    done = nst_tuner("export", run, "--out", tmp_path / "p.json", *option)
    assert done.returncode == 2 and "stylize --size-px" in done.stderr
    assert not (tmp_path / "p.json").exists()


def test_options_of_a_single_export_are_refused_with_a_pack(tmp_path: Path, pictures: Path) -> None:
    """A pack always contains the best presets of its runs; options of one export are refused."""
    run = made_run(tmp_path / "run", pictures, trials=4)
    options = {"--trial": 0, "--format": "script", "--out": tmp_path / "x", "--size-px": 96}
    for option in options.items():
        done = nst_tuner("export", run, "--pack", tmp_path / "pack", *option)
        assert (
            done.returncode == 2 and f"{option[0]}: for a single configuration only" in done.stderr
        )
    assert not (tmp_path / "pack").exists()


def test_pack_contains_all_presets_and_a_contact_sheet(tmp_path: Path, pictures: Path) -> None:
    """Several runs become a folder of presets with safe names; a folder in use is refused."""
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


def test_contact_sheet_of_a_pack_shows_every_style(tmp_path: Path, pictures: Path) -> None:
    """The contact sheet has as many style columns as the run with the most style images."""
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
def test_export_does_not_judge_a_score_that_cannot_be_compared(
    tmp_path: Path, pictures: Path, objective: Any
) -> None:
    """With a cost in the objective, no warning says that a preset does not beat the content."""
    run = made_run(tmp_path / "run", pictures, trials=4, objective=objective)
    done = nst_tuner("export", run, "--out", tmp_path / "p.json")
    assert done.returncode == 0 and "does NOT beat" not in done.stderr
    done = nst_tuner("export", run, "--pack", tmp_path / "pack")
    assert done.returncode == 0 and "does NOT beat" not in done.stderr


def test_unwritable_output_is_an_input_error(tmp_path: Path, pictures: Path) -> None:
    """An output below a file is named in the message, with exit code 2 and no traceback."""
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
