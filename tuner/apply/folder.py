"""Make the results of many pictures: of a folder, or of the frames of a video.

A result that exists and was made from the same picture by the same preset is kept, so an
interrupted run continues where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from nst_core.errors import ImageError, InputError, Say, WorkError
from nst_core.files import check_writable, is_file
from nst_core.images.tensors import digest, read_text, save_image
from nst_core.lanes.device import CPU_LANES, GPU_LANES
from nst_core.losses.inputs import Style
from nst_core.losses.laplacian import check_photorealism
from nst_core.losses.targets import FeatureStore
from nst_core.output_files import check_outputs, check_space
from nst_core.presets.preset import Preset
from nst_core.stylization import default_device
from tuner.apply.picture_batches import PictureBatches, reason_of
from tuner.apply.picture_files import Picture
from tuner.apply.weights_files import WeightsFiles

#: Key of a text in each result: fingerprint of what it was made from.
FINGERPRINT_KEY = "nst-tuner-made-by"

#: Number of failures that the final message lists with their reasons.
_LISTED_FAILURES = 20


@dataclass
class Tally:
    """Counts of what happened to many pictures.

    Attributes:
        done: number of pictures that were stylized.
        kept: number of results that existed already.
        failed: a message for each picture that failed, with its name and the reason.
    """

    done: int = 0
    kept: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is done with many pictures.

    Attributes:
        stylize: yields each picture with its result, image_3HW in [0, 1], or with the reason why it
            failed; called once, after all checks.
        fingerprint: hash of everything that a result depends on, except its own picture.
        text: text chunks of each result, which say how it was made.
        size_px: approximate side of a result in pixels.
        read: files that are read besides the pictures, which must not be overwritten.
    """

    stylize: Callable[[Sequence[Picture]], Iterator[tuple[Picture, Tensor | str]]]
    fingerprint: str
    text: Mapping[str, str]
    size_px: int
    read: Sequence[str | Path] = ()


def preset_work(
    preset: Preset,
    styles: Sequence[Style],
    *,
    weights: Sequence[str],
    say: Say,
    lanes: int | None = None,
) -> Work:
    """Return how a preset is applied to many pictures.

    Args:
        preset: the preset to apply.
        styles: style images with their weights.
        weights: weights files, each as ``NAME=FILE``.
        say: gets a line about each fallback.
        lanes: number of pictures at a time; the default of the device if None.

    Raises:
        InputError: an optional dependency is missing, or the preset needs a start picture for each
            picture.
    """
    _check_preset(preset)
    files = WeightsFiles(weights, say)
    preset = files.runnable_preset(preset)

    def stylize(waiting: Sequence[Picture]) -> Iterator[tuple[Picture, Tensor | str]]:
        device = default_device()
        count = lanes or (GPU_LANES if device.type == "cuda" else CPU_LANES)
        batches = PictureBatches(preset.config, styles, FeatureStore(files, device), count, say)
        return batches.stylize(waiting)

    return Work(
        stylize=stylize,
        fingerprint=_fingerprint(preset, styles),
        text={"nst-tuner-preset": preset.to_json()},
        size_px=preset.config.size_px,
        read=tuple(files.files),
    )


def one_by_one(
    apply: Callable[[Tensor], Tensor], pictures: Sequence[Picture]
) -> Iterator[tuple[Picture, Tensor | str]]:
    """Yield each picture with its result, or with the reason why it failed.

    Args:
        apply: returns the result of a content image_3HW in [0, 1].
        pictures: the pictures.
    """
    for picture in pictures:
        try:
            result: Tensor | str = apply(picture.load())
        except Exception as error:  # an error of one picture must not end the others
            result = reason_of(error)
        yield picture, result


