"""Gallery of the report page in a browser: cards, filters, and trials that are picked."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from benchmarks.support.made_run import made_run
from tests.tuner.browser import announced, chromium, focus, needs_chromium, title
from tuner.pages.report.page import write_report
from tuner.results.results import load_results

pytestmark = needs_chromium


def test_trials_are_filtered_by_an_option(report: str) -> None:
    """A parameter without numbers is filtered by its options."""
    with chromium() as watched:
        page = watched.open(report)
        page.locator("#more").click()
        page.get_by_role("button", name="Filter by score or parameter").click()
        page.locator("#filter-0-by").select_option("style_set")
        sets = page.evaluate("pageData.trials.map(({ params }) => params.style_set)")
        values = [name for name in sets if name is not None]
        assert page.locator(".card").count() == len(values)
        page.locator("#filter-0-is").select_option(values[0])
        assert page.locator(".card").count() == values.count(values[0]) < len(values)
        page.locator("#filter-0-is").select_option("anything")
        assert page.locator(".card").count() == len(values)
        assert watched.errors == []


def test_the_gallery_changes_the_pair(report: str) -> None:
    """The pair chosen in the gallery applies to all cards and to the first screen."""
    with chromium() as watched:
        page = watched.open(report)
        page.evaluate("picture = (key) => `data:,${key}`")
        page.locator("#pair-trials").focus()
        page.locator("#pair-trials").select_option("1")
        assert focus(page) == "pair-trials"
        sources = page.locator(".card .open img").evaluate_all("all => all.map((i) => i.src)")
        assert len(sources) > 10
        assert all(re.fullmatch(r"data:,t\d+p1", source) for source in sources)
        assert page.locator("#pair-result").input_value() == "1"
        assert watched.errors == []


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> str:
    """The report of a run with more trials than one page of cards."""
    run = tmp_path_factory.mktemp("many") / "run"
    made_run(run, pictures, trials=130)
    write_report(load_results(run), run / "report.html")
    return (run / "report.html").as_uri()


def test_more_cards_are_shown_on_request(many: str) -> None:
    """The button shows more cards and moves the focus to the first new one."""
    with chromium() as watched:
        page = watched.open(many)
        for count in (20, 80):
            assert page.locator(".card").count() == count
            page.locator("#more").focus()
            page.keyboard.press("Enter")
            assert focus(page) == page.locator(".card .open").nth(count).get_attribute("id")
        assert page.locator(".card").count() == 130 and not page.locator("#more").is_visible()
        assert watched.errors == []


def test_cards_have_an_accessible_name(report: str) -> None:
    """The name of a card has score, gain, rank, trial, steps and state."""
    with chromium() as watched:
        page = watched.open(report)
        page.locator("#more").click()
        states = {"complete": "complete", "pruned": "stopped early", "failed": "failed"}
        trials = page.evaluate("pageData.trials")
        assert {trial["state"] for trial in trials} == set(states)
        for trial in trials:
            name = f"preset {trial['preset']}" if trial["preset"] else f"trial {trial['trial']}"
            words = [name, states[trial["state"]]]
            if trial["rank"]:
                gain = "compared with the untouched photo"
                words = ["LPIPS", "%", gain, f"#{trial['rank']}", *words]
                words.insert(-1, f"{trial['steps']} steps")
            pattern = re.compile(".*".join(map(re.escape, words)))
            card = page.locator(f"#open-{trial['trial']}")
            expect(card).to_have_accessible_name(pattern)
            assert states[trial["state"]] == card.get_attribute("title")
        names = page.locator(".card .pick").all_text_contents()
        assert page.locator(".card").get_by_role("checkbox").count() == len(names)
        assert len(names) == sum(bool(trial["rank"]) for trial in trials) == len(set(names))
        assert all(re.match(r"compare (trial|preset) ", name) for name in names)


def test_two_trials_are_picked_by_keyboard(report: str) -> None:
    """Picks are announced, Tab leads from the last one to Compare, Clear returns the focus.

    Any number of trials can be picked; two of them can be compared.
    """
    with chromium() as watched:
        page = watched.open(report)
        picks = page.locator(".card .pick input")
        names = [
            (label.text_content() or "").removeprefix("compare ")
            for label in page.locator(".card .pick").all()[:4]
        ]
        for index in (0, 1, 3):
            picks.nth(index).focus()
            page.keyboard.press("Space")
            if index == 0:
                assert announced(page) == f"{names[0]} is picked, pick one more trial to compare"
        assert announced(page) == "3 trials are picked; to compare, pick two"
        assert page.locator("#compare-picked").is_disabled()
        picks.nth(0).focus()
        page.keyboard.press("Space")
        assert announced(page) == f"{names[0]} is no longer picked"
        assert page.locator(".card .pick input:checked").count() == 2
        page.keyboard.press("Tab")
        assert focus(page) == "compare-picked"
        page.keyboard.press("Enter")
        assert title(page) == f"{names[1]} and {names[3]}"
        page.keyboard.press("Escape")
        expect(page.locator("#compare-picked")).to_be_focused()
        page.locator("#sort").select_option("trial")  # which draws the cards again
        assert page.locator("#picked").is_visible()
        page.locator("#clear-picked").focus()
        page.keyboard.press("Enter")
        assert not page.locator("#picked").is_visible()
        assert focus(page).startswith("pick-") and announced(page) == "no trial is picked"
        assert page.locator(".card .pick input:checked").count() == 0
        page.keyboard.press("Space")
        page.keyboard.press("Space")
        assert announced(page).endswith("is no longer picked")
        assert watched.errors == []


def test_a_pick_is_marked_everywhere(report: str) -> None:
    """A trial that is picked in the table, on a card or in a plot is marked in all of them."""
    with chromium() as watched:
        page = watched.open(report)
        watched.plot("#search")
        first = page.evaluate("rankedTrials().find(({ rank }) => rank === 1).trial")
        page.locator(f"#pick-row-{first}").check()
        expect(page.locator(f"#pick-{first}")).to_be_checked()
        marked = "all => all.map(({ dataset }) => Number(dataset.trial))"
        assert page.locator(".card.selected").evaluate_all(marked) == [first]
        assert page.locator("tr.selected").evaluate_all(marked) == [first]
        in_plot = (
            "[...document.querySelector('#search .canvas').data].flatMap("
            "({ customdata, selectedpoints }) => (selectedpoints ?? []).map((i) => customdata[i]))"
        )
        page.wait_for_function(f"{in_plot}.join() === '{first}'")
        page.evaluate(
            "pickOnly(rankedTrials().filter(({ rank }) => rank <= 3).map(({ trial }) => trial))"
        )
        assert page.locator("tr.selected").count() == 3
        page.wait_for_function(f"{in_plot}.length === 3")
        page.locator("#clear-picked").click()
        assert page.locator(".selected").count() == 0
        assert watched.errors == []


def test_phones_show_few_cards_first(report: str) -> None:
    """On a phone eight cards come first; the plot that needs room is left out and says so."""
    with chromium(width=390, height=800) as watched:
        page = watched.open(report)
        assert page.locator(".card").count() == 8
        assert "needs a wider window" in page.locator("#settings").inner_text()
        boxes = page.locator("#reproduce .command code").evaluate_all(
            "all => all.map(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)"
        )
        assert all(cut <= 0 for cut in boxes)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_trials_are_filtered_by_score(report: str) -> None:
    """Trials can be limited by the objective, by another score and by rank."""
    with chromium() as watched:
        page = watched.open(report)
        scores = page.evaluate(
            "pageData.trials.map(({ objective }) => objective).filter(Boolean).sort()"
        )
        page.get_by_role("button", name="Filter by score or parameter").click()
        assert focus(page) == "filter-0-by"
        page.locator("#filter-0-high").fill(str(scores[9]))
        assert page.locator(".card").count() == sum(score <= scores[9] for score in scores)
        page.locator("#filter-0-by").focus()
        page.locator("#filter-0-by").select_option("rank")
        assert focus(page) == "filter-0-by"
        page.locator("#filter-0-high").fill("3")
        assert page.locator(".card").count() == 3
        page.locator("#filter-0-by").select_option("score ssim")
        page.locator("#filter-0-low").fill("1")
        assert page.locator(".card").count() == 0
        page.get_by_role("button", name="Remove the filter by SSIM").click()
        assert focus(page) == "add-filter"
        assert watched.errors == []
