"""The report in a real Chromium: every control used, nothing said, nothing asked for."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from benchmarks.support.made_run import made_run
from tests.tuner.browser import chromium, focus, needs_chromium, said, title
from tuner.pages.report.page import write_report
from tuner.results.results import load_results

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> str:
    """A finished run's report, as an address."""
    run = tmp_path_factory.mktemp("page") / "run"
    made_run(run, pictures, trials=30, pairs=2, holdout=1)
    write_report(load_results(run), run / "report.html")
    return (run / "report.html").as_uri()


def test_every_control(report: str) -> None:
    """Compare, sort, filter, open, pick two, change pair and colours: no error, no request."""
    with chromium() as seen:
        page = seen.open(report)
        page.locator("#result .compare input").press("ArrowRight")
        assert "51%" in (page.locator("#result .compare").get_attribute("style") or "")
        page.locator("#result .lineup button").nth(2).click()
        assert page.locator("#result .compare .left").inner_text() == "reference"

        page.get_by_label("Sort by").select_option("trial")
        assert "trial 29" not in page.locator(".card").first.inner_text()
        page.get_by_role("button", name="Lowest first").click()
        assert "trial 29" in page.locator(".card").first.inner_text()
        page.get_by_role("group", name="Show only").get_by_text("stopped early").click()
        pruned = page.locator(".card").count()
        assert 0 < pruned < 30 and f"{pruned} of 30" in page.locator("#count").inner_text()
        page.get_by_role("group", name="Show only").get_by_text("stopped early").click()
        page.get_by_role("button", name="Filter by score or parameter").click()
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
        assert "Different parameters" in page.locator("#dialog").inner_text()
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


def test_links_lead_to_their_sections(report: str) -> None:
    """The first Tab offers to skip the bar, whose links each bring their section into view."""
    with chromium() as seen:
        page = seen.open(report)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert focus(page) == "main"
        links = page.locator("#nav a")
        assert links.count() == 7
        for link in links.all():
            section = (link.get_attribute("href") or "").removeprefix("#")
            link.click()
            assert page.evaluate("location.hash") == f"#{section}"
            expect(page.locator(f"#{section}")).to_be_in_viewport()
            page.wait_for_function(
                "(id) => { const { top } = document.getElementById(id).getBoundingClientRect();"
                " return top >= 0 && top < innerHeight; }",
                arg=section,
            )
        assert seen.errors == []


def test_trials_are_filtered_by_an_option(report: str) -> None:
    """A setting that has no numbers is filtered by what it may be."""
    with chromium() as seen:
        page = seen.open(report)
        page.get_by_role("button", name="Filter by score or parameter").click()
        page.locator("#filter-0-by").select_option("style_scheme")
        schemes = page.evaluate("pageData.trials.map((one) => one.params.style_scheme)")
        known = [scheme for scheme in schemes if scheme is not None]
        assert page.locator(".card").count() == len(known)
        page.locator("#filter-0-is").select_option(known[0])
        assert page.locator(".card").count() == known.count(known[0]) < len(known)
        page.locator("#filter-0-is").select_option("anything")
        assert page.locator(".card").count() == len(known)
        assert seen.errors == []


def test_the_gallery_changes_the_pair(report: str) -> None:
    """Its choice of pair changes the pictures of all cards, and the choice on the first screen."""
    with chromium() as seen:
        page = seen.open(report)
        page.evaluate("picture = (key) => `data:,${key}`")
        page.locator("#pair-trials").focus()
        page.locator("#pair-trials").select_option("1")
        assert focus(page) == "pair-trials"
        sources = page.locator(".card .open img").evaluate_all("all => all.map((i) => i.src)")
        assert len(sources) > 10
        assert all(re.fullmatch(r"data:,t\d+p1", source) for source in sources)
        assert page.locator("#pair-result").input_value() == "1"
        assert seen.errors == []


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> str:
    """The report of a run with more trials than are shown at once."""
    run = tmp_path_factory.mktemp("many") / "run"
    made_run(run, pictures, trials=130)
    write_report(load_results(run), run / "report.html")
    return (run / "report.html").as_uri()


