"""Schedules of learning rate, style weight and image size."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nst_core.config import MIN_SIDE_PX, StyleConfig
from nst_core.images.sizes import fit_size
from nst_core.lanes.schedules import Schedules, Stage, balance_due, stage_at, stages

CPU = torch.device("cpu")


def schedules(*configs: StyleConfig) -> Schedules:
    return Schedules(configs, CPU)


def test_one_scale_is_one_stage() -> None:
    """A run with one scale has one stage, at full size."""
    assert stages(StyleConfig(steps=70), 96, 128) == (Stage(128, 70),)


def test_scales_grow_by_the_root_of_two() -> None:
    """Sizes grow by the root of two, and the first stage has twice the steps of the others."""
    assert stages(StyleConfig(steps=60, scales=5), 384, 512) == (
        *(Stage(128, 20), Stage(181, 30), Stage(256, 40)),
        *(Stage(362, 50), Stage(512, 60)),
    )


@given(
    st.integers(1, 12),
    st.integers(1, 400),
    st.integers(MIN_SIDE_PX, 600),
    st.integers(MIN_SIDE_PX, 600),
)
def test_stages_cover_every_step(scales: int, steps: int, height: int, width: int) -> None:
    """Every step is in one stage, sizes grow to the full one, and no side is too short."""
    plan = stages(StyleConfig(scales=scales, steps=steps), height, width)
    sizes, ends = [s.size_px for s in plan], [s.until for s in plan]
    assert sizes == sorted(set(sizes)) and sizes[-1] == max(height, width)
    assert ends == sorted(set(ends)) and ends[-1] == steps and ends[0] >= 1
    assert all(min(fit_size(width, height, size)) >= MIN_SIDE_PX for size in sizes)
    assert stage_at(plan, 0) == plan[0]
    assert stage_at(plan, steps) == stage_at(plan, steps - 1) == plan[-1]


def test_a_stopped_run_keeps_its_stages() -> None:
    """A run that stops after 20 of 60 steps has the stages of 60 steps."""
    whole = StyleConfig(steps=60, scales=5, lr_schedule="cosine")
    part = whole.stopped_at(20)
    assert (part.steps, part.horizon) == (20, 60)
    assert stages(part, 384, 512) == stages(whole, 384, 512)
    assert StyleConfig(steps=60).stopped_at(20).schedule_steps is None


def test_learning_rates_warm_up_and_cool_down() -> None:
    """Each lane has its own schedule: constant, linear warm-up, warm-up and cosine."""
    lanes = schedules(
        StyleConfig(steps=10),
        StyleConfig(steps=10, warmup_steps=4),
        StyleConfig(steps=10, warmup_steps=4, lr_schedule="cosine"),
    )
    path = torch.stack([lanes.lr_factor(torch.full((3,), step)) for step in range(1, 11)])
    assert (path[:, 0] == 1).all()
    torch.testing.assert_close(path[:5, 1], torch.tensor([0.25, 0.5, 0.75, 1, 1]).double())
    assert path[3:5, 2].tolist() == [1, 1]
    assert (path[5:, 2].diff() < 0).all() and 0 < path[-1, 2] < 0.1


def test_style_weights_can_increase_linearly() -> None:
    """A ramp increases from its start at the first step to 1 at the last step."""
    lanes = schedules(
        StyleConfig(steps=11, weight_schedule="ramp", ramp_start=0.2), StyleConfig(steps=11)
    )
    ones = torch.ones(2)
    path = torch.stack([lanes.style_factor(torch.full((2,), s), ones) for s in (1, 6, 11)])
    torch.testing.assert_close(path[:, 0], torch.tensor([0.2, 0.6, 1.0]).double())
    assert (path[:, 1] == 1).all()


def test_balancing_converges_to_the_given_ratio() -> None:
    """Repeated measurements bring style and content gradients to the given ratio."""
    lanes = schedules(StyleConfig(weight_schedule="balance", balance_ratio=3.0))
    factor = torch.ones(1)
    for _ in range(30):
        factor = lanes.balanced(factor, torch.tensor([0.5]), torch.tensor([8.0]))
    assert (factor * 8.0 / 0.5).item() == pytest.approx(3.0, rel=1e-4)


@pytest.mark.parametrize(("content", "style"), [(0.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
def test_balancing_needs_both_gradients(content: float, style: float) -> None:
    """The factor does not change if one gradient is zero or not finite."""
    lanes = schedules(StyleConfig(weight_schedule="balance"))
    factor = torch.full((1,), 0.7)
    factor_after = lanes.balanced(factor, torch.tensor([content]), torch.tensor([style]))
    assert factor_after.item() == pytest.approx(0.7)


def test_balancing_begins_when_there_is_a_content_loss() -> None:
    """A lane that starts from the content does not measure before its first step."""
    configs = (
        StyleConfig(weight_schedule="balance", init="content"),
        StyleConfig(weight_schedule="balance", init="noise"),
        StyleConfig(init="noise"),
        StyleConfig(weight_schedule="balance", init="mix", init_noise=0),
        StyleConfig(weight_schedule="balance", init="mix", init_noise=0.1),
    )
    assert [balance_due(c, 0) for c in configs] == [False, True, False, False, True]
    assert [balance_due(c, 10) for c in configs] == [True, True, False, True, True]
    assert [balance_due(c, 11) for c in configs] == [False] * 5
