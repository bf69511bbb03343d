"""Placement: which trial is to blame for the death of engines."""

from collections.abc import Mapping
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.cluster.engine_supervisor import MOST_DEATHS
from tuner.cluster.placement import MOST_LOSSES, Placement


class FakeSupervisor:
    """Supervisor whose engines and nodes a test kills; dead engines are replaced at once."""

    def __init__(self, engines: int, most: int):
        self._names = map("engine-{}".format, count())
        self.lanes: dict[str, int] = {next(self._names): most for _ in range(engines)}
        self._most = most
        self._lost_with_node: set[str] = set()
        self.deaths = 0

    def actor(self, name: str) -> object | None:
        return FakeActor() if name in self.lanes else None

    def check_engine(self, name: str) -> None:
        """Do nothing: `lanes` is always up to date."""

    def lost_with_node(self, name: str) -> bool:
        return name in self._lost_with_node

    def died_on_live_node(self, process: str) -> bool:
        return process == "on a live node"

    def clear_deaths(self, name: str) -> None:
        self.deaths = 0

    def kill(self, name: str, *, node: bool = False) -> None:
        """Kill an engine, alone or with its node, and start another one."""
        del self.lanes[name]
        if node:
            self._lost_with_node.add(name)
        else:
            self.deaths += 1
        self.lanes[next(self._names)] = self._most


class FakeActor:
    """Actor that accepts every call and never answers."""

    def __getattr__(self, name: str) -> "FakeActor":
        return self

    def __call__(self, *_: object) -> None:
        """Do nothing."""


def play(
    trials: int, engines: int, lanes: int, poison: Mapping[int, int], rungs: int = 3
) -> tuple[set[int], int]:
    """Run trials to their end and return the blamed trials, and the most deaths in a row.

    Args:
        trials: number of trials.
        engines: number of engines.
        lanes: number of trials that an engine takes at a time.
        poison: trial -> index of the rung before which it kills its engine.
        rungs: number of rungs of a trial.
    """
    supervisor = FakeSupervisor(engines, lanes)
    placement = Placement(supervisor)  # type: ignore[arg-type]
    rung, blamed, most_deaths = dict.fromkeys(range(trials), 0), set(), 0
    new, interrupted = list(range(trials)), []
    while new or interrupted or placement._assignments:
        while (new or interrupted) and not placement.full:
            placement.assign((interrupted or new).pop(0))
        running = list(placement._assignments.items())
        killed = {
            assignment.slot.engine
            for trial, assignment in running
            if poison.get(trial) == rung[trial]
        }
        for name in killed:
            supervisor.kill(name)
        most_deaths = max(most_deaths, supervisor.deaths)
        for trial, assignment in running:
            if assignment.slot.engine in killed:
                if placement.record_loss(assignment):
                    blamed.add(trial)
                else:
                    interrupted.append(trial)
                placement.release(trial, assignment)
                continue
            placement.record_report(trial)
            rung[trial] += 1
            if rung[trial] == rungs:
                placement.release(trial)
            elif placement.must_leave(trial):
                placement.pause(trial)
                interrupted.append(trial)
    return blamed, most_deaths


@given(
    poison=st.dictionaries(st.integers(0, 11), st.integers(0, 2), max_size=4),
    engines=st.integers(1, 3),
    lanes=st.integers(1, 6),
)
def test_exactly_the_trials_that_kill_engines_are_blamed(
    poison: dict[int, int], engines: int, lanes: int
) -> None:
    """Every trial that kills its engine is blamed in the end, and no trial that shared it."""
    blamed, _ = play(12, engines, lanes, poison)
    assert blamed == set(poison)


@given(killer=st.integers(0, 11), rung=st.integers(0, 2), lanes=st.integers(1, 6))
def test_killer_is_blamed_before_a_place_is_given_up(killer: int, rung: int, lanes: int) -> None:
    """One trial that kills engines is blamed before the place of its engine is given up."""
    _, most_deaths = play(12, 1, lanes, {killer: rung})
    assert most_deaths < MOST_DEATHS


def test_no_trial_is_blamed_for_a_lost_node() -> None:
    """A trial that loses its node is never blamed, however often that happens."""
    supervisor = FakeSupervisor(1, 4)
    placement = Placement(supervisor)  # type: ignore[arg-type]
    for _ in range(2 * MOST_LOSSES):
        assignment = placement.assign(7)
        supervisor.kill(assignment.slot.engine, node=True)
        assert not placement.record_loss(assignment)
        placement.release(7, assignment)


@pytest.mark.parametrize("process", [None, "on a live node"])
def test_trial_is_blamed_if_its_own_process_keeps_dying(process: str | None) -> None:
    """A trial whose process keeps dying while its engine lives is blamed."""
    placement = Placement(FakeSupervisor(1, 4))  # type: ignore[arg-type]
    blamed = []
    for _ in range(MOST_LOSSES):
        assignment = placement.assign(7)
        blamed.append(placement.record_loss(assignment, process))
        placement.release(7, assignment)
    assert blamed == [False] * (MOST_LOSSES - 1) + [True]


def test_no_trial_is_blamed_for_the_lost_node_of_its_process() -> None:
    """A trial is not blamed if a lost node took its process but not its engine."""
    placement = Placement(FakeSupervisor(1, 4))  # type: ignore[arg-type]
    for _ in range(2 * MOST_LOSSES):
        assignment = placement.assign(7)
        assert not placement.record_loss(assignment, "on a lost node")
        placement.release(7, assignment)
