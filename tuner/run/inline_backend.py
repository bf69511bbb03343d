"""How a run's trials are carried out, and the backend that does it in this very process."""

from __future__ import annotations

import time
from typing import Any, Protocol

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from tuner.engine.engine import Engine
from tuner.engine.pairs import memory_gb
from tuner.engine.workload import Workload
from tuner.job.objective import GPU_MEMORY, Goals
from tuner.job.spec import JobSpec
from tuner.search.halving import Decision
from tuner.search.protocol import Plan
from tuner.search.search import Search


def check_costs(job: JobSpec, *, gpu: bool) -> None:
    """Raise InputError if a new run asks for a cost that its engines do not have."""
    if GPU_MEMORY not in job.goals.measures or gpu:
        return
    keys = [key for key in ("constraints", "objective") if GPU_MEMORY in getattr(job, key)]
    raise InputError(
        f"{keys[0]}: {GPU_MEMORY} is the memory of a GPU, and this run would compute on CPUs;"
        f" remove {GPU_MEMORY} from {' and '.join(keys)}, or run the job where there is a GPU"
    )


def known_costs(workload: Workload, goals: Goals, config: StyleConfig) -> dict[str, float]:
    """The costs that are known before the first step, of those that a run asks for, by name."""
    if GPU_MEMORY not in goals.measures:
        return {}
    return {GPU_MEMORY: memory_gb(workload.pairs, config, "cuda")}


class Backend(Protocol):
    """Carries out what a `Search` decides until there is nothing more to run."""

    def run(self, search: Search, workload: Workload, job: JobSpec) -> None:
        """Run to the end.

        Raises:
            WorkError: the machinery failed; the study holds everything up to then.
        """
        ...


class InlineBackend:
    """One engine in this process, no Ray: for debugging, for tests, for one lane after another."""

    def run(self, search: Search, workload: Workload, job: JobSpec) -> None:
        """See `Backend.run`."""
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
            search.sign()
            while len(plans) < lanes and (plan := search.next()):
                number = plan.trial
                plans[number] = plan
                options: Any = {"holdout": plan.final, "paused": search.kept_lanes(number)}
                engine.submit(number, plan.config, *plan.next_two(0), **options)
            if not plans and search.awaits_others:
                time.sleep(1)
                continue
            if not plans:
                search.engines_ended([engine.stats])
                return
            for report in engine.advance():
                plan = plans[report.trial]
                decision = search.report(report, lambda t=report.trial: engine.images(t))  # type: ignore[misc]
                if decision is Decision.CONTINUE:
                    search.keep_lanes(report.trial, engine.snapshot(report.trial))
                    engine.submit(plan.trial, plan.config, *plan.next_two(report.steps))
                    continue
                del plans[report.trial]
                if decision is Decision.PAUSE:
                    search.keep_lanes(report.trial, engine.pause(report.trial))
                else:
                    engine.drop(report.trial)
