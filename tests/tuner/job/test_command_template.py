"""Command templates: places, lists that are left out, and what is wrong with a template."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.job.command_template import (
    Template,
    filled,
    parameter_problems,
    placed,
    template_problems,
)

TEMPLATE: Template = ["blur", "{content}", "--a={a}", ["--b", "{b}"], "{out}"]


def test_lists_are_left_out_where_a_parameter_has_no_meaning() -> None:
    """An argument outside a list is always there; a list needs all of its values."""
    values = {"content": "c.png", "out": "o.png", "a": 0.5}
    assert filled(TEMPLATE, values) == ["blur", "c.png", "--a=0.5", "o.png"]
    both = filled(TEMPLATE, {**values, "b": "on"})
    assert both == ["blur", "c.png", "--a=0.5", "--b", "on", "o.png"]


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_a_value_is_one_argument_and_keeps_its_precision(text: str, number: float) -> None:
    """Braces, blanks and quotes in a value change nothing, and a number reads back the same."""
    word, digits = filled(["{word}", "{number}"], {"word": text, "number": number})
    assert word == text and float(digits) == number


@given(st.text(st.characters(exclude_characters="\0")))
def test_the_folder_of_the_job_may_have_any_name(folder: str) -> None:
    """``{here}`` becomes the folder, even if its name has braces."""
    made = placed(["{here}/x.py", ["{here}", "{a}"], "{out}"], folder)
    assert filled(made, {"a": 1, "out": "o"}) == [f"{folder}/x.py", folder, "1", "o"]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ([], "expected the program as the first element"),
        ([["blur"], "{content}", "{out}"], "expected the program as the first element"),
        (["{tool}", "{content}", "{out}"], "the program is the same in all trials"),
        (["blur", "{content}"], "no argument has the place {out}"),
        (["blur", "{out}"], "no argument has the place {content}"),
        (["blur", "{content", "{out}"], "expected '}'"),
        (["blur", "{content:3}", "{out}"], "expected a name in the braces"),
    ],
)
def test_a_wrong_template_says_what_is_missing(template: Template, problem: str) -> None:
    """Every problem of a template is a sentence."""
    assert any(problem in found for found in template_problems(template))


def test_parameters_and_places_must_meet() -> None:
    """Every parameter has a place, every place a parameter, and conditional ones a list."""
    template = ["blur", "{content}", "{styl}", "{a}", ["{b}"], "{out}"]
    found = parameter_problems(template, {"a": True, "b": True, "c": False}, styles=1)
    assert "{styl} is neither" in found[0] and "did you mean `style`?" in found[0]
    assert "{a} has no meaning in some trials" in found[1]
    assert "the parameter `c` would change nothing" in found[2]
    assert len(found) == 3
