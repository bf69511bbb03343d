"""The Ray backend: engines as actors, trials as Ray Tune Trainables, decisions by our `Search`.

Ray Tune schedules and tells us of results and failures through its own extension points, a
Searcher and a TrialScheduler. Both are thin: every decision and everything worth keeping is
`Search`'s, whose study is the only truth. Tune's own experiment state is thrown away at the end.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import ray
from ray import cloudpickle, tune

from nst_core.errors import WorkError
from tuner.cluster.engine_actor import EngineActor
from tuner.cluster.engine_shapes import EngineShape
from tuner.cluster.engine_supervisor import EngineSupervisor
from tuner.cluster.placement import Placement
from tuner.cluster.session import connected
from tuner.cluster.trainable import (
    StyleTrial,
)
from tuner.cluster.tune_plugins import (
    LANES_WITHIN_S,
    RungScheduler,
    StudySearcher,
    SupervisorCallback,
    keep_arrived,
)
from tuner.engine.costs import check_costs
from tuner.engine.workload import Workload
from tuner.job.spec import LEARNING, JobSpec
from tuner.search.search import Search


class RayBackend:
    """Runs on a Ray cluster of its own on this machine, or on the one at ``address``.

    Args:
        address: of the cluster.
        engine: class of the engines' actors.
    """

    def __init__(self, address: str | None = None, engine: type = EngineActor):
        self._address, self._engine = address, engine
        if engine is not EngineActor:
            # Workers import installed packages only, and this one may be in none.
            cloudpickle.register_pickle_by_value(sys.modules[engine.__module__])

    def run(self, search: Search, workload: Workload, job: JobSpec) -> None:
        """See `Backend.run`."""
        search.callback.doing("starting Ray")
        with connected(self._address), tempfile.TemporaryDirectory() as scratch:
            search.interrupt.listen()  # Ray has taken hold of SIGTERM
            if not search.begun:
                wanted = job.resources
                gpus = wanted.gpus or ray.cluster_resources().get("GPU")
                check_costs(job, gpu=wanted.device != "cpu" and bool(gpus))
            supervisor = self._supervisor(workload, job)
            try:
                for _ in supervisor.opening():
                    search.callback.doing(supervisor.starting)
                    search.interrupt.check()
                    search.sign()
                    if search.wound_up:
                        return
                self._tune(search, Placement(supervisor), scratch)
            finally:
                supervisor.close()

    def _tune(self, search: Search, placement: Placement, scratch: str) -> None:
        searcher = StudySearcher(search, placement)
        tuner = tune.Tuner(
            StyleTrial,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=RungScheduler(search, placement, searcher),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=scratch,
                verbose=0,
                callbacks=[SupervisorCallback(placement, search)],
                failure_config=tune.FailureConfig(max_failures=0),
                # A lane's state lives in its engine; Tune has nothing to save.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()
        if placement.fault:
            raise placement.fault
        keep_arrived(search, placement, within_s=search.interrupt.within_s(LANES_WITHIN_S))
        search.engines_ended(placement.supervisor.stats())
        if placement.supervisor.hopeless:
            raise WorkError(placement.supervisor.hopeless)

    def _supervisor(self, workload: Workload, job: JobSpec) -> EngineSupervisor:
        handle = ray.put(workload)
        actor: Any = ray.remote(self._engine)

        def make(shape: EngineShape, options: Mapping[str, Any]) -> Any:
            made = actor.options(**options)
            return made.remote(handle, device=shape.device, threads=shape.threads)

        wanted = job.resources
        return EngineSupervisor(
            make,
            device=wanted.device,
            lanes=wanted.lanes,
            trials=job.search.trials if job.search.sampler in LEARNING else None,
            gpus=None if wanted.device == "cpu" else wanted.gpus,
            deadline_s=wanted.engine_deadline_s,
        )
