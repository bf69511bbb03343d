"""StylizerSpace: parameters of any name for another stylizer."""

from __future__ import annotations

from typing import Any

import pytest

from nst_core.errors import ConfigError
from nst_core.stylizer_config import StylizerConfig
from search_spaces import Choice, Float, Int, StylizerSpace, stylizer_space_from_dict

CONTENT: dict[str, Any] = {
    "name": "any",
    "why": "Tests.",
    "params": {
        "mode": {"options": ["fast", "slow"]},
        "alpha": {"low": 0, "high": 1},
        "T": {"low": 1, "high": 50, "whole": True, "when": {"mode": ["slow"]}},
        "lr@fast": {"low": 0.1, "high": 1.0, "log": True, "when": {"mode": "fast"}},
        "lr@slow": {"low": 0.01, "high": 0.1, "log": True, "when": {"mode": "slow"}},
    },
    "fixed": {"model": "xl"},
    "defaults": {"mode": "fast", "alpha": 1, "lr@fast": 0.5},
    "starts": [{"T": 9}],
}


def made(**changes: Any) -> StylizerSpace:
    return stylizer_space_from_dict({**CONTENT, **changes}, "any.yaml")


def problems(**changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        made(**changes)
    return str(caught.value)


def test_kinds_conditions_variants_defaults_and_starts() -> None:
    """Parameters of any name have the kinds, conditions and variants of our own."""
    space = made()
    kinds = [type(parameter) for parameter in space.params.values()]
    assert kinds == [Choice, Float, Int, Float, Float]
    assert space.defaults == {"mode": "fast", "alpha": 1, "lr@fast": 0.5}
    assert space.initial_points == ({"T": 9, "mode": "slow"},)
    assert space.conditional() == {
        "model": False,
        "mode": False,
        "alpha": False,
        "T": True,
        "lr": True,
    }


def test_a_configuration_names_the_stylizer_and_all_values() -> None:
    """Built values lose the name of their variant, and fixed values are among them."""
    space = StylizerSpace(**{**vars(made()), "stylizer": {"python": "a.b:C"}})
    config = space.build({"mode": "fast", "alpha": 0.5, "lr@fast": 0.2}, size_px=64, steps=3)
    assert config == StylizerConfig(
        stylizer={"python": "a.b:C"},
        params={"model": "xl", "mode": "fast", "alpha": 0.5, "lr": 0.2},
        size_px=64,
        steps=3,
    )
    assert StylizerConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="`T`: has no effect unless mode is slow"):
        space.build({"mode": "fast", "alpha": 0.5, "lr@fast": 0.2, "T": 3})


def test_all_problems_of_a_declaration_are_told_at_once() -> None:
    """Wrong names, ranges, conditions and twice-set parameters are one error."""
    params = {
        "1st": {"low": 0, "high": 1},
        "seed": {"low": 0, "high": 1},
        "up": {"low": 2, "high": 1},
        "none": {"options": []},
        "late": {"low": 0, "high": 1, "when": {"nowhere": ["x"]}},
        "a@x": {"low": 0, "high": 1},
        "a@y": {"low": 0, "high": 1},
    }
    found = problems(params=params, defaults={}, starts=[], fixed={"a": 1, "b": True})
    for expected in (
        "`params.1st`: expected a name",
        "`params.seed`: every stylizer gets `seed` anyway",
        "`params.up`: low 2 is above high 1",
        "`params.none`: expected at least one option",
        "`params.late.when.nowhere`",
        "`fixed.b`: expected a number or text, got True",
        "`fixed.a`: is a parameter as well",
        "`params.a@y`: sets the same as `a@x`",
    ):
        assert expected in found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"defaults": {"alpha": 1}}, "`defaults`: `mode`: missing"),
        ({"defaults": 3}, "`defaults`: expected {parameter: value}"),
        ({"starts": [{"alpha": 3}]}, "`starts.0`: `alpha`: expected 0 … 1, got 3"),
        ({"params": {"a": {"low": 0, "high": 1, "whole": 1}}}, "`params.a.whole`: expected true"),
        ({"param": {}}, "`param`: no such key; did you mean `params`?"),
        ({"params": {}}, "`params`: expected at least one parameter"),
    ],
)
def test_wrong_values_are_named(changes: dict[str, Any], expected: str) -> None:
    """A wrong key or value is named with what was expected."""
    assert expected in problems(**changes)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "`stylizer`: missing"),
        ({"stylizer": {}}, "exactly one of python, path, command"),
        ({"stylizer": {"path": "a:b"}, "seed": -1}, "`seed`: expected a whole number from 0"),
        ({"stylizer": {"path": "a:b"}, "params": {"a": float("nan")}}, "`params.a`: expected a"),
        ({"stylizer": {"path": "a:b"}, "step": 3}, "did you mean `steps`?"),
    ],
)
def test_a_wrong_configuration_says_why(values: dict[str, Any], expected: str) -> None:
    """Configurations from files are checked as those of our engine are."""
    with pytest.raises(ConfigError) as caught:
        StylizerConfig.from_dict(values)
    assert expected in str(caught.value)
