"""YAML with the line of every key, so that an error can say where it is."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nst_core.errors import ConfigError
from nst_core.files import foreign_path, read_limited, text_of

KeyPath = tuple[str | int, ...]

#: A job or space file is a page of text; aliases could blow a larger one up in memory.
MAX_BYTES = 1_000_000


class _Loader(yaml.SafeLoader):
    """Scalars as YAML 1.2's core schema reads them (section 10.3.2), which people expect.

    PyYAML's own rules are those of YAML 1.1, where `1e4` is a text and `on` is a boolean.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012  # PyYAML declares it so

    def __init__(self, stream: str):
        super().__init__(stream)
        #: Aliases as problems. Their nodes do not say where they are: they are those of the anchor.
        self.aliases: list[str] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """See `yaml.composer.Composer`."""
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()  # type: ignore[no-untyped-call]
            self.aliases.append(
                f"line {alias.start_mark.line + 1}: aliases (`*{alias.anchor}`) are not supported;"
                " write the value out"
            )
        return super().compose_node(parent, index)


for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), _first
    )


def _integer(_: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(node.value, 0 if node.value[1:2] in ("o", "x") else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML declares it so
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, ()),
            *_Loader.yaml_implicit_resolvers.get(first, ()),
        ]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
    }

    def ignore_aliases(self, data: Any) -> bool:
        """`read_yaml` refuses them."""
        return True


def yaml_text(content: Any) -> str:
    """Plain values as a file that `read_yaml` reads the same from."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


@dataclass(frozen=True, kw_only=True)
class YamlFile:
    """A parsed file.

    Attributes:
        source: its name in errors.
        data: plain Python values.
        lines: key path -> line number from 1.
    """

    source: str
    data: Any
    lines: Mapping[KeyPath, int]

    def where(self, path: KeyPath) -> str:
        """``line N: `` of a key, or of the nearest key around it; empty if it has no line."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return f"line {self.lines[path[:end]]}: "
        return ""


def read_yaml(path: Path) -> YamlFile:
    """Parse a file; aliases and duplicate keys are refused.

    Raises:
        ConfigError: missing, unreadable, too large, or not YAML.
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
    """As `read_yaml`, from a string."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[KeyPath, int] = {}
        problems = [*loader.aliases, *(_walk(node, (), lines, set()) if node else [])]
        if problems:
            raise ConfigError(source, problems)
        data = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ConfigError(source, [f"{line}not YAML: {error.problem or error.context}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(source, [f"not YAML: {str(error).splitlines()[0]}"]) from None
    return YamlFile(source=source, data=data, lines=lines)


def _walk(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], seen: set[int]) -> list[str]:
    """Record lines below ``node``; returns duplicate keys as problems."""
    if id(node) in seen:  # an alias
        return []
    seen.add(id(node))
    problems: list[str] = []
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            problems += _walk(item, (*path, index), lines, seen)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                problems.append(f"line {line}: keys must be plain words")
                continue
            if here in lines:
                first = lines[here]
                problems.append(f"line {line}: `{key.value}` stands twice, first in line {first}")
            lines[here] = line
            problems += _walk(value, here, lines, seen)
    return problems


def set_key(data: Any, assignment: str) -> KeyPath:
    """Apply ``key.sub=value`` to nested mappings in place; the value is read as YAML.

    Raises:
        ConfigError: no ``=``, or the path runs through something that is not a mapping.
    """
    path_text, equals, value_text = assignment.partition("=")
    if not equals or not path_text.strip():
        raise ConfigError(f"--set {assignment}", ["expected key=value or key.sub=value"])
    value = parse_yaml(value_text, f"--set {assignment}").data
    path: list[Hashable] = []
    target: Any = data
    parts = path_text.strip().split(".")
    for i, part in enumerate(parts):
        key: Any = int(part) if isinstance(target, list) and part.isdigit() else part
        if isinstance(target, list) and not (isinstance(key, int) and key < len(target)):
            raise ConfigError(
                f"--set {assignment}", [f"`{part}`: expected an index below {len(target)}"]
            )
        if not isinstance(target, (dict, list)):
            inside = ".".join(parts[:i])
            raise ConfigError(f"--set {assignment}", [f"`{inside}` holds no keys to set"])
        path.append(key)
        if i == len(parts) - 1:
            target[key] = value
        elif isinstance(target, list):
            target = target[key]
        else:
            target = target.setdefault(key, {})
    return tuple(path)  # type: ignore[arg-type]
