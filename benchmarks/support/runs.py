"""Whole runs for benchmarks: a search in a temporary folder, a run on Ray, a timeline."""

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
from tuner.search.protocol import Callback, Plan
from tuner.search.search import Search
from tuner.study.records import RungRecord
from tuner.study.run_dir import RunDir
from tuner.study.study import RunStudy

#: Default reduction factor of jobs.
REDUCTION = HalvingSpec().reduction


@dataclass(frozen=True, kw_only=True)
class Reported:
    """One report of a trial, at time ``at_s`` of `time.perf_counter`."""

    at_s: float
    trial: int
    steps: int
    objective: float


class Timeline(Callback):
    """A callback that records when trials begin, report and end."""

    def __init__(self) -> None:
        self.began_s: dict[int, float] = {}
        self.ended_s: dict[int, float] = {}
        self.reports: list[Reported] = []

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `Callback`."""
        self.began_s[plan.trial] = time.perf_counter()

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        at_s = time.perf_counter()
        self.reports.append(Reported(at_s=at_s, trial=trial, steps=steps, objective=rung.objective))

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        self.ended_s[trial] = time.perf_counter()


def steady_rate(ended_s: Collection[float], slots: int) -> float:
    """Return the trials per second after the first trials, which filled the slots.

    Args:
        ended_s: time at which each trial ended.
        slots: number of trials that run at the same time; as many first trials are left out, but at
            most a quarter of all trials.
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
    folder: Path | None = None,
) -> Iterator[tuple[Search, JobSpec]]:
    """Yield a search without presets and its job.

    Args:
        space: search space; its own initial points are not used: they may come from the pair.
        callback: receives all events.
        trials: number of trials.
        steps: steps of the first and of the last rung; equal numbers mean no halving.
        size_px: longer side in pixels.
        lanes: number of trials that run at the same time on an engine.
        sampler: name of the sampler.
        seed: seed of the sampler.
        rule: rule of successive halving.
        reduction: reduction factor of successive halving.
        objective: name of a metric.
        starts: initial points of the search.
        folder: run directory; an existing study continues. By default a temporary folder.
    """
    job = JobSpec.model_validate(
        {
            "name": "benchmark",
            "pairs": [{"content": "-", "style": "-", "reference": "-"}],
            "size_px": size_px,
            "objective": objective,
            "search": {"trials": trials, "presets": False, "sampler": sampler, "seed": seed},
            "halving": {
                **{"min_steps": steps[0], "max_steps": steps[1]},
                **{"rule": rule, "reduction": reduction},
            },
            "finals": {"count": 0},
            "resources": {"lanes": lanes},
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        run_folder = folder or Path(scratch)
        exists = (run_folder / "study.journal").exists()
        options: dict[str, Any] = {} if exists else {"notes": {"pair_baselines": [{"content": {}}]}}
        open_study = RunStudy.open if exists else RunStudy.create
        study = open_study(run_folder, goals=job.goals, **options)
        space = with_starts(space, starts)
        yield Search(study, RunDir(run_folder), job, space, callback=callback), job


def with_starts(space: Space, starts: Sequence[Params] = ()) -> Space:
    """Return the space with other initial points."""
    parts = {**vars(space), "initial_points": tuple(starts)}
    return Space(**parts)


def on_ray(
    search: Search, job: JobSpec, workload: Workload | None = None, engine: type | None = None
) -> None:
    """Run a search on a new Ray cluster, with the usual engine actor or another class."""
    ray_backend(engine=engine).run(search, workload or Workload(pairs=[], weights={}), job)


def workload_of(pair: Pair, size_px: int) -> Workload:
    """Return the workload of one pair."""
    return Workload(pairs=[engine_pair(pair, size_px)], weights=weights_of_a_job())


def weights_of_a_job() -> dict[str, Weights]:
    """Return the weights of VGG16 and of the networks of the default metrics."""
    return {name: get_weights(name) for name in ("vgg16", *weights_of(DEFAULT_METRICS))}


def engine_pair(pair: Pair, size_px: int) -> evaluate.Pair:
    """Return a pair for engines."""
    return evaluate.Pair(
        inputs=LossInputs.at_size(pair.content_3HW, [(pair.style_3HW, 1.0)], size_px),
        reference_HW3=to_uint8(pair.reference(size_px)),
    )
