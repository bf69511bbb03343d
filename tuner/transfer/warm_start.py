"""Starting points of a search from earlier runs and from similar pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nst_core.losses.inputs import LossInputs
from search_spaces import Params, Space
from tuner.job.objective import Goals
from tuner.job.ranking import ranking
from tuner.results.results import load_results
from tuner.sampling.encoding import encode_all
from tuner.study.early_checks import SIMILAR
from tuner.study.records import TrialRecord
from tuner.study.run_dir import RunDir
from tuner.transfer.curves import LEARNED_FROM, load_curves
from tuner.transfer.suggest import apart, experiences_of, fitting, suggest

#: Starting points from one source. Eight took more steps than four to the scores of a search that
#: knows nothing (`benchmarks.search`): four leave room for draws from elsewhere before the sampler
#: begins. Of five trials, too, four are ahead of fewer.
OF_ONE_SOURCE = 4
#: The share of all trials that starting points take at most, if that is more than one source's.
SHARE = 1 / 2


def warm_starts(
    sources: Sequence[str], space: Space, materials: LossInputs, trials: int, goals: Goals
) -> tuple[list[Params], list[str]]:
    """Parameters worth trying first, the best of every source before their second best.

    Args:
        sources: run directories, or `SIMILAR`.
        space: that is searched; what does not fit in it is left open or out.
        materials: of the first pair.
        trials: of the run.
        goals: what the run optimizes, by which the trials of every source are ranked.

    Returns:
        The parameters, and what to say about sources that gave none, or searched for another
        objective.

    Raises:
        RunError: a source is no run.
    """
    per_source: list[list[Params]] = []
    remarks = []
    for source in sources:
        if source == SIMILAR:
            found, remark = _similar(space, materials, goals)
        else:
            found, remark = _of_run(Path(source), space, goals)
        if remark is None and not found:
            remark = f"{source} has nothing that fits the space {space.name}"
        if remark:
            remarks.append(f"warm start: {remark}")
        per_source.append(found)
    ranked = [
        found[place] for place in range(OF_ONE_SOURCE) for found in per_source if place < len(found)
    ]
    unique = [params for i, params in enumerate(ranked) if params not in ranked[:i]]
    return unique[: most_starts(trials)], remarks


def most_starts(trials: int) -> int:
    """How many starting points a run of so many trials takes from elsewhere, at most."""
    return min(trials, max(OF_ONE_SOURCE, int(trials * SHARE)))


def _of_run(folder: Path, space: Space, goals: Goals) -> tuple[list[Params], str | None]:
    """The best parameters of a run, but for those that its space starts with anyway."""
    results = load_results(RunDir(folder).require().path)
    remark = None
    if results.goals.name == goals.name:
        ranked = [found.record for found in results.ranked()]
    elif missing := sorted(goals.measures - _scored(results.records)):
        return [], f"{folder} is not used: its trials were not scored by {', '.join(missing)}"
    else:
        ranked = ranked_by(results.records, goals)
        remark = (
            f"{folder} was searched for {results.goals.name}; its trials are ranked by"
            f" {goals.name} here"
        )
    fits = [fitting(record.params, space) for record in ranked if record.searched]
    fits = [params for params in fits if params and params not in space.initial_points]
    if not fits:
        return [], None
    chosen = apart(range(len(fits)), encode_all(space, fits), OF_ONE_SOURCE)
    return [fits[index] for index in chosen], remark


def _scored(records: Sequence[TrialRecord]) -> set[str]:
    """The measures that every report of these trials has."""
    reports = [set(rung.scores) for record in records for rung in record.rungs.values()]
    return set.intersection(*reports) if reports else set()


def ranked_by(records: Sequence[TrialRecord], goals: Goals) -> list[TrialRecord]:
    """The trials that reported and did not fail, best first by goals that may not be their run's.

    Finals are left out: who came into them was decided by the run's own goals.
    """
    entered = [
        (record, best[1])
        for record in records
        if record.final_of is None
        and record.state != "failed"
        and (best := record.best_rung(goals))
    ]
    keys = ranking([goals.values(rung.scores) for _, rung in entered])
    ranked = sorted(zip(keys, entered, strict=True), key=lambda x: (x[0], x[1][0].trial))
    return [record for _, (record, _) in ranked]


def _similar(space: Space, materials: LossInputs, goals: Goals) -> tuple[list[Params], str | None]:
    """What did well on similar pairs, if these were tuned in this space for this objective."""
    curves = load_curves()
    if curves.space.name != space.name:
        return [], None
    if goals.name != LEARNED_FROM:
        return [], (
            f"{SIMILAR} is not used: similar pairs were tuned for {LEARNED_FROM}, and the objective"
            f" is {goals.name}"
        )
    known = experiences_of(curves, LEARNED_FROM)
    found = suggest(materials, known, curves.space, curves.kernel, top=OF_ONE_SOURCE)
    return [params for one in found if (params := fitting(one.params, space))], None
