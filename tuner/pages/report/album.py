"""The pictures of a report, made small enough that the page can carry them along.

A picture has a key: ``content0`` ``style0`` ``reference0`` of a pair and ``style0n1`` of its second
style image, ``t7p0`` of trial 7 on pair 0 and ``t7s30p0`` of the same after 30 steps, ``f12s40``
of a final after 40 steps; with ``-large`` appended, at the size it is looked at.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tuner.pages.report.facts import picture_key, strip
from tuner.pages.site import Answer
from tuner.results.results import Results
from tuner.results.thumbnails import thumbnail
from tuner.results.trial_result import TrialResult

LARGE, LARGE_PX = "-large", 768
#: Longer sides that thumbnails may have; the largest is taken with which all fit.
THUMB_SIZES_PX = (256, 224, 192, 160, 128, 96, 64)

#: What all pictures of a page may take, before they are written as text, which takes a third more.
LARGE_BYTES, THUMB_BYTES = 6_000_000, 6_000_000

_QUALITY = 80
_PROBED, _CHUNK = 12, 64


@dataclass(frozen=True)
class Picture:
    """A picture file and the size at which the page shows it."""

    path: Path
    size_px: int

    def webp(self) -> bytes | None:
        """It scaled and encoded; None if it cannot be read."""
        shown = thumbnail(self.path, self.size_px)
        if shown is None:
            return None
        buffer = io.BytesIO()
        shown.save(buffer, "WEBP", quality=_QUALITY, method=2)
        return buffer.getvalue()


class Album:
    """The pictures of a run.

    Args:
        results: of the run.
    """

    def __init__(self, results: Results):
        self._results = results
        self._folder = results.run.path

    def inputs(self) -> dict[str, Path]:
        """Key -> file, of what the pairs are made of, as far as it lies in the run.

        A launch copies all of it there. A run that names other files was made by somebody else, and
        a page that is passed on would carry them along. Held-out pairs are not shown.
        """
        pairs = range(len(self._results.job.pairs))
        return {key: path for pair in pairs for key, path in self._inputs_of(pair).items()}

    def names_of(self, pair: int) -> dict[str, str]:
        """Key -> what it is, of the same of one pair."""
        keys = list(self._inputs_of(pair))
        styles = [key for key in keys if key.startswith("style")]
        numbers = {key: f" {number}" for number, key in enumerate(styles, 1) if len(styles) > 1}
        roles = ("content", "style", "reference")
        return {
            key: next(role for role in roles if key.startswith(role)) + numbers.get(key, "")
            for key in keys
        }

    def trials(self) -> dict[str, Path]:
        """Key -> file of every trial's image, the best trial first."""
        pairs = range(len(self._results.job.pairs))
        return dict(self._image(found, pair) for found in self._results.ranked() for pair in pairs)

    def front(self) -> dict[str, Path]:
        """Key -> file of the images of a trade-off; of most trials it is their best one."""
        results = self._results
        return {
            f"{picture_key(results, found)}{pair}": self._folder / name
            for found in (results.front() if results.goals.pareto else ())
            for pair, name in enumerate(results.images(found.record.trial, found.steps))
        }

    def frames(self) -> dict[str, Path]:
        """Key -> file of the images that show how the best one came to be."""
        found = strip(self._results)
        if found is None:
            return {}
        final, run = found["final"], self._results.run
        steps = [frame["steps"] for frame in found["frames"]]
        return {f"f{final}s{n}": run.path / run.frame(final, n, 0) for n in steps}

    def answer(self, key: str) -> Answer | None:
        """The picture of a key, as a server sends it."""
        size_px = LARGE_PX if key.endswith(LARGE) else THUMB_SIZES_PX[0]
        files = {**self.inputs(), **self.trials(), **self.front(), **self.frames()}
        path = files.get(key.removesuffix(LARGE))
        content = Picture(path, size_px).webp() if path else None
        return Answer(content=content, kind="image/webp", keeps=True) if content else None

    def embedded(self) -> dict[str, str]:
        """Key -> data URI of every picture that fits into a page, and not more."""
        first, trials, frames = self._first_screens(), self.trials(), self.frames()
        large = {key + LARGE: path for key, path in {**first, **trials}.items()}
        small = {**first, **frames, **self.front(), **trials}
        return {
            **_encoded(large, LARGE_PX, LARGE_BYTES),
            **_encoded(small, _thumb_px(list(small.values())), THUMB_BYTES),
        }

    def _first_screens(self) -> dict[str, Path]:
        """Key -> file of what the first screen shows, pair by pair: the inputs, then results."""
        preset = self._results.best_preset()
        shown = [*self._results.ranked()[:1], *([preset] if preset else [])]
        found: dict[str, Path] = {}
        for pair in range(len(self._results.job.pairs)):
            found |= self._inputs_of(pair)
            found |= dict(self._image(result, pair) for result in shown)
        return found

    def _inputs_of(self, pair: int) -> dict[str, Path]:
        spec = self._results.job.pairs[pair]
        found = {f"content{pair}": self._folder / spec.content}
        for number, style in enumerate(spec.style):
            key = f"style{pair}n{number}" if number else f"style{pair}"
            found[key] = self._folder / style.image
        found[f"reference{pair}"] = self._folder / spec.reference_file
        inside = self._folder.resolve()
        return {key: path for key, path in found.items() if path.resolve().is_relative_to(inside)}

    def _image(self, found: TrialResult, pair: int) -> tuple[str, Path]:
        trial = found.record.trial
        return f"t{trial}p{pair}", self._folder / self._results.run.image(trial, pair)


def _thumb_px(paths: Sequence[Path]) -> int:
    """The largest thumbnails with which all pictures fit, by a sample of them."""
    sample = paths[:: max(1, len(paths) // _PROBED)]
    for size_px in THUMB_SIZES_PX[:-1]:
        sizes = [len(Picture(path, size_px).webp() or b"") for path in sample]
        if sum(sizes) / max(1, len(sizes)) * len(paths) <= THUMB_BYTES * 0.9:
            return size_px
    return THUMB_SIZES_PX[-1]


def _encoded(files: Mapping[str, Path], size_px: int, most_bytes: int) -> dict[str, str]:
    """Pictures as data URIs, the first ones, until no more fit."""
    found: dict[str, str] = {}
    total = 0
    for chunk in _chunks(list(files.items())):
        with ThreadPoolExecutor() as pool:
            contents = pool.map(lambda item: Picture(item[1], size_px).webp(), chunk)
        for (key, _), content in zip(chunk, contents, strict=True):
            if content is None:
                continue
            total += len(content)
            if total > most_bytes:
                return found
            found[key] = f"data:image/webp;base64,{base64.b64encode(content).decode()}"
    return found


def _chunks(items: Sequence[tuple[str, Path]]) -> Iterable[Sequence[tuple[str, Path]]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
