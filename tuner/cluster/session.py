"""Session: the connection of this process to a Ray cluster, its own or one that is running."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from nst_core.errors import InputError, WorkError
from tuner.cluster import ray_private
from tuner.cluster.limits import check_limits
from tuner.search.interrupt import children_keep_their_terminal
from tuner.study.versions import warn_if_unchecked

NAMESPACE = "nst-tuner"

#: Said where Ray's own processes do not start.
NO_RAY = "Ray could not start on this machine"
#: How often to start Ray on this machine before giving up.
START_TRIES = 3
#: Time for the head to answer whether it accepts our token.
HEAD_WITHIN_S = 5

#: Ray puts sockets below its temporary folder, and the path of a socket has at most 107 bytes. What
#: Ray appends (``/ray/session_…/sockets/plasma_store``) leaves this many.
MAX_SCRATCH_CHARACTERS = 36
#: Where Ray's temporary folder may be, the first that can be used; None stands for `/tmp`.
_SCRATCH_VARIABLES = ("RAY_TMPDIR", "TMPDIR", None)

log = logging.getLogger(__name__)


@contextmanager
def connected(address: str | None) -> Iterator[Mapping[str, float]]:
    """Connect to a cluster, or start one on this machine; yields the cluster's resources.

    Args:
        address: ``HOST:PORT`` of the cluster's head, or ``auto``; None starts a cluster.

    Raises:
        InputError: no cluster answers at the address, or it does not accept our token.
        WorkError: Ray could not start on this machine, or may not by the limits of this shell.
    """
    warn_if_unchecked("ray", ray_private.CHECKED)
    logging.getLogger("ray").setLevel(logging.ERROR)
    # At the end Tune lists trials that lost their engine as errors, though they went on elsewhere.
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)
    ray_private.log_what_daemons_print()
    ray_private.keep_signals_from_daemons()
    with tempfile.TemporaryDirectory() as empty:
        if address is None:
            check_limits()
            _start(_settings(empty))
        else:
            _join(address, _settings(empty))
        try:
            yield ray.cluster_resources()
        finally:
            ray.shutdown()


def _settings(empty_folder: str) -> dict[str, Any]:
    return {
        "namespace": f"{NAMESPACE}-{secrets.token_hex(4)}",
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        # Without a working folder of their own, Ray's workers import modules from the folder that
        # the driver was started in, on every node. Anyone's `statistics.py` would run there.
        "runtime_env": {"working_dir": empty_folder},
    }


def _start(settings: Mapping[str, Any]) -> None:
    folder = scratch_folder() / "ray"
    for tries_left in reversed(range(START_TRIES)):
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
            # Ray waits 30 s for its own processes, has no setting for that, and a machine that is
            # busy with other work needs longer.
            if tries_left == 0 or "timed out during startup" not in str(error):
                raise WorkError(f"{NO_RAY} ({_first_line(error)})") from None
            log.warning("Ray did not start within 30 s; this machine is busy; trying again")


def _join(address: str, settings: Mapping[str, Any]) -> None:
    try:
        if address != "auto":
            ray_private.check_token(address, timeout_s=HEAD_WITHIN_S)
        ray.init(address=address, **settings)
    except AuthenticationError as error:
        reason = error.message.splitlines()[0].rpartition(": ")[2]
        raise InputError(
            f"--address {address}: the cluster does not accept our token ({reason}); set"
            " RAY_AUTH_MODE=token, and put the cluster's token into ~/.ray/auth_token or"
            " RAY_AUTH_TOKEN"
        ) from None
    except Exception as error:  # Ray raises many kinds here, plain RuntimeError among them
        raise InputError(
            f"--address {address}: no Ray cluster answers there ({_first_line(error)}); check the"
            " address and that the cluster is up (`ray status` on its head)"
        ) from None


def scratch_folder() -> Path:
    """Return the folder below which Ray may put its temporary files and sockets.

    Raises:
        WorkError: neither RAY_TMPDIR nor TMPDIR nor /tmp can be used; the message says why not.
    """
    unusable: list[str] = []
    for variable in _SCRATCH_VARIABLES:
        chosen = os.environ.get(variable, "") if variable else "/tmp"
        problem = _scratch_problem(chosen)
        if problem is None:
            if unusable:
                log.warning("%s; Ray's temporary files go to %s", "; ".join(unusable), chosen)
            return Path(chosen)
        if chosen:
            unusable.append(f"{f'{variable}={chosen}' if variable else chosen}: {problem}")
    raise WorkError(
        f"{NO_RAY}: it needs a folder for temporary files ({'; '.join(unusable)}); set RAY_TMPDIR"
        f" to a writable folder whose path has at most {MAX_SCRATCH_CHARACTERS} ASCII characters"
    )


def _scratch_problem(folder: str) -> str | None:
    """Why Ray cannot put its sockets below a folder; None if it can."""
    tests = {
        "is empty": folder,
        "is not an absolute path": folder.startswith("/"),
        "has characters that are not ASCII": folder.isascii(),
        f"has more than {MAX_SCRATCH_CHARACTERS} characters, too long for Ray's sockets": (
            len(folder) <= MAX_SCRATCH_CHARACTERS
        ),
        "is not a folder": Path(folder).is_dir(),
        "cannot be written": os.access(folder, os.W_OK | os.X_OK),
    }
    return next((problem for problem, passed in tests.items() if not passed), None)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
