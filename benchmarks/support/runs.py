"""Whole runs for benchmarks: a search in a scratch folder, carried out on Ray, with a timeline."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.support.common import Pair
from nst_core.images.tensors import to_uint8
from nst_core.losses.inputs import LossInputs
from nst_core.metrics.registry import DEFAULT_METRICS, weights_of
from nst_core.networks.weights import Weights, get_weights
from search_spaces import Params, Space
from tuner.cluster.connection import ray_backend
from tuner.engine import pairs as evaluate
from tuner.engine.workload import Workload
from tuner.job.spec import HalvingSpec, JobSpec
from tuner.sampling.lengthscales import LENGTHS, Lengths
from tuner.search.protocol import Callback, Plan
from tuner.search.search import Search
from tuner.study.records import RungRecord
from tuner.study.run_dir import RunDir
from tuner.study.study import RunStudy

#: How many times as many trials a rung has as the next one, as jobs have it by default.
REDUCTION = HalvingSpec().reduction


@dataclass(frozen=True, kw_only=True)
class Reported:
    """One report of a trial, ``at_s`` seconds on the clock of `time.perf_counter`."""

    at_s: float
    trial: int
    steps: int
    objective: float


class Timeline(Callback):
    """A callback that remembers when what happened."""

    def __init__(self) -> None:
        self.began_s: dict[int, float] = {}
        self.ended_s: dict[int, float] = {}
        self.reports: list[Reported] = []

    def planned(self, plan: Plan, preset: str | None) -> None:
        """As `Callback`."""
        self.began_s[plan.trial] = time.perf_counter()

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """As `Callback`."""
        at_s = time.perf_counter()
        self.reports.append(Reported(at_s=at_s, trial=trial, steps=steps, objective=rung.objective))

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """As `Callback`."""
        self.ended_s[trial] = time.perf_counter()


def steady_rate(ended_s: Collection[float], slots: int) -> float:
    """Trials a second, counted from the end of the trials that filled the slots first.

    Args:
        ended_s: when each trial ended.
        slots: trials at a time; of a short run no more than a quarter of the trials is left out.
    """
    ends = sorted(ended_s)
    first = max(1, min(slots, len(ends) // 4))
    return (len(ends) - first) / (ends[-1] - ends[first - 1])


@contextmanager
def scratch_search(
    space: Space,
    callback: Timeline,
    *,
    trials: int,
    steps: tuple[int, int],
    size_px: int = 128,
    lanes: int | None = None,
    sampler: str = "gp",
    seed: int = 0,
    rule: str = "promote",
    reduction: int = REDUCTION,
    objective: str = "lpips",
    starts: Sequence[Params] = (),
    lengths: Lengths | None = None,
    folder: Path | None = None,
) -> Iterator[tuple[Search, JobSpec]]:
    """A search without presets and without early trials of the space's own.

    Args:
        space: what is searched; its starts are left out, since they may stem from the very pair.
        callback: is told of everything.
        trials: in all.
        steps: at the first rung and at the last one; the same number for no halving.
        size_px: longer side.
        lanes: trials at a time on an engine.
        sampler: of the job.
        seed: of the sampler.
        rule: of its halving.
        reduction: of its halving.
        objective: a metric.
        starts: trials that come first.
        lengths: what is known of parameters.
        folder: of the run, which goes on if there is one; a scratch folder by default.
    """
    job = JobSpec.model_validate(
        {
            "name": "benchmark",
            "pairs": [{"content": "-", "style": "-", "reference": "-"}],
            "size_px": size_px,
            "objective": objective,
            "search": {"trials": trials, "presets": False, "sampler": sampler, "seed": seed},
            "halving": {
                "min_steps": steps[0],
                "max_steps": steps[1],
                "rule": rule,
                "reduction": reduction,
            },
            "finals": {"count": 0},
            "resources": {"lanes": lanes},
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        place = folder or Path(scratch)
        known = (place / "study.journal").exists()
        notes = {"pair_baselines": [{"content": {}}], LENGTHS: dict(lengths or {})}
        begin: dict[str, Any] = {} if known else {"notes": notes}
        study = (RunStudy.open if known else RunStudy.create)(place, goals=job.goals, **begin)
        yield Search(study, RunDir(place), job, with_starts(space, starts), callback=callback), job


def with_starts(space: Space, starts: Sequence[Params] = ()) -> Space:
    """The space with other starts than its own; with none for a search that knows nothing."""
    parts = {**vars(space), "initial_points": tuple(starts)}
    return Space(**parts)


def on_ray(
    search: Search, job: JobSpec, workload: Workload | None = None, engine: type | None = None
) -> None:
    """Carry a search out on a Ray of its own, with the real engine or another one."""
    ray_backend(engine=engine).run(search, workload or Workload(pairs=[], weights={}), job)


def workload_of(pair: Pair, size_px: int) -> Workload:
    """What engines need to work on one pair."""
    return Workload(pairs=[engine_pair(pair, size_px)], weights=weights_of_a_job())


def weights_of_a_job() -> dict[str, Weights]:
    """Weights of VGG16 and of the default metrics' networks."""
    return {name: get_weights(name) for name in ("vgg16", *weights_of(DEFAULT_METRICS))}


def engine_pair(pair: Pair, size_px: int) -> evaluate.Pair:
    """A pair as engines take it."""
    return evaluate.Pair(
        materials=LossInputs.at_size(pair.content_3HW, [(pair.style_3HW, 1.0)], size_px),
        reference_HW3=to_uint8(pair.reference(size_px)),
    )
