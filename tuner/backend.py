"""How a run's trials are carried out, and the backend that does it in this very process."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nst_core.errors import InputError
from nst_core.weights import Weights
from tuner.engine import Engine
from tuner.evaluate import Pair
from tuner.job import JobSpec
from tuner.search import Plan, Search

CONNECT_TIMEOUT_S = 5


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What every engine of a run needs; sent to workers once."""

    pairs: Sequence[Pair]
    weights: Mapping[str, Weights]


class Backend(Protocol):
    """Carries out what a `Search` decides until there is nothing more to run."""

    def run(self, search: Search, workload: Workload, job: JobSpec) -> None:
        """Run to the end.

        Raises:
            WorkError: the machinery failed; the study holds everything up to then.
        """
        ...


def ray_backend(address: str | None = None) -> Backend:
    """The Ray backend, on the cluster at ``address`` or on one of its own on this machine.

    Ray reads these settings when it is first imported, so nothing may import it before.

    Raises:
        InputError: nothing listens at the address.
    """
    if address is not None:
        _check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no phoning home
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # no log files per trial
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # no progress display beside ours
    if address is None:
        # None but the processes of this run may talk to the cluster that it starts.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    from tuner.ray_backend import RayBackend

    return RayBackend(address)


def _check_address(address: str) -> None:
    """Ray itself would try for ten minutes before it gives up on an address."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        raise InputError(f"--address {address}: expected HOST:PORT, ray://HOST:PORT or auto")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--address {address}: no Ray cluster answers there ({error}); check the address and"
            " that the cluster is up (`ray status` on its head)"
        ) from None


class InlineBackend:
    """One engine in this process, no Ray: for debugging, for tests, for one lane after another."""

    def run(self, search: Search, workload: Workload, job: JobSpec) -> None:
        """See `Backend.run`."""
        engine = Engine(workload.pairs, workload.weights)
        lanes = job.resources.lanes or 1
        plans: dict[int, Plan] = {}
        while True:
            while len(plans) < lanes and (plan := search.next()):
                plans[plan.trial] = plan
                engine.submit(plan.trial, plan.config, plan.next_rung(0))
            if not plans:
                return
            for report in engine.advance():
                plan = plans[report.trial]
                if search.report(report, lambda t=report.trial: engine.images(t)):  # type: ignore[misc]
                    engine.submit(plan.trial, plan.config, plan.next_rung(report.steps))
                else:
                    engine.drop(report.trial)
                    del plans[report.trial]
