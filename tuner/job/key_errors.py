"""Key errors: what is wrong with a key of a job file, in one line with file, line and value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from nst_core.errors import near_miss
from tuner.job.spec import JobSpec
from tuner.job.yaml_file import KeyPath, YamlFile

#: Words of pydantic's messages -> plainer words.
_PLAIN = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "a number above",
    "less than": "a number below",
    "a valid string": "text",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid dictionary": "a mapping (key: value)",
    "a valid list": "a list",
}


def describe_errors(error: ValidationError, file: YamlFile) -> list[str]:
    """Return each error of pydantic as one sentence with line, key, value and near miss."""
    problems: dict[str, None] = {}  # a set that keeps the order
    for detail in error.errors():
        path = _key_path(detail["loc"], file.data)
        key = ".".join(str(part) for part in path) or "the file"
        place = f"{file.where(path)}`{key}`"
        if detail["type"] == "extra_forbidden":
            keys = _keys_at(path[:-1])
            problems[f"{place}: no such key{near_miss(str(path[-1]), keys)}"] = None
        elif detail["type"] == "missing":
            problems[f"{place}: missing, expected {_description(path)}"] = None
        else:
            message, hint, meant = _message(detail).partition("; did you mean")
            got = f", got {short_text(detail['input'])}"
            problems[f"{place}: {message}{got}{hint}{meant}"] = None
    return list(problems)


def _key_path(loc: Sequence[str | int], data: Any) -> KeyPath:
    """Return a location of pydantic without the names of union members, which are not keys."""
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


def _keys_at(path: KeyPath) -> list[str]:
    """Return the keys that a job file may have at a path."""
    model = _model_at(path)
    fields = model.model_fields if model else {}
    return [field.alias or name for name, field in fields.items()]


def _description(path: KeyPath) -> str:
    model = _model_at(path[:-1])
    field = model.model_fields.get(str(path[-1])) if model else None
    return (field.description if field else None) or "a value"


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    """Return the model that describes the keys at a path, or None if no model does."""
    model: type[BaseModel] | None = JobSpec
    for part in path:
        if isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in a type such as ``list[Model]`` or ``str | Annotated[Model, …]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _message(detail: Any) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    message = re.sub(r"^(Input|List|String|Dictionary) should (be|have) ", "expected ", message)
    message = re.sub(r" or instance of \w+", "", message)  # names of classes mean nothing to users
    for words, plain in _PLAIN.items():
        message = message.replace(words, plain)
    if detail["type"] == "literal_error":
        message += near_miss(detail["input"], re.findall(r"'([^']+)'", message))
    return message


def short_text(value: Any) -> str:
    """Return a value as text for a message, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def place_of(file: YamlFile, key: KeyPath) -> str:
    """Return the line and name of a key, as errors begin with them."""
    pair, of_style = key[:3], key[3:]
    if of_style and isinstance(of_style[0], str) and (*pair, 0) in file.lines:
        key = (*pair, 0, *of_style)  # the file has a list of one style
    return f"{file.where(key)}`{'.'.join(map(str, key))}`"
