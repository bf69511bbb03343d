"""The report in a real Chromium: every control used, nothing said, nothing asked for."""

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from benchmarks.made_run import made_run
from tests.tuner.browser import Watched, chromium, needs_chromium
from tuner.report.live import LiveReport
from tuner.report.page import LOOK_S, write_report
from tuner.results import load_results
from tuner.study import RunStudy
from tuner.web import Site

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> str:
    """A finished run's report, as an address."""
    run = tmp_path_factory.mktemp("page") / "run"
    made_run(run, pictures, trials=30, pairs=2, holdout=1)
    write_report(load_results(run), run / "report.html")
    return (run / "report.html").as_uri()


@contextmanager
def served(site: Site) -> Iterator[str]:
    """A site under way."""
    thread = threading.Thread(target=site.serve, args=(lambda _: None,), kwargs={"show": False})
    thread.start()
    try:
        yield site.url
    finally:
        site.stop()
        thread.join()


def test_every_control(report: str) -> None:
    """Compare, sort, filter, open, pick two, change pair and colours: no error, no request."""
    with chromium() as seen:
        page = seen.open(report)
        page.locator("#result .compare input").press("ArrowRight")
        assert "51%" in (page.locator("#result .compare").get_attribute("style") or "")
        page.locator("#result .lineup button").nth(2).click()
        assert page.locator("#result .compare .left").inner_text() == "the reference"

        page.get_by_label("Sort by").select_option("trial")
        assert "trial 29" not in page.locator(".card").first.inner_text()
        page.get_by_role("button", name="Lowest first").click()
        assert "trial 29" in page.locator(".card").first.inner_text()
        page.get_by_role("button", name="stopped early").click()
        pruned = page.locator(".card").count()
        assert 0 < pruned < 30 and f"{pruned} of 30" in page.locator("#count").inner_text()
        page.get_by_role("button", name="stopped early").click()
        page.get_by_role("button", name="Filter by score or setting").click()
        page.locator("#filters select").first.select_option("lr")
        page.locator("#filters input").first.fill("0.02")
        assert 0 < page.locator(".card").count() < 30
        page.get_by_role("button", name="Remove the filter").click()
        assert page.locator(".card").count() == 30

        page.locator(".card .open").first.click()
        first = page.locator("#dialog-title").inner_text()
        page.keyboard.press("ArrowRight")
        assert page.locator("#dialog-title").inner_text() != first
        page.locator("#dialog").get_by_label("Compare with").select_option("reference")
        page.keyboard.press("Escape")
        assert not page.locator("#dialog").is_visible()

        for index in (0, 1):
            page.locator(".card .pick input").nth(index).check()
        page.get_by_role("button", name="Compare", exact=True).click()
        assert "Where their settings differ" in page.locator("#dialog").inner_text()
        page.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Clear").click()
        assert not page.locator("#picked").is_visible()

        page.locator("#result").get_by_label("Pair").select_option("1")
        page.locator("#theme").click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        for section in ("#search", "#settings"):
            seen.plot(section)
        for summary in page.locator("summary").all():
            summary.click()
        assert seen.errors == []
        assert seen.left == []