def test_more_trials_are_shown_when_asked_for(many: str) -> None:
    """Each time the focus goes to the first new one, also when the button goes."""
    with chromium() as seen:
        page = seen.open(many)
        for shown in (60, 120):
            assert page.locator(".card").count() == shown
            page.locator("#more").focus()
            page.keyboard.press("Enter")
            assert focus(page) == page.locator(".card .open").nth(shown).get_attribute("id")
        assert page.locator(".card").count() == 130 and not page.locator("#more").is_visible()
        assert seen.errors == []


def test_commands_are_copied(report: str) -> None:
    """The button says so and it is read aloud; where that is forbidden, the text is selected."""
    with chromium() as seen:
        page = seen.open(report)
        page.evaluate(
            "() => { navigator.clipboard.writeText = async (it) => { window.it = it; }; }"
        )
        button = page.get_by_role("button", name="Copy the command: Save the preset")
        button.click()
        command = page.locator("#reproduce .command code").nth(1).inner_text()
        assert command.startswith("nst-tuner export") and page.evaluate("it") == command
        expect(page.locator("#copy-1")).to_contain_text("Copied")
        assert said(page) == "Copied: Save the preset"
        expect(button).to_be_visible(timeout=8000)  # it says again what it does
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(Error()); }")
        button.click()
        expect(page.locator("#copy-1")).to_contain_text("Selected")
        assert page.evaluate("getSelection().toString()") == command
        assert seen.errors == []


def test_cards_say_what_they_show(report: str) -> None:
    """Score, gain, rank, state and steps are in a card's name, and the state in its text."""
    with chromium() as seen:
        page = seen.open(report)
        states = {"complete": "complete", "pruned": "stopped early", "failed": "failed"}
        trials = page.evaluate("pageData.trials")
        assert {one["state"] for one in trials} == set(states)
        for one in trials:
            name = f"preset {one['preset']}" if one["preset"] else f"trial {one['trial']}"
            words = [name, states[one["state"]]]
            if one["rank"]:
                gain = "compared with the untouched content"
                words = ["lpips", "%", gain, f"#{one['rank']}", *words]
                words.insert(-1, f"{one['steps']} steps")
            pattern = re.compile(".*".join(map(re.escape, words)))
            card = page.locator(f"#open-{one['trial']}")
            expect(card).to_have_accessible_name(pattern)
            assert states[one["state"]] in card.inner_text()
        names = page.locator(".card .pick").all_text_contents()
        assert page.get_by_role("checkbox").count() == len(names)
        assert len(names) == sum(bool(one["rank"]) for one in trials) == len(set(names))
        assert all(re.match(r"compare (trial|preset) ", name) for name in names)


def test_two_are_picked_by_keyboard(report: str) -> None:
    """Picks are read aloud, Tab leads from the last to Compare, and Clear gives focus back."""
    with chromium() as seen:
        page = seen.open(report)
        picks = page.locator(".card .pick input")
        names = [
            (label.text_content() or "").removeprefix("compare ")
            for label in page.locator(".card .pick").all()[:4]
        ]
        for index in (0, 1, 3):
            picks.nth(index).focus()
            page.keyboard.press("Space")
            if index == 0:
                assert said(page) == f"{names[0]} is picked, pick one more trial"
        assert said(page) == f"{names[1]} and {names[3]} are picked"
        assert page.locator(".card .pick input:checked").count() == 2
        page.keyboard.press("Tab")
        assert focus(page) == "compare-picked"
        page.keyboard.press("Enter")
        assert title(page) == f"{names[1]} and {names[3]}"
        page.keyboard.press("Escape")
        expect(page.locator("#compare-picked")).to_be_focused()
        page.locator("#sort").select_option("trial")  # which makes the cards anew
        assert page.locator("#picked").is_visible()
        page.locator("#clear-picked").focus()
        page.keyboard.press("Enter")
        assert not page.locator("#picked").is_visible()
        assert focus(page).startswith("pick-") and said(page) == "no trial is picked"
        assert page.locator(".card .pick input:checked").count() == 0
        page.keyboard.press("Space")
        page.keyboard.press("Space")
        assert said(page).endswith("is no longer picked")
        assert seen.errors == []


