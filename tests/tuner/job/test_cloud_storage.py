"""Storage that does not answer, refuses access or does not exist: one line of error, and soon."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import ArrowException

from nst_core.errors import ConfigError, InputError
from tests.tuner.processes import CLI, PATIENCE_S
from tuner.job import cloud_storage
from tuner.job.cloud_storage import (
    answered,
    open_store,
    reason_of,
    service_of,
    store_errors,
    url_problem,
)
from tuner.job.load import load_job
from tuner.run.mirror import fetch


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A server that accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(PATIENCE_S)
        yield made


@pytest.fixture
def silent(server: socket.socket) -> str:
    """URL of a storage on a server that never answers."""
    port = server.getsockname()[1]
    return f"s3://bucket/run?scheme=http&endpoint_override=127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("s4://b/x", "there is no storage `s4://`"),
        ("gcp://b/x", "there is no storage `gcp://`; did you mean `gcs`"),
        ("http://b/x", "there is no storage `http://`"),
        ("gs://", "names no bucket"),
        ("s3:///", "names no bucket"),
        ("s3:/b/x", "a URL must begin with `s3://`"),
        ("gs:b/x", "a URL must begin with `gs://`"),
        ("s3://my bucket/x", "must not contain spaces"),
    ],
)
def test_an_invalid_url_is_refused_without_a_request(
    url: str, problem: str, job_file: Path, tmp_path: Path
) -> None:
    """`fetch` and the check of a job refuse a URL that names no storage, with the reason."""
    with pytest.raises(InputError, match=re.escape(problem)):
        fetch(url, tmp_path / "got")
    with pytest.raises(ConfigError, match=f"`storage`.*{re.escape(problem)}"):
        load_job(job_file, [f"storage={url}"])


@pytest.mark.parametrize(
    "url", ["copies", "/mnt/my copies", "a:b/c", "C:/copies", "file:///x", "S3://b/x", "gs://b/x"]
)
def test_folders_and_valid_urls_are_accepted(url: str) -> None:
    """Folders may have unusual names; the scheme of a URL may be in capitals."""
    assert url_problem(url) is None


def test_an_arrow_exception_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An ArrowException, which Azure without credentials raises, becomes one line of error."""

    class Refusing:
        @staticmethod
        def from_uri(url: str) -> None:
            raise ArrowException("Unknown error: no token\nSee the manual\nand more")

    monkeypatch.setattr("pyarrow.fs.FileSystem", Refusing)
    with pytest.raises(
        InputError, match=r"Azure Blob Storage cannot be used \(no token\)"
    ) as caught:
        fetch("abfs://runs@nobody.dfs.core.windows.net/x", tmp_path / "got")
    assert "\n" not in str(caught.value) and not (tmp_path / "got").exists()


def test_a_storage_must_answer_in_time(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a storage does not answer in time, the error names its address."""
    monkeypatch.setattr(cloud_storage, "ANSWER_WITHIN_S", 0.5)
    # The call outlives this test. A later command in this process must not end it because of that.
    monkeypatch.setattr(cloud_storage, "_unanswered", set())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(InputError, match=r"127\.0\.0\.1:\d+ cannot be used \(no answer within"):
        open_store(silent)


def test_ctrl_c_ends_the_wait_for_a_storage(
    silent: str, server: socket.socket, tmp_path: Path
) -> None:
    """While a storage does not answer, Ctrl-C and SIGTERM end the command at once."""
    keys = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_EC2_METADATA_DISABLED": "1",
    }
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = subprocess.Popen(
            [*CLI, "fetch", silent, str(tmp_path / "got")],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **keys},
        )
        connection, _ = server.accept()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code, stderr
        assert stderr.strip() == "error: interrupted"
        connection.close()


def test_google_gets_a_limit_for_retries() -> None:
    """A URL of Google Cloud Storage gets a limit for retries, unless it has one."""
    assert cloud_storage._whole("gs://b/x").endswith("?retry_limit_seconds=15")
    assert cloud_storage._whole("gs://b/x?project_id=p").endswith("&retry_limit_seconds=15")
    assert cloud_storage._whole("gs://b/x?retry_limit_seconds=3").endswith("?retry_limit_seconds=3")


def test_answered_returns_or_raises() -> None:
    """`answered` returns the result, raises the error, or raises TimeoutError."""
    assert answered(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        answered(lambda: 1 / 0)
    with pytest.raises(TimeoutError):
        answered(lambda: time.sleep(5), within_s=0.01)


def test_reasons_are_short() -> None:
    """The reason of an error is one line without the C++ types of the library."""
    message = (
        "google::cloud::Status(UNAVAILABLE: Retry policy exhausted, with a last message of No\nx"
    )
    assert reason_of(OSError(message)) == "No"
    assert reason_of(OSError("")) == "OSError"
    assert ArrowException in store_errors()
    assert service_of("gs://b/x") == "Google Cloud Storage"
