"""The report in a real Chromium: every control, without errors and requests."""

import csv
import io
import json
import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.tuner.browser import announced, chromium, focus, needs_chromium

pytestmark = needs_chromium


def test_every_control(report: str) -> None:
    """Compare, sort, filter, open, pick, change pair and theme: no error, no request."""
    with chromium() as watched:
        page = watched.open(report)
        page.locator("#result .compare input").press("ArrowRight")
        assert "51%" in (page.locator("#result .compare").get_attribute("style") or "")
        assert page.locator("#result .compare .left").inner_text() == "reference"
        page.locator("#result .lineup button").first.click()
        assert page.locator("#result .compare .left").inner_text() == "photo"

        page.locator("#more").click()
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
            watched.plot(section)
        for summary in page.locator("summary").all():
            summary.click()
        assert watched.errors == []
        assert watched.foreign_requests == []


def test_links_lead_to_their_sections(report: str) -> None:
    """The first Tab offers to skip the navigation, and each link scrolls to its section."""
    with chromium() as watched:
        page = watched.open(report)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert focus(page) == "main"
        links = page.locator("#nav a")
        assert links.count() == 8
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
        assert watched.errors == []


def test_commands_are_copied(report: str) -> None:
    """The button says that it copied; without access to the clipboard it selects the text."""
    with chromium() as watched:
        page = watched.open(report)
        page.evaluate(
            "() => { navigator.clipboard.writeText = async (it) => { window.copiedText = it; }; }"
        )
        button = page.get_by_role("button", name="Copy the command: Save the preset")
        button.click()
        command = page.locator("#reproduce .command code").nth(1).inner_text()
        assert (
            command.startswith("nst-tuner export") and page.evaluate("window.copiedText") == command
        )
        expect(page.locator("#copy-1")).to_contain_text("Copied")
        assert announced(page) == "Copied: Save the preset"
        expect(button).to_be_visible(timeout=8000)  # the old label is back
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(Error()); }")
        button.click()
        expect(page.locator("#copy-1")).to_contain_text("Selected")
        assert page.evaluate("getSelection().toString()") == command
        assert watched.errors == []


def test_the_table_is_sorted_by_its_headings(report: str) -> None:
    """A heading sorts the table and the cards, a second time the other way round."""
    with chromium() as watched:
        page = watched.open(report)
        column = "#table-rows tr td:nth-child(3)"  # the objective
        for press, descending in (("#by-goal-0", False), ("#by-goal-0", True)):
            page.locator(press).focus()
            page.keyboard.press("Enter")
            assert focus(page) == press.removeprefix("#")
            shown = [text for text in page.locator(column).all_inner_texts() if text != "–"]
            assert len(shown) > 10 and shown == sorted(shown, key=float, reverse=descending)
            assert all(re.fullmatch(r"\d\.\d{4}", text) for text in shown)
        assert page.locator("#sort").input_value() == "goal 0"
        assert watched.errors == []


def test_results_are_downloaded(report: str) -> None:
    """Preset, picture and table come from the file itself, without a request."""
    with chromium() as watched:
        page = watched.open(report)
        files = {}
        for button in ("save-preset", "save-picture", "save-table"):
            with page.expect_download() as download:
                page.locator(f"#{button}").click()
            files[download.value.suggested_filename] = download.value.path().read_bytes()
        assert list(files) == ["made.json", "made-pair0.png", "made-trials.csv"]
        preset, picture, rows = files.values()
        assert json.loads(preset)["config"]["steps"] == 90
        with Image.open(io.BytesIO(picture)) as png:
            assert png.format == "PNG" and png.size == (96, 64)
        table = list(csv.DictReader(io.StringIO(rows.decode())))
        assert len(table) == 30 and table[0]["rank"] == "1"
        assert {"objective", "score_lpips", "param_lr", "reason"} <= table[0].keys()
        assert watched.errors == [] and watched.foreign_requests == []


def test_texts_of_a_table_are_no_formulas(report: str) -> None:
    """Names that a spreadsheet would run are texts in the CSV, and commas and quotes survive."""
    with chromium() as watched:
        page = watched.open(report)
        cells = page.evaluate("['=1+1', '-x', 'a, \"b\"', null, -0.5].map(csvCell)")
        assert cells == ["'=1+1", "'-x", '"a, ""b"""', "", "-0.5"]


