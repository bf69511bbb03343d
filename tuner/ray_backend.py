"""The Ray backend: engines as actors, trials as Ray Tune Trainables, decisions by our `Search`.

Ray Tune schedules and tells us of results and failures through its own extension points, a
Searcher and a TrialScheduler. Both are thin: every decision and everything worth keeping is
`Search`'s, whose study is the only truth. Tune's own experiment state is thrown away at the end.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ray
from ray import tune
from ray._private import worker
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from nst_core.errors import InputError, WorkError
from tuner.backend import Workload
from tuner.halving import Decision
from tuner.job import JobSpec
from tuner.lane_engine import LaneEngine
from tuner.records import EngineStats, Report
from tuner.search import Search
from tuner.trial import CONFIG, ENGINE, HOLDOUT, REPORT, RUNGS, SLOT, TRIAL, WAITED, StyleTrial

NAMESPACE = "nst-tuner"

#: What an engine leaves of its cores for the trials' sake.
CPUS_LEFT_FOR_TRIALS = 0.1
#: Two threads of one engine did nine tenths of what two engines of one thread did (96 and 128 px,
#: 4 lanes), and take half of their memory; more threads would do less each.
CPUS_PER_ENGINE = 2
CPU_LANES = 4
#: An engine answers between two chunks; one that does not for so long is dead.
ENGINE_ANSWERS_WITHIN_S = 60
GPU_LANES = 16
#: At the end of a run nobody waits long for figures.
STATS_WITHIN_S = 10


class Slot(NamedTuple):
    """Room for one trial on an engine."""

    number: int
    engine: str


@dataclass(frozen=True, eq=False)
class Stay:
    """A trial in a slot, from its start or its promotion to its end or its next wait."""

    trial: int
    slot: Slot


@dataclass
class EnginePool:
    """The engines of a run and which trial is where.

    Attributes:
        engines: name -> actor.
        lanes: trials that one engine takes at a time; each has a slot of its own.
    """

    engines: Mapping[str, Any]
    lanes: int
    _on: dict[int, Stay] = field(default_factory=dict)
    _saved: dict[int, Any] = field(default_factory=dict)

    @property
    def slots(self) -> list[Slot]:
        """Every slot, those of an engine apart, so that trials spread."""
        places = itertools.product(range(self.lanes), self.engines)
        return [Slot(number, name) for number, (_, name) in enumerate(places)]

    @property
    def full(self) -> bool:
        """Whether every slot is taken."""
        return len(self._on) >= self.lanes * len(self.engines)

    def take(self, trial: int) -> Stay:
        """Put a trial into a slot of the engine with most room."""
        taken = {stay.slot for stay in self._on.values()}
        load = Counter(slot.engine for slot in taken)
        free = [slot for slot in self.slots if slot not in taken]
        self._on[trial] = Stay(trial, min(free, key=lambda slot: load[slot.engine]))
        return self._on[trial]

    def pause(self, trial: int) -> None:
        """Free a trial's slot; its lanes are on their way, for `arrived` or `waited_for`."""
        if stay := self._on.pop(trial, None):
            self._saved[trial] = self.engines[stay.slot.engine].pause.remote(trial)

    def snapshot(self, trial: int) -> None:
        """Have a trial's lanes saved while they go on; nobody waits for it."""
        engine = self.engines[self._on[trial].slot.engine]
        self._saved[trial] = engine.snapshot.remote(trial)

    def arrived(self) -> Iterator[tuple[int, bytes]]:
        """Lanes that were saved and have come, each once; what an engine took with it is lost."""
        by_ref = {ref: trial for trial, ref in self._saved.items()}
        if not by_ref:
            return
        ready, _ = ray.wait(list(by_ref), num_returns=len(by_ref), timeout=0)
        for ref in ready:
            trial = by_ref[ref]
            del self._saved[trial]
            with suppress(ray.exceptions.RayError):
                lanes = ray.get(ref)
                if lanes is not None:
                    yield trial, lanes

    def waited_for(self, trial: int) -> None:
        """Wait until a trial's lanes have come, if they are on their way."""
        if trial in self._saved:
            ray.wait([self._saved[trial]], timeout=ENGINE_ANSWERS_WITHIN_S)

    def take_up(self, stay: Stay, lanes: bytes | None) -> bool:
        """Bring the lanes of a trial to its slot; False if there are none."""
        if lanes is None:
            return False
        self.engines[stay.slot.engine].take_up.remote(stay.trial, lanes)
        return True

    def images(self, trial: int) -> list[bytes]:
        """PNG files of a trial."""
        engine = self.engines[self._on[trial].slot.engine]
        pngs: list[bytes] = ray.get(engine.images.remote(trial))
        return pngs

    def lost(self, slot: Slot) -> bool:
        """Whether the engine of a slot is dead."""
        try:
            ray.get(self.engines[slot.engine].ready.remote(), timeout=ENGINE_ANSWERS_WITHIN_S)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            return True
        return False

    def stats(self) -> list[EngineStats]:
        """What the engines that are alive did with their time."""
        found = []
        for engine in self.engines.values():
            with suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
                found.append(ray.get(engine.stats.remote(), timeout=STATS_WITHIN_S))
        return found

    def release(self, trial: int, stay: Stay | None = None) -> None:
        """Free a trial's slot; of a certain stay, only if that is not over."""
        here = self._on.get(trial)
        if here is not None and (stay is None or stay is here):
            del self._on[trial]
            self.engines[here.slot.engine].drop.remote(trial)


