"""Apply a preset to one picture, or make one reference stylization."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError, InputError, NstError, Say, WorkError
from nst_core.images.animation import check_animation_path, save_animation
from nst_core.images.encode import MADE_BY, check_writable_image
from nst_core.images.sizes import scaled_size
from nst_core.output_files import Named, check_outputs, save_elsewhere
from nst_core.presets.built_in import BUILT_IN, load_preset
from nst_core.presets.other_sizes import at_size
from nst_core.presets.preset import Preset
from nst_core.references import LONG_RUN_CONFIG, check_reference_source, make_reference
from nst_core.unused_settings import without_effect
from tuner.apply.loss_plot import check_plot_path, plot_losses
from tuner.apply.weights_files import WeightsFiles
from tuner.job.style_arguments import check_frames, parse_styles
from tuner.job.yaml_file import set_key

if TYPE_CHECKING:  # torch takes seconds to load, and checking options does not need it
    import numpy as np
    from torch import Tensor

    from nst_core.stylization import Step

#: Number of frames of an animation if `--every` does not set the interval.
GIF_FRAMES = 40


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Inputs of a stylization.

    Attributes:
        content: picture file.
        styles: style arguments in the format of `style_arguments.parse_style`.
        start: picture file for ``init: image``.
        weights: weights files, each as ``NAME=FILE``.
        others: further files that are read and must not be overwritten, such as the preset.
    """

    content: Path
    styles: Sequence[str]
    start: Path | None = None
    weights: Sequence[str] = ()
    others: Sequence[Path | None] = ()


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Output files of a stylization.

    Attributes:
        image: file of the result.
        every: number of steps between frames that are saved next to the result; None for no frames.
        gif: file of an animation of the run, GIF or WebP.
        plot: file of a plot of the losses.
        bits: bits per channel of the result: 8, or 16 for PNG and TIFF.
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
        """Check before the work that all outputs can be written.

        Args:
            read: files that must not be overwritten.
            size: approximate size of the result in bytes.
            steps: number of steps of the run.
            say: gets a line about frames, and about files that will be replaced.

        Raises:
            InputError: an output cannot be written, or would overwrite a file of `read`.
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
        options = [("--out", self.image), ("--gif", self.gif), ("--plot", self.plot)]
        outputs: list[Named] = [(option, path) for option, path in options if path]
        outputs += [("--every: the frame", frame) for frame in frames]
        check_outputs(outputs, read, force=self.force, say=say)
        if frames:
            say(f"--every {self.every}: {len(frames)} frames, {frames[0]} to {frames[-1].name}")

    def frames(self, steps: int) -> list[Path]:
        """Return the files of all frames of a run.

        Args:
            steps: number of steps of the run.

        Raises:
            InputError: `every` is set, but the run is too short for a frame.
        """
        if self.every is None:
            return []
        if self.every >= steps:
            raise InputError(
                f"--every {self.every}: expected fewer than the {steps} steps of the run; otherwise"
                " there is no frame before the result"
            )
        return [self.frame(step) for step in range(self.every, steps, self.every)]

    def frame(self, step: int) -> Path:
        """Return the file of the frame at a step."""
        return self.image.with_name(f"{self.image.stem}-{step:05d}{self.image.suffix}")


@dataclass
class _Recording:
    """Frames and losses of a run, for the saved frames, the animation and the plot.

    Attributes:
        outputs: files to write.
        total: number of steps of the run.
        frames: frames of the animation.
        losses: step -> loss term -> value.
        problems: messages about outputs that could not be written.
    """

    outputs: Outputs
    total: int
    frames: list[np.ndarray] = field(default_factory=list)
    losses: dict[int, dict[str, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def interval(self) -> int:
        """Number of steps between two frames."""
        return self.outputs.every or max(1, self.total // GIF_FRAMES)

    @property
    def stride(self) -> int:
        """Number of steps between two calls of `record`, such that no frame is missed."""
        return math.gcd(self.interval, 10) if self.outputs.every or self.outputs.gif else 10

    def record(self, step: Step) -> None:
        """Record the losses of a step, and its image if it is a frame."""
        from nst_core.images.tensors import save_image, to_uint8

        self.losses[step.step] = dict(step.losses)
        last = step.step == self.total
        if step.step % self.interval and not last:
            return
        if self.outputs.gif:
            self.frames.append(to_uint8(step.image_3HW))
        # A disk that is full now may have room for the result later: continue without frames.
        if self.outputs.every and not last and not self.problems:
            text = {"Software": MADE_BY}
            self._try(lambda: save_image(step.image_3HW, self.outputs.frame(step.step), text))

    def save(self, image: Callable[[], None], say: Say) -> None:
        """Write the result, and then the animation and the plot.

        Args:
            image: writes the result.
            say: gets a line about each file.

        Raises:
            WorkError: some outputs could not be written; all others were written.
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
    """Return a preset with some settings changed, or the default settings with these changes.

    Args:
        preset: name or file of the preset; None for the default settings.
        assignments: changed settings, each as ``KEY=VALUE``.
        size_px: longer side of the result in pixels; `resolution.at_size` fits a preset to it.
        seed: seed of the noise.
        say: gets a line if the preset was fitted to the size.

    Raises:
        InputError: there is neither a preset nor a setting.
        PresetError: there is no such preset.
        ConfigError: a setting is unknown, out of range, given twice or without effect.
    """
    if preset is None and not assignments:
        raise InputError(
            "nothing to apply: give --preset NAME_OR_FILE or settings with --set key=value"
            " (`nst-tuner presets` lists the built-in ones)"
        )
    base = load_preset(preset) if preset else Preset(name="custom", config=StyleConfig())
    # Without a preset, `from_dict` derives defaults such as layers from the given settings.
    values = base.config.to_dict() if preset else {}
    keys = [str(set_key(values, assignment)[0]) for assignment in assignments]
    for key, value in (("seed", seed), ("size_px", size_px)):
        if value is not None and key in keys:
            raise ConfigError(
                "settings", [f"`{key}`: given by --{key.replace('_', '-')} and by --set; give one"]
            )
    if seed is not None:
        values["seed"] = seed
        keys.append("seed")
    config = StyleConfig.from_dict(values, source="settings")
    if problems := without_effect(config, keys):
        raise ConfigError("settings", problems)
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
    """Stylize one picture and save the result, with a progress bar.

    Args:
        preset: the preset to apply.
        sources: input files.
        outputs: output files.
        console: console of the progress bar.
        say: gets a line about each file and each fallback.

    Raises:
        InputError: a picture, the preset or an output cannot be used; nothing was written.
        WorkError: the stylization diverged and no result was written, or an output failed.
    """
    from nst_core.images.tensors import encode_image, load_image, load_with_alpha
    from nst_core.lanes.batch import Outcome
    from nst_core.stylization import stylize

    styles = parse_styles(sources.styles, preset.config)
    weights = WeightsFiles(sources.weights, say)
    size_px, steps = preset.config.size_px, preset.config.steps
    content_3HW, alpha = load_with_alpha(sources.content)
    size = _min_bytes(content_3HW, size_px, outputs.bits)
    outputs.check(_input_files(sources, weights), size, steps, say)
    loaded = [style.load() for style in styles]
    starts = {"image": load_image(sources.start)} if sources.start else {}
    check_frames(content_3HW, loaded, starts.get("image"))
    preset = weights.runnable_preset(preset)
    recording, image = _Recording(outputs, steps), content_3HW
    options: dict[str, Any] = {"every": recording.stride, "starts": starts, "say": say}
    with Progress(console=console) as progress:
        task = progress.add_task(escape(f"stylize {sources.content.name}"), total=steps)
        for step in stylize(preset.config, content_3HW, loaded, weights=weights, **options):
            progress.update(task, completed=step.step)
            if step.outcome is not Outcome.RUNNING:
                raise WorkError(
                    f"step {step.step}: {step.outcome.value}; {outputs.image} was not written"
                )
            image = step.image_3HW
            recording.record(step)
    if not outputs.keep_alpha:
        alpha = None
    elif alpha is None:
        say(f"--keep-alpha: {sources.content} has no transparency, so the result has none")
    text = {"nst-tuner-preset": preset.to_json()}

    def save_result() -> None:
        content = encode_image(image, outputs.image, text, bits=outputs.bits, alpha_1HW=alpha)
        save_elsewhere(outputs.image, content)
        say(f"wrote {outputs.image} ({image.shape[2]}x{image.shape[1]})")

    recording.save(save_result, say)