def test_trials_are_filtered_by_score(report: str) -> None:
    """Only those at least this good, by the objective, another score, or their rank."""
    with chromium() as seen:
        page = seen.open(report)
        scores = page.evaluate("pageData.trials.map((one) => one.objective).filter(Boolean).sort()")
        page.get_by_role("button", name="Filter by score or parameter").click()
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
        assert page.locator("#dialog-announcement").inner_text() == titles[0]
        page.locator("#dialog .scroll").first.focus()  # a table, which these keys scroll
        page.keyboard.press("ArrowRight")
        assert page.locator("#dialog-title").inner_text() == titles[0]
        page.locator("#step1").focus()
        for modifier in ("altKey", "ctrlKey", "metaKey", "shiftKey"):  # the browser's own keys
            page.locator("#step1").dispatch_event(
                "keydown", {"key": "ArrowRight", modifier: True, "bubbles": True}
            )
        assert page.locator("#dialog-title").inner_text() == titles[0]

        page.evaluate("picture = (key) => `data:,${key}`")  # so that it can be told which it is
        page.locator("#dialog .compare input").press("ArrowRight")
        page.locator("#pair-dialog").focus()
        page.locator("#pair-dialog").select_option("1")
        assert focus(page) == "pair-dialog"
        for side, key in (("before", r"content-1"), ("after", r"t\d+p1")):
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
            "pageData.pairs.forEach((one, index) => Object.assign(one,"
            " { best: 7 + index, preset: 8 + index, untouched: 9 + index }))"
        )
        for pair in (1, 0):
            page.locator("#pair-result").focus()
            page.locator("#pair-result").select_option(str(pair))
            assert focus(page) == "pair-result"
            said = page.locator("#result .lineup").inner_text()
            assert all(f"lpips {value + pair}" in said for value in (7, 8, 9))
        page.evaluate("pageData.pairs[1].best = null; pageData.pairs[1].preset = null")
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


def test_every_plot_is_as_dark_as_the_page(report: str) -> None:
    """No plot has a ground of its own, and its notes have a colour of the page's."""
    with chromium(scheme="dark") as seen:
        page = seen.open(report)
        for section in ("#search", "#settings"):
            seen.plot(section)
        layouts = page.locator(".canvas").evaluate_all(
            "all => all.map(({ _fullLayout: { plot_bgcolor, paper_bgcolor, annotations } }) =>"
            " [plot_bgcolor, paper_bgcolor, annotations.map(({ font }) => font.color)])"
        )
        muted = page.evaluate("color('muted')")
        assert all(plot == paper == "transparent" for plot, paper, _ in layouts)
        assert {colour for _, _, colours in layouts for colour in colours} == {muted}
        scales = page.locator("#settings .canvas").evaluate_all(
            "all => all.flatMap(({ data }) => data)"
            ".map(({ marker, colorscale }) => colorscale ?? marker?.colorscale).filter(Boolean)"
        )
        faint_to_strong = page.evaluate("[[0, color('faint')], [1, color('accent')]]")
        assert len(scales) > 5 and all(scale == faint_to_strong for scale in scales)
        lines = page.locator("#settings .canvas").last.evaluate(
            "({ data }) => data.filter(({ mode }) => mode === 'lines')"
            ".map(({ y, line }) => [y[0], line.color])"
        )
        red, green, blue = (
            int(page.evaluate("color('accent')")[at : at + 2], 16) for at in (1, 3, 5)
        )
        assert min(lines)[1] == f"rgb({red},{green},{blue})"  # the best