class _NotSaved:
    """Tune pickles its parts for a restore of its own, which we never do: the study has it all."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


def keep_arrived(search: Search, pool: EnginePool) -> None:
    """Put lanes that engines saved into the run."""
    for trial, lanes in pool.arrived():
        search.keep_lanes(trial, lanes)


class StudySearcher(_NotSaved, Searcher):
    """Hands out what `Search` plans, as long as a lane is free."""

    def __init__(self, search: Search, pool: EnginePool):
        super().__init__(metric=None, mode=None)
        self._search, self._pool = search, pool
        self._stays: dict[str, Stay] = {}
        self.engine_lost = False

    def suggest(self, trial_id: str) -> Any:
        """Config of the next trial; None while all lanes are taken, FINISHED at the end."""
        if self._search.over or self.engine_lost:
            return Searcher.FINISHED
        if self._pool.full:
            return None
        plan = self._search.next()
        if plan is None:
            return Searcher.FINISHED if self._search.over else None
        self._search.started_as(plan.trial, trial_id)
        stay = self._stays[trial_id] = self._pool.take(plan.trial)
        self._pool.waited_for(plan.trial)
        keep_arrived(self._search, self._pool)
        lanes = self._search.kept_lanes(plan.trial)
        return {
            TRIAL: plan.trial,
            CONFIG: plan.config.to_dict(),
            RUNGS: plan.rungs,
            HOLDOUT: plan.holdout,
            WAITED: self._pool.take_up(stay, lanes),
            ENGINE: stay.slot.engine,
            SLOT: stay.slot.number,
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """All but broken trials were closed on report.

        A trial whose engine died is no failure of its settings: it stays open, for `resume`.
        """
        stay = self._stays.pop(trial_id)
        if error and stay.trial in self._search.running:
            if self._pool.lost(stay.slot):
                self.engine_lost = True
            else:
                self._search.fail(stay.trial, "its process died; see Ray's logs")
        self._pool.release(stay.trial, stay)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Objective and direction are the job's business, not Tune's."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study holds it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class RungScheduler(_NotSaved, FIFOScheduler):
    """Passes each report to `Search` and its decision to Tune."""

    def __init__(self, search: Search, pool: EnginePool):
        super().__init__()  # type: ignore[no-untyped-call]
        self._search, self._pool = search, pool
        self._kept: set[int] = set()

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Make Tune keep the process of a slot, of which only Tune itself can say how many."""
        super().on_trial_add(tune_controller, trial)
        if trial.config[SLOT] not in self._kept:
            self._kept.add(trial.config[SLOT])
            cache = tune_controller._tune_controller._actor_cache
            cache.increase_max(trial.placement_group_factory)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """CONTINUE or STOP; for Tune a trial that waits is over, and comes back as another."""
        report = Report(**json.loads(result[REPORT]))
        decision = self._search.report(report, lambda: self._pool.images(report.trial))
        keep_arrived(self._search, self._pool)
        if decision is Decision.GO_ON:
            self._pool.snapshot(report.trial)
            return str(TrialScheduler.CONTINUE)
        if decision is Decision.WAIT:
            self._pool.pause(report.trial)
        else:
            self._pool.release(report.trial)
        return str(TrialScheduler.STOP)


