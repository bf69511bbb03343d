"""Encoding of configurations: shares and values are inverse to each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import CATALOGUE
from tuner.sampling.encoding import point_at, shares_of


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
