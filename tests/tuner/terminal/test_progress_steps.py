"""Steps done, steps expected, and the time left of a run."""

import pytest

from tuner.job.spec import HalvingSpec
from tuner.search.halving import expected_steps
from tuner.terminal.progress_steps import StepCount, left_text


@pytest.mark.parametrize(
    ("rule", "steps"), [("none", 90), ("promote", 30), ("stop", 30), ("median", 45)]
)
def test_expected_steps_follow_the_halving_rule(rule: str, steps: float) -> None:
    """With rungs at 10, 30 and 90 steps, each rung promotes a third, a half or all trials."""
    halving = HalvingSpec.model_validate({"rule": rule, "min_steps": 10, "max_steps": 90})
    expected = {"promote": 10 + 20 / 3 + 60 / 9, "median": 10 + 10 + 15}.get(rule)
    if rule == "stop":
        expected = 10 + 20 / 3 + 60 / 9
    assert expected_steps(halving) == pytest.approx(expected or steps)


def test_brackets_are_averaged() -> None:
    """Trials in Hyperband's later brackets skip rungs, so they take more steps on average."""
    keys = {"min_steps": 10, "max_steps": 90}
    promote = HalvingSpec.model_validate({"rule": "promote", **keys})
    hyperband = HalvingSpec.model_validate({"rule": "hyperband", **keys})
    assert expected_steps(promote) < expected_steps(hyperband) < 90


def test_steps_and_time_left() -> None:
    """Steps follow the reports of the trials, and the time left follows their pace."""
    now = [0.0]
    halving = HalvingSpec(rule="none", min_steps=100, max_steps=100)
    count = StepCount(4, halving, clock=lambda: now[0])
    assert (count.done, count.total, count.left_s) == (0, 400, None)
    count.begun(0, 100, sure=True)
    count.measure()
    now[0] = 10.0
    count.at(0, 50)
    count.measure()
    assert (count.share, count.left_s) == (0.125, pytest.approx(70.0))
    count.at(0, 40)  # an older pulse
    assert count.done == 50
    count.ended(0)  # pruned at 50 of 100 steps
    assert count.total == 350
    count.begun(7, 200, sure=True, extra=True)  # a final is an extra trial
    assert count.total == 550


def test_the_pace_is_that_of_the_last_minutes() -> None:
    """The time left follows the present pace if a run becomes slower."""
    now = [0.0]
    halving = HalvingSpec(rule="none", min_steps=1000, max_steps=1000)
    count = StepCount(1, halving, clock=lambda: now[0])
    count.begun(0, 1000, sure=True)
    for second in range(0, 400, 10):
        now[0] = float(second)
        count.at(0, min(second * 5, 500) + second // 10)
        count.measure()
    assert count.left_s == pytest.approx((1000 - count.done) / 0.1, rel=0.05)


def test_the_time_left_is_rounded() -> None:
    """The time left is given in minutes or hours, or as unknown."""
    assert left_text(None) == "time left: measuring"
    assert left_text(20) == "less than a minute left"
    assert left_text(600) == "about 10 min left"
    assert left_text(36_000) == "about 10 h left"
