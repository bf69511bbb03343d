"""Dashboard: the stock Optuna Dashboard on the study of a run, read-only.

Only the driver of a run may write to its study, so requests that could change it are refused, and
what sends them is hidden. The dashboard opens on the study of the run, and names its objectives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from nst_core.errors import InputError, Say
from tuner.pages.local_server import HOST, port_error, serve_until_interrupted
from tuner.results.results import load_results
from tuner.study.storage import load_study

_READING = ("GET", "HEAD")

#: Labels and icons of buttons that would change the study. The list of studies, which could only
#: create, rename and delete studies, is left out as a whole: a run has one study.
_CHANGING = (
    *("[aria-label='rename study']", "[aria-label='delete study']", "[aria-label='skip trial']"),
    *("[aria-label='delete artifact']", "[title='Note']", "a:has([data-testid='HomeIcon'])"),
    *(
        f"button:has([data-testid='{icon}Icon'])"
        for icon in ("AddBox", "Edit", "ModeEdit", "StopCircle", "UploadFile", "Save")
    ),
)
_STYLE = f"<style>{', '.join(_CHANGING)} {{ display: none !important }}</style></head>".encode()

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
    results = load_results(folder)
    handle = load_study(folder)
    app = wsgi(handle.storage)
    study_id = handle.storage.get_study_id_from_name(handle.study.study_name)
    names = [objective.name for objective in results.goals.objectives]
    try:
        server = make_server(HOST, port, app, handler_class=_QuietHandler)
    except OSError as error:
        raise port_error(port, error) from None
    app = _shown(app, study_id, names)
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
    # The address leads to the study of the run, see `_shown`.
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


def _shown(app: App, study_id: int, names: Sequence[str]) -> App:
    """Return the app that opens on one study, names its objectives and hides what changes it.

    Args:
        app: the dashboard.
        study_id: the study in its storage.
        names: names of the objectives.
    """
    page = f"/dashboard/studies/{study_id}"

    def shown(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "").rstrip("/")
        if path in ("", "/dashboard"):
            start("302 Found", [("Location", page)])
            return [b""]
        if path == f"/api/studies/{study_id}":
            return _changed(app, environ, start, lambda body: _with_names(body, names))
        if path.startswith("/dashboard/"):
            return _changed(app, environ, start, lambda body: body.replace(b"</head>", _STYLE))
        return app(environ, start)

    return shown


def _with_names(body: bytes, names: Sequence[str]) -> bytes:
    content = json.loads(body)
    if "directions" in content:  # an error has none
        content["objective_names"] = list(names)
    return json.dumps(content).encode()


def _changed(
    app: App,
    environ: dict[str, Any],
    start: Callable[..., Any],
    change: Callable[[bytes], bytes],
) -> Iterable[bytes]:
    """Return the answer of an app with another body."""
    begun: list[Any] = []

    def hold(status: str, headers: Any, error: Any = None) -> None:
        begun[:] = [status, headers]

    # The page must come whole: no range of it, no "not modified", no compression.
    ignored = ("HTTP_RANGE", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH", "HTTP_ACCEPT_ENCODING")
    chunks = app({key: value for key, value in environ.items() if key not in ignored}, hold)
    try:
        body = b"".join(chunks)
    finally:
        if close := getattr(chunks, "close", None):
            close()
    if environ["REQUEST_METHOD"] == "GET":
        body = change(body)
    status, headers = begun
    left_out = ("content-length", "etag", "last-modified", "accept-ranges")
    kept = [(name, value) for name, value in headers if name.lower() not in left_out]
    start(status, [*kept, ("Content-Length", str(len(body))), ("Cache-Control", "no-store")])
    return [body]
