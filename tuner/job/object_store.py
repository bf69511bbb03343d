"""Opening the storage that a run is copied to, and asking it without waiting for ever.

Nothing heavy is imported before a storage is opened: jobs are checked with this, too.
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

#: Seconds that a storage has for its first answer. Google's client would try for 15 minutes.
ANSWER_WITHIN_S = 45.0
#: Of that time, how long Google's client tries a single request again.
_GOOGLE_RETRIES_S = 15

#: URL scheme -> who is asked.
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
#: What is set when an answer is there, of those that are waited for.
_unanswered: set[threading.Event] = set()

#: What of their messages is for programmers: statuses and types of C++.
_CODE = re.compile(
    r"google::cloud::Status\(\w+: |Retry policy exhausted, with a last message of"
    r"|Unknown error: |\bN\d+Azure\w+: "
)

_EXPECTED = "expected a folder, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or abfs://CONTAINER@ACCOUNT"
_EXPECTED += ".dfs.core.windows.net/FOLDER"


def url_problem(url: str) -> str | None:
    """What is wrong with a storage's URL, or None; a name without a scheme is a folder."""
    scheme, colon, rest = url.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme):
        return None  # a folder; a single letter is a drive of Windows
    known = scheme.lower()
    problem = None
    if not rest.startswith("//"):  # unless it is a folder with a colon in its name
        problem = f"a URL begins with `{known}://`" if known in _SERVICES else None
    elif known not in _SERVICES:
        problem = f"there is no storage `{scheme}://`{near_miss(known, _SERVICES)}"
    elif known != "file" and not rest.strip("/"):
        problem = "names no bucket"
    elif " " in rest.split("/")[2]:
        problem = "the name of a bucket has no spaces"
    return f"{problem}; {_EXPECTED}" if problem else None


def asked_at(url: str) -> str:
    """Who is asked for a storage."""
    parts = urlsplit(url)
    own = parse_qs(parts.query).get("endpoint_override")
    return own[0] if own else _SERVICES.get(parts.scheme.lower(), url)


def open_store(url: str) -> tuple[Any, str]:
    """A file system of pyarrow and the folder in it; the storage has answered once.

    Raises:
        InputError: the URL is wrong, or the storage does not answer, or not to us.
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
        f"storage {url}: {asked_at(url)} cannot be used ({reason}); check the URL, the network, and"
        " the credentials in the environment"
    )


def still_asking() -> bool:
    """Whether a storage was left that has not answered, whose library would hold up the exit."""
    return bool(_unanswered)


def store_errors() -> tuple[type[Exception], ...]:
    """What pyarrow raises: not all of its errors are those of the system."""
    from pyarrow import ArrowException

    return (OSError, ValueError, NotImplementedError, ArrowException)


def reason_of(error: BaseException) -> str:
    """The first line of what a storage's library says, without its details for programmers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return _CODE.sub("", first).partition(" error_info={")[0][:300].strip(" .")


def answered(ask: Callable[[], T], *, within_s: float | None = None) -> T:
    """What a storage answers; Ctrl-C works meanwhile, which it does not within a library of C++.

    Args:
        ask: asks; after an end before its time it is left to itself.
        within_s: seconds to wait at most.

    Raises:
        TimeoutError: there is no answer yet.
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
    over.wait(within_s)  # a `Thread.join` that is broken off takes its thread for over
    if failure:
        raise failure[0]
    if not answer:
        raise TimeoutError
    return answer[0]


def _whole(url: str) -> str:
    """The URL as pyarrow takes it, with a limit where its library would try for ever."""
    if "://" not in url:
        return Path(url).expanduser().resolve().as_uri()
    scheme, _, rest = url.partition("://")
    whole = f"{scheme.lower()}://{rest}"
    if scheme.lower() in ("gs", "gcs") and "retry_limit_seconds=" not in whole:
        whole += f"{'&' if '?' in whole else '?'}retry_limit_seconds={_GOOGLE_RETRIES_S}"
    if scheme.lower() in ("abfs", "abfss") and shutil.which("az") is None:
        # Else Azure's library lets a shell complain on standard error that there is no `az`.
        os.environ.setdefault("AZURE_TOKEN_CREDENTIALS", "prod")
    return whole
