"""submit and attach: a launch that runs on the cluster itself, followed from here.

The launch is a job of Ray's jobs API on the cluster's head, so neither a closed laptop nor a lost
connection ends it.
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
from tuner.job.object_store import answered
from tuner.job.spec import JobSpec
from tuner.study.run_dir import RunDir
from tuner.study.run_files import JOB_FILE

#: Seconds between two looks at a job whose log has ended, and two tries to reach a lost cluster.
LOOK_EVERY_S, TRY_EVERY_S = 2.0, 5.0

#: Seconds without a word after which the cluster is asked whether it is there, and has to answer.
SILENT_S = 30.0

_DONE = {"SUCCEEDED", "FAILED", "STOPPED"}


def submit(job: JobSpec, run_dir: Path, address: str) -> str:
    """Send a job with its pictures to a cluster; returns the id to `follow`.

    Args:
        job: as `load_job` returns it.
        run_dir: becomes the run directory, on the cluster's head.
        address: of the cluster's dashboard, such as ``http://127.0.0.1:8265``.

    Raises:
        InputError: the job names files that assignment here, the folder is not absolute, or no
            cluster answers or takes the job.
    """
    problems = [
        f"{key}: names files of this machine, which are not sent"
        for key, given in {
            "weights": job.weights,
            "search.warm_start": [run for run in job.search.warm_start if run != "similar"],
            "search.replay": job.search.replay,
        }.items()
        if given
    ]
    if (job.search.study or "").startswith("sqlite"):
        problems.append("search.study: a file of this machine; expected a database on a server")
    if job.storage and "://" not in job.storage:
        problems.append(
            "storage: a folder of this machine; expected a bucket such as s3://BUCKET/FOLDER, or"
            " file:///FOLDER on the cluster's head"
        )
    if not run_dir.is_absolute():
        problems.append(f"--run-dir {run_dir}: expected an absolute path, on the cluster's head")
    if problems:
        raise InputError("; ".join(problems))
    client = _client(address)
    with tempfile.TemporaryDirectory() as folder:
        RunDir(Path(folder)).write_job(job)
        words = ["nst-tuner", "launch", JOB_FILE, "--run-dir", str(run_dir), "--address", "auto"]
        try:
            submitted: str = client.submit_job(
                entrypoint=shlex.join(words),
                runtime_env={"working_dir": folder},
                metadata={"nst-tuner": job.name, "run_dir": str(run_dir)},
            )
        except _client_errors(ValueError) as error:  # such as pictures of too many megabytes
            raise InputError(
                f"--address {address}: did not take the job ({_first_line(error)})"
            ) from None
    return submitted


def follow(job_id: str, address: str, show: Callable[[str], None], say: Say) -> None:
    """Show what a submitted launch prints until it ends, through any loss of the connection.

    Args:
        job_id: as `submit` returned it.
        address: of the cluster's dashboard.
        show: is given what it prints, piece by piece.
        say: is told of losses in one line.

    Raises:
        InputError: no cluster answers at first, or it knows no such job.
        WorkError: the launch failed, or the cluster does not know it, or us, any more.
    """
    client, log = _client(address), _Log(show)
    try:
        client.get_job_info(job_id)
    except _client_errors() as error:
        raise InputError(f"{job_id}: no such job on {address} ({_first_line(error)})") from None
    away = False
    while True:
        try:
            info = client.get_job_info(job_id)
            if away:
                say(f"{address} is back")
                away = False
            asyncio.run(log.follow(client, job_id))
            info = client.get_job_info(job_id)
        except (*_client_errors(), *_stream_errors()) as error:
            lost = isinstance(error, (OSError, RuntimeError, *_stream_errors()))
            if not lost or "status code 404" in str(error):
                raise WorkError(
                    f"{address}: job {job_id} was not found, or access was denied"
                    f" ({_first_line(error)}); was the head replaced, or its token changed?"
                ) from None
            if not away:
                say(f"{address} is away ({_first_line(error)}); the launch goes on, trying again")
            away = True
            time.sleep(TRY_EVERY_S)
            continue
        if info.status.name in _DONE:
            break
        time.sleep(LOOK_EVERY_S)
    if info.status.name != "SUCCEEDED":
        raise WorkError(f"{job_id}: {info.status.name.lower()}: {info.message}")


class _Log:
    """The log of a job, of which every piece is shown once.

    Args:
        show: is given what the job prints, piece by piece.
    """

    def __init__(self, show: Callable[[str], None]):
        self._show, self._shown = show, 0

    async def follow(self, client: Any, job_id: str) -> None:
        """Show what comes, until the job or the connection ends.

        Raises:
            OSError: the cluster has become silent, as when a laptop has slept.
        """
        skip, pieces = self._shown, client.tail_job_logs(job_id)  # each begins at the log's start
        while (piece := await self._next(pieces, client, job_id)) is not None:
            if fresh := piece[skip:]:
                self._show(fresh)
                self._shown += len(fresh)
            skip = max(0, skip - len(piece))

    async def _next(self, pieces: AsyncIterator[str], client: Any, job_id: str) -> str | None:
        """The next piece, or None at the end; of a silent job the cluster is asked now and then."""
        coming = asyncio.ensure_future(_piece(pieces))
        while not (await asyncio.wait({coming}, timeout=SILENT_S))[0]:
            try:
                answered(lambda: client.get_job_info(job_id), within_s=SILENT_S)
            except BaseException:
                coming.cancel()
                raise
        return coming.result()


async def _piece(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)


def _stream_errors() -> tuple[type[Exception], ...]:
    """What following a log raises beside the client's own errors."""
    from aiohttp import ClientError

    return (ClientError,)


def _client(address: str) -> Any:
    """Raises InputError where no cluster answers, or not to us."""
    if not address.startswith(("http://", "https://")):
        raise InputError(
            f"--address {address}: expected the dashboard's, such as http://127.0.0.1:8265"
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


def _client_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What a client raises: no connection, a request that failed, a token that is wrong."""
    from ray.exceptions import AuthenticationError

    return (OSError, RuntimeError, AuthenticationError, *others)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
