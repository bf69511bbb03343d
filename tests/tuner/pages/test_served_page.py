"""A served report in a real Chromium: it follows its run without disturbing the reader."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from benchmarks.support.made_run import made_run
from tests.tuner.browser import Watched, chromium, focus, needs_chromium, served
from tuner.pages.report.live import LiveReport
from tuner.pages.report.page import REFRESH_S
from tuner.results.results import load_results
from tuner.study.study import RunStudy

pytestmark = needs_chromium


def test_a_served_page_follows_the_run(tmp_path: Path, pictures: Path) -> None:
    """The page of a running run shows new data, and requests them from its own server only."""
    run = made_run(tmp_path / "run", pictures, trials=16, over=False)
    with served(LiveReport(run).site()) as url, chromium() as watched:
        page = watched.open(url)
        assert "not finished" in page.locator("#state").inner_text()
        study = RunStudy.open(run, goals=load_results(run).goals)
        study.note("over", "all trials are done")
        expect(page.locator("#state")).to_contain_text("finished", timeout=4000 * REFRESH_S)
        expect(page.locator("#state")).not_to_contain_text("not")
        watched.plot("#search")
        assert watched.errors == []
        assert watched.foreign_requests == []


def test_a_resumed_run_is_followed_again(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of a finished run still asks for new data, but less often."""
    monkeypatch.setattr("tuner.pages.report.page.REFRESH_S", 0.2)
    run = made_run(tmp_path / "run", pictures, trials=8)
    study = RunStudy.open(run, goals=load_results(run).goals)
    with served(LiveReport(run).site()) as url, chromium() as watched:
        page = watched.open(url)
        assert page.locator("#state").inner_text() == "finished"
        study.note("over", None)
        expect(page.locator("#state")).to_contain_text("not finished")
        study.note("over", "all trials are done")
        expect(page.locator("#state")).to_have_text("finished")
        page.route("**/page_data.json", lambda route: route.abort())
        with page.expect_request("**/page_data.json"):
            pass
        assert page.locator("#state").inner_text() == "finished"  # which is still true


def test_every_control_of_a_served_page(tmp_path: Path, pictures: Path) -> None:
    """A served page requests its pictures as they are needed by sort, filter, pick and dialog."""
    run = made_run(tmp_path / "run", pictures, trials=30, pairs=2)
    with served(LiveReport(run).site()) as url, chromium() as watched:
        page = watched.open(url)
        first = page.locator(".card .open").first
        page.locator("#sort-turn").click()
        assert page.locator("#sort-turn").get_attribute("aria-label") == "Highest first"
        ranks = page.locator(".card .which").all_inner_texts()
        ranks = [int(text.split()[0].lstrip("#")) for text in ranks if text.startswith("#")]
        assert ranks == sorted(ranks, reverse=True) and len(ranks) > 10
        page.locator("#sort-turn").click()
        page.locator("#state-failed").click()
        assert page.locator(".card").count() == page.evaluate("pageData.counts.failed")
        page.locator("#state-failed").click()

        page.locator("#pair-trials").select_option("1")
        source = first.locator("img").get_attribute("src")
        assert source and re.match(r"picture/t\d+p1\?", source)
        for index in (0, 1):
            page.locator(".card .pick input").nth(index).check()
        page.get_by_role("button", name="Compare", exact=True).click()
        assert "Different parameters" in page.locator("#dialog").inner_text()
        page.locator("#pair-dialog").select_option("0")
        for picture in page.locator("#dialog img").all():
            expect(picture).to_have_js_property("complete", True)
            assert picture.evaluate("(image) => image.naturalWidth") > 0
        page.get_by_role("button", name="Close").click()

        page.locator("#theme").click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.locator("#theme").click()
        assert page.evaluate("document.documentElement.dataset.theme") == "light"
        assert watched.errors == [] and watched.foreign_requests == []


def report_new_best(run: Path, lpips: float) -> int:
    """Add a trial that is better than all others to a run and return its number."""
    results = load_results(run)
    study = RunStudy.open(run, goals=results.goals)
    model = results.ranked()[0]
    number = study.begin()
    study.assign(number, model.record.config)
    folder, copy = ((run / results.run.image(t, 0)).parent for t in (model.record.trial, number))
    shutil.copytree(folder, copy)
    scores = {**model.rung.scores, "lpips": lpips}
    study.report(
        number, 90, replace(model.rung, objective=lpips, scores=scores, pair_scores=[scores])
    )
    study.finish(number, "complete")
    return number


