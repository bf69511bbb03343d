"""A job for three pictures: space, size, trials and budget that suit the machine."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nst_core.errors import ConfigError, InputError, Say
from nst_core.files import is_utf8
from nst_core.images.sizes import check_image, least_size_px
from nst_core.networks.weights import get_weights
from search_spaces import Space
from tuner.job.find_space import find_space
from tuner.job.load import job_of, shapes_differ
from tuner.job.spec import JobSpec
from tuner.job.yaml_file import YamlFile
from tuner.search.halving import expected_steps

#: The default of a job file.
SPACE: str = JobSpec.model_fields["space"].default
#: Minutes that a run may take unless the person says otherwise.
MINUTES = 20.0
#: Sizes to choose from, in pixels. Below 96 px strokes are hardly visible.
SIZES_PX = (96, 128, 192, 256, 384, 512, 768)
#: Size at which the machine is measured first.
MEASURED_PX = 96
#: Trials and steps to choose from, the better ones first; a slow machine gets fewer.
EFFORTS = ((64, 300), (40, 200), (24, 120))
#: Share of the time that goes into steps; the rest is scoring, pictures and decisions.
BUSY = 0.8
#: Seconds before the first step: Ray, torch, weights and baselines.
START_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The three pictures of a pair; there may be several style images.

    Attributes:
        content: picture to stylize.
        styles: style images.
        reference: picture that shows the goal.
    """

    content: Path
    styles: Sequence[Path]
    reference: Path

    @property
    def files(self) -> Mapping[str, Path]:
        """Role -> file."""
        styles = {f"style {number}": file for number, file in enumerate(self.styles, start=1)}
        if len(self.styles) == 1:
            styles = {"style": self.styles[0]}
        return {"content": self.content, **styles, "reference": self.reference}

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return role -> (width, height), after checking every picture.

        Raises:
            ConfigError: a file is no picture, or the reference has another shape than the content;
                the error lists all problems.
        """
        sizes, problems = {}, []
        for role, file in self.files.items():
            if not is_utf8(file.resolve()):
                problems.append(f"{role}: {file}: the path is not valid UTF-8; rename the file")
                continue
            try:
                sizes[role] = check_image(file)
            except InputError as error:
                problems.append(f"{role}: {error}")
        if {"content", "reference"} <= set(sizes) and shapes_differ(
            sizes["content"], sizes["reference"]
        ):
            wide, high = sizes["content"]
            problems.append(
                f"reference: {sizes['reference'][0]}x{sizes['reference'][1]} has another shape than"
                f" the content ({wide}x{high}); crop the reference to the content's frame"
            )
        if problems:
            raise ConfigError("pictures", problems)
        return sizes

    def pair(self, folder: Path | None = None) -> dict[str, Any]:
        """Return the pair for a job file, with paths relative to ``folder``, or absolute ones."""

        def place(file: Path) -> str:
            full = os.path.abspath(file)  # noqa: PTH100  # links stay as they are named
            return os.path.relpath(full, folder) if folder else full

        styles = [place(style) for style in self.styles]
        style = styles[0] if len(styles) == 1 else [{"image": image} for image in styles]
        return {"content": place(self.content), "style": style, "reference": place(self.reference)}

    @property
    def name(self) -> str:
        """Name of the run: those of the content and the first style image."""
        name = f"{self.content.stem}-{self.styles[0].stem}".encode(errors="replace").decode()
        return "".join(c for c in name if unicodedata.category(c) != "Cc")[:200]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A job for three pictures, and how long it takes here.

    Attributes:
        pictures: the pictures.
        size_px: longer side of the results in pixels.
        trials: number of trials.
        max_steps: steps of a full trial.
        budget_minutes: limit of the search.
        workers: number of engines that compute at the same time.
        device: name of the device.
        step_s: measured seconds of one step of one engine.
        space: name of the search space.
    """

    pictures: Pictures
    size_px: int
    trials: int
    max_steps: int
    budget_minutes: float
    workers: int
    device: str
    step_s: float
    space: str = SPACE

    @property
    def minutes(self) -> float:
        """Estimated minutes of the whole run with its finals."""
        steps = search_steps(self.trials, self.max_steps)
        search_s = min(self._seconds(steps), self.budget_minutes * 60)
        finals = self.job(None)["finals"]
        finals_s = self._seconds(finals["count"] * finals["seeds"] * self.max_steps)
        return (START_S + search_s + finals_s) / 60

    def _seconds(self, steps: float) -> float:
        return steps * self.step_s / self.workers / BUSY

    def job(self, folder: Path | None) -> dict[str, Any]:
        """Return the content of the job file, with paths relative to ``folder`` or absolute."""
        return {
            "name": self.pictures.name,
            "pairs": [self.pictures.pair(folder)],
            "size_px": self.size_px,
            "space": self.space,
            "objective": "lpips",
            "search": {"trials": self.trials},
            "halving": {"max_steps": self.max_steps},
            "finals": {"count": 2 if self.trials > EFFORTS[-1][0] else 1, "seeds": 3},
            "budget": {"minutes": self.budget_minutes},
        }

    def spec(self, changes: Sequence[str] = ()) -> tuple[JobSpec, Space]:
        """Return the job and its search space, as `load_job` does.

        Args:
            changes: assignments ``key.sub=value``.
        """
        file = YamlFile(source="job of the pictures", data=self.job(None), lines={})
        return job_of(file, Path.cwd(), changes)

    def changed(self, changes: Sequence[str]) -> Proposal:
        """Return the proposal with what some assignments change of it, for `proposal_table`."""
        spec, space = self.spec(changes)
        return dataclasses.replace(
            self,
            size_px=spec.size_px,
            trials=spec.search.trials,
            max_steps=spec.halving.max_steps,
            budget_minutes=spec.budget.minutes or math.inf,
            step_s=self.step_s * (spec.size_px / self.size_px) ** 2,
            space=space.name,
        )


