"""Proposals: which configuration a trial runs, by its number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nst_core.config import StyleConfig
from nst_core.presets.preset import Preset
from search_spaces import Params, Space
from tuner.job.spec import JobSpec
from tuner.sampling.draw import Draw
from tuner.sampling.sobol_grid import planned_point
from tuner.study.study import RunStudy


class Proposals:
    """Presets come first, then starts, then what the sampler draws.

    Args:
        study: where the configurations are recorded.
        job: what is asked for.
        space: where configurations are drawn from.
        presets: baseline presets, with a note each.
        starts: parameters of the first trials after them, if not those of the space.
        replay: recorded parameters to use instead of drawing, in the order of the trials.
    """

    def __init__(
        self,
        study: RunStudy,
        job: JobSpec,
        space: Space,
        *,
        presets: Sequence[tuple[Preset, str | None]],
        starts: Sequence[Params] | None,
        replay: Sequence[Params],
    ):
        self._study, self._job, self._space = study, job, space
        search = job.search
        self._draw = Draw(study, goals=job.goals, sampler=search.sampler, seed=search.seed)
        self._presets, self._replay = presets, replay
        self._starts = space.initial_points if starts is None else starts
        #: Numbers of finals, which an extended run has between its other trials.
        self._finals: set[int] = set()

    def skip(self, number: int) -> None:
        """Leave a trial out of the count: it is the final of another one."""
        self._finals.add(number)

    def configure(self, number: int) -> StyleConfig:
        """The configuration of a trial that has begun, which is recorded with it."""
        max_steps = self._job.halving.max_steps
        if preset := self.preset(number):
            steps = min(preset[0].config.steps, max_steps)
            config = preset[0].config.replace(
                size_px=self._job.size_px, steps=steps, schedule_steps=None
            )
            notes = [preset[1]] if preset[1] else []
            if steps < preset[0].config.steps:
                notes.append(f"{steps} of its {preset[0].config.steps} steps")
            note = "; ".join(notes) or None
            self._study.assign(number, config.to_dict(), preset=preset[0].name, note=note)
            return config
        params = self._draw(number, self._space, max_steps, self._fixed(number))
        fixed: dict[str, Any] = {"size_px": self._job.size_px, "steps": max_steps}
        config = self._space.build(params, **fixed)
        self._study.assign(number, config.to_dict())
        return config

    def own_steps(self) -> dict[int, int]:
        """Trial of a preset -> steps that the preset has as published."""
        return {number: preset.config.steps for number, (preset, _) in enumerate(self._presets)}

    def in_full(self, number: int) -> StyleConfig:
        """The configuration of a preset's trial, to the preset's own steps."""
        config = self._presets[number][0].config
        return config.replace(size_px=self._job.size_px, schedule_steps=None)

    def _fixed(self, number: int) -> Params | None:
        """Parameters that a trial must have: replayed ones, a start of the space, a planned one."""
        if self.preset(number) or number in self._finals:
            return None
        index = number - len(self._presets) - sum(final < number for final in self._finals)
        if self._replay:  # it ends early if the run was given fewer trials than it had begun
            return self._replay[index] if index < len(self._replay) else None
        if index < len(self._starts):
            return self._starts[index]
        search = self._job.search
        return planned_point(search.sampler, self._space, index, search.seed)

    def preset(self, number: int) -> tuple[Preset, str | None] | None:
        """The baseline preset that a trial is, with its note."""
        return self._presets[number] if number < len(self._presets) else None
