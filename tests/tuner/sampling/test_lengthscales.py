"""Expected lengthscales: what other pairs teach about a search space."""

from __future__ import annotations

import numpy as np
import pytest

from search_spaces import CATALOGUE, Choice, Float, Space
from tuner.job.objective import Goals, Objective
from tuner.sampling.encoding import encode
from tuner.sampling.gaussian_process import fitted_kernel
from tuner.sampling.lengthscales import KNOWN_LENGTHS, expected_lengths, initial_lengths


def space(**params: Float | Choice) -> Space:
    """A space with these parameters."""
    return Space(name="some", why="", params=params)


def test_ratio_rate_and_start_matter() -> None:
    """Style balance, learning rate and init are known to matter, and layers hardly do."""
    shares = expected_lengths(CATALOGUE["gram"], KNOWN_LENGTHS)
    names = [name for name, share in zip(KNOWN_LENGTHS, shares, strict=True) if share < 1]
    assert {"log10_style_content", "log10 lr", "init=content", "init=noise"} == set(names)


def test_a_length_is_in_the_unit_of_its_parameter() -> None:
    """In a range of twice the width a lengthscale is half the share; unknown ones are NaN."""
    known = {"log10 lr": 1.0, "init=noise": 0.4, "log10_style_content": 2.0}
    wide = space(
        **{
            "lr": Float(low=1e-3, high=1e-1, log=True),
            "log10_style_content": Float(low=-1, high=3),
            "init": Choice(options=("content", "noise")),
            "tv_weight": Float(low=0, high=1),
        }
    )
    found = expected_lengths(wide, known)
    np.testing.assert_allclose(found, [0.5, 0.5, np.nan, 0.4, np.nan])
    linear = space(lr=Float(low=0.001, high=0.1))
    assert np.isnan(expected_lengths(linear, known)).all()
    assert np.isnan(expected_lengths(wide, {})).all()


@pytest.mark.parametrize(
    ("objective", "used"),
    [
        ([{"lpips": 1.0}], True),
        ([{"color": 1.0}], False),
        ([{"lpips": 0.5, "color": 0.5}], False),
        ([{"lpips": 1.0}, {"color": 1.0}], False),
    ],
)
def test_lengths_are_used_only_for_their_objective(
    objective: list[dict[str, float]], used: bool
) -> None:
    """Other objectives get no lengthscales, and a remark if the space has such a parameter."""
    goals = Goals(objectives=[Objective(weights=weights) for weights in objective])
    found, remark = initial_lengths(CATALOGUE["gram"], goals)
    assert found == (KNOWN_LENGTHS if used else {})
    assert (remark is None) == used
    assert remark is None or "not used" in remark
    assert initial_lengths(space(momentum=Float(low=0, high=0.9)), goals)[1] is None


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_coordinate_has_a_length_or_nan(name: str) -> None:
    """There is one lengthscale, or NaN, for each coordinate of every named space."""
    found = expected_lengths(CATALOGUE[name], KNOWN_LENGTHS)
    assert found.shape == encode(CATALOGUE[name], {}).shape
    assert not (found <= 0).any()


def test_values_override_expected_lengths() -> None:
    """With few values the kernel has the expected lengthscales, with many their own."""
    rng = np.random.default_rng(0)
    points_ND = rng.random((80, 2))
    values_N1 = np.sin(9 * points_ND[:, :1])  # the second coordinate does not matter
    wrong_D = np.array([3.0, 0.2])
    few, many = (
        fitted_kernel(points_ND[:n], values_N1[:n], lengths_D=wrong_D).lengths_D for n in (3, 80)
    )
    assert few[0] > few[1] and many[0] < many[1]
    unknown = fitted_kernel(points_ND, values_N1, lengths_D=np.full(2, np.nan))
    plain = fitted_kernel(points_ND, values_N1)
    np.testing.assert_array_equal(unknown.lengths_D, plain.lengths_D)
