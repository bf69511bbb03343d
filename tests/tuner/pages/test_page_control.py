"""Buttons of a served page that steer the running search."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from benchmarks.support.made_run import made_run
from tests.tuner.browser import chromium, needs_chromium, served
from tests.tuner.helpers import make_search
from tuner.pages.report.live import LiveReport
from tuner.pages.report.page_data import report_data
from tuner.results.results import load_results
from tuner.study.run_dir import RunDir


@contextmanager
def searching(run: Path) -> Iterator[None]:
    """Let a launch wait for commands, as it does between two reports."""
    over = threading.Event()

    def wait() -> None:
        search = make_search(run / "job.yaml", run)
        while not over.wait(0.05):
            search.heartbeat()

    with RunDir(run).held():
        thread = threading.Thread(target=wait)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def post(url: str, content: object, **headers: str) -> tuple[int, dict[str, str]]:
    """Post JSON; return the status and the JSON of the answer."""
    request = urllib.request.Request(f"{url}ctl", json.dumps(content).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        body = error.read()
        return error.code, json.loads(body) if body.startswith(b"{") else {}


def test_commands_of_the_page_are_guarded(tmp_path: Path, pictures: Path) -> None:
    """Only the page itself, under its secret path, can steer, and only a running search."""
    run = made_run(tmp_path / "run", pictures, trials=8, over=False)
    pause = {"command": "pause", "arguments": []}
    with served(LiveReport(run).site()) as url:
        assert "not running" in post(url, pause)[1]["error"]
        with searching(run):
            assert post(url, pause, Origin="http://example.com")[0] == 403
            assert post(url.rsplit("/", 2)[0] + "/wrong/", pause)[0] == 404
            assert post(url, {"command": "explode", "arguments": []})[0] == 400
            assert post(url, ["pause"])[0] == 400
            assert load_results(run).commands == []
            assert post(url, pause)[1]["state"] == "done"
            assert post(url, pause)[1]["reason"] == "the run is paused already"
    assert [bool(record.refused) for record in load_results(run).commands] == [False, True]


@needs_chromium
def test_every_button_steers_the_search(tmp_path: Path, pictures: Path) -> None:
    """Pause, resume, the form and the buttons of a trial do what `nst-tuner ctl` does."""
    run = made_run(tmp_path / "run", pictures, trials=12, over=False)
    with searching(run), served(LiveReport(run).site()) as url, chromium() as watched:
        page = watched.open(url)
        page.locator("#arguments").fill("lr=0.5 nothing=1")
        page.locator("#pause").click()
        expect(page.locator("#pause")).to_have_text("Resume")
        page.locator("#pause").click()
        expect(page.locator("#pause")).to_have_text("Pause")
        expect(page.locator("#command-answer")).to_have_text("resume: done")
        page.locator("#send").click()  # other commands leave what the form holds
        expect(page.locator("#command-answer")).to_contain_text("`nothing`: no such parameter")
        page.locator("#arguments").fill("lr=0.5")
        page.locator("#arguments").press("Enter")
        expect(page.locator("#command-answer")).to_have_text("try lr=0.5: done")
        expect(page.locator("#arguments")).to_have_value("")
        page.locator("#command").select_option("set")
        page.locator("#arguments").fill("search.trials=20")
        page.locator("#send").click()
        expect(page.locator("#commands")).to_contain_text("set search.trials=20")
        page.locator(".card:not(:has-text('preset')) .open").first.click()
        page.locator("#more-like").click()
        page.locator("#close").click()
        expect(page.locator("#commands")).to_contain_text("more-like")
        assert watched.errors == []
        assert watched.foreign_requests == []
    assert load_results(run).job.search.trials == 20


def test_a_file_has_no_buttons(tmp_path: Path, pictures: Path) -> None:
    """A run that is not running has no buttons; its page still lists the commands."""
    run = made_run(tmp_path / "run", pictures, trials=8, over=False)
    assert report_data(load_results(run))["control"] == {
        "running": False,
        "paused": False,
        "commands": [],
    }


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.pages.report.page.REFRESH_S", 0.5)
