"""The small web server for pages on this machine."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from nst_core.errors import InputError
from tuner.pages.local_server import HOST, Answer, Site

SENT: list[Any] = []


def take(sent: Any) -> Answer:
    """Record what was sent; refuse "bad"."""
    if sent == "bad":
        raise InputError("not a vote")
    SENT.append(sent)
    return Answer.json({"took": sent})


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with a page, a picture and an address for POST requests."""
    own = Site(
        {
            "": lambda rest: (
                None if rest else Answer(content=b"page", kind="text/html", policy="p")
            ),
            "picture": lambda rest: Answer(content=rest.encode()) if rest == "a b" else None,
        },
        {"vote": take},
    )
    thread = threading.Thread(target=own.serve, args=(lambda _: None,), kwargs={"show": False})
    thread.start()
    yield own
    own.stop()
    thread.join()


def ask(
    site: Site, path: str, *, sent: bytes | None = None, **headers: str
) -> http.client.HTTPResponse:
    """Request a path below the secret, or an absolute path."""
    where = urlsplit(site.url)
    connection = http.client.HTTPConnection(HOST, where.port, timeout=10)
    whole = path if path.startswith("/") else where.path + path
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST" if sent is not None else "GET", whole, body=sent, headers=named)
    return connection.getresponse()


def test_every_path_needs_the_secret(site: Site) -> None:
    """The site is on the loopback address, and paths without the secret are not found."""
    assert site.url.startswith("http://127.0.0.1:")
    assert ask(site, "").read() == b"page"
    assert ask(site, "picture/a%20b").read() == b"a b"
    for path in ("/", "/picture/a%20b", "/wrong/", "/wrong/picture/a%20b", "//", "/%00/"):
        assert ask(site, path).status == 404


def test_requests_of_other_sites_are_refused(site: Site) -> None:
    """Requests under another host name or from another origin are forbidden."""
    port = urlsplit(site.url).port
    assert ask(site, "", Host=f"evil.example:{port}").status == 403
    assert ask(site, "", Host=f"localhost:{port}").status == 403
    assert ask(site, "vote", sent=b"1", Origin="http://evil.example").status == 403
    assert ask(site, "vote", sent=b"1", Origin=f"http://127.0.0.1:{port}").status == 200


def test_headers_protect_the_page(site: Site) -> None:
    """The page has its policy, cannot be framed, and sends no referrer."""
    response = ask(site, "")
    assert response.headers["Content-Security-Policy"] == "p; frame-ancestors 'none'"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_bodies_are_checked(site: Site) -> None:
    """JSON arrives; a body that is too large, no JSON or a bad value is refused."""
    SENT.clear()
    assert json.loads(ask(site, "vote", sent=b'{"a": 1}').read()) == {"took": {"a": 1}}
    assert SENT == [{"a": 1}]
    assert ask(site, "vote", sent=b"no json").status == 400
    assert ask(site, "vote", sent=b"1" * 200_000).status == 413
    assert ask(site, "other", sent=b"1").status == 404
    refused = ask(site, "vote", sent=b'"bad"')
    assert refused.status == 400
    assert json.loads(refused.read()) == {"error": "not a vote"}
    assert SENT == [{"a": 1}]


def test_a_port_in_use_is_an_error(site: Site) -> None:
    """The error names the port that is in use."""
    port = urlsplit(site.url).port
    with pytest.raises(InputError, match=f"--port {port}: .*; choose another port"):
        Site({}, port=port)
