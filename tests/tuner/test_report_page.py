"""The report in a real Chromium: every control used, nothing said, nothing asked for."""

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
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
        page.get_by_role("group", name="Show only").get_by_text("stopped early").click()
        pruned = page.locator(".card").count()
        assert 0 < pruned < 30 and f"{pruned} of 30" in page.locator("#count").inner_text()
        page.get_by_role("group", name="Show only").get_by_text("stopped early").click()
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


def title(page: Page) -> str:
    return page.locator("#dialog-title").inner_text()


def said(page: Page) -> str:
    return page.locator("#said").inner_text()


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
        page.get_by_role("button", name="Filter by score or setting").click()
        page.locator("#filter-0-by").select_option("style_scheme")
        schemes = page.evaluate("facts.trials.map((one) => one.params.style_scheme)")
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
        button = page.get_by_role("button", name="Copy the command: Take the preset")
        button.click()
        command = page.locator("#reproduce .command code").nth(1).inner_text()
        assert command.startswith("nst-tuner export") and page.evaluate("it") == command
        expect(page.locator("#copy-1")).to_contain_text("Copied")
        assert said(page) == "Copied: Take the preset"
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
        trials = page.evaluate("facts.trials")
        assert {one["state"] for one in trials} == set(states)
        for one in trials:
            name = f"preset {one['preset']}" if one["preset"] else f"trial {one['trial']}"
            words = [name, states[one["state"]]]
            if one["rank"]:
                words = ["lpips", "%", "against the untouched photo", f"#{one['rank']}", *words]
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
                assert said(page) == f"{names[0]} is picked, pick one more"
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
        assert focus(page).startswith("pick-") and said(page) == "nothing is picked"
        assert page.locator(".card .pick input:checked").count() == 0
        page.keyboard.press("Space")
        page.keyboard.press("Space")
        assert said(page).endswith("is no longer picked")
        assert seen.errors == []


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
        assert page.locator("#said-in-dialog").inner_text() == titles[0]
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


#: As long as a job and its objective may be named.
LONG_NAME = "portrait of a lady by the river, in the manner of the early " * 3 + "x" * 20
LONG_OBJECTIVE = {"lpips": 0.6213, "color": 0.02134, "ssim": 0.3315}


@pytest.mark.parametrize("width", [320, 375])
def test_long_names_fit_a_phone(tmp_path: Path, pictures: Path, width: int) -> None:
    """Neither a job's name nor an objective's makes the page scroll sideways or covers it."""
    run = made_run(
        tmp_path / "run", pictures, trials=14, pairs=2, name=LONG_NAME, objective=LONG_OBJECTIVE
    )
    write_report(load_results(run), tmp_path / "report.html")
    with chromium(width=width, height=740) as seen:
        page = seen.open((tmp_path / "report.html").as_uri())
        page.get_by_role("button", name="Filter by score or setting").click()
        for section in ("#search", "#settings"):
            seen.plot(section)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        bar = page.locator(".top").bounding_box()
        assert bar and bar["height"] < 130
        scores = page.locator("#scores").bounding_box()
        assert scores and scores["height"] < 1500  # no table is squeezed to a letter a line
        assert page.locator("h1").get_attribute("title") == LONG_NAME
        page.locator(".card .open").first.click()
        assert page.locator("#dialog").evaluate("(it) => it.scrollWidth <= it.clientWidth")
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
        muted = page.evaluate("colour('muted')")
        assert all(plot == paper == "transparent" for plot, paper, _ in layouts)
        assert {colour for _, _, colours in layouts for colour in colours} == {muted}
        scales = page.locator("#settings .canvas").evaluate_all(
            "all => all.flatMap(({ data }) => data)"
            ".map(({ marker, colorscale }) => colorscale ?? marker?.colorscale).filter(Boolean)"
        )
        faint_to_strong = page.evaluate("[[0, colour('faint')], [1, colour('accent')]]")
        assert len(scales) > 5 and all(scale == faint_to_strong for scale in scales)
        lines = page.locator("#settings .canvas").last.evaluate(
            "({ data }) => data.filter(({ mode }) => mode === 'lines')"
            ".map(({ y, line }) => [y[0], line.color])"
        )
        red, green, blue = (
            int(page.evaluate("colour('accent')")[at : at + 2], 16) for at in (1, 3, 5)
        )
        assert min(lines)[1] == f"rgb({red},{green},{blue})"  # the best


