"""Initial points for a search space: a portfolio of configurations that won on many pairs.

A candidate is the best configuration of a finished search. It runs a few steps on every pair. The
portfolio is chosen greedily: each further candidate lowers the mean over pairs of the best score
most (Xu et al., Hydra, AAAI 2010, choose portfolios of solvers like this).
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.support.common import Row, Section, on_one_thread, progress
from benchmarks.support.live_cases import CaseResult
from benchmarks.support.live_pairs import PairSource, load_pair, pictures_of
from benchmarks.support.live_searches import untouched, workload_of
from benchmarks.support.live_ways import parse_way, space_of
from nst_core.config import StyleConfig
from nst_core.stylization import default_device
from tuner.engine.engine import Engine

#: Steps after which a candidate is scored; its score is the lowest LPIPS.
STEPS = (15, 45)
#: Number of candidates that run at the same time.
LANES = 8
#: Score of a candidate that failed.
FAILED = 2.0


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration that may become an initial point.

    Attributes:
        name: a name for the tables.
        pictures: digest of the pictures of the pair that it won on; empty for an initial point.
        config: all settings.
    """

    name: str
    pictures: str
    config: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Digest of the settings."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:12]


def winners(results: Sequence[CaseResult]) -> list[Candidate]:
    """Return the best configurations of some searches, each once."""
    found: dict[str, Candidate] = {}
    for result in results:
        case = result.case
        candidate = Candidate(
            name=f"{case.pair}, {case.source}, {case.way.name}, seed {case.seed}",
            pictures=case.pictures,
            config=result.best.config,
        )
        found.setdefault(candidate.digest, candidate)
    return list(found.values())


def initial_points(space: str, size_px: int, steps: int) -> list[Candidate]:
    """Return the initial points that a named space has."""
    declared = space_of(parse_way(space))
    configs = [
        declared.build(params, size_px=size_px, steps=steps).to_dict()
        for params in declared.initial_points
    ]
    return [
        Candidate(name=f"initial point {number} of {space}", pictures="", config=config)
        for number, config in enumerate(configs, 1)
    ]


def measure(candidates: Sequence[Candidate], source: PairSource, size_px: int, file: Path) -> None:
    """Append the scores of candidates on a pair to a file, unless it has them.

    A score is the lowest LPIPS after `STEPS`, divided by that of the untouched photo.
    """
    known = read_scores(file)
    place = _place(source, size_px)
    missing = [candidate for candidate in candidates if (candidate.digest, *place) not in known]
    if not missing:
        return
    workload = workload_of(load_pair(source), space_of(parse_way("standard")), size_px)
    photo = untouched(workload)
    engine = Engine(workload.pairs, workload.weights, device=default_device())
    for start in range(0, len(missing), LANES):
        part = missing[start : start + LANES]
        for candidate, score in zip(part, _lowest(engine, part), strict=True):
            line = [candidate.digest, *place, round(score / photo, 4)]
            with file.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


def measure_all(
    candidates: Sequence[Candidate],
    sources: Sequence[PairSource],
    sizes_px: Sequence[int],
    file: Path,
    jobs: int,
) -> None:
    """Measure candidates on pairs at some sizes in several processes; see `measure`."""
    places = [(source, size_px) for source in sources for size_px in sizes_px]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, on_one_thread) as pool, progress() as bar:
        running = [pool.submit(measure, candidates, *place, file) for place in places]
        for future in bar.track(as_completed(running), total=len(running), description="pairs"):
            future.result()


def read_scores(file: Path) -> dict[tuple[str, str, int], float]:
    """Return scores by (digest of the candidate, digest of the pair's pictures, size)."""
    if not file.is_file():
        return {}
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {(digest, pictures, size_px): score for digest, pictures, size_px, score in lines}


def portfolio(scores_CP: np.ndarray, count: int) -> list[int]:
    """Return the indices of ``count`` candidates, chosen greedily.

    Args:
        scores_CP: score of each candidate on each pair; lower is better.
        count: number of candidates to choose; at most all.
    """
    chosen: list[int] = []
    best_P = np.full(scores_CP.shape[1], np.inf)
    for _ in range(min(count, len(scores_CP))):
        means_C = np.minimum(scores_CP, best_P).mean(axis=1)
        means_C[chosen] = np.inf
        chosen.append(int(means_C.argmin()))
        best_P = np.minimum(best_P, scores_CP[chosen[-1]])
    return chosen


