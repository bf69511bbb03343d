"""Searches that begin with what earlier ones found."""

from pathlib import Path

import pytest

from tests.tuner.helpers import Recorder
from tuner.backend import InlineBackend
from tuner.curves import load_curves
from tuner.jobfile import find_space, load_job
from tuner.lengths import LENGTHS, known_lengths
from tuner.results import load_results
from tuner.run import run_job
from tuner.suggest import apart
from tuner.surrogate import encode_all
from tuner.warm import OF_ONE_SOURCE, most_starts


def launch(job_file: Path, folder: Path, *overrides: str) -> None:
    job, space = load_job(
        job_file, ["search.presets=false", "search.trials=8", "space=gram", *overrides]
    )
    run_job(job, space, folder, InlineBackend(), watcher=Recorder(), say=print)


def test_a_run_begins_with_the_best_of_another(job_file: Path, tmp_path: Path) -> None:
    """The best of the `warm_start`, none like another, come first, then the space's own starts."""
    launch(job_file, tmp_path / "a")
    space = find_space("gram")
    ranked = [found.record.params for found in load_results(tmp_path / "a").ranked()]
    best = [params for params in ranked if params not in space.starts]
    chosen = apart(range(len(best)), encode_all(space, best), OF_ONE_SOURCE)
    assert chosen[0] == 0 and len(chosen) > 1
    launch(job_file, tmp_path / "b", f"search.warm_start=[{tmp_path / 'a'}]")
    tried = [record.params for record in load_results(tmp_path / "b").records]
    first = [*(best[index] for index in chosen), *space.starts]
    assert tried[: len(first)] == first
    assert load_results(tmp_path / "b").notes[LENGTHS] == known_lengths(load_curves())


@pytest.mark.parametrize(("trials", "most"), [(1, 1), (3, 3), (5, 4), (8, 4), (20, 10), (41, 20)])
def test_starts_leave_room_for_a_search(trials: int, most: int) -> None:
    """Those of one source if there are trials for it; of several no more than half of them."""
    assert most_starts(trials) == most
