"""Arithmetic of rungs."""

import pytest

from tuner.search.rungs import next_rungs, rung_steps


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((30, 300, 3), (30, 90, 270, 300)), ((10, 90, 3), (10, 30, 90)), ((5, 5, 2), (5,))],
)
def test_rungs_grow_by_the_reduction(arguments: tuple[int, int, int], expected: tuple[int]) -> None:
    """Rungs are min_steps times the powers of the reduction, and max_steps."""
    assert rung_steps(*arguments) == expected


def test_next_rungs() -> None:
    """The next rungs come after the steps done; after the last rung there is none."""
    assert next_rungs((10, 30), 0) == (10, 30)
    assert next_rungs((10, 30), 10) == (30, None)
    with pytest.raises(ValueError, match="no rung after step 30"):
        next_rungs((10, 30), 30)
