"""JobSpec: what a job file may say."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from math import inf
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_serializer,
    field_validator,
    model_validator,
)

from nst_core.config import MAX_SIZE_PX, MIN_SIDE_PX
from nst_core.errors import InputError
from nst_core.metrics.registry import OBJECTIVES
from tuner.job.object_store import url_problem
from tuner.job.objective import MOST_OBJECTIVES, Constraint, Goals, Objective, check_measure
from tuner.job.yaml_file import yaml_text

SamplerName = Literal["gp", "tpe", "cmaes", "nsga2", "random", "sobol", "grid"]
#: Samplers that learn from what earlier trials reached.
LEARNING = frozenset({"tpe", "gp", "cmaes", "nsga2"})

Rule = Literal["promote", "stop", "hyperband", "median", "none"]
RULES: tuple[Rule, ...] = get_args(Rule)


#: Run directories.
Runs = Annotated[list[str], Field(max_length=20)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StyleImage(_Spec):
    """One of several style images of a pair."""

    image: Annotated[str, Field(min_length=1, description="image file")]
    weight: Annotated[float, Field(gt=0, le=1e6, description="share in the blend")] = 1.0
    region: Annotated[
        str | None,
        Field(description="mask file: where in the content it applies (white); default: the rest"),
    ] = None
    style_region: Annotated[
        str | None, Field(description="mask file: what of the style image counts (white)")
    ] = None

    @property
    def files(self) -> tuple[str, ...]:
        """Every file it names."""
        return tuple(name for name in (self.image, self.region, self.style_region) if name)


class ReferenceSpec(_Spec):
    """A reference that is made when the run starts."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    source: Annotated[
        Literal["feed-forward", "adain", "long-run"],
        Field(alias="from", description="feed-forward, adain or long-run"),
    ]
    encoder: Annotated[str | None, Field(description="adain: file of the encoder's weights")] = None
    decoder: Annotated[str | None, Field(description="adain: file of the decoder's weights")] = None

    @model_validator(mode="after")
    def _complete(self) -> ReferenceSpec:
        wanted = self.source == "adain"
        if bool(self.encoder) != wanted or bool(self.decoder) != wanted:
            raise ValueError("expected encoder and decoder with from: adain, and only there")
        return self


def _kind_of_reference(value: Any) -> str | None:
    if isinstance(value, str):
        return "file"
    return "made" if isinstance(value, (dict, ReferenceSpec)) else None


class PairSpec(_Spec):
    """One content photo with its style and the stylization it is scored against."""

    content: Annotated[str, Field(min_length=1, description="image file to stylize")]
    style: Annotated[
        list[StyleImage],
        Field(
            min_length=1,
            max_length=16,
            description="style image file, or a list of {image, weight}",
        ),
    ]
    reference: Annotated[
        Annotated[str, Field(min_length=1), Tag("file")] | Annotated[ReferenceSpec, Tag("made")],
        Discriminator(
            _kind_of_reference,
            custom_error_type="reference",
            custom_error_message="expected an image file, or {from: …} to make one",
        ),
        Field(description="image file that shows the goal, or {from: …} to make one"),
    ]
    start: Annotated[
        str | None, Field(description="image file to start from, for `init: image`")
    ] = None

    @field_validator(
        "style", mode="before", json_schema_input_type=str | StyleImage | list[StyleImage]
    )
    @classmethod
    def _just_one(cls, value: Any) -> Any:
        value = {"image": value} if isinstance(value, str) else value
        return [value] if isinstance(value, dict) else value

    @property
    def reference_file(self) -> str:
        """The reference as a file, which it is once the run has started.

        Raises:
            InputError: it is not.
        """
        if not isinstance(self.reference, str):
            raise InputError(
                f"reference: {{from: {self.reference.source}}} of {self.content} has not been made;"
                " expected a file, as a run that has started names it"
            )
        return self.reference

    def placed(self, place: Callable[[str, str], str]) -> PairSpec:
        """The pair with every file name replaced by ``place(name, role)``."""
        reference: str | ReferenceSpec
        if isinstance(self.reference, str):
            reference = place(self.reference, "reference")
        else:
            made = self.reference
            reference = made.model_copy(
                update={
                    role: place(name, role)
                    for role in ("encoder", "decoder")
                    if (name := getattr(made, role))
                }
            )
        styles = [
            style.model_copy(
                update={
                    role: place(name, f"style{k}" if role == "image" else f"style{k}-{role}")
                    for role in ("image", "region", "style_region")
                    if (name := getattr(style, role))
                }
            )
            for k, style in enumerate(self.style)
        ]
        return PairSpec(
            content=place(self.content, "content"),
            style=styles,
            reference=reference,
            start=place(self.start, "start") if self.start else None,
        )


