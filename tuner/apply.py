"""Applying presets to pictures, scoring pictures, making references: one picture each."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID

from nst_core.animation import check_animation_path, save_animation
from nst_core.built_in import load_preset, runnable
from nst_core.config import StyleConfig
from nst_core.errors import InputError, Say, WorkError, near_miss
from nst_core.files import is_file
from nst_core.metric_names import DEFAULT_METRICS, METRICS
from nst_core.presets import Preset
from nst_core.references import LONG_RUN_CONFIG, check_reference_source, make_reference
from nst_core.resolution import at_size
from tuner.light_checks import check_output
from tuner.plots import check_plot_path, plot_losses
from tuner.weightsfiles import WeightsFiles
from tuner.yamlfile import set_key

if TYPE_CHECKING:  # torch takes seconds to load, and options are checked without it
    import numpy as np

    from nst_core.materials import Style
    from nst_core.stylization import Step

#: Frames of an animation, where `--every` does not say otherwise.
GIF_FRAMES = 40


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What goes into a stylization.

    Attributes:
        content: picture file.
        styles: as `parse_style` reads them.
        start: picture file for ``init: image``.
        weights: ``NAME=FILE`` each.
    """

    content: Path
    styles: Sequence[str]
    start: Path | None = None
    weights: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What comes out of a stylization.

    Attributes:
        image: the result.
        every: also save a frame every so many steps, beside the result.
        gif: an animation of the run, GIF or WebP.
        plot: a graph of the losses.
        bits: 8, or 16 for PNG and TIFF.
        keep_alpha: give the result the content's transparency.
    """

    image: Path
    every: int | None = None
    gif: Path | None = None
    plot: Path | None = None
    bits: int = 8
    keep_alpha: bool = False

    def check(self) -> None:
        """Raise ImageError if any of it could not be written."""
        check_output(self.image, bits=self.bits, alpha=self.keep_alpha)
        if self.gif:
            check_animation_path(self.gif)
        if self.plot:
            check_plot_path(self.plot)

    def frame(self, step: int) -> Path:
        """File of the frame at a step."""
        return self.image.with_name(f"{self.image.stem}-{step:05d}{self.image.suffix}")


@dataclass
class _Film:
    """What is remembered of a run for frames, animation and graph."""

    outputs: Outputs
    total: int
    frames: list[np.ndarray] = field(default_factory=list)
    losses: dict[int, dict[str, float]] = field(default_factory=dict)

    @property
    def interval(self) -> int:
        """Steps between two frames."""
        return self.outputs.every or max(1, self.total // GIF_FRAMES)

    @property
    def stride(self) -> int:
        """Steps between two looks, so that none of the frames is missed."""
        return math.gcd(self.interval, 10) if self.outputs.every or self.outputs.gif else 10

    def take(self, step: Step) -> None:
        """Look at a step."""
        from nst_core.images import save_image, to_uint8

        self.losses[step.step] = dict(step.losses)
        last = step.step == self.total
        if step.step % self.interval and not last:
            return
        if self.outputs.gif:
            self.frames.append(to_uint8(step.image_3HW))
        if self.outputs.every and not last:
            save_image(step.image_3HW, self.outputs.frame(step.step))

    def save(self, say: Say) -> None:
        """Write what is written at the end."""
        if self.outputs.gif:
            save_animation(self.frames, self.outputs.gif)
            say(f"wrote {self.outputs.gif} ({len(self.frames)} frames)")
        if self.outputs.plot:
            plot_losses(self.losses, self.outputs.plot)
            say(f"wrote {self.outputs.plot}")


def settings(
    preset: str | None,
    assignments: Sequence[str],
    *,
    size_px: int | None,
    seed: int | None,
    say: Say,
) -> Preset:
    """A preset with single settings changed; without a preset, the defaults with them changed.

    Args:
        preset: name or file.
        assignments: ``KEY=VALUE`` each.
        size_px: longer side; a preset is fitted to it, as `resolution.at_size` does.
        seed: of noise.
        say: is told what was fitted.

    Raises:
        PresetError: no such preset.
        ConfigError: a setting is unknown or out of range, all at once.
    """
    if preset is None and not assignments:
        raise InputError(
            "nothing to apply: give --preset NAME_OR_FILE or settings with --set key=value"
            " (`nst-tuner presets` lists the built-in ones)"
        )
    base = load_preset(preset) if preset else Preset(name="custom", config=StyleConfig())
    # Without a preset, what follows from other settings, such as layers, is left to follow.
    values = base.config.to_dict() if preset else {}
    for assignment in assignments:
        set_key(values, assignment)
    if seed is not None:
        values["seed"] = seed
    config = StyleConfig.from_dict(values, source="settings")
    if size_px is not None:
        StyleConfig.from_dict({**values, "size_px": size_px}, source="--size-px")
        config, note = (
            at_size(config, size_px) if preset else (config.replace(size_px=size_px), None)
        )
        if note:
            say(note)
    return Preset(**{**vars(base), "config": config})


def apply_preset(
    preset: Preset, sources: Sources, outputs: Outputs, *, console: Console, say: Say
) -> None:
    """Stylize one picture and save it, with a progress bar.

    Raises:
        InputError: a picture, the preset or the output cannot be used; nothing was written.
        WorkError: the stylization diverged; the result was not written.
    """
    from nst_core.images import load_image, load_with_alpha, save_image
    from nst_core.lanes import Outcome
    from nst_core.stylization import default_device, stylize

    outputs.check()
    content_3HW, alpha_1HW = load_with_alpha(sources.content)
    styles = [parse_style(text) for text in sources.styles]
    starts = {"image": load_image(sources.start)} if sources.start else None
    weights = WeightsFiles(sources.weights, say)
    weights.check(preset)
    half = default_device().type == "cuda"
    preset, note = runnable(preset, weights.available, half=half)
    if note:
        say(f"{preset.name}: {note}")
    total = preset.config.steps
    film, image = _Film(outputs, total), content_3HW
    with Progress(console=console) as progress:
        task = progress.add_task(escape(f"stylize {sources.content.name}"), total=total)
        run = functools.partial(stylize, weights=weights, every=film.stride, starts=starts, say=say)
        for step in run(preset.config, content_3HW, styles):
            progress.update(task, completed=step.step)
            if step.outcome is not Outcome.RUNNING:
                raise WorkError(
                    f"step {step.step}: {step.outcome.value}; {outputs.image} was not written"
                )
            image = step.image_3HW
            film.take(step)
    alpha = alpha_1HW if outputs.keep_alpha else None
    text = {"nst-tuner-preset": preset.to_json()}
    save_image(image, outputs.image, text=text, bits=outputs.bits, alpha_1HW=alpha)
    say(f"wrote {outputs.image} ({image.shape[2]}x{image.shape[1]})")
    film.save(say)


def save_reference(
    source: str,
    sources: Sources,
    out_file: Path,
    *,
    size_px: int | None,
    steps: int | None,
    encoder: Path | None,
    decoder: Path | None,
    console: Console,
    say: Say,
) -> None:
    """Make a reference stylization and save it. Errors as `references.make_reference`."""
    from nst_core.images import load_image, save_image

    check_reference_source(source, encoder, decoder)
    check_output(out_file)
    content_3HW = load_image(sources.content)
    styles = [(style.image_3HW, style.weight) for style in map(parse_style, sources.styles)]
    total = steps or LONG_RUN_CONFIG.steps
    with Progress(console=console, disable=source != "long-run") as progress:
        task = progress.add_task("long run", total=total)
        image = make_reference(
            source,
            content_3HW,
            styles,
            size_px=size_px or max(content_3HW.shape[1:]),
            weights=WeightsFiles(sources.weights, say),
            encoder=encoder,
            decoder=decoder,
            steps=steps,
            on_step=_mover(progress, task),
        )
    save_image(image, out_file, text={"nst-tuner-reference": source})
    say(f"wrote {out_file} ({image.shape[2]}x{image.shape[1]}), by {source}")


def _mover(progress: Progress, task: TaskID) -> Callable[[Step], None]:
    return lambda step: progress.update(task, completed=step.step)


def score_image(
    image: Path,
    reference: Path,
    content: Path | None,
    *,
    metrics: Sequence[str],
    weights: Sequence[str],
    say: Say,
) -> dict[str, dict[str, float]]:
    """Scores of a picture, and of the untouched content if given, by ``image``/``content``.

    The reference, and the content, are scaled to the picture's size, as they are in a run.

    Args:
        image: the picture.
        reference: what it should look like.
        content: without it, metrics against the content are left out.
        metrics: names, in any order; the default metrics if there are none.
        weights: ``NAME=FILE`` each.
        say: told of scaling and of downloads.

    Raises:
        InputError: no such metric, a metric that needs the content without one, or a picture or
            weights that cannot be had.
    """
    from nst_core.images import load_image, resize, to_uint8
    from nst_core.metrics import Judge

    check_metrics(metrics, content is not None)
    picture = load_image(image)
    goal = load_image(reference)
    size = tuple(picture.shape[1:])
    if tuple(goal.shape[1:]) != size:
        say(
            f"{reference}: {goal.shape[2]}x{goal.shape[1]} scaled to {size[1]}x{size[0]},"
            " the size of the picture"
        )
    pictures = {"image": to_uint8(picture)}
    if content is not None:
        pictures["content"] = to_uint8(resize(load_image(content), *size))
    chosen = [name for name in METRICS if name in (metrics or DEFAULT_METRICS)]
    judge = Judge.load(WeightsFiles(weights, say), metrics=chosen)
    goal_HW3, content_HW3 = to_uint8(resize(goal, *size)), pictures.get("content")
    return {name: judge.score(each, goal_HW3, content_HW3) for name, each in pictures.items()}


def check_metrics(metrics: Sequence[str], with_content: bool) -> None:
    """Raise InputError unless each is a metric that can be computed with or without a content."""
    for name in metrics:
        if name not in METRICS:
            hint = near_miss(name, METRICS)
            raise InputError(f"`{name}`: no such metric{hint} (there are {', '.join(METRICS)})")
        if METRICS[name].against == "content" and not with_content:
            raise InputError(f"`{name}` compares with the untouched content: give --content")


def parse_style(text: str) -> Style:
    """``FILE[:WEIGHT][@MASK[@PART]]`` -> a style; a file whose name holds a sign is taken as it is.

    MASK is where in the content it applies, PART what of the style image counts; either may be
    empty.

    Raises:
        InputError: a file cannot be read, or the weight is not a number above 0.
    """
    from nst_core.colors import luminance
    from nst_core.images import load_image
    from nst_core.materials import Style

    file, masks = text, list[str]()
    # Not `Path.exists`: it raises for a name that is too long.
    while not os.path.exists(_split_weight(file)[0]) and "@" in file and len(masks) < 2:  # noqa: PTH110
        file, _, mask = file.rpartition("@")
        masks.insert(0, mask)
    path, weight = _split_weight(file)
    region, style_region = (
        luminance(load_image(mask))[0] if mask else None for mask in (*masks, "", "")[:2]
    )
    return Style(
        image_3HW=load_image(path), weight=weight, region_HW=region, style_region_HW=style_region
    )


def _split_weight(text: str) -> tuple[str, float]:
    """``FILE`` or ``FILE:WEIGHT`` -> (file, weight); a file whose name holds a colon wins."""
    if is_file(text):
        return text, 1.0
    path, colon, number = text.rpartition(":")
    if not colon:
        return text, 1.0
    try:
        weight = float(number)
    except ValueError:
        return text, 1.0
    if not 0 < weight <= 1e6:
        raise InputError(f"--style {text}: expected a weight above 0 and at most 1e6, got {number}")
    return path, weight
