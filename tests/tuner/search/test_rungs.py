"""Rungs: their arithmetic, and the first one of a job."""

from itertools import pairwise
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst_core.errors import ConfigError
from tests.tuner.helpers import launch_run
from tuner.job.load import load_job
from tuner.job.spec import RULES, HalvingSpec, Rule
from tuner.results.results import load_results
from tuner.run.change_job import check_changes
from tuner.run.inline_backend import InlineBackend
from tuner.search.halving import Halving
from tuner.search.rungs import next_rungs, rung_steps, with_first_rung


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((30, 300, 3), (30, 90, 270, 300)), ((10, 90, 3), (10, 30, 90)), ((5, 5, 2), (5,))],
)
def test_rungs_grow_by_the_reduction(arguments: tuple[int, int, int], expected: tuple[int]) -> None:
    """Rungs are min_steps times the powers of the reduction, and max_steps."""
    assert rung_steps(*arguments) == expected


def test_next_rungs() -> None:
    """The next rungs come after the steps done; after the last rung there is none."""
    assert next_rungs((10, 30), 0) == (10, 30)
    assert next_rungs((10, 30), 10) == (30, None)
    with pytest.raises(ValueError, match="no rung after step 30"):
        next_rungs((10, 30), 30)


@given(
    max_steps=st.integers(1, 100_000),
    reduction=st.integers(2, 100),
    rule=st.sampled_from(RULES),
    trial=st.integers(0, 1000),
)
def test_auto_gives_valid_rungs(max_steps: int, reduction: int, rule: Rule, trial: int) -> None:
    """With `auto`, rungs ascend from a sixth of max_steps, rounded up, to max_steps."""
    spec = HalvingSpec(max_steps=max_steps, reduction=reduction, rule=rule)
    rungs = Halving.of(spec).rungs(trial, max_steps)
    assert all(a < b for a, b in pairwise(rungs))
    assert rungs[-1] == max_steps
    if rule != "hyperband":
        assert rungs[0] == ceil(max_steps / 6)


def test_auto_becomes_a_number_and_a_number_stays(job_file: Path) -> None:
    """A run gets a number for `auto` and says so; a number in a job is kept without a word."""
    said: list[str] = []
    auto, _ = load_job(job_file, ["halving.min_steps=auto", "halving.max_steps=300"])
    assert with_first_rung(auto, said.append).halving.min_steps == 50
    assert said == ["halving.min_steps: auto means 50; rungs at 50, 150, 300 steps"]
    given_number, _ = load_job(job_file, ["halving.min_steps=5"])
    assert with_first_rung(given_number, said.append) is given_number
    assert len(said) == 1


def test_a_run_stores_its_first_rung(job_file: Path, tmp_path: Path) -> None:
    """The run directory has the number that `auto` meant, and the number cannot change."""
    run = tmp_path / "run"
    options = ("halving.min_steps=auto", "halving.max_steps=6", "search.presets=false")
    launch_run(job_file, run, InlineBackend(), *options, "search.trials=2", "finals.count=0")
    results = load_results(run)
    assert results.job.halving.min_steps == 1
    assert {min(record.rungs) for record in results.records} == {1}
    with pytest.raises(ConfigError, match="cannot change in a run that has begun"):
        check_changes(run, ["halving.min_steps=2"])


@pytest.mark.parametrize("value", ["soon", "0", "100001", "2.5", "true"])
def test_a_wrong_first_rung_is_one_error(job_file: Path, value: str) -> None:
    """A first rung that is neither auto nor a possible number is one error that names the key."""
    with pytest.raises(ConfigError, match=r"`halving\.min_steps`: expected ") as caught:
        load_job(job_file, [f"halving.min_steps={value}"])
    assert len(caught.value.problems) == 1
