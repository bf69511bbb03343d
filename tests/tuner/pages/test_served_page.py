"""A served report in a real Chromium: it follows its run, and leaves alone what is held."""

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
    """While the run goes on its page takes in what is new, from its own address only."""
    run = made_run(tmp_path / "run", pictures, trials=16, over=False)
    with served(LiveReport(run).site()) as url, chromium() as seen:
        page = seen.open(url)
        assert "not finished" in page.locator("#state").inner_text()
        study = RunStudy.open(run, goals=load_results(run).goals)
        study.note("over", "all trials are done")
        expect(page.locator("#state")).to_contain_text("finished", timeout=4000 * REFRESH_S)
        expect(page.locator("#state")).not_to_contain_text("not")
        seen.plot("#search")
        assert seen.errors == []
        assert seen.left == []


def test_a_run_that_is_resumed_is_followed_again(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that has shown the end looks on, only less often."""
    monkeypatch.setattr("tuner.pages.report.page.REFRESH_S", 0.2)
    run = made_run(tmp_path / "run", pictures, trials=8)
    study = RunStudy.open(run, goals=load_results(run).goals)
    with served(LiveReport(run).site()) as url, chromium() as seen:
        page = seen.open(url)
        assert page.locator("#state").inner_text() == "finished"
        study.note("over", None)
        expect(page.locator("#state")).to_contain_text("not finished")
        study.note("over", "all trials are done")
        expect(page.locator("#state")).to_have_text("finished")
        page.route("**/page_data.json", lambda route: route.abort())
        with page.expect_request("**/page_data.json"):
            pass
        assert page.locator("#state").inner_text() == "finished"  # which stays true


def test_every_control_of_a_served_page(tmp_path: Path, pictures: Path) -> None:
    """Its pictures come when they are asked for, whatever is sorted, filtered, picked or opened."""
    run = made_run(tmp_path / "run", pictures, trials=30, pairs=2)
    with served(LiveReport(run).site()) as url, chromium() as seen:
        page = seen.open(url)
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
        assert seen.errors == [] and seen.left == []


def reports_a_new_best(run: Path, lpips: float) -> int:
    """One more trial of a run, better than all others; returns its number."""
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
    """A run that is not over, and a browser at its page, which asks for news all the time."""
    monkeypatch.setattr("tuner.pages.report.page.REFRESH_S", 0.2)
    run = made_run(tmp_path / "run", pictures, trials=40, over=False)
    with served(LiveReport(run).site()) as url, chromium() as seen:
        seen.open(url)
        yield run, seen


def zoom(page: Page, canvas: Locator) -> None:
    """Draw a frame in a plot."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_timeout(400)


def test_news_leave_the_page_as_it_is_held(running: tuple[Path, Watched]) -> None:
    """News come though controls are used, and keep focus, zoom, open details and the slider."""
    run, seen = running
    page = seen.page
    plot = page.locator("#search .canvas").first
    seen.plot("#search")
    zoom(page, plot)
    before = plot.evaluate("(canvas) => canvas._fullLayout.xaxis.range")
    points = "(canvas) => canvas.data.flatMap((trace) => trace.x).length"
    drawn = plot.evaluate(points)
    page.locator("#whole-job summary").click()
    page.locator("#edge-result").press("ArrowRight")
    page.locator(".card .pick input").first.check()
    page.locator("#sort").select_option("trial")
    page.locator("#sort").focus()

    number = reports_a_new_best(run, 0.2)
    expect(page.locator("#result .lineup")).to_contain_text(f"trial {number}")
    assert focus(page) == "sort" and page.locator("#sort").input_value() == "trial"
    assert page.locator("#whole-job").get_attribute("open") is not None
    assert page.locator("#edge-result").input_value() == "51"
    assert page.locator(".card .pick input:checked").count() == 1
    assert plot.evaluate(points) > drawn
    assert plot.evaluate("(canvas) => canvas._fullLayout.xaxis.range") == before
    assert seen.errors == [] and seen.left == []


def test_news_ask_for_figures_seldom(running: tuple[Path, Watched]) -> None:
    """Optuna draws when the settings are looked at, once a minute at most; no plot is left over."""
    run, seen = running
    page = seen.page

    def asked() -> int:
        return sum("figures.json" in url for url in seen.requests)

    page.wait_for_timeout(500)
    assert asked() == 0
    page.locator("#settings").scroll_into_view_if_needed()
    expect(page.locator("#settings .canvas")).not_to_have_count(0)
    for section in ("#search", "#settings"):
        seen.plot(section)
    for lpips in (0.19, 0.18):
        number = reports_a_new_best(run, lpips)
        expect(page.locator("#result .lineup")).to_contain_text(f"trial {number}")
    assert asked() == 1
    with page.expect_response("**/figures.json*"):
        page.evaluate("requested.atMs = -Infinity")  # as a minute later
    assert asked() == 2
    for _ in range(2):
        page.wait_for_function("drawn.size === document.querySelectorAll('.canvas').length")
        page.evaluate("fill('settings')")
    assert seen.errors == []


def test_news_wait_for_whoever_types(running: tuple[Path, Watched]) -> None:
    """While a number is typed only the badge changes; a dialog gives focus back when it closes."""
    run, seen = running
    page, lineup = seen.page, seen.page.locator("#result .lineup")
    page.get_by_role("button", name="Filter by score or parameter").click()
    page.locator("#filter-0-high").fill("0.9")
    number = reports_a_new_best(run, 0.17)
    expect(page.locator("#state")).to_contain_text("new best trial")
    assert f"trial {number}" not in lineup.inner_text() and focus(page) == "filter-0-high"
    page.locator("#sort").focus()
    expect(lineup).to_contain_text(f"trial {number}")
    expect(page.locator("#state")).not_to_contain_text("new best trial")
    assert page.locator("#filter-0-high").input_value() == "0.9"

    page.locator(f"#open-{number}").focus()
    page.keyboard.press("Enter")
    newest = reports_a_new_best(run, 0.16)
    expect(lineup).to_contain_text(f"trial {newest}")
    page.keyboard.press("Escape")
    expect(page.locator(f"#open-{number}")).to_be_focused()
    assert seen.errors == [] and seen.left == []

    page.route("**/page_data.json", lambda route: route.fulfill(status=500))
    expect(page.locator("#state")).to_contain_text("the server answers 500")
    page.unroute("**/page_data.json")
    expect(page.locator("#state")).to_contain_text("of 40 trials")
