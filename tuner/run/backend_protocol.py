"""Backend: the interface of whatever carries out the trials of a run."""

from __future__ import annotations

from typing import Protocol

from tuner.engine.workload import Workload
from tuner.job.spec import JobSpec
from tuner.search.search import Search


class Backend(Protocol):
    """Carries out the decisions of a `Search`: a Ray cluster, or one engine in this process."""

    def run(self, search: Search, workload: Workload, job: JobSpec) -> None:
        """Run trials until the search is over or its interrupt asks the launch to end.

        Args:
            search: decides which trials run and for how long.
            workload: the pairs, weights and metrics of all trials.
            job: the job, with the resources that it may use.

        Raises:
            WorkError: the backend failed; the study holds all reports until then.
        """
        ...
