"""JobSpec: the job file, validated whole."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from nst_core.config import MAX_SIZE_PX, MIN_SIDE_PX
from nst_core.errors import ConfigError, InputError, near_miss
from nst_core.metric_names import METRICS
from search_spaces import CATALOGUE, Space, space_from_dict
from tuner.yamlfile import KeyPath, YamlFile, read_yaml, set_key

#: A reference of another shape than the content cannot be compared pixel by pixel.
MAX_ASPECT_DIFFERENCE = 0.05


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StyleImage(_Spec):
    """One of several style images of a pair."""

    image: Annotated[str, Field(min_length=1, description="image file")]
    weight: Annotated[float, Field(gt=0, le=1e6, description="share in the blend")] = 1.0


class PairSpec(_Spec):
    """One content photo with its style and the stylization it is scored against."""

    content: Annotated[str, Field(min_length=1, description="image file to stylize")]
    style: Annotated[
        list[StyleImage],
        Field(min_length=1, description="style image file, or a list of {image, weight}"),
    ]
    reference: Annotated[str, Field(min_length=1, description="image file that shows the goal")]

    @field_validator("style", mode="before", json_schema_input_type=str | list[StyleImage])
    @classmethod
    def _one_file(cls, value: Any) -> Any:
        return [{"image": value}] if isinstance(value, str) else value

    @property
    def styles(self) -> tuple[tuple[str, float], ...]:
        """Style files with blend weights."""
        return tuple((style.image, style.weight) for style in self.style)

    @property
    def files(self) -> tuple[str, ...]:
        """Every image file of the pair: content, styles, reference."""
        return (self.content, *(image for image, _ in self.styles), self.reference)


class SearchSpec(_Spec):
    """How configurations are proposed."""

    sampler: Annotated[Literal["tpe", "random"], Field(description="Optuna sampler")] = "tpe"
    trials: Annotated[
        int, Field(ge=1, le=1_000_000, description="configurations in all, presets included")
    ] = 64
    seed: Annotated[int, Field(ge=0, lt=2**31, description="seed of the sampler")] = 0
    presets: Annotated[
        bool, Field(description="run the built-in baseline presets as the first trials")
    ] = True
    replay: Annotated[
        str | None,
        Field(description="run directory whose recorded suggestions are used again, in order"),
    ] = None


class HalvingSpec(_Spec):
    """Early stopping: at each rung only the best 1/reduction go on."""

    min_steps: Annotated[int, Field(ge=1, le=100_000, description="steps of the first rung")] = 30
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
    """When to stop early; whichever limit comes first."""

    minutes: Annotated[
        float | None, Field(gt=0, le=1e6, description="working time of all launches of the run")
    ] = None


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
    objective: Annotated[str, Field(description="metric to optimise")] = "lpips"
    search: SearchSpec = SearchSpec()
    halving: HalvingSpec = HalvingSpec()
    resources: ResourcesSpec = ResourcesSpec()
    budget: BudgetSpec = BudgetSpec()
    weights: Annotated[
        dict[str, str], Field(description="weights files to use instead of the cache or a download")
    ] = {}

    @field_validator("objective")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        if value not in METRICS:
            raise ValueError(f"expected one of {', '.join(METRICS)}{near_miss(value, METRICS)}")
        return value

    @property
    def higher_is_better(self) -> bool:
        """Direction of the objective."""
        return METRICS[self.objective].higher_is_better

    def to_yaml(self) -> str:
        """The file's content, with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_job(path: Path, overrides: Sequence[str] = ()) -> tuple[JobSpec, Space]:
    """Read a job file, apply ``key.sub=value`` overrides, check it and every file it names.

    Returns:
        The job, with paths made absolute, and its search space.

    Raises:
        ConfigError: with every problem of the file at once.
    """
    file = read_yaml(path)
    if not isinstance(file.data, dict):
        raise ConfigError(str(path), [f"expected a job (name, pairs, …), got {_short(file.data)}"])
    overridden = [set_key(file.data, assignment) for assignment in overrides]
    lines = {
        key: line
        for key, line in file.lines.items()
        if not any(key[: len(path)] == path for path in overridden)
    }
    file = YamlFile(source=file.source, data=file.data, lines=lines)
    try:
        job = JobSpec.model_validate(file.data)
    except ValidationError as error:
        raise ConfigError(str(path), describe(error, file)) from None
    job = _absolute(job, path.resolve().parent)
    problems, space = _check_files(job, file)
    if problems:
        raise ConfigError(str(path), problems)
    assert space is not None
    return job, space


def describe(error: ValidationError, file: YamlFile) -> list[str]:
    """Each of pydantic's findings as one sentence with line, key, value and near miss."""
    problems: dict[str, None] = {}
    for finding in error.errors():
        path = _key_path(finding["loc"], file.data)
        key = ".".join(str(part) for part in path) or "the file"
        place = f"{file.where(path)}`{key}`"
        if finding["type"] == "extra_forbidden":
            known = _known_keys(path[:-1])
            problems[f"{place}: no such key{near_miss(str(path[-1]), known)}"] = None
        elif finding["type"] == "missing":
            problems[f"{place}: missing, expected {_expectation(path)}"] = None
        else:
            problems[f"{place}: {_message(finding)}, got {_short(finding['input'])}"] = None
    return list(problems)


