"""The report as a file, and as served by a live report."""

import json
import re
from pathlib import Path
from unittest import mock

import pytest

from benchmarks.support.made_run import made_run
from tuner.pages.report.live import LiveReport
from tuner.pages.report.page import live_data, write_report
from tuner.pages.report.page_data import report_data
from tuner.results.results import load_results
from tuner.study.study import RunStudy


def blocks(page: str) -> dict[str, object]:
    """Return the JSON blocks of a page by their id."""
    scripts = re.findall(
        r'<script type="application/json" id="([\w-]+)">(.*?)</script>', page, re.S
    )
    return {name: json.loads(text) for name, text in scripts}


def test_a_run_without_reports_has_a_page(tmp_path: Path, pictures: Path) -> None:
    """Before the first report there is a page that says so."""
    run = made_run(tmp_path / "run", pictures, trials=1, over=False)
    page_data = report_data(load_results(run))
    assert page_data["state"] == "stopped" and page_data["best"] is None
    assert page_data["summary"] == ["No trial has reported a score yet."]
    write_report(load_results(run), tmp_path / "report.html")


def test_the_page_is_one_file_without_requests(run: Path, tmp_path: Path) -> None:
    """The policy of the page forbids all connections and all scripts but its own."""
    size = write_report(load_results(run), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert size == (tmp_path / "report.html").stat().st_size < 25_000_000
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy and "default-src &#39;none&#39;" in policy[1]
    assert "connect-src &#39;none&#39;" in policy[1] and "unsafe-eval" not in policy[1]
    assert set(blocks(page)) == {"page-data", "pictures", "figures"}
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_names_cannot_end_a_script(tmp_path: Path, pictures: Path) -> None:
    """Markup in the name of a job remains data, in the HTML and in the JSON."""
    markup = "</script><script>alert(1)</script><!--"
    run = made_run(tmp_path / "run", pictures, trials=3, name=markup)
    write_report(load_results(run), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert blocks(page)["page-data"]["run"] == markup  # type: ignore[index]


def test_the_version_changes_with_the_data(tmp_path: Path, pictures: Path) -> None:
    """The version of the page data changes if and only if the data change."""
    run = made_run(tmp_path / "run", pictures, trials=6, over=False)
    before = live_data(load_results(run))
    assert live_data(load_results(run))["version"] == before["version"]
    study = RunStudy.open(run, goals=load_results(run).goals)
    study.note("votes", [])
    assert live_data(load_results(run))["version"] == before["version"]
    study.note("over", "all trials are done")
    assert live_data(load_results(run))["version"] != before["version"]


def test_results_from_a_database_are_reused(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests within a few seconds share one reading of a study in a database."""
    search = {"trials": 6, "sampler": "random", "study": f"sqlite:///{tmp_path / 'study.db'}"}
    run = made_run(tmp_path / "run", pictures, search=search, over=False)
    read = mock.Mock(wraps=load_results)
    monkeypatch.setattr("tuner.pages.report.live.load_results", read)
    site = LiveReport(run).site()
    path = site.url.rpartition(":")[2].partition("/")[2]
    for _ in range(5):
        answer = site.answer(f"/{path}picture/t0p0")
        assert answer is not None and answer.kind == "image/webp"
    assert read.call_count == 1
    monkeypatch.setattr("tuner.pages.report.live.FRESH_S", 0.0)
    study = RunStudy.open(run, goals=load_results(run).goals)
    study.note("over", "all trials are done")
    answer = site.answer(f"/{path}page_data.json")
    assert answer is not None and json.loads(answer.content)["state"] == "finished"
    site.close()