class SearchSpec(_Spec):
    """How configurations are proposed."""

    sampler: Annotated[SamplerName, Field(description="how configurations are proposed")] = "gp"
    trials: Annotated[
        int, Field(ge=1, le=1_000_000, description="configurations in all, presets included")
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
        Field(
            description="run directories whose best configurations are tried first; `similar` for"
            " what did well on similar pictures",
        ),
    ] = []
    replay: Annotated[
        str | None,
        Field(description="run directory whose recorded suggestions are used again, in order"),
    ] = None

    @field_validator("warm_start", mode="before", json_schema_input_type=str | Runs)
    @classmethod
    def _just_one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class HalvingSpec(_Spec):
    """Early stopping: at each rung only the best 1/reduction go on."""

    rule: Annotated[
        Rule,
        Field(
            description="promote: a trial waits until it is among the best; stop: it ends if it is"
            " not; hyperband: promote in brackets; median: it ends if worse than half; none"
        ),
    ] = "promote"
    min_steps: Annotated[int, Field(ge=1, le=100_000, description="steps of the first rung")] = 15
    max_steps: Annotated[int, Field(ge=1, le=100_000, description="steps of a full run")] = 300
    reduction: Annotated[
        int, Field(ge=2, le=100, description="rungs grow by this; 1/reduction survive")
    ] = 3

    @model_validator(mode="after")
    def _ordered(self) -> HalvingSpec:
        if self.min_steps > self.max_steps:
            raise ValueError("expected min_steps to be at most max_steps")
        return self


class ResourcesSpec(_Spec):
    """What a run may use."""

    lanes: Annotated[
        int | None,
        Field(ge=1, le=1024, description="stylizations advancing together per GPU or CPU worker"),
    ] = None
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Field(description="auto takes the GPUs there are")
    ] = "auto"
    gpus: Annotated[
        int | None,
        Field(ge=1, description="to ask an autoscaling cluster for; default: those that are up"),
    ] = None
    engine_deadline_s: Annotated[
        float,
        Field(gt=0, description="an engine that is at one thing for so long is started anew"),
    ] = 600.0

    @field_validator("lanes", mode="before", json_schema_input_type=Literal["auto"] | int)
    @classmethod
    def _auto(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "auto":
            raise ValueError("expected auto or a whole number from 1 to 1024")
        return None if value == "auto" else value

    @field_serializer("lanes")
    def _named(self, value: int | None) -> int | str:
        return "auto" if value is None else value


class BudgetSpec(_Spec):
    """When the search ends early; whichever limit comes first. The finals come on top."""

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
            description="trials that may end, or wait at a rung, without a new best one",
        ),
    ] = None
    target: Annotated[
        float | None,
        Field(allow_inf_nan=False, description="value of the objective that is good enough"),
    ] = None


class FinalsSpec(_Spec):
    """The best trials run again, so that luck and a fit to one picture are told apart."""

    count: Annotated[int, Field(ge=0, le=100, description="how many of the best; 0 for none")] = 3
    seeds: Annotated[int, Field(ge=1, le=100, description="runs of each, with other seeds")] = 3


class BaselinesSpec(_Spec):
    """How far the baseline presets run that the result is compared with."""

    full: Annotated[
        bool | Literal["auto"],
        Field(
            description="whether presets that max_steps cut short run to their own steps after the"
            " search; auto: the best of them, as long as this takes less than a third of the"
            " search's steps"
        ),
    ] = "auto"


