"""Album: the pictures of a report, small enough to embed all of them in one page.

Every picture has a key. ``content-0``, ``style-0``, ``style2-0`` and ``reference-0`` are the inputs
of pair 0. ``t7p0`` is the best result of trial 7 on pair 0, ``t7s30p0`` its result after 30 steps,
and ``f12s40`` the picture of final 12 after 40 steps. A key with ``-large`` appended names the same
picture at the size for close viewing, one with ``-png`` the file of a best picture.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tuner.pages.local_server import Answer
from tuner.pages.report.page_data import frames_of_best, picture_key
from tuner.results.preset_runs import best_preset_result
from tuner.results.results import Results
from tuner.results.thumbnails import thumbnail
from tuner.results.trial_result import TrialResult

LARGE, LARGE_PX = "-large", 768
#: Possible longer sides of small pictures; a page uses the largest with which all of them fit.
THUMB_SIZES_PX = (256, 224, 192, 160, 128, 96, 64)

#: Limits for all large and all small pictures of a page. Base64 in the page takes a third more.
LARGE_BYTES, THUMB_BYTES = 6_000_000, 6_000_000

#: Ending of the key of a picture file as the run wrote it, and the limit for all of them.
PNG, PNG_BYTES = "-png", 2_000_000

_QUALITY = 80
#: Number of pictures that are encoded to estimate the size of all, and that are encoded at once.
_SAMPLE, _CHUNK = 12, 64


@dataclass(frozen=True)
class Picture:
    """A picture file and the maximum of its longer side on the page, in pixels."""

    path: Path
    size_px: int

    def webp(self) -> bytes | None:
        """Return the scaled picture as WebP; None if the file cannot be read."""
        picture = thumbnail(self.path, self.size_px)
        if picture is None:
            return None
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=_QUALITY, method=2)
        return buffer.getvalue()


class Album:
    """The pictures of a run.

    Args:
        results: results of the run.
        as_tuned: show results at the size of the search, also those that were rendered larger.
    """

    def __init__(self, results: Results, *, as_tuned: bool = False):
        self._results, self._as_tuned = results, as_tuned
        self._folder = results.run.path

    def inputs(self) -> dict[str, Path]:
        """Return the input files of all pairs by key, except held-out pairs, which are not shown.

        A launch copies all inputs into the run. A job that names files outside the run was edited
        by somebody; the page leaves these files out, because it may be passed on to others.
        """
        pairs = range(len(self._results.job.pairs))
        return {key: path for pair in pairs for key, path in self._inputs_of(pair).items()}

    def input_names(self, pair: int) -> dict[str, str]:
        """Return the input pictures of a pair as key -> name, such as ``style`` or ``style 2``."""
        keys = list(self._inputs_of(pair))
        styles = [key for key in keys if key.startswith("style")]
        names = {key: key.partition("-")[0] for key in keys}
        if len(styles) > 1:
            names |= {key: f"style {number}" for number, key in enumerate(styles, start=1)}
        return names

    def trials(self) -> dict[str, Path]:
        """Return the best picture of every trial by key, the best trial first."""
        ranked, pairs = self._results.ranked(), range(len(self._results.job.pairs))
        return dict(self._image(result, pair) for result in ranked for pair in pairs)

    def front(self) -> dict[str, Path]:
        """Return the pictures on the Pareto front by key; empty with a single objective."""
        results = self._results
        return {
            f"{picture_key(results, result)}{pair}": self._folder / name
            for result in (results.front() if results.goals.pareto else ())
            for pair, name in enumerate(results.images(result.record.trial, result.steps))
        }

    def frames(self) -> dict[str, Path]:
        """Return the pictures that the best finalist passed through by key."""
        frames = frames_of_best(self._results)
        if frames is None:
            return {}
        final, run = frames["final"], self._results.run
        steps = [frame["steps"] for frame in frames["frames"]]
        return {f"f{final}s{n}": run.path / run.frame(final, n, 0) for n in steps}

    def answer(self, key: str) -> Answer | None:
        """Return the answer of a server to a request for a picture; None for an unknown key."""
        if path := self._best_pngs().get(key):
            png = _content(path)
            return Answer(content=png, kind="image/png") if png else None
        size_px = LARGE_PX if key.endswith(LARGE) else THUMB_SIZES_PX[0]
        compared = self._first_screens()
        files = {**compared, **self.inputs(), **self.trials(), **self.front(), **self.frames()}
        path = files.get(key.removesuffix(LARGE))
        content = Picture(path, size_px).webp() if path else None
        return Answer(content=content, kind="image/webp", cacheable=True) if content else None

    def embedded(self) -> dict[str, str]:
        """Return as many pictures as fit in a page as key -> data URI, the most important first."""
        first, trials, frames = self._first_screens(), self.trials(), self.frames()
        large = {key + LARGE: path for key, path in {**first, **trials}.items()}
        small = {**first, **frames, **self.front(), **trials}
        return {
            **self._embedded_pngs(),
            **embedded_pictures(large, LARGE_PX, LARGE_BYTES),
            **embedded_pictures(small, _thumb_px(list(small.values())), THUMB_BYTES),
        }

    def _first_screens(self) -> dict[str, Path]:
        """Return the pictures of the first screen by key: inputs and results, pair by pair."""
        files: dict[str, Path] = {}
        for pair in range(len(self._results.job.pairs)):
            files |= self._inputs_of(pair)
            files |= dict(self._image(result, pair) for result in self._compared())
        return files

    def _compared(self) -> list[TrialResult]:
        """Return the best trial and the best run of a preset, which may be a run in full."""
        preset = best_preset_result(self._results)
        return [*self._results.ranked()[:1], *([preset] if preset else [])]

    def _best_pngs(self) -> dict[str, Path]:
        """Return the pictures of the best trial by the key of the file that a page offers."""
        pairs = range(len(self._results.job.pairs))
        images = [self._image(r, pair) for r in self._results.ranked()[:1] for pair in pairs]
        return {key + PNG: path for key, path in images}

    def _embedded_pngs(self) -> dict[str, str]:
        """Return the files of the best pictures as data URIs, as many as fit in a page."""
        uris: dict[str, str] = {}
        left = PNG_BYTES
        for key, path in self._best_pngs().items():
            content = _content(path)
            if content is not None and (left := left - len(content)) >= 0:
                uris[key] = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        return uris

    def _inputs_of(self, pair: int) -> dict[str, Path]:
        """Return the input files of a pair that are inside the run by key."""
        folder = self._folder.resolve()
        return {
            f"{role}-{pair}": path
            for role, path in self._results.input_files(pair).items()
            if path.resolve().is_relative_to(folder)
        }

    def _image(self, result: TrialResult, pair: int) -> tuple[str, Path]:
        path = self._results.picture(result, pair)
        if self._as_tuned:
            path = self._folder / self._results.run.image(result.record.trial, pair)
        return f"t{result.record.trial}p{pair}", path


def _content(path: Path) -> bytes | None:
    """Return the bytes of a file; None if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _thumb_px(paths: Sequence[Path]) -> int:
    """Return the largest size with which all small pictures fit, estimated from a sample."""
    sample = paths[:: max(1, len(paths) // _SAMPLE)]
    for size_px in THUMB_SIZES_PX[:-1]:
        sizes = [len(Picture(path, size_px).webp() or b"") for path in sample]
        if sum(sizes) / max(1, len(sizes)) * len(paths) <= THUMB_BYTES * 0.9:
            return size_px
    return THUMB_SIZES_PX[-1]


def embedded_pictures(files: Mapping[str, Path], size_px: int, max_bytes: int) -> dict[str, str]:
    """Return pictures as data URIs in the given order until the limit is reached."""
    uris: dict[str, str] = {}
    total = 0
    for chunk in _chunks(list(files.items())):
        with ThreadPoolExecutor() as pool:
            contents = pool.map(lambda item: Picture(item[1], size_px).webp(), chunk)
        for (key, _), content in zip(chunk, contents, strict=True):
            if content is None:
                continue
            total += len(content)
            if total > max_bytes:
                return uris
            uris[key] = f"data:image/webp;base64,{base64.b64encode(content).decode()}"
    return uris


def _chunks(items: Sequence[tuple[str, Path]]) -> Iterable[Sequence[tuple[str, Path]]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
