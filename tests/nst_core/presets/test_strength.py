"""Strength: style against content of any preset."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError
from nst_core.presets.built_in import BUILT_IN
from nst_core.presets.strength import POWER, with_strength
from nst_core.stylization import stylize


@pytest.mark.parametrize("name", BUILT_IN)
@given(strength=st.floats(0.5, 2))
def test_strength_changes_only_the_balance(name: str, strength: float) -> None:
    """Strength changes one setting of a preset, and 1 changes nothing."""
    config = BUILT_IN[name].config
    changed = with_strength(config, strength).to_dict()
    different = {key for key, value in config.to_dict().items() if changed[key] != value}
    assert different <= {"style_weight", "balance_ratio"} and len(different) <= 1
    assert with_strength(config, 1.0) == config


def test_a_balanced_weight_has_another_ratio() -> None:
    """With `weight_schedule: balance` the ratio changes, because it sets the weight."""
    config = StyleConfig(weight_schedule="balance", balance_ratio=0.5)
    assert with_strength(config, 2).balance_ratio == 0.5 * 2**POWER


@pytest.mark.parametrize("strength", [0.0, 0.49, 2.01, float("nan")])
def test_strength_has_limits(strength: float) -> None:
    """A strength outside of 0.5 to 2 is refused."""
    with pytest.raises(ConfigError, match=r"0\.5 to 2"):
        with_strength(StyleConfig(), strength)


@pytest.mark.parametrize("settings", [{"content_weight": 0.0}, {"style_weight": 0.0}])
def test_without_two_terms_strength_is_refused(settings: dict[str, float]) -> None:
    """Where there is no content or no style term, strength would be ignored, so it is refused."""
    with pytest.raises(ConfigError, match="has no effect"):
        with_strength(StyleConfig(**settings), 1.5)


def test_more_strength_leaves_less_of_the_content(random_weights) -> None:  # type: ignore[no-untyped-def]
    """The farther the strength goes up, the farther the result is from the content."""
    content = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    style = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(1)) ** 3
    config = StyleConfig(size_px=48, steps=12, lr=0.05, style_weight=1.0)
    distances = []
    for strength in (0.5, 1.0, 2.0):
        settings = with_strength(config, strength)
        *_, last = stylize(settings, content, [(style, 1.0)], weights=random_weights, device="cpu")
        distances.append(float((last.image_3HW - content).square().mean()))
    assert distances == sorted(distances)
