import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst_core.config import FIELDS, StyleConfig
from nst_core.errors import ConfigError

JSON = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9)


def test_json_round_trip() -> None:
    """A configuration is equal after conversion to JSON and back."""
    config = StyleConfig(style_layers={"conv1_1": 0.5, "relu4_1": 2.0}, lr=0.5, init="noise")
    for changed in (config, config.replace(style_blend=[1, 3])):
        assert StyleConfig.from_dict(json.loads(json.dumps(changed.to_dict()))) == changed
    assert config.replace(style_blend=[1, 3]).style_blend == (1.0, 3.0)


def test_all_problems_at_once() -> None:
    """One error names every wrong key and value, with suggestions."""
    wrong = {"lrr": 1, "steps": -3, "style_layers": {"relu4_9": 1}, "init": "contnt"}
    with pytest.raises(ConfigError) as caught:
        StyleConfig.from_dict(wrong)
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "did you mean `lr`" in text
    assert "-3" in text
    assert "did you mean `relu4_" in text
    assert "did you mean `content`" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, True, [], {}])
@pytest.mark.parametrize("key", ["lr", "steps", "style_weight", "seed"])
def test_numbers_are_numbers(key: str, value: object) -> None:
    """Text, booleans and infinities are not accepted as numbers."""
    with pytest.raises(ConfigError, match=key):
        StyleConfig.from_dict({key: value})


@pytest.mark.parametrize("value", [3, [], [0, 1], [1, "2"], {"0": 1}, [float("nan")], [True, 1]])
def test_blends_are_lists_of_weights(value: object) -> None:
    """A blend is None or a list of numbers above 0."""
    with pytest.raises(ConfigError, match="style_blend"):
        StyleConfig.from_dict({"style_blend": value})
    assert StyleConfig.from_dict({"style_blend": None}).style_blend is None


def test_some_style_layer_must_count() -> None:
    """A configuration whose style layers all have weight 0 is refused."""
    with pytest.raises(ConfigError, match="style_layers"):
        StyleConfig(style_layers={"relu1_1": 0.0})


@given(
    st.dictionaries(
        st.sampled_from([*FIELDS, "nonsense"]),
        JSON | st.lists(JSON, max_size=2) | st.dictionaries(st.text(max_size=3), JSON),
    )
)
def test_any_json_gives_a_config_or_a_config_error(values: dict[str, object]) -> None:
    """Any JSON gives a valid configuration or a ConfigError."""
    try:
        config = StyleConfig.from_dict(values)
    except ConfigError as error:
        assert error.problems
    else:
        assert StyleConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("content", [{"content_weight": 0}, {"content_layers": {"relu4_2": 0}}])
def test_without_a_content_loss_there_is_a_style_loss_and_nothing_to_balance(
    content: dict[str, Any],
) -> None:
    """Without a content term the style weight must be above 0, and `balance` is refused."""
    StyleConfig.from_dict(content)
    for other in ({"style_weight": 0}, {"weight_schedule": "balance"}):
        with pytest.raises(ConfigError, match="above 0"):
            StyleConfig.from_dict(content | other)