@pytest.fixture
def running(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, Watched]]:
    """A run that is not finished, and a browser with its page, which asks for data all the time."""
    monkeypatch.setattr("tuner.pages.report.page.REFRESH_S", 0.2)
    run = made_run(tmp_path / "run", pictures, trials=40, over=False)
    with served(LiveReport(run).site()) as url, chromium() as watched:
        watched.open(url)
        yield run, watched


def zoom(page: Page, canvas: Locator) -> None:
    """Zoom into a plot with the mouse."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_timeout(400)


def test_updates_keep_the_state_of_the_page(running: tuple[Path, Watched]) -> None:
    """New data keep focus, zoom, open details, picks and the slider."""
    run, watched = running
    page = watched.page
    plot = page.locator("#search .canvas").first
    watched.plot("#search")
    zoom(page, plot)
    before = plot.evaluate("(canvas) => canvas._fullLayout.xaxis.range")
    points = "(canvas) => canvas.data.flatMap((trace) => trace.x).length"
    drawn = plot.evaluate(points)
    page.locator("#whole-job summary").click()
    page.locator("#edge-result").press("ArrowRight")
    page.locator(".card .pick input").first.check()
    page.locator("#sort").select_option("trial")
    page.locator("#sort").focus()

    number = report_new_best(run, 0.2)
    expect(page.locator("#result .lineup")).to_contain_text(f"trial {number}")
    assert focus(page) == "sort" and page.locator("#sort").input_value() == "trial"
    assert page.locator("#whole-job").get_attribute("open") is not None
    assert page.locator("#edge-result").input_value() == "51"
    assert page.locator(".card .pick input:checked").count() == 1
    assert plot.evaluate(points) > drawn
    assert plot.evaluate("(canvas) => canvas._fullLayout.xaxis.range") == before
    assert watched.errors == [] and watched.foreign_requests == []


def test_figures_are_requested_seldom(running: tuple[Path, Watched]) -> None:
    """Figures are requested only in view and at most once a minute; old plots are freed."""
    run, watched = running
    page = watched.page

    def requests() -> int:
        return sum("figures.json" in url for url in watched.requests)

    page.wait_for_timeout(500)
    assert requests() == 0
    page.locator("#settings").scroll_into_view_if_needed()
    expect(page.locator("#settings .canvas")).not_to_have_count(0)
    for section in ("#search", "#settings"):
        watched.plot(section)
    for lpips in (0.19, 0.18):
        number = report_new_best(run, lpips)
        expect(page.locator("#result .lineup")).to_contain_text(f"trial {number}")
    assert requests() == 1
    with page.expect_response("**/figures.json*"):
        page.evaluate("requested.atMs = -Infinity")  # as if a minute had passed
    assert requests() == 2
    for _ in range(2):
        page.wait_for_function("drawn.size === document.querySelectorAll('.canvas').length")
        page.evaluate("fill('settings')")
    assert watched.errors == []


def test_updates_wait_while_a_number_is_typed(running: tuple[Path, Watched]) -> None:
    """While a number is typed only the badge changes; a dialog returns the focus on closing."""
    run, watched = running
    page, lineup = watched.page, watched.page.locator("#result .lineup")
    page.get_by_role("button", name="Filter by score or parameter").click()
    page.locator("#filter-0-high").fill("0.9")
    number = report_new_best(run, 0.17)
    expect(page.locator("#state")).to_contain_text("new best trial")
    assert f"trial {number}" not in lineup.inner_text() and focus(page) == "filter-0-high"
    page.locator("#sort").focus()
    expect(lineup).to_contain_text(f"trial {number}")
    expect(page.locator("#state")).not_to_contain_text("new best trial")
    assert page.locator("#filter-0-high").input_value() == "0.9"

    page.locator(f"#open-{number}").focus()
    page.keyboard.press("Enter")
    newest = report_new_best(run, 0.16)
    expect(lineup).to_contain_text(f"trial {newest}")
    page.keyboard.press("Escape")
    expect(page.locator(f"#open-{number}")).to_be_focused()
    assert watched.errors == [] and watched.foreign_requests == []

    page.route("**/page_data.json", lambda route: route.fulfill(status=500))
    expect(page.locator("#state")).to_contain_text("the server answers 500")
    page.unroute("**/page_data.json")
    expect(page.locator("#state")).to_contain_text("of 40 trials")