def make_results(
    work: Work,
    pictures: Sequence[Picture],
    *,
    console: Console,
    say: Say,
    bits: int = 8,
    read: Sequence[str | Path | None] = (),
    force: bool = False,
) -> Tally:
    """Make and save the results of all pictures; one that fails does not stop the others.

    Args:
        work: what is done with the pictures.
        pictures: the pictures.
        console: console of the progress bar.
        say: gets a line about each failure.
        bits: bits per channel of the results, 8 or 16.
        read: files that the command reads, which must not be overwritten.
        force: replace results that something else made.

    Returns:
        Counts, and a message for each failure.

    Raises:
        InputError: before any work: a result exists that something else made, or the results cannot
            be written.
        WorkError: a result could not be written; results before it are kept.
    """
    waiting = [picture for picture in pictures if not _is_done(picture, work.fingerprint, force)]
    tally = Tally(kept=len(pictures) - len(waiting))
    if tally.kept:
        say(f"{tally.kept} of {len(pictures)} results exist already")
    _check_outputs(waiting, work.size_px, bits, [*read, *work.read], force, say)
    with _progress_bar(console) as bar:
        task = bar.add_task("stylize", total=len(pictures), completed=tally.kept)
        for picture, result in work.stylize(waiting):
            problem = result if isinstance(result, str) else _save(result, picture, work, bits)
            if problem:
                tally.failed.append(_with_name(picture, problem))
                say(tally.failed[-1])
            else:
                tally.done += 1
            bar.advance(task)
    return tally


def _check_preset(preset: Preset) -> None:
    """Raise InputError if the preset cannot be applied to several pictures."""
    if preset.config.init == "image":
        raise InputError(
            f"{preset.name}: `init: image` starts from a given picture, and there is none for each"
            " of several pictures; expected another start, such as --set init=content"
        )
    if preset.config.photo_weight:
        check_photorealism()


def _check_outputs(
    pictures: Sequence[Picture],
    size_px: int,
    bits: int,
    read: Sequence[str | Path | None],
    force: bool,
    say: Say,
) -> None:
    """Raise InputError if a result would replace a file that is read, or cannot be written."""
    outputs = [("--out", picture.out) for picture in pictures]
    check_outputs(outputs, read, force=force, say=say)
    for folder in {picture.out.parent for picture in pictures}:
        check_space(folder, len(pictures) * size_px**2 * bits // 8)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            check_writable(folder)
        except OSError as error:
            reason = f"cannot be written ({error.strerror or error}); name another folder"
            raise InputError(f"--out {folder}: {reason}") from None


def _save(image_3HW: Tensor, picture: Picture, work: Work, bits: int) -> str | None:
    """Write a result with its texts and fingerprint; return why that failed, or None."""
    text = {**work.text, FINGERPRINT_KEY: f"{work.fingerprint}-{picture.source}"}
    try:
        save_image(image_3HW, picture.out, text=text, bits=bits)
    except Exception as error:  # an error of one picture must not end the others
        return reason_of(error)
    return None


def _with_name(picture: Picture, problem: str) -> str:
    """Return the problem with the picture's name; many messages begin with it already."""
    return problem if picture.name in problem.partition(": ")[0] else f"{picture.name}: {problem}"


def _fingerprint(preset: Preset, styles: Sequence[Style]) -> str:
    """Return a hash of everything that a result depends on, except its own picture."""
    style_parts = [
        (style.key, style.weight, None if style.region_HW is None else digest(style.region_HW))
        for style in styles
    ]
    content = json.dumps([preset.config.to_dict(), style_parts], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _is_done(picture: Picture, fingerprint: str, force: bool) -> bool:
    """Return whether the picture's result exists and is up to date.

    Raises:
        InputError: a file of that name exists that something else made, and `force` is not set.
    """
    if not is_file(picture.out) or not picture.out.stat().st_size:
        return False
    with contextlib.suppress(ImageError):  # a damaged file is not an up-to-date result
        if read_text(picture.out).get(FINGERPRINT_KEY) == f"{fingerprint}-{picture.source}":
            return True
    if force:
        return False
    raise InputError(
        f"{picture.out}: exists already and was not made with these settings from the current"
        f" {picture.name} and these styles; name another place for the results, or remove it, or"
        " add --force to replace it"
    )


def check_all(tally: Tally) -> None:
    """Raise WorkError if pictures failed, with their names and reasons."""
    if tally.failed:
        total = tally.done + tally.kept + len(tally.failed)
        more = len(tally.failed) - _LISTED_FAILURES
        raise WorkError(
            f"{len(tally.failed)} of {total} could not be done; the others are done. Repair or"
            " remove these pictures and run the command again:"
            + "".join(f"\n  {line}" for line in tally.failed[:_LISTED_FAILURES])
            + (f"\n  and {more} more" if more > 0 else "")
        )


def _progress_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
