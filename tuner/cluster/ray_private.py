"""Ray's private API: every private name of Ray that this project uses stands in this module.

Ray may rename any of these names in a minor release. Before you raise the bound of Ray in
pyproject.toml, set `CHECKED` and run `tests/tuner/cluster`, `tests/tuner/test_faults.py` and
`tests/tuner/test_lost_engines.py`.
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

#: A well-formed id of a cluster that does not exist.
_NO_CLUSTER = "e" * 56


@dataclass(frozen=True, kw_only=True)
class ActorState:
    """What Ray's control service knows about an actor.

    Attributes:
        state: ``DEPENDENCIES_UNREADY``, ``PENDING_CREATION``, ``ALIVE``, ``RESTARTING`` or
            ``DEAD``.
        node: id of the node on which the actor runs or ran.
        has_process: whether the actor has ever had a worker process.
    """

    state: str
    node: str
    has_process: bool


def actor_id(actor: Any) -> str:
    """Return the id of an actor, as hexadecimal digits."""
    return str(actor._actor_id.hex())


def actor_state(actor: str) -> ActorState | None:
    """Return what Ray knows about the actor with this id; None if Ray has no record of it."""
    row = ray_state.state.actor_table(actor)
    if not row:
        return None
    address = row["Address"]
    return ActorState(
        state=row["State"], node=str(address["NodeID"]), has_process=address["Port"] != 0
    )


def draining_nodes() -> frozenset[str]:
    """Return the ids of nodes that the autoscaler is about to remove."""
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


class _PopenInOwnGroup(services.ConsolePopen):
    """Starts a process in a new process group."""

    def __init__(self, *args: Any, **options: Any):
        if sys.platform != "win32":
            options["process_group"] = 0
        super().__init__(*args, **options)


def keep_signals_from_daemons() -> None:
    """Make Ray start its daemons, and so its workers, in new process groups.

    `timeout` and shells send a signal to a whole group, and Ray blocks only SIGINT. After a SIGTERM
    its control service would end before the current rungs do, and Ray aborts a process that asks
    the ended service something.
    """
    services.ConsolePopen = _PopenInOwnGroup  # type: ignore[misc]


def check_token(address: str, *, timeout_s: float) -> None:
    """Ask the head of a cluster whether it accepts our token.

    Ray itself would retry with a wrong token for 30 s. The head checks the token of a request
    before its cluster id. So this function asks for a cluster that does not exist: the answer "no
    such cluster" means that the token was accepted.

    Args:
        address: ``HOST:PORT`` of the head.
        timeout_s: seconds to wait for the answer.

    Raises:
        AuthenticationError: there is no token, or it belongs to another cluster.
    """
    # Without this call, a client without a token ends the process.
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
        pass  # for any other problem, connecting will raise an error with a clear message
