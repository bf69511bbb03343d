"""InlineBackend: carries out trials in this process."""

from __future__ import annotations

import time
from typing import Any

from tuner.engine.costs import check_costs
from tuner.engine.engine import Engine
from tuner.engine.workload import Workload
from tuner.job.spec import JobSpec
from tuner.search.halving import Decision
from tuner.search.precision import check_precision
from tuner.search.protocol import Plan
from tuner.search.search import Search


class InlineBackend:
    """One engine in this process, without Ray: for tests and for debugging."""

    def run(self, search: Search, workload: Workload, job: JobSpec) -> None:
        """See `Backend.run`."""
        check_precision(workload.precision, "cpu")
        engine = Engine(
            workload.pairs,
            workload.weights,
            holdout=workload.holdout,
            metrics=workload.metrics,
        )
        if not search.begun:
            check_costs(job, gpu=False)
        lanes = job.resources.lanes or 1
        plans: dict[int, Plan] = {}
        while True:
            search.interrupt.check()
            search.heartbeat()
            while len(plans) < lanes and (plan := search.next()):
                number = plan.trial
                plans[number] = plan
                options: Any = {"holdout": plan.final, "paused": search.saved_lanes(number)}
                engine.submit(number, plan.config, *plan.next_two(0), **options)
            if not plans and search.waits_for_others:
                time.sleep(1)
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
