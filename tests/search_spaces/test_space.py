from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nst_core.errors import ConfigError
from search_spaces import CATALOGUE, Float, Int, Params, Space, space_from_dict

SPACE = {
    "name": "mine",
    "why": "because",
    "fixed": {"extractor": "vgg19"},
    "starts": [{"log10_style_content": 1, "tv": False, "content_layer": "conv4_2"}],
    "params": {
        "log10_style_content": {"low": 0, "high": 2},
        "tv": {"options": [False, True]},
        "tv_weight": {"low": 1e-3, "high": 1, "log": True, "when": {"tv": True}},
        "content_layer": {"options": ["conv4_2", "relu3_4"]},
    },
}


@st.composite
def samples(draw: st.DrawFn, space: Space) -> Params:
    drawn: dict[str, Any] = {}
    for name, parameter in space.params.items():
        if space.active(name, drawn):
            if isinstance(parameter, Float):
                drawn[name] = draw(st.floats(parameter.low, parameter.high))
            elif isinstance(parameter, Int):
                drawn[name] = draw(st.integers(parameter.low, parameter.high))
            else:
                drawn[name] = draw(st.sampled_from(parameter.options))
    return drawn


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_sample_builds(name: str) -> None:
    """Whatever is drawn from a named space is a valid configuration; 1,000 draws."""
    space = CATALOGUE[name]

    @settings(max_examples=1000)
    @given(samples(space))
    def check(params: Params) -> None:
        config = space.build(params, size_px=128, steps=50)
        assert (config.size_px, config.steps) == (128, 50)
        assert config.style_weight == pytest.approx(10 ** params["log10_style_content"])
        assert sum(config.style_layers.values()) == pytest.approx(1)

    check()
    assert len(space.why) > 100


def test_a_users_space() -> None:
    """A space read from plain data works like a named one, booleans for on and off included."""
    space = space_from_dict(SPACE, "mine.yaml")
    config = space.build({"log10_style_content": 1.0, "tv": "off", "content_layer": "relu3_4"})
    assert config.extractor == "vgg19"
    assert config.content_layers == {"relu3_4": 1.0}
    assert (config.style_weight, config.tv_weight) == (10.0, 0.0)
    assert space.build(space.starts[0]).content_layers == {"conv4_2": 1.0}
    with pytest.raises(ConfigError, match=r"`starts.0`.*9"):
        space_from_dict({**SPACE, "starts": [{"log10_style_content": 9}]}, "mine.yaml")


def test_wrong_parameters_are_all_named() -> None:
    """Unknown, missing, inactive and out-of-range values are refused together."""
    space = space_from_dict(SPACE, "mine.yaml")
    wrong = {"log10_style_content": 9, "tv": "off", "tv_weight": 0.1, "contentlayer": "relu3_4"}
    with pytest.raises(ConfigError) as caught:
        space.build(wrong)
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    for part in ("did you mean `content_layer`", "unless tv is on", "0 … 2, got 9", "missing"):
        assert part in text


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"lrr": {"low": 0, "high": 1}}, "did you mean `lr`"),
        ({"lr": {"low": 0, "high": 1, "log": True}}, "low above 0"),
        ({"lr": {"low": 2, "high": 1}}, "above high"),
        ({"lr": {"low": "a"}}, "expected a number"),
        ({"lr": {"low": 1, "high": 2, "opions": 1}}, "did you mean `options`"),
        ({"init": {"options": ["contnt"]}}, "did you mean `content`"),
        ({"content_layer": {"options": ["relu4_9"]}}, "relu4_9"),
        ({"style_set": {"options": []}}, "at least one option"),
        ({"lr": {"low": 0.1, "high": 1, "when": {"tv": "on"}}}, "declared before"),
        ({"lr": 3}, "expected {low, high}"),
        ({"lr": {"low": -1, "high": 1}}, "lr"),
        ({}, "at least one parameter"),
        ([], "expected parameters"),
    ],
)
def test_bad_declarations_say_why(params: object, expected: str) -> None:
    """Each fault of a declared space is named."""
    with pytest.raises(ConfigError, match=expected):
        space_from_dict({"name": "x", "why": "", "params": params}, "x.yaml")


@given(
    st.dictionaries(
        st.sampled_from(["name", "why", "fixed", "params", "x"]),
        st.none()
        | st.text(max_size=3)
        | st.dictionaries(
            st.sampled_from(["lr", "init", "tv", "x"]),
            st.none()
            | st.floats()
            | st.dictionaries(
                st.sampled_from(["low", "high", "log", "options", "when"]),
                st.none() | st.floats() | st.booleans() | st.lists(st.text(max_size=2), max_size=2),
            ),
        ),
    )
)
def test_any_data_is_a_space_or_a_config_error(content: dict[str, Any]) -> None:
    """Whatever a file holds, the answer is a space or a ConfigError."""
    try:
        space_from_dict(content, "x.yaml")
    except ConfigError as error:
        assert error.problems
