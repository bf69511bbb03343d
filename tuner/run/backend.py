"""What carries out the trials of a run: Ray, or one engine in this process."""

from __future__ import annotations

from typing import Protocol

from tuner.engine.workload import Workload
from tuner.job.spec import JobSpec
from tuner.search.search import Search


class Backend(Protocol):
    """Carries out what a `Search` decides until there is nothing more to run."""

    def run(self, search: Search, workload: Workload, job: JobSpec) -> None:
        """Run to the end.

        Raises:
            WorkError: the machinery failed; the study holds everything up to then.
        """
        ...
