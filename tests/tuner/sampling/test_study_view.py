"""What samplers see of a study: completed parameters, failed trials, some of many trials."""

import math
import random

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces import CATALOGUE, Choice, Float, Params, Space
from tuner.sampling.optuna_samplers import make_sampler
from tuner.sampling.optuna_space import distributions, suggested
from tuner.sampling.sobol_grid import planned_point
from tuner.sampling.study_view import FilteredSampler
from tuner.study.attributes import CONSTRAINT

SPACE = Space(
    name="plane",
    why="A number and a choice, with another number that has a meaning for one option only.",
    params={
        "lr": Float(low=0.01, high=1.0, log=True),
        "tv": Choice(options=("off", "on")),
        "tv_weight": Float(low=1.0, high=100.0, log=True, when={"tv": ("on",)}),
    },
)


class Watching(RandomSampler):
    """A random sampler that keeps the trials that it sees."""

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        self.seen = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        return {}


def tried(params: Params, value: float | None) -> FrozenTrial:
    """Return a trial with some parameters of the space; None: it failed."""
    state = TrialState.COMPLETE if value is not None else TrialState.FAIL
    known = {name: d for name, d in distributions(SPACE).items() if name in params}
    return create_trial(state=state, params=dict(params), distributions=known, value=value)


def seen(trials: list[FrozenTrial], **options: object) -> list[FrozenTrial]:
    """Return what a sampler sees of these trials."""
    watching = Watching()
    sampler: BaseSampler = FilteredSampler(watching, space=SPACE, **options)  # type: ignore[arg-type]
    study = optuna.create_study(sampler=sampler)
    study.add_trials(trials)
    study.ask(distributions(SPACE))
    return watching.seen


def test_parameters_without_a_meaning_are_completed() -> None:
    """Every trial has all parameters; what has no meaning in it is in the middle of its range."""
    first, second = seen(
        [tried({"lr": 0.1, "tv": "off"}, 1.0), tried({"lr": 0.1, "tv": "on", "tv_weight": 5}, 2.0)]
    )
    assert first.params == {"lr": 0.1, "tv": "off", "tv_weight": pytest.approx(10.0)}
    assert second.params["tv_weight"] == 5 and first.distributions == distributions(SPACE)


def test_failed_trials_have_the_worst_value() -> None:
    """A sampler that ignores failed trials sees them as complete, with the worst value so far."""
    trials = [tried({"lr": 0.1, "tv": "off"}, value) for value in (1.0, None, 3.0)]
    assert [trial.value for trial in seen(trials)] == [1.0, 3.0, 3.0]
    assert all(trial.state is TrialState.FAIL for trial in seen([trials[1]]))


def test_of_many_trials_the_best_and_the_latest_are_seen() -> None:
    """With more trials than a sampler can use, it sees the best ones and the latest ones."""
    trials = [tried({"lr": 0.1, "tv": "off"}, float(abs(n - 3))) for n in range(20)]
    assert [trial.number for trial in seen(trials, most_trials=6)] == [2, 3, 4, 17, 18, 19]


def test_best_are_trials_that_keep_the_constraints() -> None:
    """Of many trials, one that violates a constraint is not among the best; failures count too."""
    trials = [tried({"lr": 0.1, "tv": "off"}, None if n == 19 else float(n)) for n in range(20)]
    for number, trial in enumerate(trials[:19]):
        trial.system_attrs = {CONSTRAINT.format("cost"): 1.0 if number < 2 else -1.0}
    assert [trial.number for trial in seen(trials, most_trials=4)] == [2, 3, 18, 19]


def test_the_default_sampler_finds_an_optimum_behind_a_condition() -> None:
    """The Gaussian process tunes a parameter that has a meaning in some trials only."""
    study = optuna.create_study()

    def far(trial: optuna.Trial) -> float:
        params = suggested(trial, SPACE)
        if params["tv"] == "off":
            return 2.0
        away = math.log10(float(params["lr"])) + 1.6, math.log10(float(params["tv_weight"])) - 0.5
        return away[0] ** 2 + away[1] ** 2

    for number in range(30):
        study.sampler = make_sampler("gp", seed=number, space=SPACE)
        study.optimize(far, n_trials=1)
    assert study.best_value < 0.02


@pytest.mark.parametrize("name", ["standard", "optimizers", "layers"])
def test_every_draw_is_a_valid_configuration(name: str) -> None:
    """After complete, failed and running trials, a draw is a valid configuration of the space."""
    space, rng = CATALOGUE[name], random.Random(0)
    study = optuna.create_study()
    states = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING]
    for number in range(16):
        params = planned_point("sobol", space, number, 0) or {}
        known = {key: d for key, d in distributions(space).items() if key in params}
        state = states[number % 4]
        value = rng.random() if state is TrialState.COMPLETE else None
        study.add_trial(
            create_trial(state=state, params=dict(params), distributions=known, value=value)
        )
    for number in range(3):
        study.sampler = make_sampler("gp", seed=number, space=space)
        drawn = suggested(study.ask(), space)
        assert space.point_problems(drawn) == []
        space.build(drawn, size_px=64, steps=10)
