"""InlineBackend: carries out trials in this process."""

from __future__ import annotations

import time
from typing import Any

import torch

from nst_core.errors import InputError
from nst_core.lanes.device import GPU_LANES
from nst_core.stylization import default_device
from tuner.engine.costs import check_costs
from tuner.engine.engine import Engine
from tuner.engine.workload import Workload
from tuner.job.spec import JobSpec
from tuner.search.halving import Decision
from tuner.search.precision import check_precision
from tuner.search.protocol import Plan
from tuner.search.search import Search

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
        engine = Engine(
            workload.pairs,
            workload.weights,
            holdout=workload.holdout,
            device=device,
            metrics=workload.metrics,
        )
        lanes = job.resources.lanes or (GPU_LANES if on_gpu else 1)
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
                    search.save_lanes(report.trial, engine.snapshot(report.trial))
                    engine.submit(plan.trial, plan.config, *plan.next_two(report.steps))
                    continue
                del plans[report.trial]
                if decision is Decision.PAUSE:
                    search.save_lanes(report.trial, engine.pause(report.trial))
                else:
                    engine.drop(report.trial)


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
