"""Warm start: searches whose initial points come from earlier runs."""

from pathlib import Path
from typing import Any

import pytest

from nst_core.errors import InputError
from search_spaces import CATALOGUE, Params, Space
from tests.tuner.helpers import Recorder
from tuner.job.find_space import find_space
from tuner.job.load import load_job
from tuner.job.objective import Goals, Objective
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run, run_job
from tuner.sampling.encoding import encode_all
from tuner.transfer.warm_start import (
    POINTS_PER_SOURCE,
    apart,
    fitting,
    max_warm_starts,
    warm_starts,
)

GRAM = CATALOGUE["gram"]


def launch(job_file: Path, folder: Path, *overrides: str) -> None:
    """Run eight trials of the space `gram`."""
    job, space = load_job(
        job_file, ["search.presets=false", "search.trials=8", "space=gram", *overrides]
    )
    run_job(job, space, folder, InlineBackend(), callback=Recorder(), say=print)


def test_run_begins_with_the_best_points_of_another_run(job_file: Path, tmp_path: Path) -> None:
    """The best different points of the other run come first, then the space's initial points."""
    launch(job_file, tmp_path / "a")
    space = find_space("gram")
    ranked = [trial.record.params for trial in load_results(tmp_path / "a").ranked()]
    best = [params for params in ranked if params not in space.initial_points]
    chosen = apart(range(len(best)), encode_all(space, best), POINTS_PER_SOURCE)
    assert chosen[0] == 0 and len(chosen) > 1
    launch(job_file, tmp_path / "b", f"search.warm_start=[{tmp_path / 'a'}]")
    tried = [record.params for record in load_results(tmp_path / "b").records]
    first = [*(best[index] for index in chosen), *space.initial_points]
    assert tried[: len(first)] == first


@pytest.mark.parametrize(("trials", "most"), [(1, 1), (3, 3), (5, 4), (8, 4), (20, 10), (41, 20)])
def test_warm_start_leaves_trials_for_the_search(trials: int, most: int) -> None:
    """Points of one source may take all trials; those of several sources at most half of them."""
    assert max_warm_starts(trials) == most


def test_other_run_is_ranked_by_the_objective_of_this_job(job_file: Path, tmp_path: Path) -> None:
    """For a job that optimizes color, the trials of a run for LPIPS are ranked by color.

    A remark says so. A run without the measure is not used.
    """
    launch(job_file, tmp_path / "a")
    results = load_results(tmp_path / "a")
    goals, dists = (Goals(objectives=[Objective(weights={n: 1.0})]) for n in ("color", "dists"))
    space = find_space("gram")

    def points_of(source: object, goals: Goals) -> tuple[list[Params], list[str]]:
        return warm_starts([str(source)], space, 8, goals)

    points, remarks = points_of(tmp_path / "a", goals)
    colors = {
        tuple(sorted(record.params.items())): min(r.scores["color"] for r in record.rungs.values())
        for record in results.records
        if record.searched and record.rungs and record.params not in space.initial_points
    }
    assert colors[tuple(sorted(points[0].items()))] == min(colors.values())
    assert remarks == [
        f"warm start: {tmp_path / 'a'} was searched for lpips; its trials are ranked by color here"
    ]
    points, remarks = points_of(tmp_path / "a", dists)
    assert not points and "its trials were not scored by dists" in remarks[0]


def test_fitting_keeps_values_that_are_valid_in_another_space() -> None:
    """Values that are valid in the other space are kept, and its sampler chooses the others."""
    start: Params = GRAM.initial_points[1]
    small = Space(
        name="small",
        why="-",
        params={k: v for k, v in GRAM.params.items() if k in ("lr", "tv", "tv_weight")},
    )
    valid: Any = fitting(start, small)
    assert valid == {k: start[k] for k in ("lr", "tv", "tv_weight")}
    assert fitting({"lr": 99.0, "tv_weight": 20.0}, small) == {}
    assert fitting(start, GRAM) == start


def test_settings_of_similar_pictures_are_refused_in_new_runs(
    job_file: Path, tmp_path: Path
) -> None:
    """`warm_start: similar` is one clear error; a run that has begun with it can be resumed."""
    with pytest.raises(InputError, match=r"`search\.warm_start: similar` was removed.*remove it"):
        launch(job_file, tmp_path / "new", "search.warm_start=similar")
    assert not (tmp_path / "new").exists()
    old = tmp_path / "old"
    launch(job_file, old)
    written = (old / "job.yaml").read_text()
    assert "warm_start: []" in written
    (old / "job.yaml").write_text(written.replace("warm_start: []", "warm_start: [similar]"))
    before = load_results(old)
    resume_run(old, InlineBackend(), callback=Recorder(), say=print, changes=["search.trials=9"])
    after = load_results(old)
    assert len(after.records) > len(before.records)
    assert after.notes["starts"] == before.notes["starts"]
