"""The reference of all settings of a configuration, from `nst_core.StyleConfig`."""

from __future__ import annotations

import re
from typing import Any

from nst_core.config import DEFAULT_LR, FIELDS, StyleConfig

_INTRODUCTION = """\
# Settings

<!-- Written by `python -m docs.generate` from nst_core/config.py; do not edit. -->

A configuration is one full set of these settings (`nst_core.StyleConfig`). They are used in presets, as
`--set KEY=VALUE` of `nst-tuner stylize`, under `fixed` and `params` of a
[search space](../guide/spaces.md), and in Python. Each can be searched, except for those that
[the page about spaces](../guide/spaces.md) names.

| setting | value | default | meaning |
| --- | --- | --- | --- |
"""


def to_markdown() -> str:
    """Return the page: one row for each setting."""
    meanings = _meanings()
    rows = [
        f"| `{name}` | {_values(name)} | {_default(name)} | {meanings[name]} |" for name in FIELDS
    ]
    return _INTRODUCTION + "\n".join(rows) + "\n"


def _meanings() -> dict[str, str]:
    """Return the meaning of each setting, from the docstring of StyleConfig."""
    text = (StyleConfig.__doc__ or "").split("Attributes:\n")[1].split("\n\n    Raises:")[0]
    entries = re.findall(r"^ {8}(\w+): (.*?)(?=^ {8}\w+: |\Z)", text, re.MULTILINE | re.DOTALL)
    return {name: _markdown(meaning) for name, meaning in entries}


def _markdown(text: str) -> str:
    """Return docstring text as one Markdown table cell."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _values(name: str) -> str:
    meta: Any = FIELDS[name].metadata
    if "options" in meta:
        return ", ".join(f"`{option}`" for option in meta["options"])
    if "layers" in meta:
        return "layer: weight"
    if "weights" in meta:
        return f"list of numbers, {meta['low']:g} to {meta['high']:g}"
    kind = "whole number" if str(FIELDS[name].type).startswith("int") else "number"
    return f"{kind}, {meta['low']:g} to {meta['high']:g}"


def _default(name: str) -> str:
    if name == "lr":
        return ", ".join(f"{optimizer} {rate:g}" for optimizer, rate in DEFAULT_LR.items())
    value = FIELDS[name].default
    return "see meaning" if value is None else f"`{value}`"
