import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.job.objective import Constraint, Goals, Objective
from tuner.job.ranking import non_dominated, ranking

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1)


def goals(*names: str, **constraints: str) -> Goals:
    return Goals(
        objectives=[Objective(weights={name: 1.0}) for name in names],
        constraints=[Constraint.parse(*item) for item in constraints.items()],
    )


def test_a_measure_keeps_its_direction() -> None:
    """A single measure is what people read in tables; ranked, lower is always better."""
    ssim = goals("ssim")
    assert ssim.first.higher_is_better
    assert ssim.first.of({"ssim": 0.8}) == 0.8
    assert ssim.values({"ssim": 0.8}) < ssim.values({"ssim": 0.7})


def test_a_sum_is_minimised() -> None:
    """In a sum, measures where higher is better count with their sign turned."""
    both = Objective(weights={"lpips": 2.0, "ssim": 0.5})
    assert not both.higher_is_better
    assert both.of({"lpips": 0.3, "ssim": 0.6}) == pytest.approx(0.3)
    assert both.name == "2 lpips + 0.5 ssim"


def test_bounds_come_first() -> None:
    """What keeps the bounds ranks before what breaks them; of those, who breaks them less."""
    fast = goals("lpips", seconds_per_image="<= 5", ssim=">= 0.4")
    kept = {"lpips": 0.9, "seconds_per_image": 5.0, "ssim": 0.4}
    slow = {"lpips": 0.1, "seconds_per_image": 6.0, "ssim": 0.4}
    slower = {"lpips": 0.1, "seconds_per_image": 9.0, "ssim": 0.4}
    ranked = sorted([slower, slow, kept], key=fast.values)
    assert ranked == [kept, slow, slower]
    assert fast.violations(slow) == {"seconds_per_image <= 5": 1.0, "ssim >= 0.4": 0.0}


@pytest.mark.parametrize("text", ["5", "< 5", "<= five", "<= 5 s", ">=", "== 3"])
def test_what_is_no_bound_is_refused(text: str) -> None:
    """A bound that cannot be read is refused with an example of one that can."""
    with pytest.raises(ValueError, match='such as "<= 5"'):
        Constraint.parse("vram_gb", text)


def test_an_infinite_bound_is_refused() -> None:
    """What is too large for a number is no bound that a search could learn to keep."""
    with pytest.raises(ValueError, match="finite number, got '<= 1e400'"):
        Constraint.parse("vram_gb", "<= 1e400")


def test_an_unknown_measure_is_refused() -> None:
    """A bound on a measure that does not exist names a near miss."""
    with pytest.raises(ValueError, match="vram_gb"):
        Constraint.parse("vram_bg", "<= 5")


@given(POINTS)
def test_ranks_are_layers_of_non_dominated_points(points: list[tuple[int, int, int]]) -> None:
    """No point is dominated within its rank, and each is by some point of the rank before."""

    def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    values = [tuple(map(float, point)) for point in points]
    ranks, crowding = non_dominated(values)
    for i, a in enumerate(points):
        same = [points[j] for j, rank in enumerate(ranks) if rank == ranks[i]]
        assert not any(dominates(b, a) for b in same)
        if ranks[i]:
            before = [points[j] for j, rank in enumerate(ranks) if rank == ranks[i] - 1]
            assert any(dominates(b, a) for b in before)
    assert all(distance >= 0 for distance in crowding)


def test_what_breaks_a_bound_displaces_nothing() -> None:
    """What keeps the bounds is ranked among itself, however good what breaks them is."""
    kept = [(0.0, 0.5, 0.6), (0.0, 0.7, 0.3), (0.0, 0.8, 0.8)]
    better = [(1.0, 0.4, 0.4), (0.5, 0.1, 0.5)]
    keys = ranking([*better, *kept])
    assert sorted(range(5), key=keys.__getitem__)[2:] == [4, 1, 0]
    assert keys[2:] == ranking(kept)


def test_the_ends_of_a_front_are_never_crowded() -> None:
    """The best in either objective, and lonely trade-offs, come before crowded ones."""
    front = [(0.0, 1.0), (0.1, 0.9), (0.12, 0.88), (0.5, 0.5), (1.0, 0.0)]
    ranks, crowding = non_dominated(front)
    assert set(ranks) == {0}
    assert math.isinf(crowding[0]) and math.isinf(crowding[-1])
    assert crowding[3] > crowding[2]
    keys = ranking([(0.0, *point) for point in front])
    assert sorted(range(5), key=keys.__getitem__)[:2] == [0, 4]
