"""One preset on many pictures: a folder, or the frames of a video, several at a time.

What is done is not done again: a result that is there and was made of the same pictures by the
same preset is kept, so a broken-off run goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.errors import ImageError, InputError, NstError, Say, WorkError
from nst_core.files import check_writable, is_file
from nst_core.images.tensors import digest, read_text, save_image
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.device import described, is_broken_device, is_out_of_memory
from nst_core.lanes.initialization import feed_forward_start
from nst_core.lanes.lane_counts import CPU_LANES, GPU_LANES
from nst_core.lanes.memory import plan_memory
from nst_core.lanes.scheduler import LaneScheduler
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.laplacian import check_photorealism
from nst_core.losses.targets import FeatureStore
from nst_core.output_files import check_outputs, check_space
from nst_core.presets.built_in import runnable
from nst_core.presets.preset import Preset
from nst_core.stylization import default_device
from tuner.apply.picture_files import Picture
from tuner.apply.weights_files import WeightsFiles
from tuner.job.style_arguments import check_frames

#: Text in each result: by what it was made.
MADE_BY = "nst-tuner-made-by"

#: Failures that the last line lists with their reasons.
_LISTED = 20


@dataclass
class Tally:
    """What came of many pictures.

    Attributes:
        failed: name and reason of each that could not be done.
    """

    done: int = 0
    kept: int = 0
    failed: list[str] = field(default_factory=list)


def apply_to_many(
    preset: Preset,
    pictures: Sequence[Picture],
    styles: Sequence[Style],
    *,
    weights: Sequence[str],
    console: Console,
    say: Say,
    lanes: int | None = None,
    bits: int = 8,
    read: Iterable[str | Path | None] = (),
    force: bool = False,
) -> Tally:
    """Stylize all pictures; one that cannot be done stops none of the others.

    Args:
        preset: what is applied.
        pictures: to be stylized.
        styles: with their weights.
        weights: ``NAME=FILE`` each.
        console: for the bar.
        say: is told of what could not be done, and of fallbacks.
        lanes: pictures at a time; by device if None.
        bits: a channel of the results.
        read: files that must be kept: all that the command reads.
        force: replace results that something else made.

    Raises:
        InputError: a result is there that something else made, or an optional dependency is
            missing, or the preset starts from a picture of one's own; nothing is touched then.
        WorkError: a result could not be written; those before it are kept.
    """
    if preset.config.init == "image":
        raise InputError(
            f"{preset.name}: `init: image` starts from a given picture, and there is none for each"
            " of several pictures; expected another start, such as --set init=content"
        )
    if preset.config.photo_weight:
        check_photorealism()
    device = default_device()
    files = WeightsFiles(weights, say)
    files.check(preset)
    asked_for = preset.config.extractor
    preset, note = runnable(preset, files.available, half=device.type == "cuda")
    files.check_used([asked_for, preset.config.extractor])
    if note:
        say(f"{preset.name}: {note}")
    mark = _mark(preset, styles)
    tally = Tally()
    waiting = [picture for picture in pictures if not _is_there(picture, mark, force)]
    tally.kept = len(pictures) - len(waiting)
    if tally.kept:
        say(f"{tally.kept} of {len(pictures)} are there already")
    _check_places(waiting, preset.config.size_px, bits, [*read, *files.files], force, say)
    crew = _Crew(
        preset.config,
        styles,
        FeatureStore(files, device),
        lanes or (GPU_LANES if device.type == "cuda" else CPU_LANES),
        say,
    )
    with _bar(console) as bar:
        task = bar.add_task("stylize", total=len(pictures), completed=tally.kept)
        for picture, result in crew.work(waiting):
            text = {"nst-tuner-preset": preset.to_json(), MADE_BY: _made_by(picture, mark)}
            if problem := result if isinstance(result, str) else _save(result, picture, text, bits):
                tally.failed.append(_named(picture, problem))
                say(tally.failed[-1])
            else:
                tally.done += 1
            bar.advance(task)
    return tally


def _check_places(
    waiting: Sequence[Picture],
    size_px: int,
    bits: int,
    read: Sequence[str | Path | None],
    force: bool,
    say: Say,
) -> None:
    """Raise InputError if a result would replace what must be kept, or cannot be written."""
    named = [("--out", picture.out) for picture in waiting]
    check_outputs(named, read, force=force, say=say)
    for folder in {picture.out.parent for picture in waiting}:
        check_space(folder, len(waiting) * size_px**2 * bits // 8)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            check_writable(folder)
        except OSError as error:
            why = f"cannot be written ({error.strerror or error}); name another folder"
            raise InputError(f"--out {folder}: {why}") from None


def _save(image_3HW: Tensor, picture: Picture, text: Mapping[str, str], bits: int) -> str | None:
    """Write a result; returns why that failed."""
    try:
        save_image(image_3HW, picture.out, text=text, bits=bits)
    except Exception as error:  # whatever befalls one picture, the others are done
        return _reason(error)
    return None


def _named(picture: Picture, problem: str) -> str:
    """A failure with the picture's name, which most of our errors begin with already."""
    return problem if picture.name in problem.partition(": ")[0] else f"{picture.name}: {problem}"


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, NstError) else described(error)


