"""Speed of one device with an engine on it: steps, other ways to share a device, whole engines.

Command: ``python -m benchmarks.engine``. It needs no Ray; if Ray is installed, the last part runs
the job through it, except with ``--quick``. If a part fails, it is named, and the others still run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks.roofline import compared
from benchmarks.step import timed
from benchmarks.support import engine_worker
from benchmarks.support.common import Goal, JsonOption, QuickOption, Row, Section, err, publish, run
from benchmarks.support.rivals import Step
from nst_core.lanes.step_graph import MAX_PIXELS
from nst_core.networks.precision_support import has_bfloat16, has_tf32
from nst_core.stylization import default_device

#: What each goal of the GPU work asks for; see docs/measurements/speed.md.
GOALS = {
    "single": ("step, times as fast as {}", 15.0),
    "sharing": ("step, times the best other way to share the device", 3.0),
    "product": ("share of a large matrix product's FLOP/s", 0.5),
    "advancing": ("share of time in which lanes advance", 0.9),
    "bfloat16": ("bfloat16, times as fast as float32", 4.0),
    "job": ("seconds of a job", 120.0),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        steps: longer side in pixels -> numbers of lanes whose steps are measured.
        side: size of all other parts, in pixels.
        product: (longer side, lanes) of the steps that are compared with a matrix product.
        processes: numbers of processes that share the device.
        engine_lanes: numbers of trials that an engine has at a time.
        seconds: duration of the measurement of an engine; that of processes is a quarter.
        trials: trials of the job.
        trial_steps: steps of each of them.
        turns: measurements of each step.
        on_ray: whether the job also runs on Ray, if Ray is installed.
    """

    steps: dict[int, tuple[int, ...]]
    side: int
    product: tuple[tuple[int, int], ...]
    processes: tuple[int, ...]
    engine_lanes: tuple[int, ...]
    seconds: float
    trials: int
    trial_steps: int
    turns: int
    on_ray: bool


FULL = Plan(
    steps={128: (1, 16, 64), 256: (1, 16, 64), 512: (1, 8, 16)},
    side=256,
    product=((512, 8), (512, 16)),
    processes=(4, 8),
    engine_lanes=(16, 32, 64),
    seconds=18,
    trials=64,
    trial_steps=300,
    turns=3,
    on_ray=find_spec("ray") is not None,
)
QUICK = Plan(
    steps={32: (1, 2)},
    side=32,
    product=((32, 2),),
    processes=(2,),
    engine_lanes=(4,),
    seconds=3,
    trials=4,
    trial_steps=6,
    turns=1,
    on_ray=False,
)

#: Approximate seconds of one measurement of a step.
TURN_S = 0.4


@dataclass
class Results:
    """What was measured so far.

    Attributes:
        steps: rows of steps.
        sharing: rows of other ways to share the device.
        product: rows of steps against the matrix product.
        engines: rows of engines.
        jobs: rows of whole jobs.
        goals: goals whose values are known.
        failures: parts that failed, with the reason.
    """

    steps: list[Row] = field(default_factory=list)
    sharing: list[Row] = field(default_factory=list)
    product: list[Row] = field(default_factory=list)
    engines: list[Row] = field(default_factory=list)
    jobs: list[Row] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    failures: list[Row] = field(default_factory=list)

    def reach(self, key: str, value: float, *details: str) -> None:
        """Add a goal with its measured value."""
        name, bound = GOALS[key]
        at_most = key == "job"
        self.goals.append(
            Goal(name=name.format(*details), value=value, goal=bound, at_most=at_most)
        )

    def best(self, side: int, precision: str | None = None) -> Row:
        """Return the fastest step of a size, per lane."""
        rows = [
            row
            for row in self.steps
            if row["size px"] == side and precision in (None, row["precision"])
        ]
        return min(rows, key=lambda row: float(row["ms per lane"]))


