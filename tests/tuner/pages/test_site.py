import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from nst_core.errors import InputError
from tuner.pages.site import HOST, Answer, Site

SENT: list[Any] = []


def take(sent: Any) -> Answer:
    """Remember what was sent; refuse what is no vote."""
    if sent == "bad":
        raise InputError("no such vote")
    SENT.append(sent)
    return Answer.json({"took": sent})


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with a page, a picture and something to send to."""
    found = Site(
        {
            "": lambda rest: (
                None if rest else Answer(content=b"page", kind="text/html", policy="p")
            ),
            "picture": lambda rest: Answer(content=rest.encode()) if rest == "a b" else None,
        },
        {"vote": take},
    )
    thread = threading.Thread(target=found.serve, args=(lambda _: None,), kwargs={"show": False})
    thread.start()
    yield found
    found.stop()
    thread.join()


def ask(
    site: Site, path: str, *, sent: bytes | None = None, **headers: str
) -> http.client.HTTPResponse:
    """Ask for a path under the secret, or for an absolute one."""
    where = urlsplit(site.url)
    connection = http.client.HTTPConnection(HOST, where.port, timeout=10)
    whole = path if path.startswith("/") else where.path + path
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST" if sent is not None else "GET", whole, body=sent, headers=named)
    return connection.getresponse()


def test_it_listens_on_loopback_under_a_secret_path(site: Site) -> None:
    """Without the secret there is nothing to see, whatever the path."""
    assert site.url.startswith("http://127.0.0.1:")
    assert ask(site, "").read() == b"page"
    assert ask(site, "picture/a%20b").read() == b"a b"
    for path in ("/", "/picture/a%20b", "/wrong/", "/wrong/picture/a%20b", "//", "/%00/"):
        assert ask(site, path).status == 404


def test_pages_from_elsewhere_are_refused(site: Site) -> None:
    """A request under another host name, or from another page, gets nothing."""
    port = urlsplit(site.url).port
    assert ask(site, "", Host=f"evil.example:{port}").status == 403
    assert ask(site, "", Host=f"localhost:{port}").status == 403
    assert ask(site, "vote", sent=b"1", Origin="http://evil.example").status == 403
    assert ask(site, "vote", sent=b"1", Origin=f"http://127.0.0.1:{port}").status == 200


def test_headers_close_the_page(site: Site) -> None:
    """Its policy is sent, nobody may frame it, and its address goes nowhere."""
    found = ask(site, "")
    assert found.headers["Content-Security-Policy"] == "p; frame-ancestors 'none'"
    assert found.headers["Referrer-Policy"] == "no-referrer"
    assert found.headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_sent(site: Site) -> None:
    """JSON arrives; too much of it, or none, or a bad value is refused in one line."""
    SENT.clear()
    assert json.loads(ask(site, "vote", sent=b'{"a": 1}').read()) == {"took": {"a": 1}}
    assert SENT == [{"a": 1}]
    assert ask(site, "vote", sent=b"no json").status == 400
    assert ask(site, "vote", sent=b"1" * 200_000).status == 413
    assert ask(site, "other", sent=b"1").status == 404
    refused = ask(site, "vote", sent=b'"bad"')
    assert refused.status == 400
    assert json.loads(refused.read()) == {"error": "no such vote"}
    assert SENT == [{"a": 1}]


def test_a_taken_port_is_an_error(site: Site) -> None:
    """One line names the port."""
    port = urlsplit(site.url).port
    with pytest.raises(InputError, match=f"--port {port}: .*; choose another port"):
        Site({}, port=port)
