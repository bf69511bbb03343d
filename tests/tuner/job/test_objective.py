"""Objectives and constraints: directions, weighted sums, and the values that are compared."""

import pytest

from tuner.job.objective import Constraint, Goals, Objective


def goals(*names: str, **constraints: str) -> Goals:
    return Goals(
        objectives=[Objective(weights={name: 1.0}) for name in names],
        constraints=[Constraint.parse(*item) for item in constraints.items()],
    )


def test_a_measure_keeps_its_direction() -> None:
    """An objective of one measure is the number that tables show; in its values lower is better."""
    ssim = goals("ssim")
    assert ssim.first.higher_is_better
    assert ssim.first.of({"ssim": 0.8}) == 0.8
    assert ssim.values({"ssim": 0.8}) < ssim.values({"ssim": 0.7})


def test_a_sum_is_minimized() -> None:
    """Measures where higher is better enter a weighted sum with a minus sign."""
    both = Objective(weights={"lpips": 2.0, "ssim": 0.5})
    assert not both.higher_is_better
    assert both.of({"lpips": 0.3, "ssim": 0.6}) == pytest.approx(0.3)
    assert both.name == "2 lpips + 0.5 ssim"


def test_constraints_come_before_the_objective() -> None:
    """Valid results come first, then those with a smaller violation, whatever the objective."""
    fast = goals("lpips", seconds_per_image="<= 5", ssim=">= 0.4")
    kept = {"lpips": 0.9, "seconds_per_image": 5.0, "ssim": 0.4}
    slow = {"lpips": 0.1, "seconds_per_image": 6.0, "ssim": 0.4}
    slower = {"lpips": 0.1, "seconds_per_image": 9.0, "ssim": 0.4}
    ranked = sorted([slower, slow, kept], key=fast.values)
    assert ranked == [kept, slow, slower]
    assert fast.violations(slow) == {"seconds_per_image <= 5": 1.0, "ssim >= 0.4": 0.0}


@pytest.mark.parametrize("text", ["5", "< 5", "<= five", "<= 5 s", ">=", "== 3"])
def test_a_malformed_bound_is_refused(text: str) -> None:
    """The error for a malformed bound shows a well-formed one."""
    with pytest.raises(ValueError, match='such as "<= 5"'):
        Constraint.parse("vram_gb", text)


def test_an_infinite_bound_is_refused() -> None:
    """A bound that overflows to infinity is refused, since a search cannot learn to keep it."""
    with pytest.raises(ValueError, match="finite number, got '<= 1e400'"):
        Constraint.parse("vram_gb", "<= 1e400")


def test_better_follows_the_direction() -> None:
    """Higher is better for ssim, lower for lpips, and any value is better than None."""
    assert goals("ssim").first.better(0.8, 0.7) and not goals("lpips").first.better(0.8, 0.7)
    assert goals("lpips").first.better(0.8, None) and not goals("ssim").first.better(0.7, 0.7)


def test_an_unknown_measure_is_refused() -> None:
    """The error for an unknown measure suggests the nearest name."""
    with pytest.raises(ValueError, match="vram_gb"):
        Constraint.parse("vram_bg", "<= 5")
