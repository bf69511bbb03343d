"""The roster of unfinished trials."""

from nst_core.config import StyleConfig
from tuner.job.objective import Goals, Objective
from tuner.search.halving import Rung
from tuner.search.protocol import Plan
from tuner.search.roster import Roster
from tuner.study.study import RunStudy


def test_a_trial_has_one_state() -> None:
    """A trial is running, paused or orphaned; the study records pauses and promotions."""
    study = RunStudy.in_memory(goals=Goals(objectives=[Objective(weights={"lpips": 1.0})]))
    roster = Roster(study)
    for _ in range(2):
        number = study.begin()
        roster.running[number] = Plan(trial=number, config=StyleConfig(), rungs=(10, 30))
    roster.pause(0, Rung(10, 0))
    assert (list(roster.running), list(roster.paused)) == ([1], [0])
    assert study.resumption(0).paused_at == 10
    roster.promote(0)
    assert roster.numbers == (1,)
    assert (study.resumption(0).paused_at, study.resumption(0).continued_past) == (None, 10)
    assert roster.orphan(1) and not roster.orphan(1)
    assert (list(roster.running), list(roster.orphaned)) == ([], [1])
    assert roster.next_orphan()[0] == 1
    assert roster.numbers == ()
