"""InlineBackend: carries out trials in this process."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import torch

from nst_core.errors import InputError
from nst_core.lanes.device import GPU_LANES
from nst_core.stylization import default_device
from tuner.engine.costs import check_costs
from tuner.engine.precision import check_precision
from tuner.engine.protocol import TrialEngine
from tuner.engine.workload import Workload
from tuner.job.spec import JobSpec
from tuner.search.halving import Decision
from tuner.search.protocol import Plan
from tuner.search.search import Search
from tuner.stylizers.engines import engine_of

#: Seconds between two looks while no trial can start.
WAIT_S = 0.2


class InlineBackend:
    """One engine in this process, without Ray: for tests and for debugging."""

    def run(self, search: Search, workload: Workload, job: JobSpec) -> None:
        """See `Backend.run`."""
        device = device_of(job)
        check_precision(workload.precision, device.type)
        on_gpu = device.type == "cuda"
        if not search.begun:
            check_costs(job, gpu=on_gpu)
        engine = engine_of(workload, device=device, threads=job.resources.cpus_per_worker)
        lanes = job.resources.lanes or (GPU_LANES if on_gpu and workload.stylizer is None else 1)
        with contextlib.closing(engine):
            self._run(search, engine, lanes)

    @staticmethod
    def _run(search: Search, engine: TrialEngine, lanes: int) -> None:
        """Run trials on an engine, at most ``lanes`` at a time, until the search is over."""
        plans: dict[int, Plan] = {}
        while True:
            search.interrupt.check()
            search.heartbeat()
            while len(plans) < lanes and (plan := search.next()):
                number = plan.trial
                plans[number] = plan
                options: Any = {"holdout": plan.final, "paused": search.saved_lanes(number)}
                engine.submit(number, plan.config, *plan.next_two(0), **options)
            if not plans and search.waits:
                time.sleep(WAIT_S)
                continue
            if not plans:
                search.record_engine_stats([engine.stats])
                return
            for report in engine.advance():
                plan = plans[report.trial]
                decision = search.report(report, lambda t=report.trial: engine.images(t))  # type: ignore[misc]
                if decision is Decision.CONTINUE:
                    _save(search, report.trial, engine.snapshot(report.trial))
                    engine.submit(plan.trial, plan.config, *plan.next_two(report.steps))
                    continue
                del plans[report.trial]
                if decision is Decision.PAUSE:
                    _save(search, report.trial, engine.pause(report.trial))
                else:
                    engine.drop(report.trial)


def _save(search: Search, trial: int, lanes: bytes | None) -> None:
    """Save the lanes of a trial, if its engine can save them."""
    if lanes is not None:
        search.save_lanes(trial, lanes)


def device_of(job: JobSpec) -> torch.device:
    """Return the device of this process on which a job runs: `resources.device` of the job.

    Raises:
        InputError: the job asks for a GPU and this process cannot use one.
    """
    if job.resources.device == "auto":
        return default_device()
    if job.resources.device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "resources.device: cuda was asked for and torch finds no GPU on this machine; set it to"
            " auto or cpu, or see `nst-tuner doctor`"
        )
    return torch.device(job.resources.device)
