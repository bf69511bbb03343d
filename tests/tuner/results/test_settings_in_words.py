"""Settings of a configuration in words."""

import pytest

from nst_core.config import FIELDS, StyleConfig
from tuner.results.settings_in_words import OPTIMIZERS, settings_in_words


def words(**settings: object) -> dict[str, str]:
    """Return the words for the default configuration with some settings changed."""
    return dict(settings_in_words(StyleConfig.from_dict(settings).to_dict()))


@pytest.mark.parametrize(
    ("style", "content", "text"),
    [
        (1.4, 1.0, "1.4 : 1"),
        (1.0, 3.0, "1 : 3"),
        (5e4, 1.0, "50,000 : 1"),
        (1.0, 0.0, "style only"),
        (0.0, 1.0, "content only"),
    ],
)
def test_the_ratio_is_written_with_a_one(style: float, content: float, text: str) -> None:
    """The ratio of style to content is one number against 1."""
    assert words(style_weight=style, content_weight=content)["Style : content"] == text


def test_layers_without_weight_are_left_out() -> None:
    """Only layers that count are named, and the total variation only if it is used."""
    said = words(style_layers={"relu1_1": 0.5, "relu2_1": 0.0}, lr=0.1, steps=1500, size_px=128)
    assert said["Style layers"] == "relu1_1" and "Total variation" not in said
    assert said["Optimizer"] == "Adam, learning rate 0.1" and said["Steps"] == "1,500 at 128 px"
    assert words(tv_weight=10.0)["Total variation"] == "weight 10"


def test_every_choice_has_words() -> None:
    """No optimizer, start or style loss of a configuration lacks its words."""
    assert set(OPTIMIZERS) == set(FIELDS["optimizer"].metadata["options"])
    for name in ("optimizer", "init", "style_loss"):
        for option in FIELDS[name].metadata["options"]:
            assert all(words(**{name: option}).values())
