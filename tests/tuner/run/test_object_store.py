"""Storage that is away, closed to us, or named wrongly: one line, soon, and Ctrl-C works."""

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
from tuner.job import object_store
from tuner.job.load import load_job
from tuner.job.object_store import (
    answered,
    asked_at,
    open_store,
    reason_of,
    store_errors,
    url_problem,
)
from tuner.run.mirror import fetch


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """It takes every connection and answers none."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(PATIENCE_S)
        yield made


@pytest.fixture
def silent(server: socket.socket) -> str:
    """URL of a storage on it."""
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
def test_a_url_with_a_typo_is_refused_before_anybody_is_asked(
    url: str, problem: str, job_file: Path, tmp_path: Path
) -> None:
    """Whatever names no storage is said so, by `fetch` and in a job with its line or key."""
    with pytest.raises(InputError, match=re.escape(problem)):
        fetch(url, tmp_path / "got")
    with pytest.raises(ConfigError, match=f"`storage`.*{re.escape(problem)}"):
        load_job(job_file, [f"storage={url}"])


@pytest.mark.parametrize(
    "url", ["copies", "/mnt/my copies", "a:b/c", "C:/copies", "file:///x", "S3://b/x", "gs://b/x"]
)
def test_folders_and_good_urls_are_none_of_them(url: str) -> None:
    """Folders may have odd names; URLs may have a scheme in capitals."""
    assert url_problem(url) is None


def test_an_error_that_is_only_of_arrow_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Azure without credentials raises what is neither an OSError nor a ValueError."""

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


def test_a_storage_that_does_not_answer_is_given_up(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that it has for its first answer, the line says who was asked."""
    monkeypatch.setattr(object_store, "ANSWER_WITHIN_S", 0.5)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(InputError, match=r"127\.0\.0\.1:\d+ cannot be used \(no answer within"):
        open_store(silent)


def test_ctrl_c_ends_the_wait_for_a_storage(
    silent: str, server: socket.socket, tmp_path: Path
) -> None:
    """While a storage does not answer, Ctrl-C and SIGTERM end the command with their line."""
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
        asked, _ = server.accept()
        process.send_signal(number)
        _, complained = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code, complained
        assert complained.strip() == "error: interrupted"
        asked.close()


def test_google_is_not_asked_for_a_quarter_of_an_hour() -> None:
    """Google's client gets a limit for its retries, unless the URL has one."""
    assert object_store._whole("gs://b/x").endswith("?retry_limit_seconds=15")
    assert object_store._whole("gs://b/x?project_id=p").endswith("&retry_limit_seconds=15")
    assert object_store._whole("gs://b/x?retry_limit_seconds=3").endswith("?retry_limit_seconds=3")


def test_what_was_asked_is_answered_or_raised() -> None:
    """An answer, an error and silence reach whoever asked."""
    assert answered(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        answered(lambda: 1 / 0)
    with pytest.raises(TimeoutError):
        answered(lambda: time.sleep(5), within_s=0.01)


def test_reasons_are_one_line_for_people() -> None:
    """Statuses and types of C++ are left out of what a storage's library says."""
    said = "google::cloud::Status(UNAVAILABLE: Retry policy exhausted, with a last message of No\nx"
    assert reason_of(OSError(said)) == "No"
    assert reason_of(OSError("")) == "OSError"
    assert ArrowException in store_errors()
    assert asked_at("gs://b/x") == "Google Cloud Storage"