def search_steps(trials: int, max_steps: int) -> float:
    """Return the expected number of steps of a search with presets, of all trials together."""
    halving = JobSpec.model_fields["halving"].default.model_copy(update={"max_steps": max_steps})
    presets = min(5, trials // 2)
    return presets * max_steps + (trials - presets) * expected_steps(halving)


def propose(
    pictures: Pictures, *, device: str, workers: int, minutes: float = MINUTES, say: Say
) -> Proposal:
    """Measure a few steps on this machine and return the job that suits it.

    The largest size is chosen at which the run takes at most ``minutes``; if there is none, the
    smallest size with fewer trials and steps.

    Args:
        pictures: the pictures, whose sizes limit that of the results.
        device: ``cuda`` or ``cpu``.
        workers: number of engines that will compute at the same time.
        minutes: minutes that the run may take.
        say: receives lines about downloads.

    Raises:
        InputError: a picture cannot be used, or weights are missing.
    """
    from nst_core.lanes.device import device_name

    sizes = possible_sizes(pictures.sizes())
    measure = _Measure(pictures, device, say)
    known_px = min(sizes, key=lambda size: abs(size - MEASURED_PX))
    known_s = measure(known_px)
    draft = Proposal(
        pictures=pictures,
        size_px=known_px,
        trials=EFFORTS[0][0],
        max_steps=EFFORTS[0][1],
        budget_minutes=minutes,
        workers=workers,
        device=device_name(device),
        step_s=known_s,
    )
    chosen = choose(draft, sizes, minutes)
    if chosen.size_px == known_px:
        return chosen
    return dataclasses.replace(chosen, step_s=measure(chosen.size_px))


def possible_sizes(pixels: Mapping[str, tuple[int, int]]) -> list[int]:
    """Return the sizes that suit pictures: no larger than content and reference, not too thin.

    Args:
        pixels: role -> (width, height); see `Pictures.sizes`.
    """
    most = min(max(pixels["content"]), max(pixels["reference"]))
    least = least_size_px(*pixels["content"])
    return [size for size in SIZES_PX if least <= size <= most] or [max(least, min(most, 96))]


def choose(draft: Proposal, sizes: Sequence[int], minutes: float) -> Proposal:
    """Return the job of the largest size that is done in time, from one measured size.

    Args:
        draft: a job at the measured size.
        sizes: the sizes to choose from, ascending.
        minutes: minutes that the run may take.
    """

    def at(size: int, trials: int, steps: int) -> Proposal:
        step_s = draft.step_s * (size / draft.size_px) ** 2
        return dataclasses.replace(
            draft, size_px=size, step_s=step_s, trials=trials, max_steps=steps, budget_minutes=1e6
        )

    in_time = [
        proposal
        for trials, steps in EFFORTS
        for size in reversed(sizes)
        if (proposal := at(size, trials, steps)).minutes <= minutes
    ]
    chosen = in_time[0] if in_time else at(sizes[0], *EFFORTS[-1])
    return dataclasses.replace(chosen, budget_minutes=minutes)


class _Measure:
    """Measures the seconds of one step at a size."""

    def __init__(self, pictures: Pictures, device: str, say: Say):
        from nst_core.losses.targets import FeatureStore

        self._pictures = pictures
        self._space = find_space(SPACE).for_style_images(len(pictures.styles))
        weights = {name: get_weights(name, say=say) for name in self._space.may_set("extractor")}
        self._store = FeatureStore(weights.__getitem__, device)

    def __call__(self, size_px: int) -> float:
        from tuner.engine.pairs import load_pair
        from tuner.engine.speed import seconds_per_step
        from tuner.job.pair_spec import PairSpec

        space = self._space
        config = space.build(space.initial_points[0], size_px=size_px, steps=EFFORTS[0][1])
        pair = load_pair(PairSpec.model_validate(self._pictures.pair()), size_px)
        return seconds_per_step(self._store, config, pair)


def job_text(proposal: Proposal, file: Path) -> str:
    """Return the job file of a proposal, with comments that say what each key means.

    Args:
        proposal: the job.
        file: the job file; its paths are relative to its folder.
    """
    job = proposal.job(file.resolve().parent)
    name, content, style, reference = (
        json.dumps(value, ensure_ascii=False)  # YAML 1.2 contains JSON
        for value in (job["name"], *job["pairs"][0].values())
    )
    trials, max_steps = job["search"]["trials"], job["halving"]["max_steps"]
    return f"""\
# A job of nst-tuner; paths are relative to this file. Start it with
#   nst-tuner launch {shlex.quote(str(file))}
name: {name}

# The picture to stylize, the picture whose style it gets, and what the result should look like.
# More pairs may follow; the objective is their mean.
pairs:
  - content: {content}
    style: {style}
    reference: {reference}

# Longer side of the results in pixels. The time grows with its square.
size_px: {job["size_px"]}

# What is searched: `nst-tuner spaces` lists the search spaces.
space: {job["space"]}

# The distance to the reference: `nst-tuner metrics` lists the metrics.
objective: {job["objective"]}

# Number of configurations to try. The first ones are published presets, to compare with.
search: {{trials: {trials}}}

# Steps of a full trial. Most trials end earlier, because only the best continue.
halving: {{max_steps: {max_steps}}}

# The best trials run again, with other seeds.
finals: {{count: {job["finals"]["count"]}, seeds: {job["finals"]["seeds"]}}}

# Limit of the search. A step takes {proposal.step_s:.2g} s here ({proposal.workers} at a time,
# {proposal.device}), so the whole run takes about {minutes_text(proposal.minutes)}.
budget: {{minutes: {job["budget"]["minutes"]:g}}}

# Other keys, such as
#   holdout:      pairs that only the finals are scored on
#   constraints:  {{seconds_per_image: "<= 5"}}
#   watch:        [tensorboard]
"""


def minutes_text(minutes: float) -> str:
    """Return a duration for people, such as ``12 minutes``."""
    if minutes < 1.5:
        return "1 minute"
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
