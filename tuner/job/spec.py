"""JobSpec: the content of a job file. Its parts are in `pair_spec` and `sections`."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from math import inf
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from nst_core.config import MAX_SIZE_PX, MIN_SIDE_PX
from nst_core.metrics.registry import OBJECTIVES
from search_spaces import CATALOGUE
from tuner.job.cloud_storage import url_problem
from tuner.job.objective import Constraint, Goals, Objective, check_measure
from tuner.job.pair_spec import PairSpec, ReferenceSpec, Section, StyleImage
from tuner.job.ranking import MAX_OBJECTIVES
from tuner.job.sections import (
    LEARNING,
    RULES,
    BaselinesSpec,
    BudgetSpec,
    FinalsSpec,
    HalvingSpec,
    PresentSpec,
    ResourcesSpec,
    Rule,
    SamplerName,
    SearchSpec,
    SpaceSpec,
)
from tuner.job.stylizer_spec import StylizerSpec
from tuner.job.yaml_file import yaml_text

__all__ = [
    "LEARNING",
    "RULES",
    "BaselinesSpec",
    "BudgetSpec",
    "FinalsSpec",
    "HalvingSpec",
    "JobSpec",
    "PairSpec",
    "PresentSpec",
    "ReferenceSpec",
    "ResourcesSpec",
    "Rule",
    "SamplerName",
    "SearchSpec",
    "SpaceSpec",
    "StyleImage",
    "StylizerSpec",
]


class JobSpec(Section):
    """A tuning job. Paths are relative to the job file."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="what to call the run")]
    pairs: Annotated[
        list[PairSpec],
        Field(min_length=1, max_length=100, description="the objective is the mean over them"),
    ]
    size_px: Annotated[
        int, Field(ge=MIN_SIDE_PX, le=MAX_SIZE_PX, description="longer side of the results")
    ] = 256
    space: Annotated[
        Annotated[str, Tag("name")] | Annotated[SpaceSpec, Tag("spec")],
        Discriminator(lambda value: "spec" if isinstance(value, dict | SpaceSpec) else "name"),
        Field(
            description="a named search space or a path to one; with a prior:"
            " {base: NAME, prior: …}"
        ),
    ] = "standard"
    stylizer: Annotated[
        StylizerSpec | None,
        Field(description="another stylizer than our engine; `space` then has its parameters"),
    ] = None
    holdout: Annotated[
        list[PairSpec],
        Field(max_length=100, description="pairs that only the finals are scored on"),
    ] = Field(default=[])
    objective: Annotated[
        str | dict[str, float] | list[str],
        Field(
            description="metric to optimize, or {metric: weight} for a sum, or a list of up to"
            f" {MAX_OBJECTIVES} for a Pareto search"
        ),
    ] = "lpips"
    constraints: Annotated[
        dict[str, str],
        Field(description='{seconds_per_image: "<= 5", vram_gb: "<= 8"}, or bounds of metrics'),
    ] = Field(default={})
    search: SearchSpec = SearchSpec()
    halving: HalvingSpec = HalvingSpec()
    finals: FinalsSpec = FinalsSpec()
    baselines: BaselinesSpec = BaselinesSpec()
    present: PresentSpec = PresentSpec()
    resources: ResourcesSpec = ResourcesSpec()
    budget: BudgetSpec = BudgetSpec()
    watch: Annotated[
        list[Literal["prometheus", "tensorboard", "mlflow", "wandb", "trackio"]],
        Field(description="experiment trackers to notify about the run"),
    ] = Field(default=[])
    storage: Annotated[
        str | None,
        Field(description="where to mirror the run directory: a folder, s3://, gs://, abfs://"),
    ] = None
    weights: Annotated[
        dict[str, str], Field(description="weights files to use instead of the cache or a download")
    ] = Field(default={})

    @field_validator("name")
    @classmethod
    def _has_no_control_characters(cls, value: str) -> str:
        if any(unicodedata.category(character) == "Cc" for character in value):
            raise ValueError("expected text without control characters")
        return value

    @field_validator("storage")
    @classmethod
    def _valid_storage_url(cls, value: str | None) -> str | None:
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
        if isinstance(value, list) and not 1 <= len(set(value)) == len(value) <= MAX_OBJECTIVES:
            raise ValueError(f"expected 1 to {MAX_OBJECTIVES} different measures")
        if not any(name in OBJECTIVES for name in names):
            raise ValueError(
                f"expected at least one of {', '.join(OBJECTIVES)}: for a metric that compares with"
                " the content, doing nothing scores best, and for a cost the cheapest trial does"
            )
        return value

    @field_validator("constraints")
    @classmethod
    def _valid_bounds(cls, value: dict[str, str]) -> dict[str, str]:
        for measure, text in value.items():
            Constraint.parse(measure, text)
        return value

    @model_validator(mode="after")
    def _limits_of_a_pareto_search(self) -> JobSpec:
        if self.goals.pareto:
            if self.budget.target is not None:
                raise ValueError(
                    "budget.target: a target needs a single objective, and the job has several;"
                    " remove the target or all objectives but one"
                )
            if self.search.sampler == "cmaes":
                raise ValueError(
                    "search.sampler: cmaes supports only one objective, and the job has several;"
                    " expected gp, tpe, nsga2, random, sobol or grid"
                )
        return self

    @model_validator(mode="after")
    def _presented_is_larger(self) -> JobSpec:
        size_px = self.present.size_px
        if size_px is not None and 0 < size_px < self.size_px:
            raise ValueError(
                f"present.size_px: expected 0, or at least the size_px of the search, which is"
                f" {self.size_px}, got {size_px}"
            )
        return self

    @model_validator(mode="after")
    def _prior_has_a_sampler(self) -> JobSpec:
        sampler = self.search.sampler
        if self.prior and sampler in ("sobol", "grid"):
            raise ValueError(
                f"search.sampler: {sampler} plans all trials beforehand, so `space.prior` would"
                " change nothing; expected another sampler, or no prior"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_a_stylizer(cls, content: Any) -> Any:
        """Fill in what another stylizer needs: one step and no presets, unless the job says so."""
        if not isinstance(content, dict) or not content.get("stylizer"):
            return content
        halving, search = content.get("halving", {}), content.get("search", {})
        if isinstance(halving, dict) and "max_steps" not in halving:
            content = {**content, "halving": {"min_steps": 1, **halving, "max_steps": 1}}
        if isinstance(search, dict):
            content = {**content, "search": {"presets": False, **search}}
        return content

    @property
    def automatic_presented_px(self) -> int:
        """The larger of 256 px and twice the size of the search."""
        return min(max(256, 2 * self.size_px), MAX_SIZE_PX)

    @property
    def presented_px(self) -> int:
        """Longer side at which the best results are rendered again; 0 for not at all."""
        size_px = self.present.size_px
        return self.automatic_presented_px if size_px is None else size_px

    @property
    def space_name(self) -> str:
        """Name or path of the search space."""
        return self.space if isinstance(self.space, str) else self.space.base

    @property
    def prior(self) -> Mapping[str, Any]:
        """Where a person expects good values (`search_spaces.priors`); empty if nowhere."""
        return {} if isinstance(self.space, str) else self.space.prior

    def space_placed(self, place: Callable[[str], str]) -> str | SpaceSpec:
        """Return the key ``space``, with another path if it is no named space."""
        name = self.space_name if self.space_name in CATALOGUE else place(self.space_name)
        if isinstance(self.space, str):
            return name
        return self.space.model_copy(update={"base": name})

    @property
    def goals(self) -> Goals:
        """The objectives and constraints of the job."""
        if isinstance(self.objective, dict):
            objectives = [Objective(weights=self.objective)]
        else:
            names = [self.objective] if isinstance(self.objective, str) else self.objective
            objectives = [Objective(weights={name: 1.0}) for name in names]
        bounds = [Constraint.parse(*item) for item in self.constraints.items()]
        return Goals(objectives=objectives, constraints=bounds)

    def to_yaml(self) -> str:
        """Return the job as the text of a job file that states every default."""
        return yaml_text(self.model_dump(mode="json", by_alias=True))


def schema_json() -> str:
    """Return the JSON Schema of job files. ``tuner/job/job.schema.json`` holds it for editors."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema.update(JobSpec.model_json_schema())
    return json.dumps(schema, indent=2) + "\n"
