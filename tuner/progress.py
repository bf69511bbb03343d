"""Progress on standard error: a bar with trials done, the best score and the time left."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tuner.job import JobSpec
from tuner.plan import Plan
from tuner.records import RungRecord


class ProgressWatcher:
    """A `search.Watcher` that draws a bar, or plain lines where there is no terminal.

    Args:
        job: gives the target and the objective.
        console: on standard error.
        done: trials that were over before this launch.
    """

    def __init__(self, job: JobSpec, console: Console, done: int = 0):
        self._job, self._console, self._done = job, console, done
        self._objective = job.goals.first
        self._best: float | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("trials, best {task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task: TaskID | None = None
        self._finals: set[int] = set()

    def __enter__(self) -> ProgressWatcher:
        if self._console.is_terminal:
            self._task = self._bar.add_task(
                self._job.name, total=self._job.search.trials, completed=self._done, best="–"
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """A line above the bar."""
        self._console.print(line, style="dim", markup=False, highlight=False)

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `search.Watcher`."""
        if plan.holdout:
            if not self._finals:
                self.say("the finals: the best trials run again with other seeds")
            self._finals.add(plan.trial)

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `search.Watcher`."""
        loss = self._objective.loss
        if self._best is None or loss(rung.objective) < loss(self._best):
            self._best = rung.objective
        self._show()

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `search.Watcher`."""
        if trial in self._finals:
            if state == "failed":
                self.say(f"a final failed: {reason}")
            return
        self._done += 1
        if state == "failed":
            self.say(f"trial {trial} failed: {reason}")
        self._show()
        if self._task is None:
            best = "–" if self._best is None else f"{self._objective.name} {self._best:.4f}"
            self.say(f"{self._done}/{self._job.search.trials} trials, best {best}")

    def _show(self) -> None:
        if self._task is not None and self._best is not None:
            best = f"{self._objective.name} {self._best:.4f}"
            self._bar.update(self._task, completed=self._done, best=best)
