"""Priors of people: which parameters a statement is about, and what is refused."""

import pytest

from search_spaces import CATALOGUE
from search_spaces.priors import Prior, priors_of

GRAM, WIDE = CATALOGUE["gram"], CATALOGUE["gram-wide"]


def test_a_style_weight_is_translated() -> None:
    """A style weight becomes the ratio to the content weight, in all variants that have it."""
    priors, problems = priors_of(GRAM, {"style_weight": [10, "likely"]})
    assert (priors, problems) == ({"log10_style_content": Prior(1.0, "likely")}, {})
    priors, _ = priors_of(WIDE, {"style_weight": [1000, "maybe"]})
    assert priors == {"log10_style_content@content": Prior(3.0, "maybe")}


def test_variants_are_named_together_or_alone() -> None:
    """A name without variant stands for all variants; one with its variant is stronger."""
    space = CATALOGUE["optimizers"]
    together, _ = priors_of(space, {"lr": [0.02, "sure"]})
    assert len(together) > 1 and all(name.startswith("lr@") for name in together)
    both, _ = priors_of(space, {"lr": [0.02, "sure"], "lr@adam": [0.01, "maybe"]})
    assert both == {**together, "lr@adam": Prior(0.01, "maybe")}


@pytest.mark.parametrize(
    ("name", "belief", "message"),
    [
        ("lrr", [0.1, "sure"], "no such parameter in the space gram; did you mean `lr`?"),
        ("lr", [3, "sure"], "expected 0.005 … 0.2, log scale, got 3"),
        ("lr", [True, "sure"], "expected 0.005 … 0.2, log scale, got True"),
        ("lr", [0.1, "likel"], "expected maybe, likely or sure after the value, got 'likel'; did"),
        ("lr", 0.1, "expected [value, maybe | likely | sure], got 0.1"),
        ("style_weight", [1e6, "sure"], "expected 0.0316 … 316, got 1000000.0"),
        ("style_weight", [0, "sure"], "expected 0.0316 … 316, got 0"),
        ("init", ["contents", "sure"], "expected content | noise | style, got 'contents'"),
    ],
)
def test_a_wrong_prior_is_refused(name: str, belief: object, message: str) -> None:
    """A problem says what was expected; all are found at once."""
    _, problems = priors_of(GRAM, {name: belief, "tv": ["maybe", "on"]})  # type: ignore[dict-item]
    assert problems[name].startswith(message) and len(problems) == 2
