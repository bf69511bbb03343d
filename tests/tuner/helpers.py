"""What several tests of the tuner need."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from nst_core.presets.built_in import BASELINES
from tuner.cli import main as cli
from tuner.job.load import load_job
from tuner.job.spec import JobSpec, StyleImage
from tuner.search.halving import Decision
from tuner.search.protocol import Callback, Plan
from tuner.search.search import Search
from tuner.study.records import Report, RungRecord
from tuner.study.run_dir import RunDir
from tuner.study.study import RunStudy

#: A blend of which the first image counts three quarters.
TWO_STYLES = [StyleImage(image="a.png", weight=3.0), StyleImage(image="b.png")]

Objective = Callable[[Plan, int], float]


class Recorder(Callback):
    """A callback that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.reached: list[tuple[int, int]] = []
        self.lines: list[str] = []

    def planned(self, plan: Plan, preset: str | None) -> None:
        self.events.append(("planned", plan.trial, preset))

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        self.events.append(("reported", trial, steps, rung.objective))
        self.reached.append((trial, steps))

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        self.events.append(("ended", trial, state, reason))

    def say(self, line: str) -> None:
        self.lines.append(line)


def make_search(job_file: Path, folder: Path, *overrides: str, presets: int = 2, **options):  # type: ignore[no-untyped-def]
    """A search over a new study, or over the one that is in the folder already."""
    job, space = load_job(job_file, ["search.seed=5", *overrides])
    if (folder / "study.journal").exists():
        study = RunStudy.open(folder, goals=job.goals)
    else:
        study = RunStudy.create(folder, notes=compared(job), goals=job.goals)
    chosen = [(preset, None) for preset in list(BASELINES.values())[:presets]]
    options.setdefault("callback", Recorder())
    return Search(study, RunDir(folder), job, space, presets=chosen, **options)


def compared(job: JobSpec) -> dict[str, object]:
    """What a launch notes of every pair: what doing nothing scores."""
    scores = {"lpips": 0.9, "ssim": 0.1, "psnr": 5.0, "rmse": 0.5}
    return {"pair_baselines": [{"content": scores}] * (len(job.pairs) + len(job.holdout))}


def noisy_space(folder: Path) -> str:
    """A space whose trials all begin with noise, so that seeds matter, as an override of a job."""
    file = folder / "noisy.yaml"
    params = (
        "params: {lr: {low: 0.01, high: 0.1, log: true}, log10_style_content: {low: -1, high: 2}}"
    )
    file.write_text(f"name: noisy\nwhy: seeds matter here\nfixed: {{init: noise}}\n{params}\n")
    return f"space={file}"


def report(plan: Plan, steps: int, value: float) -> Report:
    scores = {"lpips": value, "ssim": 0.5, "psnr": 10.0, "rmse": 0.2}
    costs = {"seconds_per_image": float(steps), "vram_gb": 1.0}
    return Report(
        trial=plan.trial,
        steps=steps,
        scores={**scores, **costs},
        pair_scores=[scores],
        seconds=steps,
    )


def play(search: Search, objective: Objective, lanes: int = 1, limit: int = 10**9) -> int:
    """Carry out a search with a made-up objective, lanes in turn; stops after ``limit`` reports.

    Returns the number of reports made.
    """
    active: dict[int, tuple[Plan, int]] = {}
    made = 0
    while made < limit:
        while len(active) < lanes and (plan := search.next()):
            active[plan.trial] = (plan, 0)
        if not active:
            return made
        for number, (plan, steps) in list(active.items()):
            until = plan.next_rung(steps)
            made += 1
            told = report(plan, until, objective(plan, until))
            if search.report(told, lambda: [b"png"]) is Decision.CONTINUE:
                active[number] = (plan, until)
            else:
                del active[number]
            if made >= limit:
                break
    return made


def job_of(job_file: Path) -> JobSpec:
    return load_job(job_file)[0]


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def nst_tuner(*arguments: object, **environment: str) -> Done:
    """Run the command line in this process, as a script would; loading torch anew takes seconds."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["nst-tuner", *map(str, arguments)]),
        mock.patch.dict(os.environ, environment),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code
    assert isinstance(code, int)
    return Done(code, stdout.getvalue(), stderr.getvalue())


def quality(plan: Plan, steps: int) -> float:
    """A made-up score: best near a learning rate of 0.03, better with steps."""
    return abs(math.log10(plan.config.lr / 0.03)) + 1 / steps


def promoting(job_file: Path, folder: Path, *overrides: str, **options: Any) -> Search:
    """A search without presets and finals, unless they are asked for."""
    options.setdefault("presets", 0)
    return make_search(job_file, folder, "search.trials=18", *overrides, **options)
