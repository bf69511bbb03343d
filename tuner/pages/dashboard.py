"""Optuna's own dashboard on a run's own study, with its pictures; nothing can be changed.

The run's driver is the only one that writes its study, so the dashboard sees it through a storage
that refuses to write.
"""

from __future__ import annotations

import dataclasses
import json
import webbrowser
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nst_core.errors import InputError, Say
from tuner.pages.site import HOST
from tuner.results.results import load_results
from tuner.study.optuna_private import FrozenStudy
from tuner.study.run_dir import RunDir
from tuner.study.storage import load_study

#: Optuna finds a trial's artifacts by attributes of this name.
_ATTRIBUTE = "artifacts:{}"

_UNCHANGED = "the study of a run is not to be changed by hand"
_LOOKS = ("GET", "HEAD")

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ShownStudy(BaseStorage):
    """A run's storage, read only, in which every trial has its pictures as artifacts.

    Args:
        run: whose pictures.
        storage: its study's.
        pairs: pictures of a trial.
    """

    def __init__(self, run: RunDir, storage: BaseStorage, pairs: int):
        self._run, self._storage, self._pairs = run, storage, pairs

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `BaseStorage`."""
        return self._with_pictures(self._storage.get_trial(trial_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """See `BaseStorage`."""
        trials = self._storage.get_all_trials(study_id, deepcopy=True, states=states)
        return [self._with_pictures(trial) for trial in trials]

    def _with_pictures(self, trial: FrozenTrial) -> FrozenTrial:
        for pair in range(self._pairs):
            path = Path(self._run.image(trial.number, pair))
            if (self._run.path / path).is_file():
                artifact = f"{trial.number:08x}-{pair:x}"
                facts = {"artifact_id": artifact, "filename": path.name, "mimetype": "image/png"}
                kept = json.dumps({**facts, "encoding": None})
                trial.system_attrs[_ATTRIBUTE.format(artifact)] = kept
        return trial

    # --- passed on --------------------------------------------------------------------------------

    def get_study_id_from_name(self, study_name: str) -> int:
        """See `BaseStorage`."""
        return self._storage.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """See `BaseStorage`."""
        return self._storage.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """See `BaseStorage`."""
        return self._storage.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`."""
        return self._storage.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`."""
        return self._storage.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """See `BaseStorage`."""
        return self._storage.get_all_studies()

    # --- refused ----------------------------------------------------------------------------------

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(_UNCHANGED)

    create_new_study = _refuse
    delete_study = _refuse
    set_study_user_attr = _refuse
    set_study_system_attr = _refuse
    create_new_trial = _refuse
    set_trial_param = _refuse
    set_trial_state_values = _refuse
    set_trial_intermediate_value = _refuse
    set_trial_user_attr = _refuse
    set_trial_system_attr = _refuse


@dataclasses.dataclass(frozen=True)
class Pictures:
    """A run's pictures as an artifact store of Optuna's, read only."""

    run: RunDir

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """A picture, by the name that `ShownStudy` gave it."""
        try:
            trial, pair = (int(part, 16) for part in artifact_id.split("-"))
            return (self.run.path / self.run.image(trial, pair)).open("rb")
        except (ValueError, OSError):
            raise ArtifactNotFound(artifact_id) from None

    def write(self, artifact_id: str, content_body: BinaryIO) -> NoReturn:
        """Refused."""
        raise NotImplementedError("pictures of a run are not to be changed by hand")

    def remove(self, artifact_id: str) -> NoReturn:
        """Refused."""
        raise NotImplementedError("pictures of a run are not to be changed by hand")


def dashboard(folder: Path, *, port: int = 0) -> WSGIServer:
    """The dashboard of a run, ready to serve.

    Raises:
        InputError: optuna-dashboard is not installed, or the port is taken.
        RunError: it is no run.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise InputError(
            "the dashboard needs the package optuna-dashboard: pip install 'nst-tuner[dashboard]'"
        ) from None
    results = load_results(folder)
    shown = ShownStudy(results.run, load_study(folder).storage, len(results.job.pairs))
    app = wsgi(shown, artifact_store=Pictures(results.run))
    try:
        server = make_server(HOST, port, app, handler_class=_Quiet)
    except OSError as error:
        raise InputError(f"port {port}: {error.strerror}; take another one") from None
    server.set_app(_own_looks_only(app, server.server_port))
    return server


def serve_dashboard(folder: Path, say: Say, *, port: int, show: bool) -> None:
    """Serve a run's dashboard until Ctrl-C."""
    with dashboard(folder, port=port) as server:
        url = f"http://{HOST}:{server.server_port}/"
        say(f"open {url} (Ctrl-C ends it); it shows the run, and cannot change it")
        if show:
            webbrowser.open(url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _own_looks_only(app: App, port: int) -> App:
    """Refuse requests under other host names or from other pages, see `site`, and changes.

    Optuna's dashboard would answer these with an error of its own, and print where it arose.
    """
    own = (f"{HOST}:{port}", f"localhost:{port}")
    origins = (None, *(f"http://{name}" for name in own))

    def guarded(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_HOST") not in own or environ.get("HTTP_ORIGIN") not in origins:
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"Forbidden"]
        if environ["REQUEST_METHOD"] not in _LOOKS:
            headers = [("Content-Type", "application/json"), ("Allow", ", ".join(_LOOKS))]
            start("405 Method Not Allowed", headers)
            return [json.dumps({"reason": _UNCHANGED}).encode()]
        return app(environ, start)

    return guarded
