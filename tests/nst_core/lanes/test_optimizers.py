"""Optimizers against torch.optim, and independence of lanes."""

from collections.abc import Callable

import pytest
import torch

from nst_core.config import StyleConfig
from nst_core.lanes.optimizers import Lbfgs, Rates, optimizer_of

DOUBLE = torch.float64
Oracle = Callable[[list[torch.Tensor]], torch.optim.Optimizer]

#: Settings of three lanes; the middle one is compared with torch's own optimizer.
CASES: list[tuple[str, dict[str, float], Oracle]] = [
    ("adam", {"lr": 1e-3}, lambda p: torch.optim.Adam(p, lr=1e-3)),
    (
        "adam",
        {"lr": 0.5, "beta1": 0.5, "beta2": 0.9},
        lambda p: torch.optim.Adam(p, lr=0.5, betas=(0.5, 0.9)),
    ),
    (
        "adamw",
        {"lr": 0.1, "weight_decay": 0.3},
        lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.3),
    ),
    ("sgd", {"lr": 0.02, "momentum": 0.8}, lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.8)),
    ("sgd", {"lr": 0.1, "momentum": 0.0}, lambda p: torch.optim.SGD(p, lr=0.1)),
]


def make_problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return start, minimum and curvature of a problem that is not quadratic, for three lanes."""
    generator = torch.Generator().manual_seed(0)
    start, goal = torch.rand(2, 3, 3, 6, 5, generator=generator, dtype=DOUBLE)
    return start, goal, 0.1 + torch.rand(3, 6, 5, generator=generator, dtype=DOUBLE)


def loss_of(x: torch.Tensor, goal: torch.Tensor, curvature: torch.Tensor) -> torch.Tensor:
    difference = x - goal
    return (curvature * difference.square() + 0.3 * difference**4).flatten(1).sum(1)


def run_lanes(
    configs: list[StyleConfig], lanes: list[int], steps: int, scale: float = 1.0
) -> list[torch.Tensor]:
    start, goal, curvature = make_problem()
    x = start[lanes]
    optimizer = optimizer_of(configs[0])
    state = optimizer.init(x)
    rates = Rates.of([configs[lane] for lane in lanes], x.device)
    ones = torch.ones(len(lanes), dtype=DOUBLE)
    path = []
    for step in range(1, steps + 1):
        x = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad(scale * loss_of(x, goal[lanes], curvature).sum(), x)
        with torch.no_grad():
            x, state = optimizer.update(x.detach(), grad, state, rates.at(step * ones, ones))
        path.append(x)
    return path


@pytest.mark.parametrize(("name", "settings", "oracle"), CASES)
def test_a_lane_equals_torch(name: str, settings: dict[str, float], oracle: Oracle) -> None:
    """A lane of a batch has the trajectory of torch.optim for its image alone, in float64."""
    start, goal, curvature = make_problem()
    other = StyleConfig(optimizer=name, lr=0.07, weight_decay=0.0, beta1=0.3, momentum=0.1)
    path = run_lanes([other, StyleConfig(optimizer=name, **settings), other], [0, 1, 2], 40)  # type: ignore[arg-type]
    alone = start[1:2].clone().requires_grad_()
    optimizer = oracle([alone])
    for step in range(40):
        optimizer.zero_grad()
        loss_of(alone, goal[1:2], curvature).sum().backward()
        optimizer.step()
        torch.testing.assert_close(path[step][1:2], alone.detach(), rtol=1e-12, atol=1e-12)


def test_lbfgs_equals_torch_after_an_equal_first_step() -> None:
    """With a loss scaled to an equal first step, L-BFGS equals torch's without line search."""
    start, goal, curvature = make_problem()
    x = start[1:2].clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss_of(x, goal[1:2], curvature).sum(), x)
    scale = 0.01 / grad.square().mean().sqrt().item()
    assert scale * grad.abs().sum() <= 1  # torch's first step, min(1, 1 / |g|_1) g, is not reduced
    config = StyleConfig(optimizer="lbfgs", lr=1.0, lbfgs_history=5)
    path = run_lanes([config] * 3, [0, 1, 2], 30, scale)
    oracle = torch.optim.LBFGS(
        [x], lr=1.0, max_iter=1, history_size=5, tolerance_grad=0, tolerance_change=0
    )

    def closure() -> torch.Tensor:
        oracle.zero_grad()
        loss = scale * loss_of(x, goal[1:2], curvature).sum()
        loss.backward()
        return loss

    for step in range(12):
        oracle.step(closure)
        torch.testing.assert_close(path[step][1:2], x.detach(), rtol=1e-6, atol=1e-8)
    assert loss_of(path[-1], goal, curvature).max() < 1e-9


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "lamb", "lbfgs"])
def test_lanes_are_independent(name: str) -> None:
    """A lane of a batch has exactly the trajectory that it has alone, in float64."""
    configs = [StyleConfig(optimizer=name, lr=lr) for lr in (0.05, 0.3, 0.01)]
    together = run_lanes(configs, [0, 1, 2], 25)
    for lane in range(3):
        alone = run_lanes(configs, [lane], 25)
        assert all(torch.equal(a[0], t[lane]) for a, t in zip(alone, together, strict=True))


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e9])
def test_lbfgs_does_not_depend_on_the_scale_of_the_loss(scale: float) -> None:
    """The trajectory of L-BFGS does not change if the loss is multiplied by a constant."""
    config = StyleConfig(optimizer="lbfgs", lr=1.0)
    expected, path = (run_lanes([config] * 3, [0, 1], 20, s) for s in (1.0, scale))
    for a, b in zip(expected, path, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_lbfgs_keeps_only_positive_curvature() -> None:
    """A step along which the gradient does not increase does not enter the history."""
    optimizer = Lbfgs(history=3)
    x = torch.rand(1, 3, 4, 4, dtype=DOUBLE)
    rates = Rates.of([StyleConfig(optimizer="lbfgs")], x.device)
    one = torch.ones(1, dtype=DOUBLE)
    state = optimizer.init(x)
    grad = torch.ones_like(x)
    for step, sign in enumerate((1, 1.5, 2), start=1):  # negative curvature
        x, state = optimizer.update(x, sign * grad, state, rates.at(step * one, one))
    assert state["moves"].abs().max() == 0


def test_lamb_steps_scale_with_the_image() -> None:
    """The norm of a LAMB step is the norm of the image times the learning rate."""
    config = StyleConfig(optimizer="lamb", lr=0.1, weight_decay=0.0)
    start, _, _ = make_problem()
    (after,) = run_lanes([config], [0], 1)
    length = (after - start[:1]).norm() / start[:1].norm()
    assert length.item() == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "lamb", "lbfgs"])
def test_states_can_be_rescaled(name: str) -> None:
    """Every optimizer continues from a rescaled state at another image size."""
    config = StyleConfig(optimizer=name)
    optimizer = optimizer_of(config)
    x = torch.rand(2, 3, 8, 6, dtype=DOUBLE)
    rates = Rates.of([config] * 2, x.device).at(torch.ones(2), torch.ones(2, dtype=DOUBLE))
    x, state = optimizer.update(x, torch.rand_like(x), optimizer.init(x), rates)
    state = optimizer.rescale(state, 11, 9)
    larger = torch.rand(2, 3, 11, 9, dtype=DOUBLE)
    moved, after = optimizer.update(larger, torch.rand_like(larger), state, rates)
    assert moved.shape == larger.shape and torch.isfinite(moved).all()
    assert {k: v.shape for k, v in after.items()} == {k: v.shape for k, v in state.items()}
