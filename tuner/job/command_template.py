"""Command templates: the command line of a stylizer, with places for pictures and parameters.

An element of a command is text with places in braces, such as ``{alpha}``. An element that is
itself a list is left out where one of its parameters has no meaning in a trial. No shell ever reads
a command: each element becomes one argument, whatever characters its values contain.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from nst_core.errors import near_miss

#: One argument, or arguments that are left out together.
Element: TypeAlias = str | Sequence[str]
Template: TypeAlias = Sequence[Element]

#: Places that every command may have, beside its parameters: name -> what takes its place.
PLACES: Mapping[str, str] = {
    "content": "the content image, a PNG file of the result's size",
    "style": "the first style image, a PNG file; {style2}, {style3} … are further ones",
    "out": "the file that the program has to write: a PNG file of the content's size",
    "seed": "the seed",
    "size_px": "the longer side of the result in pixels",
    "device": "where to compute: cpu, cuda or cuda:N",
    "python": "the Python interpreter that runs nst-tuner",
    "here": "the folder of the job file",
}
#: Most style images of a pair that have a place.
MAX_STYLES = 8
STYLE_PLACES = ("style", *(f"style{number}" for number in range(2, MAX_STYLES + 1)))

Values: TypeAlias = Mapping[str, float | int | str]


def places_of(element: str) -> list[str]:
    """Return the names in braces of one argument, in order.

    Raises:
        ValueError: the braces do not match, or hold more than a name.
    """
    names = []
    for _, name, spec, conversion in string.Formatter().parse(element):
        if name is None:
            continue
        if not name or spec or conversion:
            raise ValueError(f"{element!r}: expected a name in the braces, such as {{out}}")
        names.append(name)
    return names


def filled(template: Template, values: Values) -> list[str]:
    """Return the arguments of a command: the template with values in their places.

    Args:
        template: the command.
        values: value of each place; parameters without a meaning are missing.

    Raises:
        KeyError: an argument outside a list has a place without a value.
    """
    arguments: list[str] = []
    for element in template:
        if isinstance(element, str):
            arguments.append(_fill(element, values))
        elif all(name in values for part in element for name in places_of(part)):
            arguments += [_fill(part, values) for part in element]
    return arguments


def _fill(element: str, values: Values) -> str:
    parts = []
    for text, name, _, _ in string.Formatter().parse(element):
        parts.append(text)
        if name is not None:
            value = values[name]
            parts.append(value if isinstance(value, str) else repr(value))
    return "".join(parts)


def placed(template: Template, folder: str) -> list[str | list[str]]:
    """Return a template with the folder of its job file in the place ``{here}``."""

    def place(element: str) -> str:
        text = folder.replace("{", "{{").replace("}", "}}")
        return element.replace("{here}", text)

    return [place(e) if isinstance(e, str) else [place(part) for part in e] for e in template]


def template_problems(template: Template) -> list[str]:
    """Return what is wrong with a template, whatever its parameters are."""
    try:
        names = {name for _, name in _all_places(template)}
    except ValueError as error:
        return [str(error)]
    if not template or not isinstance(template[0], str) or not template[0]:
        return ["expected the program as the first element"]
    if not {*places_of(template[0])} <= {"python", "here"}:
        return [f"{template[0]!r}: the program is the same in all trials; expected its name"]
    return [
        f"no argument has the place {{{name}}} ({PLACES[name]}); add one such as --{name},"
        f' "{{{name}}}"'
        for name in ("content", "out")
        if name not in names
    ]


def parameter_problems(
    template: Template, conditional: Mapping[str, bool], styles: int
) -> list[str]:
    """Return what is wrong between a template and the parameters of a search space.

    Args:
        template: the command, without problems of its own.
        conditional: parameter -> whether it has no meaning in some trials.
        styles: number of style images of each pair.
    """
    problems = []
    known = [*PLACES, *STYLE_PLACES[1:styles], *conditional]
    used = set()
    for alone, name in _all_places(template):
        used.add(name)
        if name not in known:
            problems.append(
                f"{{{name}}} is neither a parameter of the space nor a place"
                f" ({', '.join(PLACES)}){near_miss(name, known)}"
            )
        elif alone and conditional.get(name):
            problems.append(
                f"{{{name}}} has no meaning in some trials; put its arguments into a list of their"
                f' own, such as [--{name}, "{{{name}}}"], which is left out then'
            )
    problems += [
        f"no argument has the place {{{name}}}, so the parameter `{name}` would change nothing"
        for name in conditional
        if name not in used
    ]
    return list(dict.fromkeys(problems))


def _all_places(template: Template) -> Iterator[tuple[bool, str]]:
    """Yield (whether it is outside of a list, name) of every place."""
    for element in template:
        parts: Sequence[Any] = [element] if isinstance(element, str) else element
        for part in parts:
            for name in places_of(part):
                yield isinstance(element, str), name
