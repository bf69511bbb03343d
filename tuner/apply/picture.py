"""Applying presets to pictures, making references: one picture each."""

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

from nst_core.config import StyleConfig
from nst_core.effects import without_effect
from nst_core.errors import ConfigError, InputError, NstError, Say, WorkError
from nst_core.images.animation import check_animation_path, save_animation
from nst_core.images.encode import MADE_BY, check_writable_image
from nst_core.images.sizes import scaled_size
from nst_core.output_files import Named, check_outputs, save_elsewhere
from nst_core.presets.built_in import BUILT_IN, load_preset, runnable
from nst_core.presets.preset import Preset
from nst_core.presets.resolution import at_size
from nst_core.references import LONG_RUN_CONFIG, check_reference_source, make_reference
from tuner.apply.loss_plot import check_plot_path, plot_losses
from tuner.apply.weights_files import WeightsFiles
from tuner.job.style_arguments import check_frames, parse_style, parse_styles
from tuner.job.yaml_file import set_key

if TYPE_CHECKING:  # torch takes seconds to load, and options are checked without it
    import numpy as np
    from torch import Tensor

    from nst_core.stylization import Step

__all__ = ["Outputs", "Sources", "apply_preset", "parse_style", "save_reference"]

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
        others: further files that are read and must be kept, such as the preset's.
    """

    content: Path
    styles: Sequence[str]
    start: Path | None = None
    weights: Sequence[str] = ()
    others: Sequence[Path | None] = ()


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
        force: replace files that nst-tuner did not make.
    """

    image: Path
    every: int | None = None
    gif: Path | None = None
    plot: Path | None = None
    bits: int = 8
    keep_alpha: bool = False
    force: bool = False

    def check(self, read: Sequence[str | Path | None], size: int, steps: int, say: Say) -> None:
        """Try all of it before the work.

        Args:
            read: files that must be kept.
            size: about how many bytes the result has.
            steps: of the run.
            say: told of frames, and of files that will be replaced.

        Raises:
            InputError: any of it could not be written, or would replace what must be kept.
        """
        frames = self.frames(steps)
        total = size * (1 + len(frames))
        check_writable_image(self.image, bits=self.bits, alpha=self.keep_alpha, size=total)
        if frames:
            check_writable_image(frames[-1])
        if self.gif:
            check_animation_path(self.gif)
        if self.plot:
            check_plot_path(self.plot)
        single = [("--out", self.image), ("--gif", self.gif), ("--plot", self.plot)]
        named: list[Named] = [(option, path) for option, path in single if path]
        named += [("--every: the frame", frame) for frame in frames]
        check_outputs(named, read, force=self.force, say=say)
        if frames:
            say(f"--every {self.every}: {len(frames)} frames, {frames[0]} to {frames[-1].name}")

    def frames(self, steps: int) -> list[Path]:
        """Files of the frames on the way through a run of so many steps.

        Raises:
            InputError: frames are asked for and there would be none.
        """
        if self.every is None:
            return []
        if self.every >= steps:
            raise InputError(
                f"--every {self.every}: expected fewer than the {steps} steps of the run, or there"
                " is no frame on the way"
            )
        return [self.frame(step) for step in range(self.every, steps, self.every)]

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
    problems: list[str] = field(default_factory=list)

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
        from nst_core.images.tensors import save_image, to_uint8

        self.losses[step.step] = dict(step.losses)
        last = step.step == self.total
        if step.step % self.interval and not last:
            return
        if self.outputs.gif:
            self.frames.append(to_uint8(step.image_3HW))
        # A disk that is full now may take the result later, so the run goes on without frames.
        if self.outputs.every and not last and not self.problems:
            text = {"Software": MADE_BY}
            self._try(lambda: save_image(step.image_3HW, self.outputs.frame(step.step), text))

    def save(self, image: Callable[[], None], say: Say) -> None:
        """Write what is written at the end, the result first.

        Raises:
            WorkError: some of it could not be written; all else was.
        """
        gif, plot = self.outputs.gif, self.outputs.plot
        self._try(image)
        if gif and self._try(lambda: save_animation(self.frames, gif)):
            say(f"wrote {gif} ({len(self.frames)} frames)")
        if plot and self._try(lambda: plot_losses(self.losses, plot)):
            say(f"wrote {plot}")
        if self.problems:
            raise WorkError("\n".join(self.problems))

    def _try(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except NstError as error:
            self.problems.append(str(error))
            return False
        return True


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
        ConfigError: a setting is unknown, out of range, given twice or without effect.
    """
    if preset is None and not assignments:
        raise InputError(
            "nothing to apply: give --preset NAME_OR_FILE or settings with --set key=value"
            " (`nst-tuner presets` lists the built-in ones)"
        )
    base = load_preset(preset) if preset else Preset(name="custom", config=StyleConfig())
    # Without a preset, what follows from other settings, such as layers, is left to follow.
    values = base.config.to_dict() if preset else {}
    asked = [str(set_key(values, assignment)[0]) for assignment in assignments]
    for key, value in (("seed", seed), ("size_px", size_px)):
        if value is not None and key in asked:
            raise ConfigError(
                "settings", [f"`{key}`: given by --{key.replace('_', '-')} and by --set; give one"]
            )
    if seed is not None:
        values["seed"] = seed
        asked.append("seed")
    config = StyleConfig.from_dict(values, source="settings")
    if vain := without_effect(config, asked):
        raise ConfigError("settings", vain)
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
    from nst_core.images.tensors import encode_image, load_image, load_with_alpha
    from nst_core.lanes.batch import Outcome
    from nst_core.stylization import default_device, stylize

    styles = parse_styles(sources.styles, preset.config)
    weights = WeightsFiles(sources.weights, say)
    size_px, steps = preset.config.size_px, preset.config.steps
    content_3HW, alpha = load_with_alpha(sources.content)
    size = _about_bytes(content_3HW, size_px, outputs.bits)
    outputs.check(_read(sources, weights), size, steps, say)
    given = [style.load() for style in styles]
    starts = {"image": load_image(sources.start)} if sources.start else {}
    check_frames(content_3HW, given, starts.get("image"))
    weights.check(preset)
    half = default_device().type == "cuda"
    asked_for = preset.config.extractor
    preset, note = runnable(preset, weights.available, half=half)
    weights.check_used([asked_for, preset.config.extractor])
    if note:
        say(f"{preset.name}: {note}")
    film, image = _Film(outputs, steps), content_3HW
    with Progress(console=console) as progress:
        task = progress.add_task(escape(f"stylize {sources.content.name}"), total=steps)
        run = functools.partial(stylize, weights=weights, every=film.stride, starts=starts, say=say)
        for step in run(preset.config, content_3HW, given):
            progress.update(task, completed=step.step)
            if step.outcome is not Outcome.RUNNING:
                raise WorkError(
                    f"step {step.step}: {step.outcome.value}; {outputs.image} was not written"
                )
            image = step.image_3HW
            film.take(step)
    if not outputs.keep_alpha:
        alpha = None
    elif alpha is None:
        say(f"--keep-alpha: {sources.content} has no transparency, so the result has none")
    text = {"nst-tuner-preset": preset.to_json()}

    def save() -> None:
        content = encode_image(image, outputs.image, text, bits=outputs.bits, alpha_1HW=alpha)
        save_elsewhere(outputs.image, content)
        say(f"wrote {outputs.image} ({image.shape[2]}x{image.shape[1]})")

    film.save(save, say)


def _read(sources: Sources, weights: WeightsFiles) -> list[str | Path | None]:
    """Every file that a stylization reads."""
    styles = [file for style in parse_styles(sources.styles) for file in style.files]
    return [sources.content, sources.start, *styles, *weights.files, *sources.others]


def _about_bytes(content_3HW: Tensor, size_px: int, bits: int) -> int:
    """What a result takes at least: no picture with a style is compressed to less than half."""
    height, width = scaled_size(content_3HW.shape[2], content_3HW.shape[1], size_px)
    return height * width * 3 * bits // 16


def preset_file(preset: str | None) -> Path | None:
    """The file that a preset is read from; None for a built-in one."""
    return Path(os.path.expanduser(preset)) if preset and preset not in BUILT_IN else None  # noqa: PTH111


def save_reference(
    source: str,
    sources: Sources,
    out_file: Path,
    *,
    size_px: int | None,
    steps: int | None,
    encoder: Path | None,
    decoder: Path | None,
    force: bool = False,
    console: Console,
    say: Say,
) -> None:
    """Make a reference stylization and save it. Errors as `references.make_reference`."""
    from nst_core.images.tensors import encode_image, load_image

    styles = parse_styles(sources.styles)
    regions = any(style.region or style.style_region for style in styles)
    check_reference_source(source, encoder, decoder, steps=steps, regions=regions)
    weights = WeightsFiles(sources.weights, say)
    weights.check_used([LONG_RUN_CONFIG.extractor] if source == "long-run" else [])
    content_3HW = load_image(sources.content)
    if size_px is None:
        size_px = max(content_3HW.shape[1:])
    check_writable_image(out_file, size=_about_bytes(content_3HW, size_px, 8))
    read = [*_read(sources, weights), encoder, decoder]
    check_outputs([("--out", out_file)], read, force=force, say=say)
    given = [style.load() for style in styles]
    check_frames(content_3HW, given, None)
    total = steps or LONG_RUN_CONFIG.steps
    with Progress(console=console, disable=source != "long-run") as progress:
        task = progress.add_task("long run", total=total)
        image = make_reference(
            source,
            content_3HW,
            given,
            size_px=size_px,
            weights=weights,
            encoder=encoder,
            decoder=decoder,
            steps=steps,
            on_step=_mover(progress, task),
        )
    save_elsewhere(out_file, encode_image(image, out_file, {"nst-tuner-reference": source}))
    say(f"wrote {out_file} ({image.shape[2]}x{image.shape[1]}), by {source}")


def _mover(progress: Progress, task: TaskID) -> Callable[[Step], None]:
    return lambda step: progress.update(task, completed=step.step)
