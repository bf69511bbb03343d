"""Sections of a job file: search, early stopping, resources, budget, finals and more."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from nst_core.config import MAX_SIZE_PX
from search_spaces.priors import WORDS
from tuner.job.pair_spec import Section

SamplerName = Literal["gp", "tpe", "cmaes", "nsga2", "random", "sobol", "grid"]
#: Samplers that learn from the results of earlier trials.
LEARNING = frozenset({"gp", "tpe", "cmaes", "nsga2"})

Rule = Literal["promote", "stop", "hyperband", "median", "none"]
RULES: tuple[Rule, ...] = get_args(Rule)

#: Precisions of a run; `StyleConfig.precision` explains those that are not ``auto``.
Precision = Literal["auto", "float32", "tf32", "bfloat16"]

#: Paths of run directories.
Runs = Annotated[list[str], Field(max_length=20)]


def _auto_or_at_most(maximum: int, minimum: int = 1) -> BeforeValidator:
    """Return a validator that turns ``auto`` into None and refuses all other text."""

    def parse(value: Any) -> Any:
        if isinstance(value, str) and value != "auto":
            raise ValueError(f"expected auto or a whole number from {minimum} to {maximum}")
        return None if value == "auto" else value

    numbers = Annotated[int, Field(ge=minimum, le=maximum)]
    return BeforeValidator(parse, json_schema_input_type=Literal["auto"] | numbers)


#: Writes None, which `_auto_or_at_most` makes of ``auto``, as ``auto`` again.
_NONE_AS_AUTO = PlainSerializer(lambda value: "auto" if value is None else value)


class SpaceSpec(Section):
    """A search space with a prior: where good values are expected."""

    base: Annotated[str, Field(description="a named search space or a path to one")]
    prior: Annotated[
        dict[str, Any],
        Field(
            min_length=1,
            description="parameter, or style_weight -> [value, maybe | likely | sure]",
        ),
        WithJsonSchema(
            {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {
                    "type": "array",
                    "prefixItems": [
                        {"anyOf": [{"type": "number"}, {"type": "string"}]},
                        {"enum": list(WORDS)},
                    ],
                    "minItems": 2,
                    "maxItems": 2,
                },
            }
        ),
    ]


class SearchSpec(Section):
    """How configurations are proposed."""

    sampler: Annotated[SamplerName, Field(description="how configurations are proposed")] = "gp"
    trials: Annotated[
        int, Field(ge=1, le=1_000_000, description="number of configurations, with the presets")
    ] = 64
    seed: Annotated[int, Field(ge=0, lt=2**31, description="seed of the sampler")] = 0
    presets: Annotated[
        bool, Field(description="run the built-in baseline presets as the first trials")
    ] = True
    study: Annotated[
        str | None,
        Field(
            description="a database that several launches of this job share, such as"
            " sqlite:///study.db or postgresql://USER:$PASSWORD@HOST/NAME"
        ),
    ] = None
    warm_start: Annotated[
        Runs,
        Field(description="run directories whose best configurations are tried first"),
    ] = Field(default=[])
    replay: Annotated[
        str | None,
        Field(description="run directory whose recorded configurations are tried again, in order"),
    ] = None

    @field_validator("warm_start", mode="before", json_schema_input_type=str | Runs)
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class HalvingSpec(Section):
    """Early stopping: only the best 1/reduction of the trials continue beyond each rung."""

    rule: Annotated[
        Rule,
        Field(
            description="promote: a trial pauses until it is among the best; stop: it ends if it is"
            " not; hyperband: promote in brackets; median: it ends if worse than half; none"
        ),
    ] = "promote"
    min_steps: Annotated[
        int | None,
        Field(
            ge=1,
            le=100_000,
            description="steps of the first rung; auto: a sixth of max_steps",
        ),
        _auto_or_at_most(100_000),
        _NONE_AS_AUTO,
    ] = None
    max_steps: Annotated[int, Field(ge=1, le=100_000, description="steps of a full run")] = 300
    reduction: Annotated[
        int,
        Field(
            ge=2,
            le=100,
            description="factor between the steps of two rungs; 1/reduction of the trials continue",
        ),
    ] = 3

    @model_validator(mode="after")
    def _ordered(self) -> HalvingSpec:
        if self.min_steps is not None and self.min_steps > self.max_steps:
            raise ValueError("expected min_steps to be at most max_steps")
        return self


class ResourcesSpec(Section):
    """The hardware that a run may use."""

    lanes: Annotated[
        int | None,
        Field(ge=1, le=1024, description="stylizations that one GPU or CPU worker runs together"),
        _auto_or_at_most(1024),
        _NONE_AS_AUTO,
    ] = None
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Field(description="auto uses GPUs if there are any")
    ] = "auto"
    gpus: Annotated[
        int | None,
        Field(
            ge=1,
            description="GPUs to request from an autoscaling cluster; default: those that are up",
        ),
    ] = None
    engines_per_gpu: Annotated[
        int,
        Field(
            ge=1,
            le=8,
            description="engines that share one GPU; each has its part of the memory and the lanes",
        ),
    ] = 1
    gpus_per_worker: Annotated[
        float | None,
        Field(
            ge=0,
            le=64,
            description="with `stylizer`: GPUs of each of its processes, such as 0.5; default: 1 if"
            " there are any",
        ),
    ] = None
    cpus_per_worker: Annotated[
        int | None,
        Field(
            ge=1, le=1024, description="with `stylizer`: cores of each of its processes; default: 1"
        ),
    ] = None
    engine_deadline_s: Annotated[
        float,
        Field(gt=0, description="seconds without progress after which an engine is restarted"),
    ] = 600.0
    precision: Annotated[
        Precision | None,
        Field(
            description="number format of the networks in the trials of the search; finals run in"
            " float32. auto: the fastest that is known to rank configurations as float32 does;"
            " default: the precision of the space and of each preset, in finals as well"
        ),
    ] = None

    @model_validator(mode="after")
    def _a_lane_for_each_engine(self) -> ResourcesSpec:
        if self.lanes is not None and self.lanes < self.engines_per_gpu:
            raise ValueError(
                f"expected at least as many lanes as engines_per_gpu, which is"
                f" {self.engines_per_gpu}, and not {self.lanes}: each engine needs one"
            )
        return self

    @property
    def search_settings(self) -> dict[str, str]:
        """Settings of `StyleConfig` that every trial of the search has."""
        return {} if self.precision is None else {"precision": self.precision}

    @property
    def final_settings(self) -> dict[str, str]:
        """Settings of `StyleConfig` that the finals and exported presets have."""
        return {} if self.precision is None else {"precision": "float32"}


class BudgetSpec(Section):
    """Limits that end the search early, whichever is reached first. Finals are not limited."""

    minutes: Annotated[
        float | None, Field(gt=0, le=1e6, description="working time of all launches of the run")
    ] = None
    engine_seconds: Annotated[
        float | None,
        Field(gt=0, le=1e12, description="seconds of GPU (or CPU engine) time of all trials"),
    ] = None
    patience: Annotated[
        int | None,
        Field(
            ge=1,
            le=1_000_000,
            description="number of trials that may end, or pause at a rung, without a new best one",
        ),
    ] = None
    target: Annotated[
        float | None,
        Field(allow_inf_nan=False, description="value of the objective that is good enough"),
    ] = None


class FinalsSpec(Section):
    """The best trials are run again, which shows whether they were lucky or fit one picture."""

    count: Annotated[int, Field(ge=0, le=100, description="how many of the best; 0 for none")] = 3
    seeds: Annotated[int, Field(ge=1, le=100, description="runs of each, with other seeds")] = 3


class BaselinesSpec(Section):
    """How far the baseline presets run that the result is compared with."""

    full: Annotated[
        bool | Literal["auto"],
        Field(
            description="whether presets that max_steps cut short run to their own steps after the"
            " search; auto: the best of them, as long as this takes less than a third of the"
            " search's steps"
        ),
    ] = "auto"


class PresentSpec(Section):
    """The best trial and the best preset, rendered again at a size worth looking at."""

    size_px: Annotated[
        int | None,
        Field(
            ge=0,
            le=MAX_SIZE_PX,
            description="longer side of these pictures; 0 for none; auto: 256, or twice the size"
            " of the search if that is larger",
        ),
        _auto_or_at_most(MAX_SIZE_PX, minimum=0),
        _NONE_AS_AUTO,
    ] = None