def test_several_styles_are_shown_with_their_shares(tmp_path: Path, pictures: Path) -> None:
    """Each is in the line-up to compare with; pairs have styles and a shape of their own."""
    for role in ("content", "reference"):
        Image.open(pictures / f"{role}.png").transpose(Image.Transpose.ROTATE_90).save(
            tmp_path / f"{role}.png"
        )
    tall = {role: str(tmp_path / f"{role}.png") for role in ("content", "reference")}
    pair = {role: str(pictures / f"{role}.png") for role in ("content", "style", "reference")}
    styles = [{"image": pair[role], "weight": n} for role, n in (("style", 3), ("reference", 1))]
    pairs = [{**pair, "style": styles}, {**pair, **tall}]
    run = made_run(tmp_path / "run", pictures, trials=6, pairs=2, pairs_=pairs)
    write_report(load_results(run), tmp_path / "report.html")
    with chromium() as seen:
        page = seen.open((tmp_path / "report.html").as_uri())
        style = "getComputedStyle(document.querySelector('.card img'))"
        lineup = page.locator("#result .lineup")
        assert "75% of the blend" in lineup.inner_text()
        assert "25% of the blend" in lineup.inner_text()
        page.locator("#against-style1").click()
        assert page.locator("#result .compare .left").inner_text() == "style 2 of 2"
        before = page.evaluate(f"{style}.aspectRatio")
        page.locator("#pair-result").select_option("1")
        assert "whose look is wanted" in lineup.inner_text()
        assert page.locator("#result .compare .left").inner_text() == "the photo"
        assert page.evaluate(f"{style}.aspectRatio") != before
        assert page.evaluate(f"{style}.objectFit") == "contain"
        assert seen.errors == []


def test_the_trade_off_is_a_table_too(tmp_path: Path, pictures: Path) -> None:
    """By keyboard, and read aloud, its results can be told, opened and gone through."""
    goals = {"objective": ["lpips", "seconds_per_image"]}
    run = made_run(tmp_path / "run", pictures, trials=20, **goals)
    write_report(load_results(run), tmp_path / "report.html")
    with chromium() as seen:
        page = seen.open((tmp_path / "report.html").as_uri())
        on = page.evaluate("facts.front")
        assert on == sorted(on, key=lambda one: one["values"][0])
        assert len(on) > len({one["trial"] for one in on})  # one was cheaper with fewer steps
        buttons = page.locator("#front-table button")
        ids = [f"front-{one['trial']}-{one['steps']}" for one in on]
        assert buttons.evaluate_all("all => all.map(({ id }) => id)") == ids and len(ids) >= 2
        trials = list(dict.fromkeys(one["trial"] for one in on))
        assert page.locator(".card", has_text="in the trade-off").count() == len(trials)
        shown = page.locator("#front-table img").evaluate_all("all => all.map(({ src }) => src)")
        assert all(src.startswith("data:image/webp") for src in shown)
        cells = page.locator("#front-table tbody tr").first.locator("td").all_inner_texts()
        assert float(cells[0]) == pytest.approx(on[0]["values"][0], abs=5e-4)
        buttons.first.focus()
        page.keyboard.press("Enter")
        assert title(page).lower() == buttons.first.inner_text()
        page.keyboard.press("ArrowRight")
        assert title(page).lower() == f"trial {trials[1]}"
        page.keyboard.press("Escape")
        expect(buttons.first).to_be_focused()
        seen.plot("#search")
        colours = page.evaluate("front().data.map(({ marker }) => marker.color)")
        assert colours[0] == page.evaluate("colour('muted')")
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
    link = '<a href="https://evil.example">details</a>&lt;a href="https://evil.example"&gt;more'
    hostile = f"lr@{link}<img src=x onerror=alert(4)>"
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
        assert page.locator("a").count() == page.locator("#nav a, a.skip, a.modebar-btn").count()
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


def test_a_run_that_is_resumed_is_followed_again(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that has shown the end looks on, only less often."""
    monkeypatch.setattr("tuner.report.page.LOOK_S", 0.2)
    run = made_run(tmp_path / "run", pictures, trials=8)
    study = RunStudy.open(run, goals=load_results(run).goals, sampler="random", seed=0)
    with served(LiveReport(run).site()) as url, chromium() as seen:
        page = seen.open(url)
        assert page.locator("#state").inner_text() == "finished"
        study.note("over", None)
        expect(page.locator("#state")).to_contain_text("not finished")
        study.note("over", "all trials are done")
        expect(page.locator("#state")).to_have_text("finished")
        page.route("**/facts.json", lambda route: route.abort())
        with page.expect_request("**/facts.json"):
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
        assert page.locator(".card").count() == page.evaluate("facts.counts.failed")
        page.locator("#state-failed").click()

        page.locator("#pair-trials").select_option("1")
        source = first.locator("img").get_attribute("src")
        assert source and re.match(r"picture/t\d+p1\?", source)
        for index in (0, 1):
            page.locator(".card .pick input").nth(index).check()
        page.get_by_role("button", name="Compare", exact=True).click()
        assert "Where their settings differ" in page.locator("#dialog").inner_text()
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
        page.wait_for_function("drawn.size === document.querySelectorAll('.canvas').length")
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