class RayBackend:
    """Runs on a Ray cluster of its own on this machine, or on the one at ``address``.

    Args:
        address: of the cluster.
        engine: class of the engines' actors.
    """

    def __init__(self, address: str | None = None, engine: type = LaneEngine):
        self._address, self._engine = address, engine

    def run(self, search: Search, workload: Workload, job: JobSpec) -> None:
        """See `Backend.run`."""
        with connected(self._address), tempfile.TemporaryDirectory() as scratch:
            pool = _start_engines(self._engine, workload, job)
            os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(len(pool.slots))
            searcher = StudySearcher(search, pool)
            tuner = tune.Tuner(
                StyleTrial,
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=RungScheduler(search, pool),
                    num_samples=-1,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="run",
                    storage_path=scratch,
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=0),
                    # A lane's state lives in its engine; Tune has nothing to save.
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            )
            tuner.fit()
            search.engines_ended(pool.stats())
            for engine in pool.engines.values():
                ray.kill(engine)
        if searcher.engine_lost:
            raise WorkError("an engine died, perhaps for want of memory; nothing finished is lost")


def _to_log(data: Mapping[str, Any], **_: Any) -> None:
    logging.getLogger("ray").warning("%s", "\n".join(data["lines"]))


@contextmanager
def connected(address: str | None) -> Iterator[Mapping[str, float]]:
    """Connect to a cluster, or start one on this machine; gives its resources."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Ray prints what its daemons warn of, such as many processes on few cores, to standard output,
    # which is ours for results; it has no setting for that.
    worker.print_to_stdstream = _to_log  # type: ignore[assignment]
    common: dict[str, Any] = {
        "namespace": f"{NAMESPACE}-{secrets.token_hex(4)}",
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    if address is None:
        common.update(include_dashboard=False, _node_ip_address="127.0.0.1")
    try:
        ray.init(address=address or "local", **common)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if address is None:
            raise WorkError(f"Ray could not start on this machine ({reason})") from None
        raise InputError(
            f"--address {address}: no Ray cluster answers there ({reason}); check the address, and"
            " RAY_AUTH_MODE=token and RAY_AUTH_TOKEN if the cluster asks for a token"
        ) from None
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


def _start_engines(engine: type, workload: Workload, job: JobSpec) -> EnginePool:
    """Start the engines that `_engine_shapes` finds room for, and wait until they are up."""
    shapes = _engine_shapes(job.resources.device)
    handle = ray.put(workload)
    actor: Any = ray.remote(engine)
    engines = {}
    for index, shape in enumerate(shapes):
        name = f"engine-{index}"
        options = actor.options(
            num_cpus=shape.cpus, num_gpus=shape.gpus, name=name, max_concurrency=1000
        )
        device = "cuda" if shape.gpus else "cpu"
        engines[name] = options.remote(handle, device=device, threads=shape.threads)
    ray.get([started.ready.remote() for started in engines.values()])
    lanes = job.resources.lanes or (GPU_LANES if shapes[0].gpus else CPU_LANES)
    return EnginePool(engines=engines, lanes=lanes)


@dataclass(frozen=True, kw_only=True)
class _EngineShape:
    """What one engine takes of a node."""

    cpus: float
    gpus: int = 0
    threads: int | None = None


def _engine_shapes(device: str) -> list[_EngineShape]:
    """One engine per GPU; where there are none, one per group of CPU cores of a node.

    Raises:
        InputError: a GPU was asked for and the cluster has none.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes) if device != "cpu" else 0
    if gpus:
        return [_EngineShape(cpus=0.5, gpus=1)] * gpus
    if device == "cuda":
        raise InputError("resources.device: cuda was asked for and the cluster has no GPU")
    shapes = []
    for node in nodes:
        cores = int(node.get("CPU", 0))
        count = -(-cores // CPUS_PER_ENGINE)
        if count:
            threads = cores // count
            shape = _EngineShape(cpus=threads - CPUS_LEFT_FOR_TRIALS, threads=threads)
            shapes += [shape] * count
    if not shapes:
        raise InputError("the cluster has neither a GPU nor a CPU core to run on")
    return shapes