def sections(
    candidates: Sequence[Candidate],
    present: Sequence[Candidate],
    sources: Sequence[PairSource],
    sizes_px: Sequence[int],
    file: Path,
    count: int,
) -> list[Section]:
    """Return the tables: the portfolio, and what it is worth on pairs that it does not know.

    Args:
        candidates: winners of searches.
        present: the initial points that the space has now.
        sources: the pairs.
        sizes_px: longer sides in pixels.
        file: scores, see `measure`.
        count: number of initial points.
    """
    known = read_scores(file)
    places = [_place(source, size_px) for source in sources for size_px in sizes_px]

    def matrix(chosen: Sequence[Candidate]) -> np.ndarray:
        rows = [[known[candidate.digest, *place] for place in places] for candidate in chosen]
        return np.array(rows)

    scores_CP, present_P = matrix(candidates), matrix(present).min(axis=0)
    chosen = portfolio(scores_CP, count)
    first: list[Row] = []
    best_P = np.full(len(places), np.inf)
    for index in chosen:
        best_P = np.minimum(best_P, scores_CP[index])
        first.append(
            {
                "found on": candidates[index].name,
                "mean of the best so far": round(float(best_P.mean()), 3),
                **_described(candidates[index].config),
            }
        )
    second: list[Row] = []
    for column, (pictures, size_px) in enumerate(places):
        others = [place != pictures for place, _ in places]
        foreign = [i for i, one in enumerate(candidates) if one.pictures != pictures]
        scores_FO = scores_CP[foreign][:, others]
        unseen = [foreign[index] for index in portfolio(scores_FO, count)]
        second.append(
            {
                "pair": f"{sources[column // len(sizes_px)].name}, {size_px} px",
                "portfolio of the other pairs": round(float(scores_CP[unseen, column].min()), 3),
                "portfolio": round(float(scores_CP[chosen, column].min()), 3),
                "initial points of today": round(float(present_P[column]), 3),
            }
        )
    names = list(second[0])[1:]
    second.append({"pair": "mean", **{n: round(mean(row[n] for row in second), 3) for n in names}})
    return [
        Section(
            title="Portfolio",
            text=f"Scores are the lowest LPIPS after {' or '.join(map(str, STEPS))} steps, as a"
            " share of that of the untouched photo, means over pairs and sizes.",
            rows=first,
        ),
        Section(
            title="By pair",
            text="The first column of scores chooses without the pair and what was found on it.",
            rows=second,
        ),
    ]


def _place(source: PairSource, size_px: int) -> tuple[str, int]:
    return pictures_of(source), size_px


def _lowest(engine: Engine, candidates: Sequence[Candidate]) -> list[float]:
    """Return the lowest LPIPS of each candidate after `STEPS`."""
    lowest = dict.fromkeys(range(len(candidates)), FAILED)
    running = set(lowest)
    for steps in STEPS:
        waiting = set(running)
        for number in running:
            config = StyleConfig.from_dict(candidates[number].config, candidates[number].name)
            engine.submit(number, config, steps)
        while waiting:
            for report in engine.advance():
                waiting.discard(report.trial)
                if report.failure:
                    running.discard(report.trial)
                else:
                    value = report.scores["lpips"]
                    lowest[report.trial] = min(lowest[report.trial], value)
    for number in lowest:
        engine.drop(number)
    return list(lowest.values())


def _described(config: Mapping[str, Any]) -> Row:
    """Return the settings that initial points of the space `standard` have."""
    noise = f" {config['init_noise']:.2f}" if config["init"] == "mix" else ""
    return {
        "log10 ratio": round(float(np.log10(config["style_weight"] / config["content_weight"])), 2),
        "lr": round(config["lr"], 4),
        "start image": config["init"] + noise,
        "style layers": ", ".join(f"{k} {v:.3g}" for k, v in config["style_layers"].items()),
        "content layer": ", ".join(config["content_layers"]),
        "TV": round(config["tv_weight"], 1),
        "style scale": round(config["style_scale"], 2),
    }
