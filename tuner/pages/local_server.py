"""Site: a small web server for the user of this machine only.

It listens on the loopback address, under a path with a random secret, and answers only requests
that name it by its loopback address. So other users of the machine cannot guess the path, and pages
of other sites can neither read from it nor write to it (DNS rebinding, CSRF).
"""

from __future__ import annotations

import json
import secrets
import sys
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from typing import Any
from urllib.parse import unquote, urlsplit

from nst_core.errors import InputError, NstError, Say

HOST = "127.0.0.1"
#: Maximum size of the body of a request.
_MAX_BYTES = 100_000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to a request.

    Attributes:
        content: the body.
        kind: media type of the body.
        policy: content security policy; None for everything but pages.
        cacheable: whether the content at this address never changes.
    """

    content: bytes
    kind: str = "application/json"
    policy: str | None = None
    cacheable: bool = False

    @classmethod
    def json(cls, content: Any) -> Answer:
        """Return plain data as JSON."""
        return cls(content=json.dumps(content, allow_nan=False).encode())

    @classmethod
    def html(cls, page: str, policy: str) -> Answer:
        """Return a page with its content security policy."""
        content = page.encode(errors="replace")
        return cls(content=content, kind="text/html; charset=utf-8", policy=policy)


#: Rest of the path -> the answer, or None if nothing is there.
Get = Callable[[str], Answer | None]
#: JSON body of the request -> the answer.
Post = Callable[[Any], Answer]


class Site:
    """A site on the loopback address.

    Args:
        get: first part of a path (``""`` is the page itself) -> function that answers GET requests.
        post: the same for POST requests, whose body is JSON.
        port: the port; 0 takes a free one.

    Raises:
        InputError: the port is in use.
    """

    def __init__(
        self, get: Mapping[str, Get], post: Mapping[str, Post] | None = None, *, port: int = 0
    ):
        self._get, self._post = dict(get), dict(post or {})
        self._secret = secrets.token_urlsafe(16)
        site = self

        class Handler(_Handler):
            """The request handler of this site."""

            def site(self) -> Site:
                return site

        try:
            self._server = _Server((HOST, port), Handler)
        except OSError as error:
            raise port_error(port, error) from None

    @property
    def url(self) -> str:
        """Address of the page; everyone who knows it can open the page."""
        return f"http://{HOST}:{self._server.server_port}/{self._secret}/"

    def serve(self, say: Say, *, show: bool) -> None:
        """Answer requests until Ctrl-C, see `serve_until_interrupted`."""
        serve_until_interrupted(self._server, self.url, say, show=show)

    def close(self) -> None:
        """Release the port."""
        self._server.server_close()

    def stop(self) -> None:
        """Make `serve` return; called from another thread."""
        self._server.shutdown()

    def allows(self, host: str | None, origin: str | None) -> bool:
        """Return whether a request comes from the page itself or from the address bar.

        Args:
            host: the ``Host`` header.
            origin: the ``Origin`` header.
        """
        own = f"{HOST}:{self._server.server_port}"
        return host == own and origin in (None, f"http://{own}")

    def answer(self, path: str, body: Any = None, *, posted: bool = False) -> Answer | None:
        """Return the answer to a request; None if nothing is at this path.

        Args:
            path: path of the request with the secret.
            body: JSON body of a POST request.
            posted: whether the request is a POST request.
        """
        parts = urlsplit(path).path.split("/", 2)
        if len(parts) < 3 or not secrets.compare_digest(parts[1].encode(), self._secret.encode()):
            return None
        name, _, rest = unquote(parts[2]).partition("/")
        if posted:
            return self._post[name](body) if name in self._post else None
        return self._get[name](rest) if name in self._get else None


def port_error(port: int, error: OSError) -> InputError:
    """Return the error for a port that cannot be used."""
    return InputError(
        f"--port {port}: cannot listen there ({error.strerror}); choose another port, or leave"
        " --port out to get a free one"
    )


def serve_until_interrupted(server: BaseServer, url: str, say: Say, *, show: bool) -> None:
    """Answer requests until Ctrl-C, then release the port.

    Args:
        server: the server.
        url: address to open.
        say: gets the lines for the user.
        show: whether to open the address in the browser.
    """
    say(f"open {url} in a browser; press Ctrl-C to stop")
    if show:
        webbrowser.open(url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("stopped")
    finally:
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore pages that are closed while they are being answered."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def site(self) -> Site:
        """Return the site that answers."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer a GET request."""
        self._respond(None, posted=False)

    def do_POST(self) -> None:
        """Answer a POST request with a JSON body."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            return self._send(HTTPStatus.LENGTH_REQUIRED)
        if not 0 <= length <= _MAX_BYTES:
            return self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            body = json.loads(self.rfile.read(length))
        except ValueError:
            return self._send(HTTPStatus.BAD_REQUEST)
        return self._respond(body, posted=True)

    def _respond(self, body: Any, *, posted: bool) -> None:
        if not self.site().allows(self.headers.get("Host"), self.headers.get("Origin")):
            return self._send(HTTPStatus.FORBIDDEN)
        try:
            answer = self.site().answer(self.path, body, posted=posted)
        except NstError as error:
            return self._send(HTTPStatus.BAD_REQUEST, Answer.json({"error": str(error)}))
        return self._send(HTTPStatus.OK if answer else HTTPStatus.NOT_FOUND, answer)

    def _send(self, status: HTTPStatus, answer: Answer | None = None) -> None:
        answer = answer or Answer(content=status.phrase.encode(), kind="text/plain")
        self.send_response(status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.content)))
        self.send_header("Cache-Control", "max-age=3600" if answer.cacheable else "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        policy = answer.policy or "default-src 'none'"
        self.send_header("Content-Security-Policy", f"{policy}; frame-ancestors 'none'")
        if status >= HTTPStatus.BAD_REQUEST:
            self.close_connection = True  # the body of the request may not have been read
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing, because the path contains the secret."""
