"""Everything of Ray that is not its public API, in one place, with the version it was checked with.

Ray may rename any of this in a minor release. Before raising the bound in pyproject.toml, set
`CHECKED` and run the tests of `tests/tuner/cluster` and `tests/tuner/test_faults.py`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray._private import services, worker
from ray._private import state as ray_state
from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
from ray._raylet import InnerGcsClient  # type: ignore[attr-defined]  # compiled
from ray.exceptions import AuthenticationError, RayError
from ray.tune.experiment import Trial

#: Release of Ray that this module was checked with.
CHECKED = "2.60"

#: Ray wants the id of a cluster to have this length; no cluster has this one.
_NO_CLUSTER = "e" * 56


@dataclass(frozen=True, kw_only=True)
class ActorState:
    """What Ray's control service knows about an actor.

    Attributes:
        state: ``DEPENDENCIES_UNREADY``, ``PENDING_CREATION``, ``ALIVE``, ``RESTARTING`` or
            ``DEAD``.
        node: id of the node it is, or was, on.
        has_process: whether a worker process was ever given to it.
    """

    state: str
    node: str
    has_process: bool


def actor_id(actor: Any) -> str:
    """Return the id of an actor, as hexadecimal digits."""
    return str(actor._actor_id.hex())


def actor_state(actor: str) -> ActorState | None:
    """Return what Ray knows about the actor with this id; None if it has not heard of it."""
    known = ray_state.state.actor_table(actor)
    if not known:
        return None
    address = known["Address"]
    return ActorState(
        state=known["State"], node=str(address["NodeID"]), has_process=address["Port"] != 0
    )


def draining_nodes() -> frozenset[str]:
    """Return the ids of nodes that the autoscaler is about to take away."""
    return frozenset(ray_state.state.get_draining_nodes())


def keep_one_more_process(tune_controller: Any, trial: Trial) -> None:
    """Let Tune keep one more idle trial process for trials with this trial's resources."""
    cache = tune_controller._tune_controller._actor_cache
    cache.increase_max(trial.placement_group_factory)


def log_what_daemons_print() -> None:
    """Send what Ray's daemons print to the logger ``ray`` instead of standard output.

    Standard output is for results, and Ray has no setting for this.
    """

    def to_log(data: Mapping[str, Any], **_: Any) -> None:
        logging.getLogger("ray").warning("%s", "\n".join(data["lines"]))

    worker.print_to_stdstream = to_log  # type: ignore[assignment]


class _OwnGroup(services.ConsolePopen):
    """A process in a group of its own."""

    def __init__(self, *args: Any, **options: Any):
        if sys.platform != "win32":
            options["process_group"] = 0
        super().__init__(*args, **options)


def keep_signals_from_daemons() -> None:
    """Start Ray's daemons, and so its workers, in process groups of their own.

    `timeout` and shells signal a whole group. Ray blocks SIGINT only; at SIGTERM its control
    service would end before the rungs under way, and Ray aborts a process that asks it something.
    """
    services.ConsolePopen = _OwnGroup  # type: ignore[misc]


def check_token(address: str, *, timeout_s: float) -> None:
    """Ask a cluster's head whether it accepts our token; with a wrong one Ray retries for 30 s.

    The head checks the token before it checks which cluster a request is for, so this asks for a
    cluster that does not exist: the answer "no such cluster" means that the token was accepted.

    Raises:
        AuthenticationError: there is no token, or it is another cluster's.
    """
    # A client without a token would end this process.
    ensure_token_if_auth_enabled(None, create_token_if_missing=False)
    head = InnerGcsClient.standalone(
        address, cluster_id=_NO_CLUSTER, timeout_ms=int(timeout_s * 1000)
    )
    try:
        head.internal_kv_get(b"", None, timeout_s)
    except AuthenticationError as error:
        if "InvalidAuthToken" in str(error):
            raise
    except RayError:
        pass  # whatever it is, Ray says it again when it connects
