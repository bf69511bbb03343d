"""What an engine knows of a trial that is on it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.lanes.assembly import LaneState, fresh_state
from nst_core.lanes.checkpoints import load_lanes
from nst_core.lanes.schedules import stages
from nst_core.losses.inputs import LossInputs
from tuner.study.records import Report, Scores


@dataclass
class Reached:
    """A trial at a step: its images, its losses, and its scores as soon as they are there."""

    steps: int
    images: Sequence[np.ndarray]
    losses: Mapping[str, float]
    seconds: float
    scores: Future[Sequence[Scores]]


@dataclass
class EngineTrial:
    """A trial on its way.

    Attributes:
        pairs: so many of the engine's it runs on.
        asked: the last step that it was asked to come to.
        stops: steps to come to, the next one first; beyond ``asked`` it runs ahead.
        away: lanes that are in no batch, by pair.
        images: of the lanes that have come to the next stop.
        reached: stops behind it that were not reported yet.
        shown: images of the last report.
        failure: why it ended, not reported yet.
        taken_up: the step that its saved lanes were at, not reported yet.
        came_at: when the engine took it in, not reported yet.
        remark: what is to be known about it, not reported yet.
    """

    config: StyleConfig
    pairs: int
    asked: int = 0
    stops: list[int] = field(default_factory=list)
    seconds: float = 0.0
    away: dict[int, LaneState | None] = field(default_factory=dict)
    losses: dict[int, Mapping[str, float]] = field(default_factory=dict)
    images: dict[int, np.ndarray] = field(default_factory=dict)
    reached: list[Reached] = field(default_factory=list)
    shown: Sequence[np.ndarray] = ()
    failure: Report | None = None
    taken_up: int | None = None
    came_at: float | None = field(default_factory=time.time)
    remark: str | None = None

    def take_up(self, saved: bytes, inputs: Sequence[LossInputs], until: int) -> int:
        """Go on from saved lanes; returns steps that they ran ahead of what was asked for.

        Args:
            saved: what `Engine.pause` gave.
            inputs: of each pair that it runs on.
            until: the rung that it is to report next. Lanes run ahead up to there and no further,
                so those beyond it are of another study than this one.

        Raises:
            InputError: they are no saved lanes, or those of a trial with other settings or pairs,
                or beyond its next rung; nothing was changed.
        """
        lanes, facts = load_lanes(saved)
        if len(lanes) != self.pairs:
            raise InputError(f"{len(lanes)} lanes, expected {self.pairs}")
        for lane, pictures in zip(lanes, inputs, strict=True):
            _check(lane, self.config, pictures)
            if lane.step > until:
                raise InputError(f"they are at step {lane.step}, expected at most {until}")
        try:
            seconds, asked = float(facts["seconds"]), int(facts["asked"])
            losses: dict[int, Mapping[str, float]] = {
                int(pair): dict(found) for pair, found in facts["losses"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"facts of another kind ({type(error).__name__}: {error})") from None
        self.away, self.seconds, self.losses = dict(enumerate(lanes)), seconds, losses
        self.taken_up = min(lane.step for lane in lanes)
        return ahead(lanes, asked)


def ahead(lanes: Sequence[LaneState], asked: int) -> int:
    """Steps beyond where a trial was asked to be."""
    return sum(max(0, lane.step - asked) for lane in lanes)


def _check(lane: LaneState, config: StyleConfig, inputs: LossInputs) -> None:
    """Raise InputError if a lane cannot go on with these settings and pictures."""
    plan = stages(config, *inputs.height_width)
    sizes = {inputs.at(stage.size_px).height_width for stage in plan}
    image = lane.image_3HW
    if tuple(image.shape) not in {(3, *size) for size in sizes}:
        raise InputError(f"a picture of shape {tuple(image.shape)}, which no stage has")
    # On the meta device nothing is computed: only names and shapes count.
    fresh = fresh_state(config, torch.empty_like(image, device="meta"))
    expected = {name: value.shape for name, value in fresh.state.items()}
    if {name: value.shape for name, value in lane.state.items()} != expected:
        raise InputError("the state of another optimizer")
