"""A tunnel to a port of this machine, which a test can cut like a tunnel to a cluster."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator


class Tunnel:
    """A tunnel that accepts connections at `port` and forwards them until it is cut."""

    def __init__(self, target: int):
        self._target = target
        self._ends: list[socket.socket] = []
        self._server: socketserver.ThreadingTCPServer | None = None
        self.port = 0

    @contextlib.contextmanager
    def opened(self) -> Iterator[Tunnel]:
        """Open the tunnel, and cut it at the end of the block."""
        self.open()
        try:
            yield self
        finally:
            self.cut()

    def open(self) -> None:
        """Accept connections, at the same port as before."""
        tunnel = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                tunnel._forward(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads = True, True

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and accept no more."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def _forward(self, near: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._target)) as far:
            self._ends += [near, far]
            back = threading.Thread(target=_copy, args=(far, near), daemon=True)
            back.start()
            _copy(near, far)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)