def focus(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id"))


def test_trials_are_filtered_by_score(report: str) -> None:
    """Only those at least this good, by the objective, another score, or their rank."""
    with chromium() as seen:
        page = seen.open(report)
        scores = page.evaluate("facts.trials.map((one) => one.objective).filter(Boolean).sort()")
        page.get_by_role("button", name="Filter by score or setting").click()
        assert focus(page) == "filter-0-by"
        page.locator("#filter-0-high").fill(str(scores[9]))
        assert page.locator(".card").count() == sum(score <= scores[9] for score in scores)
        page.locator("#filter-0-by").focus()
        page.locator("#filter-0-by").select_option("rank")
        assert focus(page) == "filter-0-by"
        page.locator("#filter-0-high").fill("3")
        assert page.locator(".card").count() == 3
        page.locator("#filter-0-by").select_option("ssim")
        page.locator("#filter-0-low").fill("1")
        assert page.locator(".card").count() == 0
        page.get_by_role("button", name="Remove the filter by ssim").click()
        assert focus(page) == "add-filter"
        assert seen.errors == []


def test_the_dialog_is_used_by_keyboard(report: str) -> None:
    """Arrow keys go on from trial to trial, the pair changes in the dialog, and focus stays."""
    with chromium() as seen:
        page = seen.open(report)
        page.locator(".card .open").nth(1).focus()
        page.keyboard.press("Enter")
        titles = [page.locator("#dialog-title").inner_text()]
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
            titles.append(page.locator("#dialog-title").inner_text())
        assert len(set(titles[:4])) == 4 and titles[4:] == [titles[2], titles[1]]
        for _ in range(3):  # to the first trial, where there is none before
            page.keyboard.press("ArrowLeft")
        assert page.locator("#step-1").is_disabled()
        page.keyboard.press("ArrowRight")
        assert page.locator("#dialog-title").inner_text() == titles[0]

        page.evaluate("picture = (key) => `data:,${key}`")  # so that it can be told which it is
        page.locator("#dialog .compare input").press("ArrowRight")
        page.locator("#pair-dialog").focus()
        page.locator("#pair-dialog").select_option("1")
        assert focus(page) == "pair-dialog"
        for side, key in (("before", r"content1"), ("after", r"t\d+p1")):
            source = page.locator(f"#dialog .{side}").get_attribute("src")
            assert re.fullmatch(f"data:,{key}", source or "")
        assert "51%" in (page.locator("#dialog .compare").get_attribute("style") or "")
        page.keyboard.press("Escape")
        expect(page.locator(":focus")).to_have_id(re.compile("open-"))
        assert page.locator("#pair-result").input_value() == "1"
        assert seen.errors == []


def test_the_first_screen_compares_by_the_pair(report: str) -> None:
    """Beside a pair's untouched score stand what the best and the preset score on that pair."""
    with chromium() as seen:
        page = seen.open(report)
        page.evaluate(
            "facts.pairs.forEach((one, index) => Object.assign(one,"
            " { best: 7 + index, preset: 8 + index, untouched: 9 + index }))"
        )
        for pair in (1, 0):
            page.locator("#pair-result").focus()
            page.locator("#pair-result").select_option(str(pair))
            assert focus(page) == "pair-result"
            said = page.locator("#result .lineup").inner_text()
            assert all(f"lpips {value + pair}" in said for value in (7, 8, 9))
        page.evaluate("facts.pairs[1].best = null; facts.pairs[1].preset = null")
        page.locator("#pair-result").select_option("1")
        assert page.locator("#result .lineup").inner_text().count("on average") == 2
        assert seen.errors == []


def test_every_plot_has_a_name_of_its_own(report: str) -> None:
    """What a screen reader says of a plot tells it from the others."""
    with chromium() as seen:
        page = seen.open(report)
        labels = page.locator(".canvas").evaluate_all(
            "all => all.map((one) => one.getAttribute('aria-label'))"
        )
        assert len(labels) > 5 and len(set(labels)) == len(labels)
        assert all(re.match(r"\w[\w ]+[.:] \w", label) for label in labels)


@pytest.mark.slow
def test_on_a_phone_nothing_is_cut_off(report: str) -> None:
    """At phone width the page does not scroll sideways."""
    with chromium(width=375, height=740, scheme="dark") as seen:
        page = seen.open(report)
        seen.plot("#search")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert seen.errors == []


@pytest.mark.slow
def test_a_trade_off_shows_pictures(tmp_path: Path, pictures: Path) -> None:
    """With two objectives the points of the front are thumbnails that open their trial."""
    goals = {"objective": ["lpips", "seconds_per_image"]}
    run = made_run(tmp_path / "run", pictures, trials=20, **goals)
    write_report(load_results(run), tmp_path / "report.html")
    with chromium() as seen:
        page = seen.open((tmp_path / "report.html").as_uri())
        seen.plot("#search")
        assert page.locator("#search image").count() >= 2
        assert seen.errors == []


def test_what_breaks_a_bound_is_not_called_beaten_or_best(tmp_path: Path, pictures: Path) -> None:
    """The line of the best keeps the bounds, and the trade-off tells the three kinds apart."""
    goals = {
        "objective": ["lpips", "seconds_per_image"],
        "constraints": {"psnr": ">= 5"},  # of made-up scores all rise and fall together
    }
    run = made_run(tmp_path / "run", pictures, trials=40, **goals)
    write_report(load_results(run), tmp_path / "report.html")
    with chromium() as seen:
        page = seen.open((tmp_path / "report.html").as_uri())
        kinds = {
            trace["name"]: set(trace["customdata"])
            for trace in page.evaluate(
                "front().data.map(({name, customdata}) => ({name, customdata}))"
            )
        }
        trials = page.evaluate("facts.trials.filter((one) => one.rank)")
        broken = {one["trial"] for one in trials if one["broken"]}
        on_front = {one["trial"] for one in trials if one["front"]}
        assert broken and on_front and not broken & on_front
        assert kinds["breaks a bound"] == broken and kinds["the trade-off"] == on_front
        assert kinds["beaten in everything"] == {o["trial"] for o in trials} - broken - on_front
        kept = [one["objective"] for one in trials if not one["broken"]]
        assert page.evaluate("history().data.at(-1).y.at(-1)") == min(kept)
        assert seen.errors == []


def test_script_laden_names_do_nothing(tmp_path: Path, pictures: Path) -> None:
    """Markup in a job's name, a space's parameters and an image's name is shown as text."""
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    hostile = "lr@<img src=x onerror=alert(4)>"
    space = tmp_path / "space.yaml"
    space.write_text(
        f"name: made\nwhy: '{evil}'\nparams:\n"
        f"  '{hostile}': {{low: 0.01, high: 0.1, log: true}}\n"
        "  tv_weight: {low: 0.1, high: 10, log: true}\n"
    )
    picture = tmp_path / "<img src=x onerror=alert(3)>.png"
    picture.write_bytes((pictures / "content.png").read_bytes())
    pair = {role: str(pictures / f"{role}.png") for role in ("style", "reference")}
    run = made_run(
        tmp_path / "run",
        pictures,
        trials=14,
        name=evil,
        space=str(space),
        pairs_=[{"content": str(picture), **pair}],
    )
    study = RunStudy.open(run, goals=load_results(run).goals, sampler="random", seed=0)
    study.note("over", f"because {evil}")
    study.note("environment", {"platform": evil, "packages": {evil: evil}})
    write_report(load_results(run), tmp_path / "report.html")
    with chromium() as seen:
        page = seen.open((tmp_path / "report.html").as_uri())
        for section in ("#search", "#settings"):
            seen.plot(section)
        page.get_by_role("button", name="Filter by score or setting").click()
        page.locator("#filter-0-by").select_option(hostile)
        page.locator(".card .open").first.click()
        assert hostile in page.locator("#dialog").inner_text()
        assert page.locator("h1").inner_text() == evil
        assert page.locator("img[src=x]").count() == 0
        assert seen.errors == []
        assert seen.left == []


def test_a_served_page_follows_the_run(tmp_path: Path, pictures: Path) -> None:
    """While the run goes on its page takes in what is new, from its own address only."""
    run = made_run(tmp_path / "run", pictures, trials=16, over=False)
    with served(LiveReport(run).site()) as url, chromium() as seen:
        page = seen.open(url)
        assert "not finished" in page.locator("#state").inner_text()
        study = RunStudy.open(run, goals=load_results(run).goals, sampler="random", seed=0)
        study.note("over", "all trials are done")
        expect(page.locator("#state")).to_contain_text("finished", timeout=4000 * LOOK_S)
        expect(page.locator("#state")).not_to_contain_text("not")
        seen.plot("#search")
        assert seen.errors == []
        assert seen.left == []


def reports_a_new_best(run: Path, lpips: float) -> int:
    """One more trial of a run, better than all others; returns its number."""
    results = load_results(run)
    study = RunStudy.open(run, goals=results.goals, sampler="random", seed=0)
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
    monkeypatch.setattr("tuner.report.page.LOOK_S", 0.2)
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
        page.evaluate("asked.atMs = -Infinity")  # as a minute later
    assert asked() == 2
    for _ in range(2):
        assert page.evaluate("drawn.size") == page.locator(".canvas").count()
        page.evaluate("fill('settings')")
    assert seen.errors == []


def test_news_wait_for_whoever_types(running: tuple[Path, Watched]) -> None:
    """While a number is typed only the badge changes; a dialog gives focus back when it closes."""
    run, seen = running
    page, lineup = seen.page, seen.page.locator("#result .lineup")
    page.get_by_role("button", name="Filter by score or setting").click()
    page.locator("#filter-0-high").fill("0.9")
    number = reports_a_new_best(run, 0.17)
    expect(page.locator("#state")).to_contain_text("a new best")
    assert f"trial {number}" not in lineup.inner_text() and focus(page) == "filter-0-high"
    page.locator("#sort").focus()
    expect(lineup).to_contain_text(f"trial {number}")
    expect(page.locator("#state")).not_to_contain_text("a new best")
    assert page.locator("#filter-0-high").input_value() == "0.9"

    page.locator(f"#open-{number}").focus()
    page.keyboard.press("Enter")
    newest = reports_a_new_best(run, 0.16)
    expect(lineup).to_contain_text(f"trial {newest}")
    page.keyboard.press("Escape")
    expect(page.locator(f"#open-{number}")).to_be_focused()
    assert seen.errors == [] and seen.left == []

    page.route("**/facts.json", lambda route: route.fulfill(status=500))
    expect(page.locator("#state")).to_contain_text("the server answers 500")
    page.unroute("**/facts.json")
    expect(page.locator("#state")).to_contain_text("of 40 trials")
