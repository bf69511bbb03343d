"""RayBackend: carries out a search on Ray, with engines as actors and trials as Tune trials.

Ray Tune schedules trials, and reports results and failures to our plug-ins of it. `Search` makes
every decision and stores everything in its study; the state of Tune's own experiment is deleted at
the end.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray import cloudpickle, tune

from nst_core.errors import WorkError
from tuner.cluster.connection import connected
from tuner.cluster.engine_actor import EngineActor
from tuner.cluster.engine_shapes import EngineShape, worker_shapes
from tuner.cluster.engine_supervisor import EngineSupervisor
from tuner.cluster.placement import Placement
from tuner.cluster.trainable import StyleTrial
from tuner.cluster.tune_plugins import (
    RungScheduler,
    StudySearcher,
    SupervisorCallback,
    store_arrived_lanes,
)
from tuner.engine.costs import check_costs
from tuner.engine.workload import Workload
from tuner.job.spec import LEARNING, JobSpec
from tuner.search.search import Search

#: Seconds to wait for the lanes of unfinished trials at the end of a launch.
LANES_TIMEOUT_S = 60


class RayBackend:
    """Backend that runs trials on a Ray cluster.

    Args:
        address: address of a running cluster; None starts one on this machine.
        engine: actor class of the engines.
    """

    def __init__(self, address: str | None = None, engine: type = EngineActor):
        self._address, self._engine = address, engine
        if engine is not EngineActor:
            # Workers can import installed packages only, which may not include this class.
            cloudpickle.register_pickle_by_value(sys.modules[engine.__module__])

    def run(self, search: Search, workload: Workload, job: JobSpec) -> None:
        """Run until the search is over; see `Backend.run`."""
        search.callback.doing("starting Ray")
        with connected(self._address), tempfile.TemporaryDirectory() as tune_folder:
            search.interrupt.listen()  # again: Ray has installed its own handler of SIGTERM
            if not search.begun:
                resources = job.resources
                gpus = resources.gpus or ray.cluster_resources().get("GPU")
                check_costs(job, gpu=resources.device != "cpu" and bool(gpus))
            supervisor = self._supervisor(workload, job)
            try:
                for _ in supervisor.start():
                    search.callback.doing(supervisor.startup_status)
                    search.interrupt.check()
                    search.heartbeat()
                    if search.has_stopped:
                        return
                self._run_tune(search, Placement(supervisor), tune_folder)
            finally:
                supervisor.close()

    def _run_tune(self, search: Search, placement: Placement, tune_folder: str) -> None:
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
                storage_path=tune_folder,
                verbose=0,
                callbacks=[SupervisorCallback(placement, search)],
                failure_config=tune.FailureConfig(max_failures=0),
                # The engine holds the state of a trial's lanes; Tune has nothing to save.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()
        if placement.driver_error:
            raise placement.driver_error
        timeout_s = search.interrupt.within_s(LANES_TIMEOUT_S)
        store_arrived_lanes(search, placement, timeout_s=timeout_s)
        search.record_engine_stats(placement.supervisor.stats())
        if placement.supervisor.failure:
            raise WorkError(placement.supervisor.failure)

    def _supervisor(self, workload: Workload, job: JobSpec) -> EngineSupervisor:
        # One object in Ray's store, which the engines of a node share.
        workload_reference = ray.put(workload)
        actor_class: Any = ray.remote(self._engine)

        def make(shape: EngineShape, options: Mapping[str, Any]) -> Any:
            return actor_class.options(**options).remote(
                workload_reference,
                device=shape.device,
                threads=shape.threads,
                engines_per_gpu=shape.engines_per_gpu,
            )

        resources = job.resources
        return EngineSupervisor(
            make,
            device=resources.device,
            lanes=resources.lanes,
            trials=job.search.trials if job.search.sampler in LEARNING else None,
            gpus=None if resources.device == "cpu" else resources.gpus,
            deadline_s=resources.engine_deadline_s,
            engines_per_gpu=resources.engines_per_gpu,
            shapes=None if job.stylizer is None else _shapes_of_workers(job),
        )


def _shapes_of_workers(
    job: JobSpec,
) -> Callable[[Mapping[str, float], str], Sequence[EngineShape]]:
    """Return the function that tells how many processes of the job's stylizer a node gets."""
    return functools.partial(
        worker_shapes,
        gpus_per_worker=job.resources.gpus_per_worker,
        cpus_per_worker=job.resources.cpus_per_worker or 1,
    )