class JobSpec(_Spec):
    """A tuning job. Paths are relative to the job file."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="what to call the run")]
    pairs: Annotated[
        list[PairSpec],
        Field(min_length=1, max_length=100, description="the objective is the mean over them"),
    ]
    size_px: Annotated[
        int, Field(ge=MIN_SIDE_PX, le=MAX_SIZE_PX, description="longer side of the results")
    ] = 256
    space: Annotated[str, Field(description="a named search space or a path to one")] = "gram"
    holdout: Annotated[
        list[PairSpec],
        Field(max_length=100, description="pairs that only the finals are scored on"),
    ] = []
    objective: Annotated[
        str | dict[str, float] | list[str],
        Field(
            description="metric to optimise, or {metric: weight} for a sum, or a list of up to"
            f" {MOST_OBJECTIVES} for a Pareto search"
        ),
    ] = "lpips"
    constraints: Annotated[
        dict[str, str],
        Field(description='{seconds_per_image: "<= 5", vram_gb: "<= 8"}, or bounds of metrics'),
    ] = {}
    search: SearchSpec = SearchSpec()
    halving: HalvingSpec = HalvingSpec()
    finals: FinalsSpec = FinalsSpec()
    baselines: BaselinesSpec = BaselinesSpec()
    resources: ResourcesSpec = ResourcesSpec()
    budget: BudgetSpec = BudgetSpec()
    watch: Annotated[
        list[Literal["prometheus", "tensorboard", "mlflow"]],
        Field(description="whom else to tell about the run"),
    ] = []
    storage: Annotated[
        str | None,
        Field(description="where to mirror the run directory: a folder, s3://, gs://, abfs://"),
    ] = None
    weights: Annotated[
        dict[str, str], Field(description="weights files to use instead of the cache or a download")
    ] = {}

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if any(unicodedata.category(character) == "Cc" for character in value):
            raise ValueError("expected text without control characters")
        return value

    @field_validator("storage")
    @classmethod
    def _storage_url(cls, value: str | None) -> str | None:
        if value is not None and (problem := url_problem(value)):
            raise ValueError(problem)
        return value

    @field_validator("objective")
    @classmethod
    def _known_measures(
        cls, value: str | dict[str, float] | list[str]
    ) -> str | dict[str, float] | list[str]:
        names = [value] if isinstance(value, str) else list(value)
        for name in names:
            check_measure(name)
        if isinstance(value, dict) and not (value and all(0 < w < inf for w in value.values())):
            raise ValueError("expected finite weights above 0")
        if isinstance(value, list) and not 1 <= len(set(value)) == len(value) <= MOST_OBJECTIVES:
            raise ValueError(f"expected 1 to {MOST_OBJECTIVES} different measures")
        if not any(name in OBJECTIVES for name in names):
            raise ValueError(
                f"expected any of {', '.join(OBJECTIVES)} among them: by a metric that compares"
                " with the content doing nothing scores best, by a cost the cheapest does"
            )
        return value

    @field_validator("constraints")
    @classmethod
    def _bounds(cls, value: dict[str, str]) -> dict[str, str]:
        for measure, text in value.items():
            Constraint.parse(measure, text)
        return value

    @model_validator(mode="after")
    def _single_objective(self) -> JobSpec:
        if self.goals.pareto:
            if self.budget.target is not None:
                raise ValueError("budget.target: expected a single objective")
            if self.search.sampler == "cmaes":
                raise ValueError(
                    "search.sampler: cmaes knows one objective, got several; expected gp, tpe,"
                    " nsga2, random, sobol or grid"
                )
        return self

    @property
    def goals(self) -> Goals:
        """What is optimised, and within which bounds."""
        if isinstance(self.objective, dict):
            objectives = [Objective(weights=self.objective)]
        else:
            names = [self.objective] if isinstance(self.objective, str) else self.objective
            objectives = [Objective(weights={name: 1.0}) for name in names]
        bounds = [Constraint.parse(*item) for item in self.constraints.items()]
        return Goals(objectives=objectives, constraints=bounds)

    def to_yaml(self) -> str:
        """The file's content, with every default written out."""
        content = self.model_dump(mode="json", by_alias=True)
        return yaml_text(content)


def schema_json() -> str:
    """JSON Schema of the job file, as ``tuner/job/job.schema.json`` ships it for editors."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema.update(JobSpec.model_json_schema())
    return json.dumps(schema, indent=2) + "\n"
