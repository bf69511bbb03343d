"""The stock Optuna Dashboard on a run, read-only."""

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


def request(url: str, method: str = "GET", body: Any = None, **headers: str) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(url, data, headers, method=method), timeout=20
    ) as answer:
        return answer.read()


def test_the_study_is_listed_with_its_trials(served: tuple[Path, str]) -> None:
    """The dashboard shows the study of the run with all its trials, and reading changes nothing."""
    run, url = served
    before = (run / "study.journal").read_bytes()
    (study,) = json.loads(request(f"{url}/api/studies"))["study_summaries"]
    detail = json.loads(request(f"{url}/api/studies/{study['study_id']}"))
    assert len(detail["trials"]) >= 6
    assert (run / "study.journal").read_bytes() == before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "studies/{}", None),
        ("POST", "studies/{}/rename", {"study_name": "other"}),
        ("POST", "studies", {"study_name": "new", "directions": ["minimize"]}),
        ("PUT", "studies/{}/note", {"body": "mine", "version": 1}),
        ("POST", "trials/0/user-attrs", {"user_attrs": {"mine": 1}}),
    ],
)
def test_changes_are_refused(
    served: tuple[Path, str], method: str, path: str, body: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Requests that could change the study get a reason, and the journal stays as it is."""
    run, url = served
    before = (run / "study.journal").read_bytes()
    (study,) = json.loads(request(f"{url}/api/studies"))["study_summaries"]
    with pytest.raises(urllib.error.HTTPError, match="405") as refused:
        request(f"{url}/api/{path.format(study['study_id'])}", method, body)
    assert "read-only" in json.loads(refused.value.read())["reason"]
    assert refused.value.headers["Allow"] == "GET, HEAD"
    assert (run / "study.journal").read_bytes() == before
    assert capfd.readouterr().err == ""


def test_requests_of_other_sites_are_refused(served: tuple[Path, str]) -> None:
    """A request under another host name or from another origin is forbidden."""
    _, url = served
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            request(url, **headers)


def test_wrong_arguments_are_named(served: tuple[Path, str], tmp_path: Path) -> None:
    """A folder that is no run, and a port that is in use, lead to one clear error each."""
    run, url = served
    with pytest.raises(RunError, match="no such run directory"):
        dashboard(tmp_path / "none")
    with pytest.raises(InputError, match="choose another port"):
        dashboard(run, port=int(url.rpartition(":")[2]))


def test_it_opens_on_the_run_and_names_the_objective(served: tuple[Path, str]) -> None:
    """The first page is that of the study, and its objective has the name that the job gives it."""
    _, url = served
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.url == f"{url}/dashboard/studies/0"
        assert b"delete study" in answer.read()  # the style that hides what changes the study
    detail = json.loads(request(f"{url}/api/studies/0"))
    assert detail["objective_names"] == ["lpips"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        request(f"{url}/api/studies/7")


@needs_chromium
def test_no_button_does_nothing(served: tuple[Path, str]) -> None:
    """Buttons that would change the study, which is refused, are not there."""
    _, url = served
    with chromium() as watched:
        page = watched.page
        page.goto(f"{url}/dashboard/studies/0/trials")
        page.get_by_text("Trial 0").first.wait_for()
        for icon in ("Edit", "ModeEdit", "StopCircle", "Home", "Save", "UploadFile", "AddBox"):
            shown = page.locator(f"[data-testid={icon}Icon]").all()
            assert not any(each.is_visible() for each in shown), icon
        assert not page.get_by_title("Note").is_visible()
        assert page.get_by_title("Analytics").is_visible()


@needs_chromium
def test_the_page_opens(served: tuple[Path, str]) -> None:
    """The page of the study draws in a browser without an error."""
    _, url = served
    with chromium() as watched:
        watched.page.goto(f"{url}/dashboard/studies/0/trials")
        watched.page.get_by_text("Trial 0").first.wait_for()
        assert watched.errors == []
