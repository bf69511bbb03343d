"""Pictures of `benchmarks.live` to judge blind: reference, best of one way, best of another."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.support.live_cases import CaseResult
from benchmarks.support.live_pairs import PairSource, load_pair, pictures_of
from benchmarks.support.live_report import Group
from benchmarks.support.live_searches import stylized, workload_of
from benchmarks.support.live_ways import space_of
from nst_core.errors import InputError
from nst_core.files import write_atomic
from nst_core.images.tensors import to_uint8

#: File with the way behind each number of each sheet.
KEY = "key.json"
#: Pictures are enlarged by a whole factor until they have this height.
HEIGHT_PX = 384
_MARGIN_PX, _LABEL_PX = 8, 24

#: (group, pair, digest of its pictures): each has one sheet.
SheetOf = tuple[Group, str, str]


def best_results(
    results: Sequence[CaseResult], way: str, sources: Sequence[PairSource]
) -> dict[SheetOf, CaseResult]:
    """Return the result with the lowest LPIPS over seeds for each group and pair.

    Args:
        results: results of searches.
        way: name of the way.
        sources: the pairs; results with other pictures do not count.
    """
    known = {(source.source, source.name, pictures_of(source)) for source in sources}
    best: dict[SheetOf, CaseResult] = {}
    for result in results:
        case = result.case
        key = Group.of(case), case.pair, case.pictures
        if case.way.name != way or (case.source, case.pair, case.pictures) not in known:
            continue
        if key not in best or result.best.lpips < best[key].best.lpips:
            best[key] = result
    return best


def write_sheets(
    results: Sequence[CaseResult],
    ways: tuple[str, str],
    sources: Sequence[PairSource],
    out: Path,
    rng: random.Random,
) -> list[Path]:
    """Write a sheet for each pair and size that both ways have searched, and the key.

    Args:
        results: results of searches.
        ways: names of the two ways.
        sources: the pairs.
        out: folder; the key is in its file `KEY`.
        rng: draws the order of the two ways on each sheet.

    Raises:
        InputError: the ways have no pair in common.
        WorkError: a best configuration failed when it was computed again.
    """
    bests = [best_results(results, way, sources) for way in ways]
    common = sorted(bests[0].keys() & bests[1].keys())
    if not common:
        raise InputError(f"--way {ways[0]} --way {ways[1]}: no pair has results of both ways")
    source_of = {(s.source, s.name, pictures_of(s)): s for s in sources}
    out.mkdir(parents=True, exist_ok=True)
    key: dict[str, Any] = {}
    for sheet in common:
        group, pair, pictures_digest = sheet
        shown = [best[sheet] for best in bests]
        rng.shuffle(shown)
        source = source_of[group.source, pair, pictures_digest]
        pictures, scores = zip(*(_stylized(source, result) for result in shown), strict=True)
        name = _name(group, pair, taken=key)
        _sheet([_reference(source, group.size_px), *pictures]).save(out / name)
        key[name] = {
            str(number): _key_of(result, score)
            for number, (result, score) in enumerate(zip(shown, scores, strict=True), 1)
        }
    write_atomic(out / KEY, (json.dumps(key, indent=1) + "\n").encode())
    return [out / name for name in key]


def _name(group: Group, pair: str, taken: Mapping[str, Any]) -> str:
    """Return the file name of a sheet; groups that differ only in their budget are numbered."""
    stem = f"{pair}-{group.source}-{group.size_px}px-{group.steps[1]}steps"
    names = [f"{stem}.png", *(f"{stem}-{number}.png" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _key_of(result: CaseResult, recomputed: float) -> Mapping[str, Any]:
    case = result.case
    return {
        "way": case.way.name,
        "seed": case.seed,
        "trial": result.best.trial,
        "steps": result.best.steps,
        "lpips": result.best.lpips,
        "lpips, computed again": round(recomputed, 4),
    }


def _stylized(source: PairSource, result: CaseResult) -> tuple[Image.Image, float]:
    """Return the picture of the best report of a search, computed again, and its LPIPS."""
    workload = workload_of(load_pair(source), space_of(result.case.way), result.case.size_px)
    picture_HW3, scores = stylized(workload, result.best.config, result.best.steps)
    return Image.fromarray(picture_HW3), scores["lpips"]


def _reference(source: PairSource, size_px: int) -> Image.Image:
    return Image.fromarray(to_uint8(load_pair(source).reference(size_px)))


def _sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return the reference and the two numbered pictures in a row."""
    factor = -(-HEIGHT_PX // min(picture.height for picture in pictures))
    big = [
        p.resize((p.width * factor, p.height * factor), Image.Resampling.NEAREST) for p in pictures
    ]
    width = sum(picture.width for picture in big) + (len(big) + 1) * _MARGIN_PX
    height = max(picture.height for picture in big) + 2 * _MARGIN_PX + _LABEL_PX
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    left = _MARGIN_PX
    for label, picture in zip(("reference", "1", "2"), big, strict=True):
        draw.text((left, _MARGIN_PX), label, fill="black", font=font)
        sheet.paste(picture, (left, _MARGIN_PX + _LABEL_PX))
        left += picture.width + _MARGIN_PX
    return sheet
