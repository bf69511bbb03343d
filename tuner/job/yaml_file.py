"""YAML files (version 1.2), with the line of every key, so that an error can name it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from nst_core.errors import ConfigError
from nst_core.files import foreign_path, read_limited, text_of

#: Keys and list indices that lead from the top of a file to a value.
KeyPath = tuple[str | int, ...]

#: Largest file that is read, in bytes. Job files and space files have a few thousand.
MAX_BYTES = 1_000_000


class _Constructor(SafeConstructor):
    """Constructor of plain values in which dates stay text."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    return yaml


def yaml_text(content: Any) -> str:
    """Return plain values as the text of a file from which `read_yaml` reads the same values."""
    yaml = _yaml()
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.representer.ignore_aliases = lambda _: True  # `read_yaml` refuses aliases
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()


@dataclass(frozen=True, kw_only=True)
class YamlFile:
    """A parsed file.

    Attributes:
        source: name of the file in errors.
        data: plain Python values.
        lines: key path -> line number, from 1.
    """

    source: str
    data: Any
    lines: Mapping[KeyPath, int]

    def where(self, path: KeyPath) -> str:
        """Return ``line N: `` of a key, or of the nearest key around it; empty if there is none."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return f"line {self.lines[path[:end]]}: "
        return ""


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML file. Aliases and duplicate keys are errors.

    Raises:
        ConfigError: the file is missing, unreadable, too large, or not valid.
    """
    try:
        text = text_of(read_limited(path, MAX_BYTES))
    except FileNotFoundError:
        raise ConfigError(str(path), [foreign_path(path) or "no such file"]) from None
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read ({error.strerror})"]) from None
    except ValueError as error:
        raise ConfigError(str(path), [str(error)]) from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> YamlFile:
    """Parse the text of a YAML file; see `read_yaml`.

    Args:
        text: content of the file.
        source: name of the file in errors.

    Raises:
        ConfigError: the text is not valid.
    """
    lines: dict[KeyPath, int] = {}
    try:
        problems = _aliases(text)  # before anything follows them: they could grow without limit
        if not problems and (node := _yaml().compose(text)):
            problems = _duplicates(node, (), lines)
        data = None if problems else _yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        problems = [f"{line}not YAML: {error.problem or error.context}"]
    except RecursionError:
        problems = ["not YAML: nested too deeply"]
    except Exception as error:  # the parser raises errors of many types on malformed text
        problems = [f"not YAML: {(str(error) or type(error).__name__).splitlines()[0]}"]
    if problems:
        raise ConfigError(source, problems)
    return YamlFile(source=source, data=data, lines=lines)


def _aliases(text: str) -> list[str]:
    """Return a problem for every alias."""
    return [
        f"line {event.start_mark.line + 1}: aliases (`*{event.anchor}`) are not supported; write"
        " the value out"
        for event in _yaml().parse(text)
        if isinstance(event, AliasEvent)
    ]


def _duplicates(node: Node, path: KeyPath, lines: dict[KeyPath, int]) -> list[str]:
    """Record the lines of all keys below ``node``, and return a problem for every duplicate key."""
    problems: list[str] = []
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            problems += _duplicates(item, (*path, index), lines)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                problems.append(f"line {line}: expected a word as key, got a list or mapping")
                continue
            here = (*path, str(key.value))
            if here in lines:
                problems.append(
                    f"line {line}: `{key.value}` appears twice, first in line {lines[here]};"
                    " remove one of them"
                )
            lines[here] = line
            problems += _duplicates(value, here, lines)
    return problems


def set_key(data: Any, assignment: str) -> KeyPath:
    """Apply ``key.sub=value`` to nested mappings and lists, in place; the value is read as YAML.

    Returns:
        The path of the key.

    Raises:
        ConfigError: there is no ``=``, or the path leads to something that holds no keys.
    """
    path_text, equals, value_text = assignment.partition("=")
    if not equals or not path_text.strip():
        raise ConfigError(f"--set {assignment}", ["expected key=value or key.sub=value"])
    value = parse_yaml(value_text, f"--set {assignment}").data
    path: list[str | int] = []
    target: Any = data
    parts = path_text.strip().split(".")
    for i, part in enumerate(parts):
        key: Any = int(part) if isinstance(target, list) and part.isdigit() else part
        if isinstance(target, list) and not (isinstance(key, int) and key < len(target)):
            raise ConfigError(
                f"--set {assignment}", [f"`{part}`: expected an index below {len(target)}"]
            )
        if not isinstance(target, (dict, list)):
            parent = ".".join(parts[:i])
            raise ConfigError(
                f"--set {assignment}",
                [f"`{parent}` is a single value, so it has no key `{part}`; set `{parent}` itself"],
            )
        path.append(key)
        if i == len(parts) - 1:
            target[key] = value
        elif isinstance(target, list):
            target = target[key]
        else:
            target = target.setdefault(key, {})
    return tuple(path)
