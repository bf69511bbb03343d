"""Submitting a launch to a cluster and following its log; `tests/cluster` does all of it for real.

Most tests put a fake client in place of Ray's, since a real cluster does not fail on demand.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from aiohttp import ClientConnectionError
from ray.cluster_utils import Cluster
from ray.exceptions import AuthenticationError

from nst_core.errors import InputError, WorkError
from tests.cluster.tunnel import Tunnel
from tuner.cluster import submit
from tuner.job.load import load_job

ADDRESS = "http://head:8265"
INFO = SimpleNamespace(status=SimpleNamespace(name="RUNNING"), message="")
DONE = SimpleNamespace(status=SimpleNamespace(name="SUCCEEDED"), message="")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """Fake of Ray's client of the jobs API."""
    fake = mock.Mock()
    fake.tail_job_logs.side_effect = lambda job_id: log_of("printed\n")
    monkeypatch.setattr(submit, "_client", lambda address: fake)
    monkeypatch.setattr(submit, "RETRY_INTERVAL_S", 0)
    return fake


async def log_of(*pieces: str, error: Exception | None = None) -> AsyncIterator[str]:
    """Yield a log as Ray's client does: from its start, until the job or the connection ends."""
    for piece in pieces:
        yield piece
    if error:
        raise error


def messages_while_following(client: mock.Mock, answers: Sequence[object]) -> list[str]:
    """Return the messages of `follow` while the client gives these answers about the job."""
    messages: list[str] = []
    client.get_job_info.side_effect = answers
    submit.follow("job_1", ADDRESS, lambda text: None, messages.append)
    return messages


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Request failed with status code 404: Job job_1 does not exist\n."),
        AuthenticationError("Authentication failed: \n\nthe token is another"),
    ],
)
def test_following_ends_if_the_job_is_not_found(client: mock.Mock, error: Exception) -> None:
    """If the head or its token was replaced, following ends with a message of one line."""
    with pytest.raises(WorkError, match="job job_1 was not found") as caught:
        messages_while_following(client, [INFO, INFO, error])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [ConnectionError("refused"), RuntimeError("Request failed with status code 503: …")]
)
def test_lost_connection_is_retried(client: mock.Mock, error: Exception) -> None:
    """One message says that the connection is lost, and one that it is back."""
    lost, back = messages_while_following(client, [INFO, error, error, DONE, DONE])
    assert "does not answer" in lost and "is back" in back


@pytest.mark.parametrize(
    "error", [ClientConnectionError("cut"), RuntimeError("closed with close code 1006"), OSError()]
)
def test_reconnecting_shows_no_line_twice(client: mock.Mock, error: Exception) -> None:
    """Every connection delivers the log from its start, and only new parts are shown."""
    shown: list[str] = []
    client.get_job_info.side_effect = [INFO, INFO, INFO, INFO, DONE]
    client.tail_job_logs.side_effect = [
        log_of("one\n", "two\n", error=error),
        log_of("one\ntw", error=error),
        log_of("one\ntwo\nthr", "ee\n"),
    ]
    submit.follow("job_1", ADDRESS, shown.append, lambda line: None)
    assert "".join(shown) == "one\ntwo\nthree\n" and not client.get_job_logs.called


def test_silent_log_makes_the_client_check_the_cluster(
    client: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a log is silent the cluster is asked; without an answer, the connection is lost."""

    async def silent_log() -> AsyncIterator[str]:
        await asyncio.sleep(3600)
        yield "never"

    monkeypatch.setattr(submit, "SILENCE_S", 0.05)
    client.tail_job_logs.side_effect = [silent_log(), log_of("end\n")]
    answers = [INFO, INFO, ConnectionError("no route"), INFO, DONE]
    lost, back = messages_while_following(client, answers)
    assert "no route" in lost and "is back" in back


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Package size (600.00MiB) exceeds the maximum size of 500.00MiB.\nSee …"),
        RuntimeError("Request failed with status code 500: no"),
        ConnectionError("refused"),
        AuthenticationError("no token"),
    ],
)
def test_rejected_job_is_an_input_error(
    client: mock.Mock, error: Exception, job_file: Path, tmp_path: Path
) -> None:
    """A job that the cluster does not accept gives a message of one line."""
    client.submit_job.side_effect = error
    with pytest.raises(InputError, match="did not accept the job") as caught:
        submit.submit(load_job(job_file)[0], tmp_path / "run", ADDRESS)
    assert "\n" not in str(caught.value)


def test_job_that_names_local_files_is_refused(
    client: mock.Mock, job_file: Path, tmp_path: Path
) -> None:
    """One message names all keys of a job that contain files or folders of this machine."""
    job, _ = load_job(job_file, ["storage=copies", "search.study=sqlite:///s.db"])
    with pytest.raises(InputError, match=r"search\.study: a file.*storage: a folder"):
        submit.submit(job, tmp_path / "run", ADDRESS)
    assert not client.submit_job.called
    job, _ = load_job(job_file, ["storage=file:///copies"])
    assert submit.submit(job, tmp_path / "run", ADDRESS)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray's extra, the message says what to install; Ray says that no cluster answers."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'nst-tuner\[cluster\]'"):
        submit._client("http://127.0.0.1:8265")


PRINTS = "import time; [(print('line', n, flush=True), time.sleep(0.02)) for n in range(300)]"


@pytest.fixture
def dashboard() -> Iterator[int]:
    """Port of the dashboard of a real cluster that accepts jobs."""
    ports = {"dashboard_port": 0, "dashboard_agent_listen_port": 0}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": True} | ports,
    )
    try:
        yield int(cluster.webui_url.rpartition(":")[2])
    finally:
        cluster.shutdown()


@pytest.mark.timeout(900)
def test_log_of_a_real_job_survives_a_cut_connection(dashboard: int) -> None:
    """Every line of a job on a real cluster is shown once, in order, though the tunnel is cut."""
    shown, messages = [], []
    with Tunnel(dashboard).opened() as tunnel:
        address = f"http://127.0.0.1:{tunnel.port}"
        client = submit._client(address)
        command = shlex.join([sys.executable, "-c", PRINTS])
        job_id = _submit_when_ready(client, command)

        def show(text: str) -> None:
            shown.append(text)
            if "line 100\n" in text:
                tunnel.cut()
                threading.Timer(1, tunnel.open).start()

        submit.follow(job_id, address, show, messages.append)
    lines = [line for line in "".join(shown).splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(300)]
    lost, back = messages
    assert "does not answer" in lost and "is back" in back


def _submit_when_ready(client: Any, command: str) -> str:
    """Return the id of a job, submitted as soon as the head, which has just started, accepts it."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return str(client.submit_job(entrypoint=command))
        except RuntimeError:
            assert time.monotonic() < deadline
            time.sleep(1)
