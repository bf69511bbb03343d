"""Whom an engine's death is blamed on."""

from collections.abc import Mapping
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.cluster.engine_supervisor import MOST_DEATHS
from tuner.cluster.placement import MOST_LOSSES, Placement


class FakeSupervisor:
    """Engines that die of some trials, and are replaced at once; nodes that may go."""

    def __init__(self, engines: int, most: int):
        self._names = map("engine-{}".format, count())
        self.lanes: dict[str, int] = {next(self._names): most for _ in range(engines)}
        self._most = most
        self._gone: set[str] = set()
        self.deaths = 0

    def actor(self, name: str) -> object | None:
        return FakeActor() if name in self.lanes else None

    def check(self, name: str) -> None:
        """Nothing to find out."""

    def left(self, name: str) -> bool:
        return name in self._gone

    def outlived(self, process: str) -> bool:
        return process == "on a node that lives"

    def progressed(self, name: str) -> None:
        self.deaths = 0

    def dies(self, name: str, *, node: bool = False) -> None:
        """An engine dies, and another one starts."""
        del self.lanes[name]
        if node:
            self._gone.add(name)
        else:
            self.deaths += 1
        self.lanes[next(self._names)] = self._most


class FakeActor:
    """Whatever it is told it does not answer."""

    def __getattr__(self, name: str) -> "FakeActor":
        return self

    def __call__(self, *_: object) -> None:
        """Nothing."""


def play(
    trials: int, engines: int, lanes: int, poison: Mapping[int, int], rungs: int = 3
) -> tuple[set[int], int]:
    """Run trials to their end, those in ``poison`` killing their engine on the way to a rung.

    Returns those that were blamed, and the most deaths in a row.
    """
    supervisor = FakeSupervisor(engines, lanes)
    placement = Placement(supervisor)  # type: ignore[arg-type]
    at, blamed, worst = dict.fromkeys(range(trials), 0), set(), 0
    fresh, orphans = list(range(trials)), []
    while fresh or orphans or placement._on:
        while (fresh or orphans) and not placement.full:
            placement.take((orphans or fresh).pop(0))
        here = list(placement._on.items())
        killed = {
            assignment.slot.engine for trial, assignment in here if poison.get(trial) == at[trial]
        }
        for name in killed:
            supervisor.dies(name)
        worst = max(worst, supervisor.deaths)
        for trial, assignment in here:
            if assignment.slot.engine in killed:
                if placement.lost(assignment):
                    blamed.add(trial)
                else:
                    orphans.append(trial)
                placement.release(trial, assignment)
                continue
            placement.progressed(trial)
            at[trial] += 1
            if at[trial] == rungs:
                placement.release(trial)
            elif placement.leaves(trial):
                placement.pause(trial)
                orphans.append(trial)
    return blamed, worst


@given(
    poison=st.dictionaries(st.integers(0, 11), st.integers(0, 2), max_size=4),
    engines=st.integers(1, 3),
    lanes=st.integers(1, 6),
)
def test_who_kills_engines_is_found(poison: dict[int, int], engines: int, lanes: int) -> None:
    """Whoever kills its engine is blamed in the end, and nobody else ever, whoever shares it."""
    blamed, _ = play(12, engines, lanes, poison)
    assert blamed == set(poison)


@given(killer=st.integers(0, 11), rung=st.integers(0, 2), lanes=st.integers(1, 6))
def test_one_killer_costs_no_engine_its_place(killer: int, rung: int, lanes: int) -> None:
    """A trial is blamed before the place of its engine is given up."""
    _, worst = play(12, 1, lanes, {killer: rung})
    assert worst < MOST_DEATHS


def test_nobody_is_to_blame_for_a_node() -> None:
    """However often nodes go, their trials only go on elsewhere."""
    supervisor = FakeSupervisor(1, 4)
    placement = Placement(supervisor)  # type: ignore[arg-type]
    for _ in range(2 * MOST_LOSSES):
        assignment = placement.take(7)
        supervisor.dies(assignment.slot.engine, node=True)
        assert not placement.lost(assignment)
        placement.release(7, assignment)


@pytest.mark.parametrize("process", [None, "on a node that lives"])
def test_a_trials_own_process_is_its_own(process: str | None) -> None:
    """A trial whose process keeps dying on a living engine is blamed."""
    placement = Placement(FakeSupervisor(1, 4))  # type: ignore[arg-type]
    blamed = []
    for _ in range(MOST_LOSSES):
        assignment = placement.take(7)
        blamed.append(placement.lost(assignment, process))
        placement.release(7, assignment)
    assert blamed == [False] * (MOST_LOSSES - 1) + [True]


def test_nobody_is_to_blame_for_the_node_of_its_process() -> None:
    """A trial is not blamed for a node that took its process and left its engine."""
    placement = Placement(FakeSupervisor(1, 4))  # type: ignore[arg-type]
    for _ in range(2 * MOST_LOSSES):
        assignment = placement.take(7)
        assert not placement.lost(assignment, "on a node that went")
        placement.release(7, assignment)
