"""Starting points of a search from earlier runs and from similar pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nst_core.materials import Materials
from search_spaces import Params, Space
from tuner.curves import load_curves
from tuner.light_checks import SIMILAR
from tuner.results import load_results
from tuner.rundir import RunDir
from tuner.suggest import apart, experiences_of, fitting, suggest
from tuner.surrogate import encode_all

#: Starting points from one source. Eight took more steps than four to the scores of a search that
#: knows nothing (`benchmarks.search`): four leave room for draws from elsewhere before the sampler
#: begins. Of five trials, too, four are ahead of fewer.
OF_ONE_SOURCE = 4
#: The share of all trials that starting points take at most, if that is more than one source's.
SHARE = 1 / 2


def warm_starts(
    sources: Sequence[str], space: Space, materials: Materials, trials: int
) -> tuple[list[Params], list[str]]:
    """Parameters worth trying first, the best of every source before their second best.

    Args:
        sources: run directories, or `SIMILAR`.
        space: that is searched; what does not fit in it is left open or out.
        materials: of the first pair.
        trials: of the run.

    Returns:
        The parameters, and what to say about sources that gave none.

    Raises:
        RunError: a source is no run.
    """
    per_source: list[list[Params]] = []
    remarks = []
    for source in sources:
        found = _similar(space, materials) if source == SIMILAR else _of_run(Path(source), space)
        if not found:
            remarks.append(f"warm start: {source} has nothing that fits the space {space.name}")
        per_source.append(found)
    ranked = [
        found[place] for place in range(OF_ONE_SOURCE) for found in per_source if place < len(found)
    ]
    unique = [params for i, params in enumerate(ranked) if params not in ranked[:i]]
    return unique[: most_starts(trials)], remarks


def most_starts(trials: int) -> int:
    """How many starting points a run of so many trials takes from elsewhere, at most."""
    return min(trials, max(OF_ONE_SOURCE, int(trials * SHARE)))


def _of_run(folder: Path, space: Space) -> list[Params]:
    """The best parameters of a run, but for those that its space starts with anyway."""
    results = load_results(RunDir(folder).require().path)
    fits = [fitting(f.record.params, space) for f in results.ranked() if f.record.searched]
    fits = [params for params in fits if params and params not in space.starts]
    if not fits:
        return []
    chosen = apart(range(len(fits)), encode_all(space, fits), OF_ONE_SOURCE)
    return [fits[index] for index in chosen]


def _similar(space: Space, materials: Materials) -> list[Params]:
    """What did well on similar pairs, if these were tuned in this space."""
    curves = load_curves()
    if curves.space.name != space.name:
        return []
    found = suggest(
        materials, experiences_of(curves), curves.space, curves.kernel, top=OF_ONE_SOURCE
    )
    return [params for one in found if (params := fitting(one.params, space))]