def test_the_dialog_works_by_keyboard(report: str) -> None:
    """Arrow keys go from trial to trial, the pair can be changed, and the focus stays."""
    with chromium() as watched:
        page = watched.open(report)
        page.locator(".card .open").nth(1).focus()
        page.keyboard.press("Enter")
        titles = [page.locator("#dialog-title").inner_text()]
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
            titles.append(page.locator("#dialog-title").inner_text())
        assert len(set(titles[:4])) == 4 and titles[4:] == [titles[2], titles[1]]
        for _ in range(3):  # to the first trial
            page.keyboard.press("ArrowLeft")
        assert page.locator("#step-1").is_disabled()
        page.keyboard.press("ArrowRight")
        assert page.locator("#dialog-title").inner_text() == titles[0]
        assert page.locator("#dialog-announcement").inner_text() == titles[0]
        page.locator("#dialog .scroll").first.focus()  # a table, which scrolls by arrow keys
        page.keyboard.press("ArrowRight")
        assert page.locator("#dialog-title").inner_text() == titles[0]
        page.locator("#step1").focus()
        for modifier in ("altKey", "ctrlKey", "metaKey", "shiftKey"):  # keys of the browser
            page.locator("#step1").dispatch_event(
                "keydown", {"key": "ArrowRight", modifier: True, "bubbles": True}
            )
        assert page.locator("#dialog-title").inner_text() == titles[0]

        page.evaluate("picture = (key) => `data:,${key}`")  # makes keys visible
        page.locator("#dialog .compare input").press("ArrowRight")
        page.locator("#pair-dialog").focus()
        page.locator("#pair-dialog").select_option("1")
        assert focus(page) == "pair-dialog"
        for side, key in (("before", r"reference-1"), ("after", r"t\d+p1")):
            source = page.locator(f"#dialog .{side}").get_attribute("src")
            assert re.fullmatch(f"data:,{key}", source or "")
        assert "51%" in (page.locator("#dialog .compare").get_attribute("style") or "")
        page.keyboard.press("Escape")
        expect(page.locator(":focus")).to_have_id(re.compile("open-"))
        assert page.locator("#pair-result").input_value() == "1"
        assert watched.errors == []


def test_the_first_screen_has_scores_of_the_pair(report: str) -> None:
    """Content, best trial and best preset show their scores on the chosen pair."""
    with chromium() as watched:
        page = watched.open(report)
        page.evaluate(
            "pageData.pairs.forEach((pair, index) => Object.assign(pair,"
            " { best: 7 + index, preset: 8 + index, untouched: 9 + index }))"
        )
        for pair in (1, 0):
            page.locator("#pair-result").focus()
            page.locator("#pair-result").select_option(str(pair))
            assert focus(page) == "pair-result"
            text = page.locator("#result .lineup").inner_text()
            assert all(f"LPIPS {value + pair}.0000" in text for value in (7, 8, 9))
        page.evaluate("pageData.pairs[1].best = null; pageData.pairs[1].preset = null")
        page.locator("#pair-result").select_option("1")
        assert page.locator("#result .lineup").inner_text().count("on average") == 2
        assert watched.errors == []


def test_every_plot_has_its_own_name(report: str) -> None:
    """The accessible names of all plots differ."""
    with chromium() as watched:
        page = watched.open(report)
        labels = page.locator(".canvas").evaluate_all(
            "all => all.map((canvas) => canvas.getAttribute('aria-label'))"
        )
        assert len(labels) > 5 and len(set(labels)) == len(labels)
        assert all(re.match(r"\w[\w ]+[.:] \w", label) for label in labels)


@pytest.mark.slow
def test_the_page_fits_a_phone(report: str) -> None:
    """At the width of a phone the page does not scroll sideways."""
    with chromium(width=375, height=740, scheme="dark") as watched:
        page = watched.open(report)
        watched.plot("#search")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert watched.errors == []


def test_plots_follow_the_theme(report: str) -> None:
    """Plots are transparent, and their notes and color scales use the colors of the page."""
    with chromium(scheme="dark") as watched:
        page = watched.open(report)
        for section in ("#search", "#settings"):
            watched.plot(section)
        layouts = page.locator(".canvas").evaluate_all(
            "all => all.map(({ _fullLayout: { plot_bgcolor, paper_bgcolor, annotations } }) =>"
            " [plot_bgcolor, paper_bgcolor, annotations.map(({ font }) => font.color)])"
        )
        muted = page.evaluate("color('muted')")
        assert all(plot == paper == "transparent" for plot, paper, _ in layouts)
        assert {note_color for _, _, colors in layouts for note_color in colors} == {muted}
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
        assert min(lines)[1] == f"rgb({red},{green},{blue})"  # the best trial
