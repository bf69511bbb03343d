"""Dashboard: the stock Optuna Dashboard on the study of a run, read-only.

Only the driver of a run may write to its study, so requests that could change it are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from nst_core.errors import InputError, Say
from tuner.pages.local_server import HOST, port_error, serve_until_interrupted
from tuner.study.run_dir import RunDir
from tuner.study.storage import load_study

_READING = ("GET", "HEAD")

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def dashboard(folder: Path, *, port: int = 0) -> WSGIServer:
    """Return a server for the dashboard of a run.

    Args:
        folder: the run directory.
        port: the port; 0 takes a free one.

    Raises:
        InputError: the package optuna-dashboard is not installed, or the port is in use.
        RunError: the folder is no run directory.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise InputError(
            "the dashboard needs the package optuna-dashboard, which is not installed; run"
            " `pip install 'nst-tuner[dashboard]'`"
        ) from None
    app = wsgi(load_study(RunDir(folder).require().path).storage)
    try:
        server = make_server(HOST, port, app, handler_class=_QuietHandler)
    except OSError as error:
        raise port_error(port, error) from None
    server.set_app(_read_only(app, server.server_port))
    return server


def serve_dashboard(folder: Path, say: Say, *, port: int, show: bool) -> None:
    """Serve the dashboard of a run until Ctrl-C.

    Args:
        folder: the run directory.
        say: gets the lines for the user.
        port: the port; 0 takes a free one.
        show: whether to open the dashboard in the browser.
    """
    server = dashboard(folder, port=port)
    serve_until_interrupted(server, f"http://{HOST}:{server.server_port}/", say, show=show)


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def _read_only(app: App, port: int) -> App:
    """Return the app behind a guard.

    The guard refuses requests that could change the study, and requests under other host names or
    from pages of other sites, see `tuner.pages.local_server`.
    """
    hosts = (f"{HOST}:{port}", f"localhost:{port}")
    origins = (None, *(f"http://{host}" for host in hosts))

    def guarded(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_HOST") not in hosts or environ.get("HTTP_ORIGIN") not in origins:
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"Forbidden"]
        if environ["REQUEST_METHOD"] not in _READING:
            headers = [("Content-Type", "application/json"), ("Allow", ", ".join(_READING))]
            start("405 Method Not Allowed", headers)
            reason = "this dashboard is read-only: only the run itself may change its study"
            return [json.dumps({"reason": reason}).encode()]
        return app(environ, start)

    return guarded
