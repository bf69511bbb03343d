"""The default sampler in a plain study of Optuna."""

import math
from collections.abc import Callable, Sequence

import optuna
import pytest

from search_spaces import Params
from tests.tuner.sampling.test_gp_sampler import PLANE, bowl
from tuner.sampling.gp_sampler import GaussianProcessSampler
from tuner.sampling.observations import observation_of
from tuner.sampling.optuna_space import suggested


def optimized(
    sampler: GaussianProcessSampler,
    objective: Callable[[optuna.Trial, Params], float | tuple[float, ...]],
    *,
    trials: int = 24,
    directions: Sequence[str] = ("minimize",),
) -> optuna.Study:
    study = optuna.create_study(sampler=sampler, directions=list(directions))
    study.optimize(lambda trial: objective(trial, suggested(trial, PLANE)), n_trials=trials)
    return study


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_plain_study_finds_the_optimum(direction: str) -> None:
    """In a study of final values only, in either direction, the sampler finds the optimum."""
    sign = 1 if direction == "minimize" else -1
    sampler = GaussianProcessSampler(PLANE, seed=0)
    study = optimized(sampler, lambda trial, p: sign * bowl(p, 90), directions=[direction])
    assert bowl(study.best_params, 90) - 3 / 90 < 0.005


def test_a_plain_study_may_report_and_prune() -> None:
    """Reports of pruned trials count, and so do failed trials and those without parameters."""

    def objective(trial: optuna.Trial, params: Params) -> float:
        for step in range(91):
            trial.report(bowl(params, max(step, 1)), step)
            if step == 30 and trial.number % 3:
                raise optuna.TrialPruned
        return bowl(params, 90)

    study = optimized(GaussianProcessSampler(PLANE, max_steps=90, seed=0), objective)
    last = [bowl(trial.params, 90) - 3 / 90 for trial in study.trials[-6:]]
    assert min(last) < 0.01
    observed = observation_of(study.trials[0], study.directions, 90)
    assert sorted(observed.losses) == [1, 3, 10, 30, 90]


def test_a_plain_study_may_have_constraints_and_several_objectives() -> None:
    """Constraints that trials set are kept; several objectives are spread along the front."""

    def objective(trial: optuna.Trial, params: Params) -> tuple[float, float]:
        tv, rate = float(params["tv_weight"]), math.log10(float(params["lr"])) + 1
        trial.set_constraint("tv", 0.4 - tv)
        return tv + rate**2, tv - rate**2

    sampler = GaussianProcessSampler(PLANE, seed=0)
    study = optimized(sampler, objective, directions=["minimize", "maximize"])
    assert all(trial.params["tv_weight"] > 0.35 for trial in study.trials[-6:])
    assert len({round(trial.params["tv_weight"], 1) for trial in study.trials[-6:]}) > 1


def test_an_enqueued_value_is_kept() -> None:
    """A partial configuration that was enqueued is completed with what fits it."""
    sampler = GaussianProcessSampler(PLANE, seed=0)
    study = optimized(sampler, lambda trial, params: bowl(params, 90), trials=16)
    study.enqueue_trial({"lr": 0.1})
    study.optimize(lambda trial: bowl(suggested(trial, PLANE), 90), n_trials=1)
    assert study.trials[-1].params["lr"] == 0.1
    assert abs(study.trials[-1].params["tv_weight"] - 0.7) < 0.2


def test_a_draw_depends_on_seed_and_number() -> None:
    """A new sampler with the same seed continues a study as the old one would have."""

    def values(samplers: Sequence[GaussianProcessSampler]) -> list[Params]:
        study = optuna.create_study()
        for sampler in samplers:
            study.sampler = sampler
            study.optimize(lambda trial: bowl(suggested(trial, PLANE), 90), n_trials=6)
        return [trial.params for trial in study.trials]

    once = GaussianProcessSampler(PLANE, seed=4)
    again = [GaussianProcessSampler(PLANE, seed=4) for _ in range(2)]
    assert values([once, once]) == values(again)
    assert values([once]) != values([GaussianProcessSampler(PLANE, seed=5)])


@pytest.mark.parametrize(("key", "value"), [("max_steps", 0), ("seed", -1)])
def test_invalid_arguments_are_refused(key: str, value: int) -> None:
    """A value out of range is refused, with the name of the argument."""
    with pytest.raises(ValueError, match=f"{key}: expected at least"):
        GaussianProcessSampler(PLANE, **{key: value})
