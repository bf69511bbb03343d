import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.rungs import goes_on, next_rungs, rung_steps

VALUES = st.lists(st.floats(-10, 10), max_size=30)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((30, 300, 3), (30, 90, 270, 300)), ((10, 90, 3), (10, 30, 90)), ((5, 5, 2), (5,))],
)
def test_rungs_grow_by_the_reduction(arguments: tuple[int, int, int], expected: tuple[int]) -> None:
    """Rungs are min_steps times powers of the reduction, and max_steps."""
    assert rung_steps(*arguments) == expected


def test_next_rungs() -> None:
    """The next rung lies beyond the steps done; beyond the last there is none."""
    assert next_rungs((10, 30), 0) == (10, 30)
    assert next_rungs((10, 30), 10) == (30, None)
    with pytest.raises(ValueError, match="beyond"):
        next_rungs((10, 30), 30)


@given(VALUES, st.integers(2, 5), st.booleans())
def test_a_share_goes_on(values: list[float], reduction: int, higher: bool) -> None:
    """With distinct values exactly the best 1/reduction, and at least one, would go on."""
    distinct = sorted(set(values))
    survivors = [
        v
        for i, v in enumerate(distinct)
        if goes_on(
            v, distinct[:i] + distinct[i + 1 :], reduction=reduction, higher_is_better=higher
        )
    ]
    count = max(1, len(distinct) // reduction) if distinct else 0
    best = distinct[len(distinct) - count :] if higher else distinct[:count]
    assert survivors == best


@given(VALUES, st.booleans())
def test_the_order_of_arrival_of_others_does_not_matter(values: list[float], higher: bool) -> None:
    """A decision depends on what was reported, not on the order: so it can be recomputed."""
    options = {"reduction": 3, "higher_is_better": higher}
    assert goes_on(0.0, values, **options) == goes_on(0.0, values[::-1], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("higher", [True, False])
def test_not_finite_is_worst(bad: float, higher: bool) -> None:
    """What is not finite never goes on and keeps no one back."""
    assert not goes_on(bad, [], reduction=2, higher_is_better=higher)
    assert goes_on(1.0, [bad] * 9, reduction=2, higher_is_better=higher)
