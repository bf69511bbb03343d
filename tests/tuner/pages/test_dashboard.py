import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.made_run import made_run
from nst_core.errors import InputError, RunError
from tests.tuner.browser import chromium, needs_chromium
from tuner.pages.dashboard import dashboard


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[tuple[Path, str]]:
    """A run and the address of its dashboard."""
    run = made_run(tmp_path_factory.mktemp("dashboard") / "run", pictures, trials=6)
    with dashboard(run) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield run, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(url: str, method: str = "GET", sent: Any = None, **headers: str) -> Any:
    data = None if sent is None else json.dumps(sent).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def test_every_trial_has_its_picture(served: tuple[Path, str]) -> None:
    """Optuna's own page lists the study's trials, each with its picture as an artifact."""
    run, url = served
    (study,) = json.loads(ask(f"{url}/api/studies"))["study_summaries"]
    detail = json.loads(ask(f"{url}/api/studies/{study['study_id']}"))
    assert len(detail["trials"]) >= 6
    trial = detail["trials"][0]
    (artifact,) = trial["artifacts"]
    path = f"artifacts/{study['study_id']}/{trial['trial_id']}/{artifact['artifact_id']}"
    assert ask(f"{url}/{path}") == (run / "trials/0000/pair0.png").read_bytes()


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("DELETE", "studies/{}", None),
        ("POST", "studies/{}/rename", {"study_name": "other"}),
        ("POST", "studies", {"study_name": "new", "directions": ["minimize"]}),
        ("PUT", "studies/{}/note", {"body": "mine", "version": 1}),
        ("POST", "trials/0/user-attrs", {"user_attrs": {"mine": 1}}),
        ("POST", "artifacts/{}/0", {"file": "data:image/png;base64,AAAA", "filename": "a.png"}),
        ("DELETE", "artifacts/{}/0/00000000-0", None),
    ],
)
def test_nothing_can_be_changed(
    served: tuple[Path, str], method: str, path: str, sent: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """What would change the study is refused with a reason, quietly; its journal stays as it is."""
    run, url = served
    before = (run / "study.journal").read_bytes()
    (study,) = json.loads(ask(f"{url}/api/studies"))["study_summaries"]
    with pytest.raises(urllib.error.HTTPError, match="405") as refused:
        ask(f"{url}/api/{path.format(study['study_id'])}", method, sent)
    assert "not to be changed" in json.loads(refused.value.read())["reason"]
    assert refused.value.headers["Allow"] == "GET, HEAD"
    assert (run / "study.journal").read_bytes() == before
    assert capfd.readouterr().err == ""


def test_other_pages_are_refused(served: tuple[Path, str]) -> None:
    """Another host name or origin gets nothing."""
    _, url = served
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(url, **headers)


def test_what_is_no_run_or_no_port_is_named(served: tuple[Path, str], tmp_path: Path) -> None:
    """One clear error each."""
    run, url = served
    with pytest.raises(RunError, match="no such run directory"):
        dashboard(tmp_path / "none")
    with pytest.raises(InputError, match="take another one"):
        dashboard(run, port=int(url.rpartition(":")[2]))


@needs_chromium
def test_its_page_opens(served: tuple[Path, str]) -> None:
    """The study's page draws in a browser without an error."""
    _, url = served
    with chromium() as seen:
        seen.page.goto(f"{url}/dashboard/studies/0/trials")
        seen.page.get_by_text("Trial 0").first.wait_for()
        assert seen.errors == []
