"""Warm start: searches whose initial points come from earlier runs and similar pairs."""

from pathlib import Path

import pytest
import torch

from nst_core.losses.inputs import LossInputs
from search_spaces import Params
from tests.tuner.helpers import Recorder
from tuner.job.load import find_space, load_job
from tuner.job.objective import Goals, Objective
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job
from tuner.sampling.encoding import encode_all
from tuner.sampling.lengthscales import LENGTHS
from tuner.transfer.curves import load_curves, recorded_lengthscales
from tuner.transfer.suggest import apart
from tuner.transfer.warm_start import POINTS_PER_SOURCE, SIMILAR, max_warm_starts, warm_starts


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
    assert load_results(tmp_path / "b").notes[LENGTHS] == recorded_lengthscales(load_curves())


@pytest.mark.parametrize(("trials", "most"), [(1, 1), (3, 3), (5, 4), (8, 4), (20, 10), (41, 20)])
def test_warm_start_leaves_trials_for_the_search(trials: int, most: int) -> None:
    """Points of one source may take all trials; those of several sources at most half of them."""
    assert max_warm_starts(trials) == most


def test_other_run_is_ranked_by_the_objective_of_this_job(job_file: Path, tmp_path: Path) -> None:
    """For a job that optimizes color, the trials of a run for LPIPS are ranked by color.

    A remark says so. A run without the measure is not used, nor are recorded pairs, which were
    tuned for LPIPS.
    """
    launch(job_file, tmp_path / "a")
    results = load_results(tmp_path / "a")
    goals, dists = (Goals(objectives=[Objective(weights={n: 1.0})]) for n in ("color", "dists"))
    space = find_space("gram")
    pictures = LossInputs.at_size(torch.rand(3, 32, 32), [(torch.rand(3, 32, 32), 1.0)], 32)

    def points_of(source: object, goals: Goals) -> tuple[list[Params], list[str]]:
        return warm_starts([str(source)], space, pictures, 8, goals)

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
    points, remarks = points_of(SIMILAR, goals)
    assert not points and "similar is not used" in remarks[0] and "color" in remarks[0]
    points, remarks = points_of(SIMILAR, results.goals)
    assert points and not remarks
