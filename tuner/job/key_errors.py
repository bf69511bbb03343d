"""Key errors: what is wrong with a key of a job file, in one line with file, line and value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from nst_core.errors import near_miss
from tuner.job.spec import JobSpec
from tuner.job.yaml_file import KeyPath, YamlFile

#: Longer values are cut in messages.
MAX_VALUE_CHARACTERS = 60

_HINT_AT_END = re.compile(r"; did you mean [^;]*$")

#: Words of pydantic's messages -> plainer words.
_PLAIN = {
    "Value error, ": "",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "a number above",
    "less than": "a number below",
    ", unable to parse string as an integer": "",
    ", unable to parse string as a number": "",
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
        missing = detail["type"] == "missing"
        path = _key_path(detail["loc"], file.data, with_missing=missing)
        if detail["type"] == "extra_forbidden":
            keys = _keys_at(path[:-1])
            problem = f"no such key{near_miss(str(path[-1]), keys) or _elsewhere(str(path[-1]))}"
        elif missing:
            problem = f"missing, expected {_description(path)}"
        else:
            path, message = _named_key(path, _message(detail), file.data)
            got = _got(path, message, detail["input"], file.data)
            hint = _HINT_AT_END.search(message)
            end = hint.start() if hint else len(message)
            problem = message[:end] + got + message[end:]
        key = ".".join(str(part) for part in path) or "the file"
        problems[f"{file.where(path)}`{key}`: {problem}"] = None
    return list(problems)


def _elsewhere(name: str) -> str:
    """Return ``; did you mean `halving.max_steps`?`` for keys of sections that contain a name."""
    found = [
        f"`{section}.{key}`"
        for section in _keys_at(())
        for key in _keys_at((section,))
        if key == name or key.endswith(f"_{name}")
    ]
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _named_key(path: KeyPath, message: str, data: Any) -> tuple[KeyPath, str]:
    """Return the key that a message about several keys begins with, and the rest of the message."""
    name, colon, rest = message.partition(": ")
    inner = (*path, *name.split("."))
    is_key = colon and re.fullmatch(r"\w+(\.\w+)*", name)
    if is_key and (not path or _value_at(inner, data) is not None):
        return inner, rest
    return path, message


def _got(path: KeyPath, message: str, checked: Any, data: Any) -> str:
    """Return the wrong value for the end of a message, unless the message has it already."""
    found = _value_at(path, data)
    value = checked if found is None else found
    too_much = isinstance(value, dict) and len(repr(value)) > MAX_VALUE_CHARACTERS
    quoted = isinstance(value, str) and repr(value) in message
    if too_much or quoted or ", got " in message:
        return ""
    return f", got {short_text(value)}"


def _value_at(path: KeyPath, data: Any) -> Any:
    """Return the value of a key in the file; None if the file does not have the key."""
    for part in path:
        try:
            data = data[part]
        except (LookupError, TypeError):
            return None
    return data


def _key_path(loc: Sequence[str | int], data: Any, *, with_missing: bool = True) -> KeyPath:
    """Return a location of pydantic without the names of union members, which are not keys.

    Args:
        loc: location of pydantic.
        data: content of the file.
        with_missing: keep a last part that the file does not have.
    """
    path: list[str | int] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(data, dict) and (part in data or (last and with_missing)):
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
    message = detail["msg"]
    message = re.sub(r"^(Input|List|String|Dictionary) should (be|have) ", "expected ", message)
    message = re.sub(r" or instance of \w+", "", message)  # names of classes mean nothing to users
    message = plain_words(message)
    if detail["type"] == "literal_error":
        message += near_miss(detail["input"], re.findall(r"'([^']+)'", message))
    return message


def plain_words(message: str) -> str:
    """Return a message of pydantic in plainer words."""
    for words, plain in _PLAIN.items():
        message = message.replace(words, plain)
    return message


def short_text(value: Any) -> str:
    """Return a value as text for a message, cut to `MAX_VALUE_CHARACTERS`."""
    text = repr(value)
    too_long = len(text) > MAX_VALUE_CHARACTERS
    return f"{text[: MAX_VALUE_CHARACTERS - 3]}…" if too_long else text


def place_of(file: YamlFile, key: KeyPath) -> str:
    """Return the line and name of a key, as errors begin with them."""
    pair, of_style = key[:3], key[3:]
    if of_style and isinstance(of_style[0], str) and (*pair, 0) in file.lines:
        key = (*pair, 0, *of_style)  # the file has a list of one style
    return f"{file.where(key)}`{'.'.join(map(str, key))}`"
