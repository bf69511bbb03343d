"""A search space in the terms of Optuna: its distributions, and the suggestions of a trial."""

from __future__ import annotations

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search_spaces import Choice, Int, Params, Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return parameter -> distribution, in the order of the space, for all its parameters."""
    found: dict[str, BaseDistribution] = {}
    for name, parameter in space.params.items():
        if isinstance(parameter, Choice):
            found[name] = CategoricalDistribution(parameter.options)
        elif isinstance(parameter, Int):
            found[name] = IntDistribution(parameter.low, parameter.high, log=parameter.log)
        else:
            found[name] = FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return found


def suggested(trial: optuna.Trial, space: Space) -> Params:
    """Return the parameters that a trial's sampler suggests; conditions of the space hold."""
    drawn: dict[str, float | int | str] = {}
    for name, parameter in space.params.items():
        if not space.active(name, drawn):
            continue
        if isinstance(parameter, Choice):
            drawn[name] = trial.suggest_categorical(name, parameter.options)
        elif isinstance(parameter, Int):
            low, high = parameter.low, parameter.high
            drawn[name] = trial.suggest_int(name, low, high, log=parameter.log)
        else:
            low_end, high_end = parameter.low, parameter.high
            drawn[name] = trial.suggest_float(name, low_end, high_end, log=parameter.log)
    return drawn
