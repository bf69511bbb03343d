"""Progress of a launch: a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuner.job.spec import JobSpec
from tuner.results.preset_runs import PresetRun, preset_run_from_config
from tuner.search.protocol import Callback, Plan
from tuner.study.commands import CommandRecord
from tuner.study.records import EngineStats, Pulse, RungRecord, TrialRecord
from tuner.terminal.live_view import LiveView
from tuner.terminal.progress_steps import StepCount, left_text

#: Maximum number of running trials in the view.
_ROWS = 10
_BAR_WIDTH = 24
#: Maximum length of the job's name in the view. The view is narrow on purpose: lines that do not
#: reach the edge of the terminal are not wrapped when it is resized.
_NAME_WIDTH = 20
#: Without a live view, seconds between two lines about the progress.
LINE_EVERY_S = 30.0


class ProgressCallback(Callback):
    """Shows the progress of a run: trials done, the best result, time left, running trials.

    Args:
        job: the job of the run.
        console: on standard error.
        before: trials of earlier launches of the same run.
    """

    def __init__(self, job: JobSpec, console: Console, before: Sequence[TrialRecord] = ()):
        self._job, self._console = job, console
        self._done = sum(r.final_of is None and r.state != "running" for r in before)
        self._goals, self._objective = job.goals, job.goals.first
        self._best: tuple[float, int, int] | None = None
        self._preset: PresetRun | None = None
        #: Trial of a preset -> the preset's name and configuration.
        self._presets: dict[int, tuple[str, Mapping[str, Any]]] = {}
        self._finals: set[int] = set()
        self._running: dict[int, _RunningTrial] = {}
        self._engines = _Engines()
        self._steps = StepCount(job.search.trials, job.halving)
        self._last_said, self._paused = "", False
        self._doing, self._began_s, self._line_at_s = "", time.monotonic(), time.monotonic()
        self._live = LiveView(console, self._view)
        for record in before:
            if record.preset:
                self._presets[record.trial] = record.preset, record.config
            if record.final_of is not None:
                self._steps.begun(record.trial, 0, sure=True, extra=True)
            self._steps.at(record.trial, max(record.rungs, default=0))
            if record.state != "running":
                self._steps.ended(record.trial)
            if record.final_of is None:
                for steps, rung in record.rungs.items():
                    self.reported(record.trial, steps, rung)

    def __enter__(self) -> ProgressCallback:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Print a line above the view."""
        self._console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)

    # --- events of the run ------------------------------------------------------------------------

    def doing(self, what: str) -> None:
        """See `Callback`."""
        if what not in ("", self._last_said) and not self._live.is_started:
            self.say(what)
            self._last_said = what
        self._doing = what

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `Callback`."""
        self._doing = ""
        if preset and not plan.final:
            self._presets[plan.trial] = preset, plan.config.to_dict()
        if plan.final:
            self._say_final(plan, preset)
            self._finals.add(plan.trial)
        no_halving = plan.final or preset is not None or self._job.halving.rule == "none"
        until = plan.rungs[-1] if no_halving else plan.rungs[0]
        self._steps.begun(plan.trial, until, sure=no_halving, extra=plan.final)
        name = f"final {plan.trial}" if plan.final else f"trial {plan.trial}"
        if preset:
            name = f"{preset} in full" if plan.final else preset
        self._running.setdefault(plan.trial, _RunningTrial(name, plan.config.steps))

    def _say_final(self, plan: Plan, preset: str | None) -> None:
        if not self._finals:
            self.say("finals: the best trials run again; they do not count towards the budget")
        if plan.trial in self._finals:
            return
        if preset:
            self.say(f"{preset} runs in full: {plan.config.steps:,} steps")

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        value, better = rung.objective, self._objective.better
        self._steps.at(trial, steps)
        if trial in self._running:
            self._running[trial].score = value
        if trial in self._finals or self._goals.violated(rung.scores):
            return
        if better(value, None if self._best is None else self._best[0]):
            self._best = (value, trial, steps)
        best_preset = None if self._preset is None else self._preset.objective
        if trial in self._presets and better(value, best_preset):
            name, config = self._presets[trial]
            self._preset = preset_run_from_config(name, trial, config, value)

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        self._running.pop(trial, None)
        self._steps.ended(trial)
        if trial in self._finals:
            if state == "failed":
                self.say(f"a final failed: {reason}")
            return
        self._done += 1
        if state == "failed":
            self.say(f"trial {trial} failed: {reason}")
        if not self._live.is_started:
            self._say_progress()

    def commanded(self, record: CommandRecord, job: JobSpec) -> None:
        """See `Callback`."""
        self._job = job
        self._steps.expect(job.search.trials)
        self.say(f"ctl: {record}")
        if not record.refused and record.command.name in ("pause", "resume"):
            self._paused = record.command.name == "pause"

    def pulsed(self, pulses: Mapping[str, Pulse]) -> None:
        """See `Callback`."""
        self._engines.pulsed(pulses)
        for trial, step in self._engines.steps().items():
            if trial in self._running:
                self._steps.at(trial, step)
        self._steps.measure()
        due = time.monotonic() - self._line_at_s >= LINE_EVERY_S
        if due and not self._live.is_started and self._steps.done:
            self._say_progress()

    def _say_progress(self) -> None:
        """Print one line about the progress."""
        self._line_at_s = time.monotonic()
        self._steps.measure()
        best = "–" if self._best is None else self._objective.labeled(self._best[0])
        line = f"{self._done}/{self._job.search.trials} trials, best {best}"
        self.say(f"{line}, {self._steps.share:.0%} of the steps, {self._left()}")

    # --- the view ---------------------------------------------------------------------------------

    def _view(self) -> RenderableType:
        parts: list[RenderableType] = [self._bar(), self._time_line(), *self._best_lines()]
        if self._doing:
            parts.append(Text(f"now      {self._doing}", style="cyan"))
        if engines := self._engines.line():
            parts.append(Text(f"engines  {engines}", style="dim"))
        advancing = {t: s for t, s in self._engines.steps().items() if t in self._running}
        if advancing:
            parts.append(self._lanes(advancing))
        return Group(*parts)

    def _bar(self) -> Table:
        table = Table.grid(padding=(0, 2))
        name, share = self._job.name, self._steps.share
        if len(name) > _NAME_WIDTH:
            name = f"{name[: _NAME_WIDTH - 1]}…"
        bar = ProgressBar(total=100, completed=100 * share, width=_BAR_WIDTH)
        count = f"{self._done}/{self._job.search.trials} trials"
        table.add_row(Text(name), bar, f"{share:.0%}", count)
        return table

    def _time_line(self) -> Text:
        passed = timedelta(seconds=round(time.monotonic() - self._began_s))
        return Text(f"time     {passed}, {self._left()}", style="yellow" if self._paused else "")

    def _left(self) -> str:
        """Return how long the run will take, or that it is paused."""
        if self._paused:
            return "paused by `nst-tuner ctl`"
        return left_text(self._steps.left_s)

    def _best_lines(self) -> list[Text]:
        if self._best is None:
            return [Text("best     –", style="dim")]
        value, trial, steps = self._best
        line = Text("best     ")
        line.append(self._objective.labeled(value), style="bold")
        line.append(f"  trial {trial}, {steps} steps")
        lines = [line]
        if self._preset and (base := self._preset.objective):
            gain = (base - value) / abs(base)
            gain = -gain if self._objective.higher_is_better else gain
            if gain > 0:
                against = f"{gain:.0%} better than the best preset so far,"
                lines.append(Text(f"         {against}", style="green"))
                lines.append(Text(f"         {self._preset}", style="green"))
        return lines

    def _lanes(self, advancing: Mapping[int, int]) -> Table:
        table = Table.grid(padding=(0, 2))
        for trial, steps in sorted(advancing.items())[:_ROWS]:
            running = self._running.get(trial)
            if running is None:  # it ended a moment ago; the view is drawn in another thread
                continue
            score = "" if running.score is None else f"{running.score:.4f}"
            bar = ProgressBar(total=running.steps, completed=steps, width=_BAR_WIDTH)
            table.add_row(f"  {running.name}", bar, f"{steps}/{running.steps}", score)
        if (more := len(advancing) - _ROWS) > 0:
            table.add_row(f"  and {more} more")
        return table


@dataclass
class _RunningTrial:
    """A trial that is running.

    Attributes:
        name: as the view shows it.
        steps: number of steps of its configuration.
        score: its last reported objective; None before the first report.
    """

    name: str
    steps: int
    score: float | None = None


class _Engines:
    """What the engines did between their last two pulses."""

    def __init__(self) -> None:
        self._pulses: Mapping[str, Pulse] = {}
        self._at_s, self._totals = 0.0, EngineStats()
        self._busy_share = self._steps_per_s = 0.0

    def pulsed(self, pulses: Mapping[str, Pulse]) -> None:
        """Measure the engines from their new pulses (engine -> pulse)."""
        now_s, stats = time.monotonic(), [p.stats for p in pulses.values() if p.stats]
        totals = EngineStats(
            advancing_s=sum(each.advancing_s for each in stats),
            lane_steps=sum(each.lane_steps for each in stats),
        )
        passed_s = now_s - self._at_s
        if len(pulses) == len(self._pulses) and totals.lane_steps >= self._totals.lane_steps:
            worked_s = totals.advancing_s - self._totals.advancing_s
            self._busy_share = min(1.0, worked_s / (passed_s * max(1, len(pulses))))
            self._steps_per_s = (totals.lane_steps - self._totals.lane_steps) / passed_s
        self._pulses, self._at_s, self._totals = dict(pulses), now_s, totals

    def steps(self) -> dict[int, int]:
        """Return the step of every running trial: trial -> step."""
        return {
            trial: step for pulse in self._pulses.values() for trial, step in pulse.steps.items()
        }

    def line(self) -> str:
        """Return one line about all engines; empty before the first pulse."""
        if not self._pulses:
            return ""
        memory = [pulse.memory_gb for pulse in self._pulses.values() if pulse.memory_gb]
        kind = "GPU" if memory else "CPU"
        text = f"{len(self._pulses)} on {kind}, busy {self._busy_share:.0%}"
        text += f", {self._steps_per_s:.0f} steps/s"
        if memory:
            used, total = (sum(part) for part in zip(*memory, strict=True))
            text += f", {used:.1f} of {total:.0f} GB"
        return text