class _Crew:
    """Pictures under way as lanes in batches of one shape each; no more than fit into memory."""

    def __init__(
        self,
        config: StyleConfig,
        styles: Sequence[Style],
        store: FeatureStore,
        lanes: int,
        say: Say,
    ):
        self._config, self._styles, self._store = config, styles, store
        self._lanes, self._say = lanes, say
        self._batches = LaneScheduler(store)
        self._under_way: dict[int, tuple[Picture, LossInputs]] = {}
        self._fits: dict[tuple[int, int], int] = {}

    def work(self, pictures: Sequence[Picture]) -> Iterator[tuple[Picture, Tensor | str]]:
        """Each picture with its result, or with why there is none, as they come to their ends."""
        waiting = list(enumerate(pictures))
        while waiting or self._under_way:
            while waiting and len(self._under_way) < self._room:
                number, picture = waiting.pop(0)
                try:
                    self._begin(number, picture)
                except Exception as error:  # whatever befalls one picture, the others are done
                    if is_broken_device(error):
                        raise
                    if is_out_of_memory(error) and self._under_way:
                        waiting.insert(0, (number, picture))
                        self._lanes = len(self._under_way)
                        break
                    yield picture, _reason(error)
            if self._under_way:
                yield from self._advance()

    @property
    def _room(self) -> int:
        """Pictures that may be under way: as many as the largest of them leave room for."""
        shapes = {materials.height_width for _, materials in self._under_way.values()}
        return min([self._lanes, *(self._fits[shape] for shape in shapes)])

    def _begin(self, number: int, picture: Picture) -> None:
        content = picture.load()
        check_frames(content, self._styles, None)
        size_px, starts = self._config.size_px, {}
        if self._config.init == "feed_forward":
            starts = {"feed_forward": feed_forward_start(content, self._styles, size_px)}
        materials = LossInputs.at_size(content, self._styles, size_px, starts)
        materials.check_blend(self._config.style_blend)
        self._plan(materials)
        try:
            self._batches.put((number, 0), self._config, materials, None)
        except Exception:
            self._store.forget(materials)
            raise
        self._under_way[number] = picture, materials

    def _plan(self, materials: LossInputs) -> None:
        """Find out, once a shape, how many fit, and whether activations are computed twice.

        Raises:
            InputError: not even one fits.
        """
        height, width = materials.height_width
        if (height, width) in self._fits:
            return
        device = self._store.device
        plan = plan_memory(self._config, height, width, device, masks=materials.masks)
        self._fits[height, width] = plan.bytes_free // plan.bytes_needed
        if plan.checkpointing:
            self._store.checkpointing = True
            self._say(f"{width}x{height} {plan.describe()}")

    def _advance(self) -> Iterator[tuple[Picture, Tensor | str]]:
        chunk = self._batches.advance(self._steps_left, lambda batch: False)
        ended = list(zip(list(chunk.batch.lanes), chunk.failures, strict=True))
        for lane, failure in ended:
            key: tuple[int, int] = lane.key  # type: ignore[assignment]
            materials = self._under_way[key[0]][1]
            if failure is not None:
                result: Tensor | str = f"step {lane.step}: {failure}"
            elif lane.step >= self._config.steps:
                result = chunk.batch.picture(lane.key)
            else:
                try:
                    self._batches.moved_on(key, self._config, materials)
                    continue
                except Exception as error:
                    result = f"step {lane.step}: {_reason(error)}"
            yield self._ended(key, result)
        try:
            self._batches.even_out()
        except Exception as error:
            lost = [(number, 0) for number in self._under_way if (number, 0) not in self._batches]
            for key in lost:
                yield self._ended(key, _reason(error))

    def _ended(self, key: tuple[int, int], result: Tensor | str) -> tuple[Picture, Tensor | str]:
        if key in self._batches:
            self._batches.take(key)
        picture, materials = self._under_way.pop(key[0])
        self._store.forget(materials)
        return picture, result

    def _steps_left(self, batch: LaneBatch) -> int:
        return min(self._config.steps - lane.step for lane in batch.lanes)


def _mark(preset: Preset, styles: Sequence[Style]) -> str:
    """What a result depends on beside its own picture."""
    looks = [
        (style.key, style.weight, None if style.region_HW is None else digest(style.region_HW))
        for style in styles
    ]
    facts = json.dumps([preset.config.to_dict(), looks], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _made_by(picture: Picture, mark: str) -> str:
    return f"{mark}-{picture.source}"


def _is_there(picture: Picture, mark: str, force: bool) -> bool:
    if not is_file(picture.out) or not picture.out.stat().st_size:
        return False
    with contextlib.suppress(ImageError):  # damaged: it is not ours as it is
        if read_text(picture.out).get(MADE_BY) == _made_by(picture, mark):
            return True
    if force:
        return False
    raise InputError(
        f"{picture.out}: is there already and was not made by this preset of {picture.name} as it"
        " is now and these styles; name another place for the results, or remove it, or add --force"
        " to replace it"
    )


def check_all(tally: Tally) -> None:
    """Raise WorkError that names every picture that could not be done."""
    if tally.failed:
        total, more = tally.done + tally.kept + len(tally.failed), len(tally.failed) - _LISTED
        raise WorkError(
            f"{len(tally.failed)} of {total} could not be done; the others are. Mend or remove"
            " these and run it again:"
            + "".join(f"\n  {line}" for line in tally.failed[:_LISTED])
            + (f"\n  and {more} more" if more > 0 else "")
        )


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