def main(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Measure steps, other ways to share a device, and engines, against the goals for GPUs."""
    chosen = default_device() if device == "auto" else torch.device(device)
    plan, results = QUICK if quick else FULL, Results()
    parts: dict[str, Callable[[Plan, torch.device, Results], None]] = {
        "steps": measure_steps,
        "a single picture": measure_single,
        "sharing": measure_sharing,
        "matrix product": measure_product,
        "engine": measure_engines,
        "job": measure_job,
    }
    if plan.on_ray:
        parts["job on Ray"] = measure_job_on_ray
    for name, part in parts.items():
        started = time.perf_counter()
        try:
            part(plan, chosen, results)
            err.print(f"{name}: {time.perf_counter() - started:.1f} s")
        except Exception as error:  # the other parts still tell something
            reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            err.print(f"{name} failed: {reason}", markup=False)
            results.failures.append({"part": name, "failed with": reason})
    report(plan, results, json_file)
    sys.exit(1 if results.failures else 0)


def report(plan: Plan, results: Results, json_file: JsonOption) -> None:
    """Print all results, and write them to a file."""
    sections = [
        Section(title="Steps", rows=results.steps, text="Adam on VGG16, one pair, equal lanes."),
        Section(title=f"Ways to share the device, {plan.side} px", rows=results.sharing),
        Section(title="Against a matrix product", rows=results.product),
        Section(
            title=f"An engine that trials come to and leave, {plan.side} px",
            rows=results.engines,
            text="Random configurations of the space `gram` report at steps"
            f" {', '.join(map(str, engine_worker.RUNGS))} with all default metrics; one of three"
            " goes on.",
        ),
        Section(
            title=f"A job of {plan.trials} trials, {plan.side} px, {plan.trial_steps} steps each",
            rows=results.jobs,
        ),
    ]
    if results.failures:
        sections.insert(0, Section(title="Parts that failed", rows=results.failures))
    publish(
        "Engine",
        "Steps of a batch on one device, and engines without Ray. `recorded`: the step is a CUDA"
        " graph.",
        sections,
        goals=results.goals,
        json_file=json_file,
    )


def precisions(device: torch.device) -> list[str]:
    """Return the precisions that are worth measuring on a device, float32 first."""
    tf32 = ["tf32"] if has_tf32(device) else []
    return ["float32", *tf32, *(["bfloat16"] if has_bfloat16(device) else [])]


def rival_precision(device: torch.device) -> str:
    """Return the precision of other ways: torch's convolutions use TF32 on GPUs by default."""
    return "tf32" if device.type == "cuda" else "float32"


def seconds_of(step: Step, turns: int, device: torch.device) -> float:
    """Return the median seconds of a step."""
    calls = max(1, round(TURN_S / max(1e-4, timed(step, 2, device))))
    return median(timed(step, calls, device) for _ in range(turns))


def measure_steps(plan: Plan, device: torch.device, results: Results) -> None:
    """Measure steps by size, lanes, precision, and whether they are recorded."""
    for side, counts in plan.steps.items():
        for lanes in counts:
            for precision in precisions(device):
                recordable = device.type == "cuda" and lanes * side**2 <= MAX_PIXELS
                for recorded in (False, True)[: 1 + recordable]:
                    graphs = engine_worker.new_recorder() if recorded else None
                    step = engine_worker.our_step(side, lanes, precision, device, graphs)
                    each_s = seconds_of(step, plan.turns, device) / lanes
                    state = "no" if graphs is None else "yes" if graphs._trusted else "refused"
                    results.steps.append(
                        {
                            "size px": side,
                            "lanes": lanes,
                            "precision": precision,
                            "recorded": state,
                            "ms per lane": 1000 * each_s,
                        }
                    )
                    del step
    if has_bfloat16(device):
        exact, half = (
            results.best(plan.side, name)["ms per lane"] for name in ("float32", "bfloat16")
        )
        results.reach("bfloat16", exact / half)


def measure_single(plan: Plan, device: torch.device, results: Results) -> None:
    """Compare the best step with a program for one picture."""
    precision = rival_precision(device)
    name, step = engine_worker.single_step(plan.side, precision, device)
    each_s = seconds_of(step, plan.turns, device)
    results.sharing.append(_way(name, 1, precision, 1 / each_s))
    results.reach("single", 1000 * each_s / results.best(plan.side)["ms per lane"], name)


def measure_sharing(plan: Plan, device: torch.device, results: Results) -> None:
    """Compare the best step with fused jobs, and with several processes on the device."""
    precision = rival_precision(device)
    for lanes in plan.steps[plan.side]:
        step = engine_worker.fused_step(plan.side, lanes, precision, device)
        rate = lanes / seconds_of(step, plan.turns, device)
        results.sharing.append(_way("jobs fused into one eager process", lanes, precision, rate))
        del step
    for count in plan.processes:
        rate = engine_worker.processes_rate(count, plan.side, precision, device, plan.seconds / 4)
        results.sharing.append(_way(f"{count} processes", count, precision, rate))
    best = results.best(plan.side)
    rate = 1000 / best["ms per lane"]
    others = max(row["steps/s"] for row in results.sharing)
    results.sharing.append(_way("ours, the best", best["lanes"], best["precision"], rate))
    results.reach("sharing", rate / others)


def _way(name: str, lanes: int, precision: str, rate: float) -> Row:
    return {"way": name, "pictures": lanes, "precision": precision, "steps/s": rate}


def measure_product(plan: Plan, device: torch.device, results: Results) -> None:
    """Compare the arithmetic rate of steps with that of a matrix product, in the best precision."""
    precision = precisions(device)[-1]
    for side, lanes in plan.product:
        step = engine_worker.our_step(side, lanes, precision, device, None)
        row = compared(step, precision, device, plan.turns)
        results.product.append({"size px": side, "lanes": lanes, "type": precision, **row})
        del step
    results.reach("product", max(row["of the product"] for row in results.product))


def measure_engines(plan: Plan, device: torch.device, results: Results) -> None:
    """Measure how an engine spends its time with different numbers of trials."""
    precision = precisions(device)[-1]
    for lanes in plan.engine_lanes:
        configs = engine_worker.configs_of_the_space(
            4 * lanes, plan.side, engine_worker.RUNGS[-1], precision
        )
        engine = engine_worker.new_engine(plan.side, device)
        use = engine_worker.engine_use(engine, configs, lanes, plan.seconds)
        results.engines.append({"trials at a time": lanes, "precision": precision, **vars(use)})
        del engine
    # The goal is one for all numbers of trials, so the lowest share counts.
    results.reach("advancing", min(row["advancing"] for row in results.engines))


def measure_job(plan: Plan, device: torch.device, results: Results) -> None:
    """Measure a job on an engine alone."""
    precision = precisions(device)[-1]
    configs = engine_worker.configs_of_the_space(
        plan.trials, plan.side, plan.trial_steps, precision
    )
    engine = engine_worker.new_engine(plan.side, device)
    seconds = engine_worker.job_on_engine(engine, configs, max(plan.engine_lanes))
    results.jobs.append({"way": "an engine alone", "precision": precision, "seconds": seconds})
    if not plan.on_ray:
        results.reach("job", seconds)


def measure_job_on_ray(plan: Plan, device: torch.device, results: Results) -> None:
    """Measure the same job from the start of Ray to its end."""
    seconds = engine_worker.job_on_ray(plan.side, plan.trials, plan.trial_steps)
    results.jobs.append({"way": "through Ray", "precision": "float32", "seconds": seconds})
    results.reach("job", seconds)


if __name__ == "__main__":
    run(main)
