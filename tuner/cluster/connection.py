"""Connection: the only place that starts Ray on this machine or joins a running cluster.

Ray reads environment variables when a process imports it first. So this module sets them before,
and imports Ray only inside functions. `ray_backend` is the entry point of the package.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nst_core.errors import InputError, WorkError
from tuner.cluster.limits import RAY_DID_NOT_START, check_limits, scratch_folder
from tuner.search.interrupt import children_keep_their_terminal
from tuner.study.versions import warn_if_unchecked

if TYPE_CHECKING:  # imports torch, which checking an address does not need
    from tuner.cluster.ray_backend import RayBackend

#: Seconds to open a connection to the address of a cluster.
CONNECT_TIMEOUT_S = 5
#: Seconds for the head of a cluster to answer whether it accepts our token.
TOKEN_TIMEOUT_S = 5
#: Number of attempts to start Ray on this machine.
START_ATTEMPTS = 3

log = logging.getLogger(__name__)


def ray_backend(address: str | None = None, *, engine: type | None = None) -> RayBackend:
    """Return the backend that runs trials on Ray; call it before anything imports Ray.

    Args:
        address: ``HOST:PORT`` of a running cluster's head, or ``auto``; None starts a cluster on
            this machine.
        engine: actor class of the engines, by default `engine_actor.EngineActor`.

    Raises:
        InputError: nothing listens at the address.
    """
    check_address(address)
    _set_environment(own_cluster=address is None)
    from tuner.cluster.ray_backend import RayBackend

    return RayBackend(address, engine) if engine else RayBackend(address)


def check_address(address: str | None) -> None:
    """Raise InputError if nothing listens at the address; Ray itself would try for ten minutes."""
    if address is None:
        return
    name = f"--address {address}"
    if address == "auto":
        if not (address := os.environ.get("RAY_ADDRESS", "")):
            return  # Ray looks for a cluster on this machine and fails at once if there is none
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


def _set_environment(*, own_cluster: bool) -> None:
    """Set the environment variables of Ray that this project relies on."""
    for name in [name for name in os.environ if name.startswith("RAY_") and not os.environ[name]]:
        # An empty variable, as after `export RAY_AUTH_TOKEN=$TOKEN`, means that it is not set.
        del os.environ[name]
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",  # no usage statistics are sent to Ray's developers
        # If this process is itself a job of Ray's jobs API: the working folder of our workers
        # replaces the one of the job.
        "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no log files per trial
        "RAY_AIR_NEW_OUTPUT": "0",  # no progress display besides ours
        # A trial that lost its engine continues elsewhere; it is no error that users need to see.
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # a run has a handler of its own
        # Our searcher never returns more trials than there are lanes.
        "TUNE_MAX_PENDING_TRIALS_PG": "100000",
    }
    if own_cluster:
        # Only processes of this run may connect to the cluster that it starts.
        os.environ["RAY_AUTH_MODE"] = "token"
        defaults["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        # Ray's default niceness of workers is 15: next to other busy programs they would get
        # almost no processor time, and a run would stop instead of slowing down.
        defaults["RAY_worker_niceness"] = "0"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


@contextmanager
def connected(address: str | None) -> Iterator[Mapping[str, float]]:
    """Start a cluster on this machine, or join one; yields the resources of the cluster.

    Args:
        address: ``HOST:PORT`` of the cluster's head, or ``auto``; None starts a cluster.

    Raises:
        InputError: no cluster answers at the address, or it does not accept our token.
        WorkError: Ray could not start on this machine, or the limits of this shell are too low.
    """
    import ray

    from tuner.cluster import ray_private

    warn_if_unchecked("ray", ray_private.CHECKED)
    logging.getLogger("ray").setLevel(logging.ERROR)
    # At the end Tune logs trials that lost their engine as errors, though they continued elsewhere.
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)
    ray_private.log_what_daemons_print()
    ray_private.keep_signals_from_daemons()
    with tempfile.TemporaryDirectory() as empty_folder:
        settings = {
            "namespace": f"nst-tuner-{secrets.token_hex(4)}",
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            # By default, Ray's workers import modules from the folder in which the driver was
            # started, on every node: a `statistics.py` in that folder would be executed.
            "runtime_env": {"working_dir": empty_folder},
        }
        if address is None:
            check_limits()
            _start(settings)
        else:
            _join(address, settings)
        try:
            yield ray.cluster_resources()
        finally:
            ray.shutdown()


def _start(settings: Mapping[str, Any]) -> None:
    import ray

    folder = scratch_folder() / "ray"
    for attempts_left in reversed(range(START_ATTEMPTS)):
        try:
            with children_keep_their_terminal():
                ray.init(
                    address="local",
                    include_dashboard=False,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=str(folder),
                    **settings,
                )
            return
        except Exception as error:  # Ray raises plain `Exception` here
            ray.shutdown()
            # Ray waits 30 s for its own processes and has no setting for that; a machine that is
            # busy with other work needs longer.
            if attempts_left == 0 or "timed out during startup" not in str(error):
                raise WorkError(f"{RAY_DID_NOT_START} ({_first_line(error)})") from None
            log.warning("Ray did not start within 30 s; this machine is busy; trying again")


def _join(address: str, settings: Mapping[str, Any]) -> None:
    import ray
    from ray.exceptions import AuthenticationError

    from tuner.cluster import ray_private

    try:
        if address != "auto":
            ray_private.check_token(address, timeout_s=TOKEN_TIMEOUT_S)
        ray.init(address=address, **settings)
    except AuthenticationError as error:
        reason = error.message.splitlines()[0].rpartition(": ")[2]
        raise InputError(
            f"--address {address}: the cluster does not accept our token ({reason}); set"
            " RAY_AUTH_MODE=token, and put the cluster's token into ~/.ray/auth_token or"
            " RAY_AUTH_TOKEN"
        ) from None
    except Exception as error:  # Ray raises many types here, plain RuntimeError among them
        raise InputError(
            f"--address {address}: no Ray cluster answers there ({_first_line(error)}); check the"
            " address and that the cluster is up (`ray status` on its head)"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
