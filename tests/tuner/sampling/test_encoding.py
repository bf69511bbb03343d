"""Encoding of configurations: shares and values are inverse to each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import CATALOGUE, Int, Space
from tuner.sampling.encoding import coordinates, encode, point_at, shares_of, whole_shares


@given(st.integers(1, 500), st.integers(0, 3000), st.booleans(), st.floats(0, 1))
def test_shares_of_whole_numbers_are_rounded(low: int, width: int, log: bool, share: float) -> None:
    """`whole_shares` returns the share of the whole number that `point_at` rounds to."""
    number = Int(low=low, high=low + width, log=log)
    space = Space(name="whole", why="One number.", params={"warmup_steps": number})
    expected = shares_of(space, point_at(space, {"warmup_steps": share}))["warmup_steps"]
    assert whole_shares(number, np.array([share, np.nan]))[0] == pytest.approx(expected, abs=1e-9)


@given(st.sampled_from(list(CATALOGUE)), st.integers(0, 2**31 - 1))
def test_shares_lead_back_to_the_configuration(name: str, seed: int) -> None:
    """`point_at` and `shares_of` are inverse to each other, up to rounding."""
    space, rng = CATALOGUE[name], np.random.default_rng(seed)
    params = point_at(space, {one: rng.random() for one in space.params})
    shares = {one: 0.5 for one in space.params} | shares_of(space, params)
    again = point_at(space, shares)
    assert again.keys() == params.keys()
    for one, value in params.items():
        assert again[one] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-6))


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_coordinate_has_a_name(name: str) -> None:
    """`coordinates` names the coordinates of a point, of each of the named spaces."""
    assert encode(CATALOGUE[name], {}).shape == (len(list(coordinates(CATALOGUE[name]))),)
