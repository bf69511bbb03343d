"""Launches on a cluster's head, as its dashboard answers; `tests/cluster` has a real one."""

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
    """In place of Ray's."""
    made = mock.Mock()
    made.tail_job_logs.side_effect = lambda job_id: log_of("printed\n")
    monkeypatch.setattr(submit, "_client", lambda address: made)
    monkeypatch.setattr(submit, "LOOK_EVERY_S", 0)
    monkeypatch.setattr(submit, "TRY_EVERY_S", 0)
    return made


async def log_of(*pieces: str, error: Exception | None = None) -> AsyncIterator[str]:
    """A log as Ray's client gives it: from its start, until the job or the connection ends."""
    for piece in pieces:
        yield piece
    if error:
        raise error


def followed(client: mock.Mock, answers: Sequence[object]) -> list[str]:
    """What is said while a client answers so."""
    said: list[str] = []
    client.get_job_info.side_effect = answers
    submit.follow("job_1", ADDRESS, lambda text: None, said.append)
    return said


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Request failed with status code 404: Job job_1 does not exist\n."),
        AuthenticationError("Authentication failed: \n\nthe token is another"),
    ],
)
def test_a_cluster_that_knows_nothing_of_it_ends_it(client: mock.Mock, error: Exception) -> None:
    """After a head was replaced, or its token, no waiting helps: one line, and the end."""
    with pytest.raises(WorkError, match="job job_1 was not found") as caught:
        followed(client, [INFO, INFO, error])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [ConnectionError("refused"), RuntimeError("Request failed with status code 503: …")]
)
def test_a_cluster_that_is_away_is_waited_for(client: mock.Mock, error: Exception) -> None:
    """A lost connection is said once, and so is that it is back."""
    said = followed(client, [INFO, error, error, DONE, DONE])
    assert len(said) == 2 and "is away" in said[0] and "is back" in said[1]


@pytest.mark.parametrize(
    "error", [ClientConnectionError("cut"), RuntimeError("closed with close code 1006"), OSError()]
)
def test_after_a_loss_nothing_is_shown_twice(client: mock.Mock, error: Exception) -> None:
    """A log that is followed again begins at its start, of which only what is new is shown."""
    shown: list[str] = []
    client.get_job_info.side_effect = [INFO, INFO, INFO, INFO, DONE]
    client.tail_job_logs.side_effect = [
        log_of("one\n", "two\n", error=error),
        log_of("one\ntw", error=error),
        log_of("one\ntwo\nthr", "ee\n"),
    ]
    submit.follow("job_1", ADDRESS, shown.append, lambda line: None)
    assert "".join(shown) == "one\ntwo\nthree\n" and not client.get_job_logs.called


def test_a_cluster_that_falls_silent_is_asked(
    client: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job may print nothing for long; a cluster that does not answer meanwhile is away."""

    async def silent(job_id: str) -> AsyncIterator[str]:
        await asyncio.sleep(3600)
        yield "never"

    monkeypatch.setattr(submit, "SILENT_S", 0.05)
    client.tail_job_logs.side_effect = [silent("job_1"), log_of("end\n")]
    said = followed(client, [INFO, INFO, ConnectionError("no route"), INFO, DONE])
    assert len(said) == 2 and "no route" in said[0] and "is back" in said[1]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Package size (600.00MiB) exceeds the maximum size of 500.00MiB.\nSee …"),
        RuntimeError("Request failed with status code 500: no"),
        ConnectionError("refused"),
        AuthenticationError("no token"),
    ],
)
def test_a_job_that_is_not_taken(
    client: mock.Mock, error: Exception, job_file: Path, tmp_path: Path
) -> None:
    """Too many pictures, a lost connection: one line that says so."""
    client.submit_job.side_effect = error
    with pytest.raises(InputError, match="did not take the job") as caught:
        submit.submit(load_job(job_file)[0], tmp_path / "run", ADDRESS)
    assert "\n" not in str(caught.value)


def test_what_stays_on_this_machine_is_listed(
    client: mock.Mock, job_file: Path, tmp_path: Path
) -> None:
    """Folders and files of this machine mean nothing on the head, and are named all at once."""
    job, _ = load_job(job_file, ["storage=copies", "search.study=sqlite:///s.db"])
    with pytest.raises(InputError, match=r"search\.study: a file.*storage: a folder"):
        submit.submit(job, tmp_path / "run", ADDRESS)
    assert not client.submit_job.called
    job, _ = load_job(job_file, ["storage=file:///copies"])
    assert submit.submit(job, tmp_path / "run", ADDRESS)


def test_submitting_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rather than that no cluster answers, which is how Ray says it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'nst-tuner\[cluster\]'"):
        submit._client("http://127.0.0.1:8265")


PRINTS = "import time; [(print('line', n, flush=True), time.sleep(0.02)) for n in range(300)]"


@pytest.fixture
def dashboard() -> Iterator[int]:
    """Port of the dashboard of a real cluster, which takes jobs."""
    ports = {"dashboard_port": 0, "dashboard_agent_listen_port": 0}
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": True} | ports,
    )
    try:
        yield int(made.webui_url.rpartition(":")[2])
    finally:
        made.shutdown()


@pytest.mark.timeout(900)
def test_a_real_log_is_followed_through_a_cut(dashboard: int) -> None:
    """Every line of a job on a real cluster is shown once, in order, though the tunnel is cut."""
    shown, said = [], []
    with Tunnel(dashboard).opened() as tunnel:
        address = f"http://127.0.0.1:{tunnel.port}"
        client = submit._client(address)
        command = shlex.join([sys.executable, "-c", PRINTS])
        job_id = _taken(client, command)

        def show(text: str) -> None:
            shown.append(text)
            if "line 100\n" in text:
                tunnel.cut()
                threading.Timer(1, tunnel.open).start()

        submit.follow(job_id, address, show, said.append)
    lines = [line for line in "".join(shown).splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(300)]
    assert len(said) == 2 and "is away" in said[0] and "is back" in said[1]


def _taken(client: Any, command: str) -> str:
    """The id of a job, once the head that has only just started takes it."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return str(client.submit_job(entrypoint=command))
        except RuntimeError:
            assert time.monotonic() < deadline
            time.sleep(1)
