"""EngineTrial: the state of one trial on an engine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.lanes.checkpoints import load_lanes
from nst_core.lanes.lane_state import LaneState, fresh_state
from nst_core.lanes.schedules import stages
from nst_core.losses.inputs import LossInputs
from tuner.engine.scoring import ScoreResult
from tuner.study.records import Report


@dataclass
class RungResult:
    """Result of a trial at one step.

    Attributes:
        steps: number of steps.
        images: uint8 images HW3 on the device, one per pair.
        losses: weighted loss terms by name, mean over the pairs.
        seconds: engine time of the trial so far.
        scores: scores of each pair, when the scorer has computed them.
    """

    steps: int
    images: Sequence[Tensor]
    losses: Mapping[str, float]
    seconds: float
    scores: ScoreResult


@dataclass
class EngineTrial:
    """A trial on an engine.

    Attributes:
        config: its settings.
        pairs: number of pairs on which it runs, the first ones of the engine.
        requested: step of the last requested report.
        stops: steps at which images will be scored, ascending; the trial runs ahead to those beyond
            ``requested``.
        seconds: engine time spent on the trial so far.
        waiting: state of each lane that is in no batch, by pair; None for a fresh lane.
        losses: weighted loss terms of each lane, by pair.
        images: uint8 image of each lane that is at the next stop, by pair.
        results: results that were not reported yet, in order of steps.
        reported_images: images of the last report.
        failure: report of the trial's failure, not returned yet.
        resumed_at: step of the saved lanes from which the trial continued; None if it did not, or
            if that was reported.
        arrived_s: time at which the engine received the trial, in seconds since 1970; None if that
            was reported.
        remark: message for the user that was not reported yet.
    """

    config: StyleConfig
    pairs: int
    requested: int = 0
    stops: list[int] = field(default_factory=list)
    seconds: float = 0.0
    waiting: dict[int, LaneState | None] = field(default_factory=dict)
    losses: dict[int, Mapping[str, float]] = field(default_factory=dict)
    images: dict[int, Tensor] = field(default_factory=dict)
    results: list[RungResult] = field(default_factory=list)
    reported_images: Sequence[Tensor] = ()
    failure: Report | None = None
    resumed_at: int | None = None
    arrived_s: float | None = field(default_factory=time.time)
    remark: str | None = None

    @property
    def has_report(self) -> bool:
        """Whether a requested report is ready, or will be when its scores are."""
        if self.results:
            return self.results[0].steps <= self.requested
        return self.failure is not None and bool(self.stops) and self.stops[0] <= self.requested

    def resume(self, saved: bytes, inputs: Sequence[LossInputs], until: int) -> int:
        """Continue from saved lanes; return how many steps they ran ahead of the last request.

        Args:
            saved: bytes from `Engine.pause` or `Engine.snapshot`.
            inputs: images of each pair of the trial.
            until: step of the next report. Lanes never run ahead beyond it before they are saved,
                so lanes beyond it are from another study.

        Raises:
            InputError: the bytes are damaged, or their lanes do not fit the settings, the pairs or
                ``until``; the trial is unchanged.
        """
        lanes, facts = load_lanes(saved)
        if len(lanes) != self.pairs:
            raise InputError(f"got {len(lanes)} saved lanes, expected one for each of {self.pairs}")
        for lane, pair_inputs in zip(lanes, inputs, strict=True):
            _check_lane(lane, self.config, pair_inputs)
            if lane.step > until:
                raise InputError(f"saved lanes are at step {lane.step}, expected at most {until}")
        try:
            seconds, requested = float(facts["seconds"]), int(facts["asked"])
            losses: dict[int, Mapping[str, float]] = {
                int(pair): dict(terms) for pair, terms in facts["losses"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                "saved lanes have a damaged header; expected `seconds`, `asked` and `losses`"
                f" ({type(error).__name__}: {error})"
            ) from None
        self.waiting, self.seconds, self.losses = dict(enumerate(lanes)), seconds, losses
        self.resumed_at = min(lane.step for lane in lanes)
        return steps_ahead(lanes, requested)


def steps_ahead(lanes: Sequence[LaneState], requested: int) -> int:
    """Return the number of steps of all lanes beyond the last requested step of their trial."""
    return sum(max(0, lane.step - requested) for lane in lanes)


def _check_lane(lane: LaneState, config: StyleConfig, inputs: LossInputs) -> None:
    """Raise InputError if a lane cannot continue with these settings and images."""
    plan = stages(config, *inputs.height_width)
    sizes = {inputs.at(stage.size_px).height_width for stage in plan}
    image = lane.image_3HW
    if tuple(image.shape) not in {(3, *size) for size in sizes}:
        raise InputError(
            f"a saved image has shape {tuple(image.shape)}, expected 3 channels and one of the"
            f" sizes {sorted(sizes)}"
        )
    # The meta device computes nothing; only names and shapes are compared.
    fresh = fresh_state(config, torch.empty_like(image, device="meta"))
    expected = {name: value.shape for name, value in fresh.state.items()}
    if {name: value.shape for name, value in lane.state.items()} != expected:
        raise InputError(
            f"the saved state does not belong to optimizer `{config.optimizer}` with these settings"
        )
