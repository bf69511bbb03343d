"""Tables of `benchmarks.live`, from the results of any number of searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from benchmarks.support.common import Goal, Row, Section
from benchmarks.support.live_cases import Case, CaseResult
from benchmarks.support.live_ways import STOCK

#: Searches are compared after these shares of their budget.
SHARES = {"1/4": 0.25, "1/2": 0.5, "3/4": 0.75, "all": 1.0}
#: Steps of a search that never reaches a score, as a share of its budget.
NEVER = 2.0
#: Samplers that are compared with the default of the same space, each with a goal.
RIVALS = ("tpe", "random", STOCK)

#: (pair, digest of its pictures with the LPIPS of the untouched photo, seed): searches are compared
#: by these. A reference that was made again on another machine may differ a little, and the LPIPS
#: tells.
Key = tuple[str, str, int]


@dataclass(frozen=True, order=True)
class Group:
    """Searches that may be compared."""

    size_px: int
    source: str
    steps: tuple[int, int]
    full_trials: int
    starts: bool

    @classmethod
    def of(cls, case: Case) -> Group:
        """Return the group of a case."""
        return cls(case.size_px, case.source, case.steps, case.full_trials, case.starts)

    @property
    def title(self) -> str:
        """Heading of the group."""
        first, last = self.steps
        starts = "with" if self.starts else "without"
        return (
            f"{self.size_px} px, {self.source}, rungs from {first} to {last} steps,"
            f" {self.full_trials} full trials, {starts} initial points"
        )


class Comparison:
    """The results of one group, by way."""

    def __init__(self, group: Group, results: Sequence[CaseResult], order: Sequence[str]):
        self.group = group
        names = {result.case.way.name for result in results}
        self.ways = [name for name in order if name in names]
        self.of: dict[str, dict[Key, CaseResult]] = {name: {} for name in self.ways}
        for result in results:
            case = result.case
            pictures = f"{case.pictures} {result.untouched}"
            self.of[case.way.name][case.pair, pictures, case.seed] = result
        self.budget = group.full_trials * group.steps[1]
        #: Pairs and seeds that all ways have searched.
        self.common = sorted(set.intersection(*(set(found) for found in self.of.values())))

    def mean_best(self, way: str, steps: float, keys: Sequence[Key] | None = None) -> float:
        """Return the mean LPIPS of a way after some steps of each search; NaN of no searches."""
        keys = self.common if keys is None else keys
        if not keys:
            return float("nan")
        return mean(self.of[way][key].best_by(min(steps, self.budget)) for key in keys)

    def shared(self, way: str, other: str) -> list[Key]:
        """Return the pairs and seeds that two ways have searched."""
        return sorted(self.of[way].keys() & self.of[other].keys())

    def mean_stlpips(self, way: str) -> float:
        """Return the mean ST-LPIPS of the best reports of a way; NaN of no searches."""
        if not self.common:
            return float("nan")
        return mean(self.of[way][key].stlpips for key in self.common)

    def differences(self, way: str, other: str) -> list[float]:
        """Return the LPIPS of a way minus that of another one, by pair and seed."""
        of, end = self.of, self.budget
        return [
            of[way][key].best_by(end) - of[other][key].best_by(end)
            for key in self.shared(way, other)
        ]

    def pairs_won(self, way: str, other: str) -> float:
        """Return the share of pairs whose mean over seeds is lower than that of another way."""
        keys = self.shared(way, other)
        pairs = sorted({key[:2] for key in keys})
        won = 0
        for pair in pairs:
            of_pair = [key for key in keys if key[:2] == pair]
            ours, theirs = (self.mean_best(name, self.budget, of_pair) for name in (way, other))
            won += ours < theirs
        return won / len(pairs) if pairs else float("nan")

    def share_of_steps(self, way: str, other: str) -> float:
        """Return the share of the budget after which a way is as good as another one at the end.

        Both are means over the pairs and seeds that both have searched; `NEVER` if never.
        """
        keys = self.shared(way, other)
        if not keys:
            return float("nan")
        goal = self.mean_best(other, self.budget, keys)
        points = sorted({spent for key in keys for spent, _ in self.of[way][key].trace})
        reached = (steps for steps in points if self.mean_best(way, steps, keys) <= goal)
        first = next(reached, None)
        return NEVER if first is None else min(1.0, first / self.budget)

    def stock_of(self, way: str) -> str | None:
        """Return the way that is stock Ray Tune, in the space of ``way`` or in the first one."""
        spaces = [way.partition("/")[0], *(name.partition("/")[0] for name in self.ways)]
        names = [f"gram/{STOCK}", *(f"{space}/{STOCK}" for space in spaces)]
        return next((name for name in names if name in self.of), None)


def comparisons(results: Sequence[CaseResult], order: Sequence[str]) -> list[Comparison]:
    """Return one comparison for each group of results.

    Args:
        results: results of searches.
        order: names of the ways; the others are compared with the first one that a group has.
    """
    groups: dict[Group, list[CaseResult]] = {}
    for result in results:
        groups.setdefault(Group.of(result.case), []).append(result)
    return [Comparison(group, groups[group], order) for group in sorted(groups)]


def sections(compared: Sequence[Comparison]) -> list[Section]:
    """Return the tables of all groups: by way, and by pair."""
    return [table for one in compared for table in (_by_way(one), _by_pair(one))]


def goals(compared: Sequence[Comparison]) -> list[Goal]:
    """Return the goals: no sampler is ahead of the default of its space."""
    found = []
    for one in compared:
        where = f"{one.group.size_px} px, {one.group.source}"
        for way in one.ways:
            space, _, variant = way.partition("/")
            if variant in RIVALS and space in one.of and one.shared(way, space):
                behind = round(mean(one.differences(way, space)), 4)
                name = f"{way} behind {space}, LPIPS, {where}"
                found.append(Goal(name=name, value=behind, goal=0.0))
    return found


def _by_way(one: Comparison) -> Section:
    first = one.ways[0]
    return Section(
        title=one.group.title,
        text=f"Mean of the best LPIPS of {len(one.common)} searches, which are the pairs and seeds"
        f" that all ways have, after shares of the budget of {one.budget:,} steps. The next columns"
        f" compare a way with `{first}` at the end, by pair and seed: difference of LPIPS (above 0:"
        " worse), its standard error, share of pairs with a lower mean over seeds, and number of"
        " searches. `steps to stock` is the share of the budget after which the mean search is as"
        " good as stock Ray Tune at its end. ST-LPIPS, of the results with the best LPIPS, forgives"
        " small shifts of strokes.",
        rows=[_way_row(one, way, first) for way in one.ways],
    )


def _way_row(one: Comparison, way: str, first: str) -> Row:
    bests = {name: _score(one.mean_best(way, s * one.budget)) for name, s in SHARES.items()}
    row: Row = {"way": way, **bests, "behind": "", "±": "", "pairs won": ""}
    differences = one.differences(way, first)
    if way != first and differences:
        error = stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else None
        row["behind"], row["±"] = _score(mean(differences)), "" if error is None else _score(error)
        row["pairs won"] = round(one.pairs_won(way, first), 2)
    stock = one.stock_of(way)
    share = one.share_of_steps(way, stock) if stock and one.shared(way, stock) else None
    return {
        **row,
        "searches": len(differences),
        "steps to stock": "" if share is None else "never" if share == NEVER else round(share, 2),
        "ST-LPIPS": _score(one.mean_stlpips(way)),
    }


def _by_pair(one: Comparison) -> Section:
    pairs = sorted({key[:2] for found in one.of.values() for key in found})
    rows = []
    for pair in pairs:
        row: Row = {"pair": pair[0]}
        for way in one.ways:
            keys = [key for key in one.of[way] if key[:2] == pair]
            for key in keys:
                row.setdefault("untouched photo", _score(one.of[way][key].untouched))
            row[way] = _score(one.mean_best(way, one.budget, keys)) if keys else ""
        rows.append({"pair": row["pair"], "untouched photo": row["untouched photo"], **row})
    return Section(title=f"By pair: {one.group.title}", text="Means over seeds.", rows=rows)


def _score(value: float) -> float:
    return round(value, 4)


def by_way(results: Sequence[CaseResult]) -> Mapping[str, int]:
    """Return the number of results of each way, in the order of the file."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.case.way.name] = counts.get(result.case.way.name, 0) + 1
    return counts