def _input_files(sources: Sources, weights: WeightsFiles) -> list[str | Path | None]:
    """Return every file that a stylization reads."""
    styles = [file for style in parse_styles(sources.styles) for file in style.files]
    return [sources.content, sources.start, *styles, *weights.files, *sources.others]


def _min_bytes(content_3HW: Tensor, size_px: int, bits: int) -> int:
    """Return the smallest size of a result in bytes: stylized pictures compress to half or more."""
    height, width = scaled_size(content_3HW.shape[2], content_3HW.shape[1], size_px)
    return height * width * 3 * bits // 16


def preset_file(preset: str | None) -> Path | None:
    """Return the file that a preset is read from; None for a built-in preset."""
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
    """Make a reference stylization and save it.

    Args:
        source: how to make it, a name that `references.make_reference` knows.
        sources: input files.
        out_file: file of the reference.
        size_px: longer side of the reference in pixels; that of the content if None.
        steps: number of steps of a long run; its default if None.
        encoder: weights file of AdaIN's encoder.
        decoder: weights file of AdaIN's decoder.
        force: replace a file that nst-tuner did not make.
        console: console of the progress bar.
        say: gets a line about the file.

    Raises:
        InputError: a file or an option cannot be used; see also `references.make_reference`.
    """
    from nst_core.images.tensors import encode_image, load_image

    styles = parse_styles(sources.styles)
    regions = any(style.region or style.style_region for style in styles)
    check_reference_source(source, encoder, decoder, steps=steps, regions=regions)
    weights = WeightsFiles(sources.weights, say)
    weights.check_used([LONG_RUN_CONFIG.extractor] if source == "long-run" else [])
    content_3HW = load_image(sources.content)
    if size_px is None:
        size_px = max(content_3HW.shape[1:])
    check_writable_image(out_file, size=_min_bytes(content_3HW, size_px, 8))
    read = [*_input_files(sources, weights), encoder, decoder]
    check_outputs([("--out", out_file)], read, force=force, say=say)
    loaded = [style.load() for style in styles]
    check_frames(content_3HW, loaded, None)
    with Progress(console=console, disable=source != "long-run") as progress:
        task = progress.add_task("long run", total=steps or LONG_RUN_CONFIG.steps)
        image = make_reference(
            source,
            content_3HW,
            loaded,
            size_px=size_px,
            weights=weights,
            encoder=encoder,
            decoder=decoder,
            steps=steps,
            on_step=lambda step: progress.update(task, completed=step.step),
        )
    save_elsewhere(out_file, encode_image(image, out_file, {"nst-tuner-reference": source}))
    say(f"wrote {out_file} ({image.shape[2]}x{image.shape[1]}), by {source}")
