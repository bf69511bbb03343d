"""The storage that a run is mirrored to: check its URL, open it, and limit the wait for it.

pyarrow is imported only when a storage is opened, because the check of a job uses this module, too.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from nst_core.errors import InputError, near_miss

T = TypeVar("T")

#: Seconds to wait for the first answer of a storage. Google's client retries for 15 minutes.
ANSWER_WITHIN_S = 45.0
#: Seconds for which Google's client retries a single request.
_GOOGLE_RETRIES_S = 15

#: URL scheme -> name of the service.
_SERVICES = {
    "s3": "Amazon S3",
    "gs": "Google Cloud Storage",
    "gcs": "Google Cloud Storage",
    "abfs": "Azure Blob Storage",
    "abfss": "Azure Blob Storage",
    "hdfs": "HDFS",
    "viewfs": "HDFS",
    "file": "this machine",
}
#: One event for each call to a storage that has not returned yet.
_unanswered: set[threading.Event] = set()

#: Parts of messages that mean nothing to users: statuses and types of C++.
_CODE = re.compile(
    r"google::cloud::Status\(\w+: |Retry policy exhausted, with a last message of"
    r"|Unknown error: |\bN\d+Azure\w+: "
)

_EXPECTED = "expected a folder, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or abfs://CONTAINER@ACCOUNT"
_EXPECTED += ".dfs.core.windows.net/FOLDER"


def url_problem(url: str) -> str | None:
    """Return what is wrong with the URL of a storage, or None. Without a scheme it is a folder."""
    scheme, colon, rest = url.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme):
        return None  # a folder; a single letter is a Windows drive
    scheme = scheme.lower()
    problem = None
    if not rest.startswith("//"):  # with an unknown scheme, a folder with a colon in its name
        problem = f"a URL must begin with `{scheme}://`" if scheme in _SERVICES else None
    elif scheme not in _SERVICES:
        problem = f"there is no storage `{scheme}://`{near_miss(scheme, _SERVICES)}"
    elif scheme != "file" and not rest.strip("/"):
        problem = "the URL names no bucket"
    elif " " in rest.split("/")[2]:
        problem = "the name of a bucket must not contain spaces"
    return f"{problem}; {_EXPECTED}" if problem else None


def service_of(url: str) -> str:
    """Return the name of the service, or the server, that a URL leads to."""
    parts = urlsplit(url)
    own = parse_qs(parts.query).get("endpoint_override")
    return own[0] if own else _SERVICES.get(parts.scheme.lower(), url)


def open_store(url: str) -> tuple[Any, str]:
    """Open a storage and wait for its first answer.

    Returns:
        A file system of pyarrow and the folder in it.

    Raises:
        InputError: the URL is wrong, or the storage does not answer or denies access.
    """
    from pyarrow.fs import FileSystem

    if problem := url_problem(url):
        raise InputError(f"storage {url}: {problem}")

    def opened() -> tuple[Any, str]:
        system, root = FileSystem.from_uri(_whole(url))
        system.get_file_info(root)
        return system, root.rstrip("/")

    try:
        return answered(opened, within_s=ANSWER_WITHIN_S)
    except TimeoutError:
        reason = f"no answer within {ANSWER_WITHIN_S:.0f} s"
    except store_errors() as error:
        reason = reason_of(error)
    raise InputError(
        f"storage {url}: {service_of(url)} cannot be used ({reason}); check the URL, the network,"
        " and the credentials in the environment"
    )


def has_open_calls() -> bool:
    """Whether a call to a storage is still running, so its library could delay the exit."""
    return bool(_unanswered)


def store_errors() -> tuple[type[Exception], ...]:
    """Return the types of errors that pyarrow raises; not all of them are OSError."""
    from pyarrow import ArrowException

    return (OSError, ValueError, NotImplementedError, ArrowException)


def reason_of(error: BaseException) -> str:
    """Return the first line of an error message of a storage's library, without C++ details."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return _CODE.sub("", first).partition(" error_info={")[0][:300].strip(" .")


def answered(ask: Callable[[], T], *, within_s: float | None = None) -> T:
    """Return the result of a call to a storage, made in a thread so that Ctrl-C works meanwhile.

    Args:
        ask: the call. After a timeout or Ctrl-C its thread is left to end by itself.
        within_s: seconds to wait; None for no limit.

    Raises:
        TimeoutError: the call did not return in time.
    """
    answer: list[T] = []
    failure: list[BaseException] = []

    over = threading.Event()

    def run() -> None:
        try:
            answer.append(ask())
        except BaseException as error:
            failure.append(error)
        finally:
            _unanswered.discard(over)
            over.set()

    _unanswered.add(over)
    threading.Thread(target=run, daemon=True).start()
    over.wait(within_s)  # `Thread.join`, if interrupted, would regard the thread as ended
    if failure:
        raise failure[0]
    if not answer:
        raise TimeoutError
    return answer[0]


def _whole(url: str) -> str:
    """Return the URL in the form of pyarrow, with a limit on retries for Google's client."""
    if "://" not in url:
        return Path(url).expanduser().resolve().as_uri()
    scheme, _, rest = url.partition("://")
    whole = f"{scheme.lower()}://{rest}"
    if scheme.lower() in ("gs", "gcs") and "retry_limit_seconds=" not in whole:
        whole += f"{'&' if '?' in whole else '?'}retry_limit_seconds={_GOOGLE_RETRIES_S}"
    if scheme.lower() in ("abfs", "abfss") and shutil.which("az") is None:
        # Without this, Azure's library runs the missing program `az`, which prints an error.
        os.environ.setdefault("AZURE_TOKEN_CREDENTIALS", "prod")
    return whole
