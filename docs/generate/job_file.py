"""The reference of the job file, from its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_SCHEMA = Path(__file__).parents[2] / "tuner" / "job" / "job.schema.json"

_INTRODUCTION = """\
# Job file

<!-- Written by `python -m docs.generate` from tuner/job/job.schema.json; do not edit. -->

A job file is YAML 1.2 and describes one tuning job. [The guide](../guide/job-file.md) shows how to write
one. Paths are relative to the job file. Unknown keys are errors. Every key can be overridden on the
command line: `--set search.trials=24`.

The JSON Schema `tuner/job/job.schema.json` lets an editor complete and check these keys.
"""

_Schema = Mapping[str, Any]


def to_markdown() -> str:
    """Return the page: the keys of the file, then one section for each nested mapping."""
    schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    definitions: Mapping[str, _Schema] = schema["$defs"]
    parts = [_INTRODUCTION, "## Keys of the file\n", _table(schema, definitions)]
    for title, name in _nested(schema, definitions).items():
        definition = definitions[name]
        parts += [f"## `{title}`\n", definition.get("description", "") + "\n"]
        parts.append(_table(definition, definitions))
    return "\n".join(parts)


def _nested(schema: _Schema, definitions: Mapping[str, _Schema], path: str = "") -> dict[str, str]:
    """Return {title: definition} of the mappings inside a mapping; each definition once."""
    found: dict[str, str] = {}
    for key, value in schema["properties"].items():
        title = f"{path}.{key}".strip(".")
        for name in _references(value):
            inner = {title: name, **_nested(definitions[name], definitions, title)}
            found |= {title: name for title, name in inner.items() if name not in found.values()}
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rsplit("/", 1)[-1]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _table(schema: _Schema, definitions: Mapping[str, _Schema]) -> str:
    required = schema.get("required", ())
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, value in schema["properties"].items():
        meaning = value.get("description", "")
        if not meaning and (names := list(_references(value))):
            meaning = definitions[names[0]].get("description", "")
        default = "required" if key in required else _default(value)
        cells = (f"`{key}`", _kind(value), default, meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _default(value: _Schema) -> str:
    default = value.get("default")
    if default is None:
        options = value.get("anyOf", ())
        return "`auto`" if any(option.get("const") == "auto" for option in options) else "none"
    return "see below" if isinstance(default, dict) and default else f"`{json.dumps(default)}`"


def _kind(value: _Schema) -> str:
    """Return the kind of a value and its range, in words."""
    if "$ref" in value:
        return "mapping"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{option}`" for option in value["enum"])
    if options := value.get("anyOf") or value.get("oneOf"):
        kinds = [_kind(option) for option in options if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    match value.get("type"):
        case "array" if "prefixItems" in value:
            return f"[{', '.join(map(_kind, value['prefixItems']))}]"
        case "array":
            return f"list of {_kind(value['items'])}".replace("mapping", "mappings")
        case "object":
            return f"mapping to {_kind(value['additionalProperties'])}"
        case "integer":
            return "whole number" + _bounds(value)
        case "number":
            return "number" + _bounds(value)
        case "boolean":
            return "`true` or `false`"
    return "text"


def _bounds(value: _Schema) -> str:
    words = {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "to {}",
        "exclusiveMaximum": "below {}",
    }
    bounds = [text.format(_number(value[key])) for key, text in words.items() if key in value]
    return f", {' '.join(bounds)}" if bounds else ""


def _number(value: float) -> str:
    if abs(value) >= 1e7:
        return f"{value:.2g}"
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"
