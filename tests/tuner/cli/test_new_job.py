"""From three pictures to a job: `init`, and `launch` without a job file."""

import io
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.tuner.helpers import nst_tuner
from tuner.job.load import load_job
from tuner.results.results import load_results
from tuner.run.new_job import EFFORTS, SIZES_PX, Pictures, Proposal, choose, possible_sizes
from tuner.study.run_dir import free_run_dir


def options(pictures: Path) -> list[object]:
    """Return the options that name the three pictures."""
    return [
        part
        for role in ("content", "style", "reference")
        for part in (f"--{role}", pictures / f"{role}.png")
    ]


def test_init_writes_a_job_and_says_how_long_it_takes(pictures: Path, tmp_path: Path) -> None:
    """The job file of `init` is valid, has relative paths and is replaced only with --force."""
    out = tmp_path / "new.yaml"
    done = nst_tuner("init", *options(pictures), "--out", out, "--minutes", "7")
    assert done.returncode == 0, done.stderr
    for part in ("96x64", "48 px", "64 trials", "space standard", "s a step", "about "):
        assert part in done.stdout
    assert f"nst-tuner launch {out}" in done.stdout
    job, space = load_job(out)
    assert (job.size_px, job.budget.minutes, space.name) == (48, 7, "standard")
    assert Path(job.pairs[0].content) == pictures / "content.png"
    assert "/content.png" in out.read_text() and str(pictures) not in out.read_text()
    again = nst_tuner("init", *options(pictures), "--out", out)
    assert again.returncode == 2
    assert "--force" in again.stderr


def test_wrong_pictures_are_refused_together(pictures: Path, tmp_path: Path) -> None:
    """One error names every wrong picture, and one every picture that is not given."""
    Image.new("RGB", (40, 90)).save(tmp_path / "tall.png")
    files = ("--content", pictures / "content.png", "--reference", tmp_path / "tall.png")
    wrong = nst_tuner("init", *files, "--style", tmp_path / "none.png")
    assert wrong.returncode == 2
    assert "style: " in wrong.stderr and "crop the reference" in wrong.stderr
    with mock.patch.object(sys, "stdin", io.StringIO()):
        missing = nst_tuner("init", *files[:2])
    assert missing.returncode == 2
    assert "--style, --reference: missing" in missing.stderr


def test_init_asks_for_missing_pictures(pictures: Path, tmp_path: Path) -> None:
    """In a terminal, `init` asks until each answer is a picture."""
    answers = io.StringIO(f"nothing.png\n{pictures}/style.png\n{pictures}/reference.png\n")
    answers.isatty = lambda: True  # type: ignore[method-assign]
    with mock.patch.object(sys, "stdin", answers):
        given_ = ("--content", pictures / "content.png", "--out", tmp_path / "j.yaml")
        done = nst_tuner("init", *given_)
    assert done.returncode == 0, done.stderr
    assert "nothing.png: no such image file" in done.stderr
    assert load_job(tmp_path / "j.yaml")[0].pairs[0].style[0].image.endswith("style.png")


def test_launch_needs_a_job_or_pictures(pictures: Path, job_file: Path) -> None:
    """`launch` refuses a job file beside pictures, and neither of them."""
    both = nst_tuner("launch", job_file, *options(pictures)[:2])
    assert (both.returncode, "--content" in both.stderr) == (2, True)
    neither = nst_tuner("launch")
    assert (neither.returncode, "nst-tuner init" in neither.stderr) == (2, True)


@pytest.mark.slow
def test_launch_without_a_job_file(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three pictures are enough for a run, whose directory gets the name of the pictures."""
    monkeypatch.chdir(tmp_path)
    small = ("search.trials=2", "halving.max_steps=4", "finals.count=0", "baselines.full=false")
    changes = [part for change in small for part in ("--set", change)]
    done = nst_tuner("launch", *options(pictures), *changes)
    assert done.returncode == 0, done.stderr
    results = load_results(tmp_path / "runs" / "content-style")
    assert results.over and len(results.records) == 2
    assert "2 trials of up to 4 steps" in done.stdout


def test_run_directories_are_numbered(tmp_path: Path) -> None:
    """A default run directory never is one that exists, and its name has no special characters."""
    names = []
    for _ in range(3):
        names.append(free_run_dir(tmp_path, "my/run: *1*").name)
        (tmp_path / names[-1]).mkdir()
    assert names == ["my-run-1", "my-run-1-2", "my-run-1-3"]
    assert free_run_dir(tmp_path, "../..").name == "run"


DRAFT = Proposal(
    pictures=Pictures(content=Path("c"), styles=[Path("s")], reference=Path("r")),
    size_px=96,
    trials=64,
    max_steps=300,
    budget_minutes=1,
    workers=2,
    device="2 cores",
    step_s=0.1,
)


def test_the_printed_plan_has_the_changes(pictures: Path) -> None:
    """A plan with `--set` shows its trials, steps and size, and the time of a step at that size."""
    files = {role: pictures / f"{role}.png" for role in ("content", "reference")}
    draft = replace(DRAFT, pictures=Pictures(styles=[pictures / "style.png"], **files))
    plan = draft.changed(["search.trials=3", "halving.max_steps=9", "size_px=48", "space=gram"])
    assert plan.space == "gram"
    assert (plan.trials, plan.max_steps, plan.size_px) == (3, 9, 48)
    assert plan.step_s == pytest.approx(DRAFT.step_s / 4) and plan.budget_minutes == 1


@given(st.floats(1, 1e4), st.floats(1, 1e4))
def test_more_time_gives_a_larger_job(first: float, second: float) -> None:
    """The chosen job takes no longer than allowed if any does; more time never makes it smaller."""
    short, long = (choose(DRAFT, SIZES_PX, minutes) for minutes in sorted((first, second)))
    assert (short.trials, short.size_px) <= (long.trials, long.size_px)
    smallest = (short.size_px, short.trials) == (SIZES_PX[0], EFFORTS[-1][0])
    assert short.minutes <= min(first, second) or smallest


@given(st.integers(40, 4000), st.integers(40, 4000), st.integers(40, 4000))
def test_sizes_suit_the_pictures(wide: int, high: int, reference: int) -> None:
    """No size is larger than the pictures, unless they are too small or thin for any size."""
    sizes = possible_sizes({"content": (wide, high), "reference": (reference, reference)})
    assert sizes
    if len(sizes) > 1:
        assert max(sizes) <= min(max(wide, high), reference)
        assert list(sizes) == sorted(sizes)
