"""Pages that this machine's own user looks at, and nobody else.

A server listens on loopback, under a path that only those know who were told, and answers only
requests that name it by its loopback address: another user of the machine cannot guess the path,
and a page from elsewhere can neither read from it nor write to it (DNS rebinding, CSRF).
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
from typing import Any
from urllib.parse import unquote, urlsplit

from nst_core.errors import InputError, NstError, Say

HOST = "127.0.0.1"
#: What a page may send at once.
_MOST_BYTES = 100_000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a page gets.

    Attributes:
        content: its bytes.
        kind: their media type.
        policy: the content security policy, of pages.
        keeps: whether what its address stands for never changes.
    """

    content: bytes
    kind: str = "application/json"
    policy: str | None = None
    keeps: bool = False

    @classmethod
    def json(cls, content: Any) -> Answer:
        """Plain data."""
        return cls(content=json.dumps(content, allow_nan=False).encode())


#: The rest of the path -> an answer, or None where there is nothing.
Get = Callable[[str], Answer | None]
#: What was sent -> an answer.
Post = Callable[[Any], Answer]


class Site:
    """A small site on loopback.

    Args:
        get: first part of a path (``""`` is the page itself) -> what answers it.
        post: the same for what the page sends, as JSON.
        port: 0 takes a free one.

    Raises:
        InputError: the port is taken.
    """

    def __init__(
        self, get: Mapping[str, Get], post: Mapping[str, Post] | None = None, *, port: int = 0
    ):
        self._get, self._post = dict(get), dict(post or {})
        self._secret = secrets.token_urlsafe(16)
        site = self

        class Handler(_Handler):
            """Knows its site."""

            def site(self) -> Site:
                return site

        try:
            self._server = _Server((HOST, port), Handler)
        except OSError as error:
            raise InputError(f"port {port}: {error.strerror}; take another one") from None

    @property
    def url(self) -> str:
        """Where the page is; whoever knows it may look."""
        return f"http://{HOST}:{self._server.server_port}/{self._secret}/"

    def serve(self, say: Say, *, show: bool) -> None:
        """Answer until Ctrl-C.

        Args:
            say: is told where.
            show: also open it in the browser.
        """
        say(f"open {self.url} (Ctrl-C ends it)")
        if show:
            webbrowser.open(self.url)
        try:
            self._server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the port."""
        self._server.server_close()

    def stop(self) -> None:
        """End `serve`, from another thread."""
        self._server.shutdown()

    def allows(self, host: str | None, origin: str | None) -> bool:
        """Whether a request comes from the page itself or from whoever types the address."""
        own = f"{HOST}:{self._server.server_port}"
        return host == own and origin in (None, f"http://{own}")

    def answer(self, path: str, sent: Any = None, *, posted: bool = False) -> Answer | None:
        """What there is under a path, secret and all."""
        parts = urlsplit(path).path.split("/", 2)
        if len(parts) < 3 or not secrets.compare_digest(parts[1].encode(), self._secret.encode()):
            return None
        name, _, more = unquote(parts[2]).partition("/")
        if posted:
            return self._post[name](sent) if name in self._post else None
        return self._get[name](more) if name in self._get else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that leaves while it is being answered is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def site(self) -> Site:
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer what a page asks for."""
        self._respond(None, posted=False)

    def do_POST(self) -> None:
        """Take what a page sends."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            return self._send(HTTPStatus.LENGTH_REQUIRED)
        if not 0 <= length <= _MOST_BYTES:
            return self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            sent = json.loads(self.rfile.read(length))
        except ValueError:
            return self._send(HTTPStatus.BAD_REQUEST)
        return self._respond(sent, posted=True)

    def _respond(self, sent: Any, *, posted: bool) -> None:
        if not self.site().allows(self.headers.get("Host"), self.headers.get("Origin")):
            return self._send(HTTPStatus.FORBIDDEN)
        try:
            answer = self.site().answer(self.path, sent, posted=posted)
        except NstError as error:
            return self._send(HTTPStatus.BAD_REQUEST, Answer.json({"error": str(error)}))
        return self._send(HTTPStatus.OK if answer else HTTPStatus.NOT_FOUND, answer)

    def _send(self, status: HTTPStatus, answer: Answer | None = None) -> None:
        answer = answer or Answer(content=status.phrase.encode(), kind="text/plain")
        self.send_response(status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.content)))
        self.send_header("Cache-Control", "max-age=3600" if answer.keeps else "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        policy = answer.policy or "default-src 'none'"
        self.send_header("Content-Security-Policy", f"{policy}; frame-ancestors 'none'")
        if status >= HTTPStatus.BAD_REQUEST:
            self.close_connection = True  # what was sent may not have been read
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the path is a secret."""
