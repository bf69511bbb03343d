"""Launches on a cluster's head, as its dashboard answers; `tests/cluster` has a real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from ray.exceptions import AuthenticationError

from nst_core.errors import InputError, WorkError
from tuner import submit
from tuner.jobfile import load_job

ADDRESS = "http://head:8265"
INFO = SimpleNamespace(status=SimpleNamespace(name="RUNNING"), message="")
DONE = SimpleNamespace(status=SimpleNamespace(name="SUCCEEDED"), message="")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """In place of Ray's."""
    made = mock.Mock()
    made.get_job_logs.return_value = "printed\n"
    monkeypatch.setattr(submit, "_client", lambda address: made)
    monkeypatch.setattr(submit, "LOOK_EVERY_S", 0)
    monkeypatch.setattr(submit, "TRY_EVERY_S", 0)
    return made


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
    with pytest.raises(WorkError, match="knows job_1 no more") as caught:
        followed(client, [INFO, INFO, error])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [ConnectionError("refused"), RuntimeError("Request failed with status code 503: …")]
)
def test_a_cluster_that_is_away_is_waited_for(client: mock.Mock, error: Exception) -> None:
    """A lost connection is said once, and so is that it is back."""
    said = followed(client, [INFO, error, error, DONE])
    assert len(said) == 2 and "is away" in said[0] and "is back" in said[1]


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
