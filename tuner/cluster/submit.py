"""Submit and attach: a launch that runs on the cluster itself while this machine shows its log.

The launch is a job of Ray's jobs API on the cluster's head. So it continues if this machine sleeps
or loses its connection.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shlex
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from nst_core.errors import InputError, Say, WorkError
from tuner.job.cloud_storage import answered
from tuner.job.spec import JobSpec
from tuner.study.preflight_checks import refuse_similar
from tuner.study.run_dir import RunDir
from tuner.study.run_files import JOB_FILE

#: Seconds before the log is followed again after the connection was lost or closed.
RETRY_INTERVAL_S = 5.0
#: If the log is silent for so many seconds, the cluster is asked for the job's status, and has to
#: answer within the same time.
SILENCE_S = 30.0

#: States of a job that has ended.
_FINAL_STATES = {"SUCCEEDED", "FAILED", "STOPPED"}


def submit(job: JobSpec, run_dir: Path, address: str) -> str:
    """Send a job with its pictures to a cluster; return the id of Ray's job, for `follow`.

    Args:
        job: the job, as `load_job` returns it.
        run_dir: absolute path of the run directory on the cluster's head.
        address: URL of the cluster's dashboard, such as ``http://127.0.0.1:8265``.

    Raises:
        InputError: the job names files that are not sent, the run directory is not absolute, no
            cluster answers, or the cluster does not accept the job.
    """
    _check_portable(job, run_dir)
    client = _client(address)
    with tempfile.TemporaryDirectory() as folder:
        RunDir(Path(folder)).write_job(job)
        words = ["nst-tuner", "launch", JOB_FILE, "--run-dir", str(run_dir), "--address", "auto"]
        words += ["--trust"] if job.stylizer is not None else []  # the person was asked here
        try:
            job_id: str = client.submit_job(
                entrypoint=shlex.join(words),
                runtime_env={"working_dir": folder},
                metadata={"nst-tuner": job.name, "run_dir": str(run_dir)},
            )
        # Ray raises a ValueError for pictures of too many megabytes.
        except _client_errors(ValueError) as error:
            raise InputError(
                f"--address {address}: did not accept the job ({_first_line(error)})"
            ) from None
    return job_id


def _check_portable(job: JobSpec, run_dir: Path) -> None:
    """Raise InputError with every key of the job that only makes sense on this machine."""
    refuse_similar(job)
    file_keys = {
        "weights": job.weights,
        "search.warm_start": job.search.warm_start,
        "search.replay": job.search.replay,
    }
    problems = [
        f"{key}: names files of this machine, which are not sent"
        for key, value in file_keys.items()
        if value
    ]
    if (job.search.study or "").startswith("sqlite"):
        problems.append("search.study: a file of this machine; expected a database on a server")
    if job.stylizer is not None and job.stylizer.path is not None:
        problems.append(
            "stylizer.path: a file of this machine, which is not sent; install its package on the"
            " cluster, and name it with `python`"
        )
    if job.storage and "://" not in job.storage:
        problems.append(
            "storage: a folder of this machine; expected a bucket such as s3://BUCKET/FOLDER, or"
            " file:///FOLDER on the cluster's head"
        )
    if not run_dir.is_absolute():
        problems.append(f"--run-dir {run_dir}: expected an absolute path, on the cluster's head")
    if problems:
        raise InputError("; ".join(problems))


def follow(job_id: str, address: str, show: Callable[[str], None], say: Say) -> None:
    """Show the log of a submitted launch until it ends; reconnect whenever the connection is lost.

    Args:
        job_id: id of Ray's job, as `submit` returned it.
        address: URL of the cluster's dashboard.
        show: gets the log, piece by piece.
        say: gets a line when the connection is lost and when it is back.

    Raises:
        InputError: at the start, no cluster answers or it has no such job.
        WorkError: the launch failed; or later the job was not found or access was denied.
    """
    client, log = _client(address), _LogFollower(show)
    from aiohttp import ClientError
    from ray.exceptions import AuthenticationError

    try:
        client.get_job_info(job_id)
    except _client_errors() as error:
        raise InputError(f"{job_id}: no such job on {address} ({_first_line(error)})") from None
    connected = True
    while True:
        try:
            client.get_job_info(job_id)
            if not connected:
                say(f"{address} is back")
                connected = True
            asyncio.run(log.follow(client, job_id))
            info = client.get_job_info(job_id)
            if info.status.name in _FINAL_STATES:
                break
        except _client_errors(ClientError) as error:
            if isinstance(error, AuthenticationError) or "status code 404" in str(error):
                raise WorkError(
                    f"{address}: job {job_id} was not found, or access was denied"
                    f" ({_first_line(error)}); was the head replaced, or its token changed?"
                ) from None
            if connected:
                say(
                    f"{address} does not answer ({_first_line(error)}); the launch continues there,"
                    " trying to reconnect"
                )
            connected = False
        time.sleep(RETRY_INTERVAL_S)
    if info.status.name != "SUCCEEDED":
        raise WorkError(f"{job_id}: {info.status.name.lower()}: {info.message}")


class _LogFollower:
    """Shows every part of a job's log once, over any number of connections.

    Args:
        show: gets the log, piece by piece.
    """

    def __init__(self, show: Callable[[str], None]):
        self._show, self._characters_shown = show, 0

    async def follow(self, client: Any, job_id: str) -> None:
        """Show new parts of the log until the job ends or the connection is closed.

        Raises:
            OSError: the cluster does not answer any more, as after this machine has slept.
        """
        # Ray's client has no offset: every connection begins at the start of the log.
        skip, pieces = self._characters_shown, client.tail_job_logs(job_id)
        while (piece := await self._next_piece(pieces, client, job_id)) is not None:
            if new := piece[skip:]:
                self._show(new)
                self._characters_shown += len(new)
            skip = max(0, skip - len(piece))

    async def _next_piece(self, pieces: AsyncIterator[str], client: Any, job_id: str) -> str | None:
        """Return the next piece, None at the end; check the cluster during silence."""
        task = asyncio.ensure_future(_piece_or_none(pieces))
        while not (await asyncio.wait({task}, timeout=SILENCE_S))[0]:
            try:
                answered(lambda: client.get_job_info(job_id), within_s=SILENCE_S)
            except BaseException:
                task.cancel()
                raise
        return task.result()


async def _piece_or_none(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)


def _client(address: str) -> Any:
    """Return a client of Ray's jobs API.

    Raises:
        InputError: Ray's extra is not installed, or no cluster answers, or it denies access.
    """
    if not address.startswith(("http://", "https://")):
        raise InputError(
            f"--address {address}: expected the URL of the dashboard, such as http://127.0.0.1:8265"
        )
    if importlib.util.find_spec("aiohttp") is None:
        raise InputError("--submit and attach need ray[default]: pip install 'nst-tuner[cluster]'")
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except _client_errors() as error:
        raise InputError(
            f"--address {address}: no dashboard answers there ({_first_line(error)}); check the"
            " address, a tunnel to it, and RAY_AUTH_MODE=token and RAY_AUTH_TOKEN if the cluster"
            " asks for a token"
        ) from None


def _client_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the exceptions of Ray's client: no connection, failed request, wrong token; and more.

    Args:
        more: further exceptions of the call.
    """
    from ray.exceptions import AuthenticationError

    return (OSError, RuntimeError, AuthenticationError, *more)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
