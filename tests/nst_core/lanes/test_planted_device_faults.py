"""Device tests find faults: each fault is planted, and a test must fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.lane_state import LaneState
from nst_core.lanes.optimizers import Adam, Lbfgs
from nst_core.lanes.schedules import Schedules
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.measure import Measure, levels
from nst_core.metrics.pixel_metrics import Rmse
from nst_core.networks.extractors import Extractor, Normalizer
from nst_core.networks.weights import Weights
from tests.nst_core.lanes.test_devices import (
    PLACES,
    Place,
    check_joins,
    check_next_size,
    check_photo_step,
    check_readings,
    check_step,
    weights,
)
from tests.nst_core.losses.test_devices import check_targets
from tests.nst_core.metrics.test_devices import check_metrics

__all__ = ["weights"]

Check = Callable[[Place, Callable[[str], Weights]], None]
Plant = Callable[[pytest.MonkeyPatch], None]


def plain_step(place: Place, weights: Callable[[str], Weights]) -> None:
    """Check a step of a plain lane and of one with another optimizer."""
    check_step(place, weights, [{}, {"optimizer": "lbfgs"}])


def photo_step(place: Place, weights: Callable[[str], Weights]) -> None:
    """Check a step of a photorealistic lane."""
    with pytest.MonkeyPatch.context() as patch:
        check_photo_step(place, weights, patch)


def color_targets(place: Place, weights: Callable[[str], Weights]) -> None:
    """Check the targets of a recolored style."""
    check_targets(place.device, weights, "one style", match_colors="histogram")


def metrics(place: Place, weights: Callable[[str], Weights]) -> None:
    """Check all metrics."""
    check_metrics(place.device, weights)


def before(owner: Any, name: str, fault: Callable[..., Any]) -> Plant:
    """Return how to plant a fault that happens before each call of a function.

    Args:
        owner: class or module of the function.
        name: its name.
        fault: called with its arguments.
    """

    def plant(patch: pytest.MonkeyPatch) -> None:
        correct = getattr(owner, name)

        def faulty(*args: Any, **options: Any) -> Any:
            fault(*args)
            return correct(*args, **options)

        patch.setattr(owner, name, faulty)

    return plant


def instead(owner: Any, name: str, faulty: Any) -> Plant:
    """Return how to plant a function in place of another one."""
    return lambda patch: patch.setattr(owner, name, faulty)


def changed(owner: Any, name: str, change: Callable[[Any], Any]) -> Plant:
    """Return how to plant a change of what a function returns."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        correct = getattr(owner, name)
        patch.setattr(owner, name, lambda *args, **options: change(correct(*args, **options)))

    return plant


def on_host(value: Tensor) -> Tensor:
    """Return zeros of the same shape on the host."""
    return torch.zeros(value.shape, dtype=value.dtype)


FAULTS: dict[str, tuple[Check, Plant]] = {
    "a number is read in a step": (
        plain_step,
        before(Adam, "update", lambda self, x, grad, state, rates: float(grad.sum())),
    ),
    "a condition is read in a step": (
        plain_step,
        before(Lbfgs, "update", lambda self, x, *_: bool((x > 0).all())),
    ),
    "a constant is uploaded in a step": (
        plain_step,
        before(Normalizer, "__call__", lambda self, x: torch.tensor([1.0], device=x.device)),
    ),
    "a number on the host is a factor": (
        plain_step,
        changed(Schedules, "lr_factor", lambda factor_N: factor_N * torch.tensor(1.0)),
    ),
    "a schedule is on the host": (plain_step, changed(Schedules, "style_factor", on_host)),
    "positions of values are looked up": (
        plain_step,
        before(Extractor, "forward", lambda self, x, *_: x.nonzero()),
    ),
    "the step visits the host": (
        plain_step,
        changed(Normalizer, "__call__", lambda x: x.cpu().to(x.device)),
    ),
    "features are on the host": (
        plain_step,
        changed(
            Extractor, "forward", lambda found: {name: on_host(f) for name, f in found.items()}
        ),
    ),
    "the matting Laplacian is on the host": (
        photo_step,
        changed(FeatureStore, "laplacian", on_host),
    ),
    "indices are on the host": (
        plain_step,
        before(Normalizer, "__call__", lambda self, x: x[torch.tensor([0])]),
    ),
    "a joining lane waits": (
        check_joins,
        before(LaneBatch, "prepare", lambda self: float(self.image(self.lanes[0].key).sum())),
    ),
    "a leaving lane visits the host": (
        check_joins,
        changed(LaneBatch, "take", LaneState.copied),
    ),
    "a new size visits the host": (
        check_next_size,
        instead(FeatureStore, "place", lambda store, x: x.cpu().to(store.device, store.dtype)),
    ),
    "losses are read one by one": (
        check_readings,
        before(LaneBatch, "readings", lambda self, losses: [float(x) for x in losses.total]),
    ),
    "a picture is copied to the host": (
        check_readings,
        changed(LaneBatch, "picture", Tensor.cpu),
    ),
    "a metric reads its score": (
        metrics,
        changed(Measure, "scores", lambda score_N: torch.tensor(score_N.tolist())),
    ),
    "a metric visits the host": (
        metrics,
        before(Rmse, "_compare", lambda self, images, reference: images[0].cpu()),
    ),
    "features of references are not kept": (
        metrics,
        before(Measure, "scores", lambda self, level, reference: levels([reference], self.device)),
    ),
    "a saved state waits for each tensor": (
        check_readings,
        instead(LaneState, "copied", lambda state: [value.cpu() for value in state.state.values()]),
    ),
    "a style is recolored on the device": (
        color_targets,
        before(FeatureStore, "_features", lambda self, config, image, layers: image.cpu()),
    ),
    "targets are on the host": (
        color_targets,
        changed(FeatureStore, "color_quantiles", on_host),
    ),
}


@pytest.mark.parametrize("place", ["cuda, bucket", "lazy, assembly"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(
    fault: str,
    place: str,
    weights: Callable[[str], Weights],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a fault in the code, a device test fails and its message names device or traffic."""
    check, plant = FAULTS[fault]
    plant(monkeypatch)
    traffic = r"upload|download|wait|mixed|index|nonzero|device|cpu"
    with pytest.raises((AssertionError, RuntimeError), match=traffic):
        check(PLACES[place], weights)