def _key_path(loc: Sequence[str | int], data: Any) -> KeyPath:
    """Pydantic's location without the names of union members, which are no keys of the file."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(data, dict) and (part in data or last):
            path.append(part)
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            path.append(part)
            data = data[part] if part < len(data) else None
    return tuple(path)


def _known_keys(path: KeyPath) -> list[str]:
    model = _model_at(path)
    return list(model.model_fields) if model else []


def _expectation(path: KeyPath) -> str:
    model = _model_at(path[:-1])
    spec = model.model_fields.get(str(path[-1])) if model else None
    return (spec.description if spec else None) or "a value"


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    names = tuple(part for part in path if isinstance(part, str))
    models: Mapping[tuple[str, ...], type[BaseModel]] = {
        (): JobSpec,
        ("pairs",): PairSpec,
        ("pairs", "style"): StyleImage,
        ("search",): SearchSpec,
        ("halving",): HalvingSpec,
        ("resources",): ResourcesSpec,
        ("budget",): BudgetSpec,
    }
    return models.get(names)


def _message(finding: Any) -> str:
    message = finding["msg"].removeprefix("Value error, ")
    message = re.sub(r"^(Input|List|String|Dictionary) should (be|have) ", "expected ", message)
    if finding["type"] == "literal_error":
        message += near_miss(finding["input"], re.findall(r"'([^']+)'", message))
    return message


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _absolute(job: JobSpec, folder: Path) -> JobSpec:
    def place(name: str) -> str:
        return os.path.normpath(folder / Path(name).expanduser())

    pairs = [
        PairSpec(
            content=place(pair.content),
            style=[StyleImage(image=place(image), weight=w) for image, w in pair.styles],
            reference=place(pair.reference),
        )
        for pair in job.pairs
    ]
    search = job.search
    if search.replay:
        search = search.model_copy(update={"replay": place(search.replay)})
    return job.model_copy(
        update={
            "pairs": pairs,
            "search": search,
            "space": job.space if job.space in CATALOGUE else place(job.space),
            "weights": {name: place(file) for name, file in job.weights.items()},
        }
    )


def _check_files(job: JobSpec, file: YamlFile) -> tuple[list[str], Space | None]:
    problems: list[str] = []
    for index, pair in enumerate(job.pairs):
        problems += _pair_problems(pair, job.size_px, ("pairs", index), file)
    try:
        space = find_space(job.space)
    except ConfigError as error:
        space = None
        listed = error.problems if Path(job.space).is_file() else (str(error.problems[0]),)
        problems += [f"{file.where(('space',))}`space`: {problem}" for problem in listed]
    return problems, space


def find_space(name_or_path: str) -> Space:
    """A named space, or one from a YAML file.

    Raises:
        ConfigError: neither, or the file's problems.
    """
    if name_or_path in CATALOGUE:
        return CATALOGUE[name_or_path]
    path = Path(name_or_path)
    if not path.is_file():
        hint = near_miss(path.name, CATALOGUE)
        raise ConfigError(
            name_or_path,
            [f"{path.name!r} is neither a named space ({', '.join(CATALOGUE)}) nor a file{hint}"],
        )
    return space_from_dict(read_yaml(path).data, str(path))


def _pair_problems(pair: PairSpec, size_px: int, path: KeyPath, file: YamlFile) -> list[str]:
    from nst_core.images import check_image, fit_size  # brings torch, which `status` must not load

    problems = []
    sizes: dict[str, tuple[int, int]] = {}
    roles = [("content", pair.content), *(("style", image) for image, _ in pair.styles)]
    for role, name in [*roles, ("reference", pair.reference)]:
        place = f"{file.where((*path, role))}`{'.'.join(map(str, (*path, role)))}`"
        try:
            sizes[role] = check_image(name)
            if role != "reference":
                fit_size(*sizes[role], size_px)
        except InputError as error:
            problems.append(f"{place}: {error}")
    if "content" in sizes and "reference" in sizes and not problems:
        (cw, ch), (rw, rh) = sizes["content"], sizes["reference"]
        if abs(cw * rh / (ch * rw) - 1) > MAX_ASPECT_DIFFERENCE:
            place = f"{file.where((*path, 'reference'))}`{'.'.join(map(str, path))}.reference`"
            problems.append(
                f"{place}: {rw}x{rh} has another shape than the content's {cw}x{ch}; crop the"
                " reference to the content's frame"
            )
    return problems


def schema_json() -> str:
    """JSON Schema of the job file, as ``tuner/job.schema.json`` ships it for editors."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema.update(JobSpec.model_json_schema())
    return json.dumps(schema, indent=2) + "\n"
