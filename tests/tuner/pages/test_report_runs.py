"""Reports of unusual runs in a real Chromium: styles, Pareto fronts, constraints, odd names."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from benchmarks.support.made_run import made_run
from tests.tuner.browser import chromium, needs_chromium, title
from tuner.pages.report.page import write_report
from tuner.results.results import load_results
from tuner.study.study import RunStudy

pytestmark = needs_chromium

#: The longest name of a job, and an objective with a long name.
LONG_NAME = "portrait of a lady by the river, in the manner of the early " * 3 + "x" * 20
LONG_OBJECTIVE = {"lpips": 0.6213, "color": 0.02134, "ssim": 0.3315}


@pytest.mark.parametrize("width", [320, 375])
def test_long_names_fit_a_phone(tmp_path: Path, pictures: Path, width: int) -> None:
    """Long names of job and objective do not make the page scroll sideways."""
    run = made_run(
        tmp_path / "run", pictures, trials=14, pairs=2, name=LONG_NAME, objective=LONG_OBJECTIVE
    )
    write_report(load_results(run), tmp_path / "report.html")
    with chromium(width=width, height=740) as watched:
        page = watched.open((tmp_path / "report.html").as_uri())
        page.get_by_role("button", name="Filter by score or parameter").click()
        for section in ("#search", "#settings"):
            watched.plot(section)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        bar = page.locator(".top").bounding_box()
        assert bar and bar["height"] < 130
        scores = page.locator("#scores").bounding_box()
        assert scores and scores["height"] < 1500  # no table is squeezed to one letter per line
        assert page.locator("h1").get_attribute("title") == LONG_NAME
        page.locator(".card .open").first.click()
        assert page.locator("#dialog").evaluate(
            "(element) => element.scrollWidth <= element.clientWidth"
        )
        assert watched.errors == []


def test_several_style_images_are_shown(tmp_path: Path, pictures: Path) -> None:
    """Every style image can be compared with; each pair has its own style images and shape."""
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
    with chromium() as watched:
        page = watched.open((tmp_path / "report.html").as_uri())
        style = "getComputedStyle(document.querySelector('.card img'))"
        lineup = page.locator("#result .lineup")
        assert "75% of the blend" in lineup.inner_text()
        assert "25% of the blend" in lineup.inner_text()
        page.locator("#against-style1").click()
        assert page.locator("#result .compare .left").inner_text() == "style 2 of 2"
        before = page.evaluate(f"{style}.aspectRatio")
        page.locator("#pair-result").select_option("1")
        assert "the look to apply" in lineup.inner_text()
        assert page.locator("#result .compare .left").inner_text() == "reference"
        assert page.evaluate(f"{style}.aspectRatio") != before
        assert page.evaluate(f"{style}.objectFit") == "contain"
        assert watched.errors == []


def test_the_pareto_front_is_also_a_table(tmp_path: Path, pictures: Path) -> None:
    """The results on the Pareto front can be opened and browsed by keyboard."""
    goals = {"objective": ["lpips", "seconds_per_image"], "space": "gram"}
    run = made_run(tmp_path / "run", pictures, trials=20, **goals)
    write_report(load_results(run), tmp_path / "report.html")
    with chromium() as watched:
        page = watched.open((tmp_path / "report.html").as_uri())
        front = page.evaluate("pageData.front")
        assert front == sorted(front, key=lambda result: result["values"][0])
        assert len(front) > len({result["trial"] for result in front})  # one trial is there twice
        buttons = page.locator("#front-table button")
        ids = [f"front-{result['trial']}-{result['steps']}" for result in front]
        assert buttons.evaluate_all("all => all.map(({ id }) => id)") == ids and len(ids) >= 2
        trials = list(dict.fromkeys(result["trial"] for result in front))
        assert page.locator(".card", has_text="on the Pareto front").count() == len(trials)
        sources = page.locator("#front-table img").evaluate_all("all => all.map(({ src }) => src)")
        assert all(src.startswith("data:image/webp") for src in sources)
        cells = page.locator("#front-table tbody tr").first.locator("td").all_inner_texts()
        assert float(cells[0]) == pytest.approx(front[0]["values"][0], abs=5e-4)
        buttons.first.focus()
        page.keyboard.press("Enter")
        assert title(page).lower() == buttons.first.inner_text()
        page.keyboard.press("ArrowRight")
        assert title(page).lower() == f"trial {trials[1]}"
        page.keyboard.press("Escape")
        expect(buttons.first).to_be_focused()
        watched.plot("#search")
        colors = page.evaluate("front().data.map(({ marker }) => marker.color)")
        assert colors[0] == page.evaluate("color('muted')")
        assert watched.errors == []


@pytest.mark.slow
def test_the_pareto_front_shows_pictures(tmp_path: Path, pictures: Path) -> None:
    """With two objectives the points of the Pareto front are thumbnails."""
    goals = {"objective": ["lpips", "seconds_per_image"]}
    run = made_run(tmp_path / "run", pictures, trials=20, **goals)
    write_report(load_results(run), tmp_path / "report.html")
    with chromium() as watched:
        page = watched.open((tmp_path / "report.html").as_uri())
        watched.plot("#search")
        assert page.locator("#search image").count() >= 2
        assert watched.errors == []


def test_violating_trials_are_a_kind_of_their_own(tmp_path: Path, pictures: Path) -> None:
    """Plots tell violating trials from dominated ones, and never count them as the best."""
    goals = {
        "objective": ["lpips", "seconds_per_image"],
        "constraints": {"psnr": ">= 5"},  # all made-up scores rise and fall together
    }
    run = made_run(tmp_path / "run", pictures, trials=40, **goals)
    write_report(load_results(run), tmp_path / "report.html")
    with chromium() as watched:
        page = watched.open((tmp_path / "report.html").as_uri())
        kinds = {
            trace["name"]: set(trace["customdata"])
            for trace in page.evaluate(
                "front().data.map(({name, customdata}) => ({name, customdata}))"
            )
        }
        trials = page.evaluate("pageData.trials.filter(({ rank }) => rank)")
        violating = {trial["trial"] for trial in trials if trial["violated"]}
        on_front = {trial["trial"] for trial in trials if trial["front"]}
        assert violating and on_front and not violating & on_front
        assert kinds["violates a constraint"] == violating and kinds["Pareto front"] == on_front
        assert kinds["dominated"] == {trial["trial"] for trial in trials} - violating - on_front
        scores = [trial["objective"] for trial in trials if not trial["violated"]]
        assert page.evaluate("history().data.at(-1).y.at(-1)") == min(scores)
        assert watched.errors == []


def test_markup_in_names_is_shown_as_text(tmp_path: Path, pictures: Path) -> None:
    """Markup in the names of job, parameters and pictures is shown as text."""
    markup = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    link = '<a href="https://evil.example">details</a>&lt;a href="https://evil.example"&gt;more'
    hostile = f"lr@{link}<img src=x onerror=alert(4)>"
    space = tmp_path / "space.yaml"
    space.write_text(
        f"name: made\nwhy: '{markup}'\nparams:\n"
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
        name=markup,
        space=str(space),
        pairs_=[{"content": str(picture), **pair}],
    )
    study = RunStudy.open(run, goals=load_results(run).goals)
    study.note("over", f"because {markup}")
    study.note("environment", {"platform": markup, "packages": {markup: markup}})
    write_report(load_results(run), tmp_path / "report.html")
    with chromium() as watched:
        page = watched.open((tmp_path / "report.html").as_uri())
        for section in ("#search", "#settings"):
            watched.plot(section)
        page.get_by_role("button", name="Filter by score or parameter").click()
        page.locator("#filter-0-by").select_option(hostile)
        page.locator(".card .open").first.click()
        assert hostile in page.locator("#dialog").inner_text()
        assert page.locator("h1").inner_text() == markup
        assert page.locator("img[src=x]").count() == 0
        assert page.locator("a").count() == page.locator("#nav a, a.skip, a.modebar-btn").count()
        assert watched.errors == []
        assert watched.foreign_requests == []
