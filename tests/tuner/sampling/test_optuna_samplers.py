import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.sampling.optuna_samplers import make_sampler
from tuner.sampling.study_view import MOST_SEEN, thinned
from tuner.study.attributes import CONSTRAINT


class Bomb:
    """Goes off when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, ("exploded",)


def test_cmaes_keeps_no_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state is worked out from the trials: what somebody put in its place is not unpickled."""
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study()

    def bowl(trial: optuna.Trial) -> float:
        x, y = (trial.suggest_float(name, -5, 5) for name in "xy")
        attrs = trial.storage.get_trial_system_attrs(trial._trial_id)
        assert not any("optimizer" in key for key in attrs)
        bomb = pickle.dumps(Bomb()).hex()
        trial.storage.set_trial_system_attr(trial._trial_id, "cma:optimizer:0", bomb)
        return x**2 + y**2

    for number in range(60):
        study.sampler = make_sampler("cmaes", seed=number)
        study.optimize(bowl, n_trials=1)
    assert not (tmp_path / "exploded").exists()
    values = [trial.value or 0.0 for trial in study.trials]
    assert sum(values[-20:]) < sum(values[:20]) / 4


def trials(count: int) -> list[FrozenTrial]:
    """Complete, pruned and failed ones with random values, in random order."""
    draw = random.Random(0)
    made = []
    for number in range(count):
        state = draw.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
        value = draw.random()
        last = draw.choice([10, 30])
        trial = create_trial(
            state=state,
            value=value if state is TrialState.COMPLETE else None,
            intermediate_values={last: value} if state is TrialState.PRUNED else {},
        )
        trial.number = number
        made.append(trial)
    return made


def test_few_trials_are_all_shown() -> None:
    """As long as a sampler is fast enough it sees everything."""
    few = trials(MOST_SEEN)
    assert thinned(few, [StudyDirection.MINIMIZE]) == few


@pytest.mark.parametrize("maximize", [False, True])
def test_of_many_trials_the_best_are_shown(maximize: bool) -> None:
    """The best are among those shown, in their order, with every running one."""
    many = trials(4 * MOST_SEEN)
    many[7].state = TrialState.RUNNING
    shown = thinned(many, [StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE])
    assert [t.number for t in shown] == sorted(t.number for t in shown)
    assert len(shown) == MOST_SEEN + 1
    assert many[7] in shown
    complete = [t for t in many if t.state is TrialState.COMPLETE]
    best = sorted(complete, key=lambda t: t.value or 0.0, reverse=maximize)[: MOST_SEEN // 4]
    assert all(trial in shown for trial in best)


def test_of_many_trials_the_best_that_keep_the_bounds_are_shown() -> None:
    """A sampler that puts what breaks a bound aside needs the best of the others."""
    many = trials(4 * MOST_SEEN)
    draw = random.Random(1)
    for trial in many:
        trial.system_attrs = {CONSTRAINT.format("vram_gb"): 1.0 if draw.random() < 0.7 else -1.0}
    shown = thinned(many, [StudyDirection.MINIMIZE])
    kept = [
        trial
        for trial in many
        if trial.state is TrialState.COMPLETE and max(trial.system_attrs.values()) < 0
    ]
    best = sorted(kept, key=lambda trial: trial.value or 0.0)[: MOST_SEEN // 4]
    assert len(best) == MOST_SEEN // 4 and all(trial in shown for trial in best)


def test_the_rest_is_shown_evenly() -> None:
    """What is not among the best is thinned alike from first to last."""
    shown = thinned(trials(8 * MOST_SEEN), [StudyDirection.MINIMIZE])
    halves = [sum(t.number < 4 * MOST_SEEN for t in shown), 0]
    halves[1] = len(shown) - halves[0]
    assert max(halves) < 1.3 * min(halves)
