"""Optuna's samplers in a study of this package."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from tuner.sampling.optuna_samplers import make_sampler


class Bomb:
    """An object that makes a directory when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, ("exploded",)


def test_cmaes_loads_no_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CMA-ES computes its state from the trials, and unpickles nothing from the study."""
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
