"""Helpers for tests of the tuner: searches with made-up scores, real runs, the command line."""

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
from tuner.results.results import load_results
from tuner.run.backend_protocol import Backend
from tuner.run.launch import run_job
from tuner.search.halving import Decision
from tuner.search.protocol import Callback, Plan
from tuner.search.search import Search
from tuner.study.records import Report, RungRecord
from tuner.study.run_dir import RunDir
from tuner.study.study import RunStudy

#: Two blended style images, with three quarters of the weight on the first.
TWO_STYLES = [StyleImage(image="a.png", weight=3.0), StyleImage(image="b.png")]

#: Returns the score of a trial (its plan) after a number of steps.
Objective = Callable[[Plan, int], float]


class Recorder(Callback):
    """A callback that records what it is called with.

    Attributes:
        events: (method, trial, …) of each call, in order.
        reached: (trial, steps) of each report.
        lines: lines for people.
    """

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
    """Return a search on a new study, or on the study that the folder already has.

    Args:
        job_file: the job.
        folder: the run directory.
        overrides: ``KEY=VALUE`` each, for the job.
        presets: number of built-in presets that run first.
        options: for `Search`.
    """
    job, space = load_job(job_file, ["search.seed=5", *overrides])
    if (folder / "study.journal").exists():
        study = RunStudy.open(folder, goals=job.goals)
    else:
        study = RunStudy.create(folder, notes=compared(job), goals=job.goals)
    chosen = [(preset, None) for preset in list(BASELINES.values())[:presets]]
    options.setdefault("callback", Recorder())
    return Search(study, RunDir(folder), job, space, presets=chosen, **options)


def compared(job: JobSpec) -> dict[str, object]:
    """Return the note that a launch writes about the baselines of every pair."""
    scores = {"lpips": 0.9, "ssim": 0.1, "psnr": 5.0, "rmse": 0.5}
    return {"pair_baselines": [{"content": scores}] * (len(job.pairs) + len(job.holdout))}


def noisy_space(folder: Path) -> str:
    """Return a job override: a search space whose trials start from noise, so that seeds matter."""
    file = folder / "noisy.yaml"
    params = (
        "params: {lr: {low: 0.01, high: 0.1, log: true}, log10_style_content: {low: -1, high: 2}}"
    )
    file.write_text(f"name: noisy\nwhy: seeds matter here\nfixed: {{init: noise}}\n{params}\n")
    return f"space={file}"


def report(plan: Plan, steps: int, value: float) -> Report:
    """Return a made-up report of a trial.

    Args:
        plan: of the trial.
        steps: the rung.
        value: the LPIPS; other metrics are constant.
    """
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
    """Run a search with made-up scores and return the number of reports.

    Args:
        search: to run.
        objective: returns the scores.
        lanes: number of trials at the same time, which report in turn.
        limit: number of reports after which to stop.
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
            made_up = report(plan, until, objective(plan, until))
            if search.report(made_up, lambda: [b"png"]) is Decision.CONTINUE:
                active[number] = (plan, until)
            else:
                del active[number]
            if made >= limit:
                break
    return made


def job_of(job_file: Path) -> JobSpec:
    """Return the job of a job file."""
    return load_job(job_file)[0]


def launch_run(job_file: Path, folder: Path, backend: Backend, *overrides: str) -> Recorder:
    """Run a job to its end and return the callback that watched it."""
    callback = Recorder()
    job, space = load_job(job_file, overrides)
    run_job(job, space, folder, backend, callback=callback, say=callback.say)
    return callback


def trial_summaries(folder: Path) -> list[tuple[object, ...]]:
    """Return (trial, state, parameters, [(steps, objective), …]) of every trial of a run."""
    return [
        (r.trial, r.state, tuple(r.params.items()), [(s, x.objective) for s, x in r.rungs.items()])
        for r in load_results(folder).records
    ]


@dataclass(frozen=True)
class Done:
    """Exit code and output of a command."""

    returncode: int
    stdout: str
    stderr: str


def nst_tuner(*arguments: object, **environment: str) -> Done:
    """Run the command line in this process, because a new process takes seconds to load torch.

    Args:
        arguments: of the command line.
        environment: variables to set.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["nst-tuner", *map(str, arguments)]),
        mock.patch.dict(os.environ, environment),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        # A call that a test of storages has left open would end this process without a word.
        mock.patch.object(cli, "has_open_calls", lambda: False),
    ):
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code
    assert isinstance(code, int)
    return Done(code, stdout.getvalue(), stderr.getvalue())


def quality(plan: Plan, steps: int) -> float:
    """Return a made-up score: best at a style weight of 100, better after more steps."""
    return abs(math.log10(plan.config.style_weight / 100)) + 1 / steps


def promoting(job_file: Path, folder: Path, *overrides: str, **options: Any) -> Search:
    """Return a search of 18 drawn trials, unless ``options`` have presets or initial points."""
    options.setdefault("presets", 0)
    options.setdefault("initial_points", ())
    return make_search(job_file, folder, "search.trials=18", *overrides, **options)
