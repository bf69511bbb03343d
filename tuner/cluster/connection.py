"""Getting at Ray: its settings, which it reads when it is first imported, and its address."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING

from nst_core.errors import InputError

if TYPE_CHECKING:  # it brings torch, and an address is checked without it
    from tuner.cluster.backend import RayBackend

CONNECT_TIMEOUT_S = 5


def ray_backend(address: str | None = None, *, engine: type | None = None) -> RayBackend:
    """The Ray backend, on the cluster at ``address`` or on one of its own on this machine.

    Ray reads these settings when it is first imported, so nothing may import it before.

    Args:
        address: of a running cluster.
        engine: class of the engines' actors, if not `engine_actor.EngineActor`.

    Raises:
        InputError: nothing listens at the address.
    """
    check_address(address)
    for name in [name for name in os.environ if name.startswith("RAY_") and not os.environ[name]]:
        del os.environ[name]  # exported empty, as by `export RAY_AUTH_TOKEN=$TOKEN`, means not set
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no phoning home
    # In a job of Ray's jobs API: the working folder of our workers replaces the submitter's.
    os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # no log files per trial
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # no progress display beside ours
    # A trial that lost its engine is no news for people: the run says what became of it.
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # the run has one of its own
    # Our searcher hands out no more trials than there are lanes, however many these become.
    os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "100000")
    if address is None:
        # Only processes of this run may talk to the cluster that it starts.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Ray starts workers with a niceness of 15; beside other busy programs they would get next
        # to nothing of a core, and a run would stand still instead of slowing down.
        os.environ.setdefault("RAY_worker_niceness", "0")
    from tuner.cluster.backend import RayBackend

    return RayBackend(address, engine) if engine else RayBackend(address)


def check_address(address: str | None) -> None:
    """Raise InputError where nothing listens; Ray itself would try for ten minutes."""
    if address is None:
        return
    name = f"--address {address}"
    if address == "auto":
        if not (address := os.environ.get("RAY_ADDRESS", "")):
            return  # Ray looks for a cluster on this machine and knows at once
        name = f"RAY_ADDRESS={address}"
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()) or "://" in address:
        raise InputError(
            f"{name}: expected HOST:PORT of the cluster's head, or auto; from another network use"
            " --submit"
        )
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{name}: no Ray cluster answers there ({error}); check the address and that the"
            " cluster is up (`ray status` on its head)"
        ) from None
