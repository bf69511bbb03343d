import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import pytest
from PIL import Image

from benchmarks.support.made_run import UNTOUCHED, made_run
from tests.tuner.helpers import noisy_space
from tuner.pages.report import album
from tuner.pages.report.album import Album
from tuner.pages.report.figures import report_figures
from tuner.pages.report.live import LiveReport
from tuner.pages.report.page import live_data, write_report
from tuner.pages.report.page_data import report_data
from tuner.results.results import load_results
from tuner.results.verdict import summary
from tuner.study.records import TrialRecord
from tuner.study.study import RunStudy


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A finished run on two pairs with a held-out one."""
    folder = tmp_path_factory.mktemp("report")
    space = noisy_space(folder)
    return made_run(folder / "run", pictures, space, trials=24, pairs=2, holdout=1)


def blocks(page: str) -> dict[str, object]:
    """The JSON that a page carries, by its name."""
    found = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', page, re.S)
    return {name: json.loads(text) for name, text in found}


def test_facts_are_those_of_the_results(run: Path) -> None:
    """The page shows every trial of the search with the rank, score and gain of the results."""
    results = load_results(run)
    facts = report_data(results)
    ranked = results.ranked()
    assert facts["state"] == "finished" and facts["over"] == "all trials are done"
    assert facts["best"] == ranked[0].record.trial
    assert len(facts["trials"]) == 24
    shown = {one["trial"]: one for one in facts["trials"] if one["rank"]}
    assert [shown[found.record.trial]["rank"] for found in ranked] == list(
        range(1, len(ranked) + 1)
    )
    for found in ranked:
        assert shown[found.record.trial]["objective"] == pytest.approx(
            results.score(found), rel=1e-5
        )
    assert facts["counts"]["failed"] == sum(one["state"] == "failed" for one in facts["trials"])
    assert [pair["heldOut"] for pair in facts["pairs"]] == [False, False, True]
    assert all(pair["untouched"] == UNTOUCHED["lpips"] for pair in facts["pairs"])
    assert [frame["steps"] for frame in facts["frames"]["frames"]] == [1, 6, 13, 22, 35, 51, 69, 90]
    json.dumps(facts, allow_nan=False)


def harder_pairs(record: TrialRecord) -> TrialRecord:
    """The same, worse by 1 on every further pair; the means stay."""
    rungs = {
        steps: replace(
            rung,
            pair_scores=[
                {**scores, "lpips": rung.scores["lpips"] + index}
                for index, scores in enumerate(rung.pair_scores)
            ],
        )
        for steps, rung in record.rungs.items()
    }
    return replace(record, rungs=rungs)


def test_pairs_have_scores_of_their_own(run: Path) -> None:
    """Of each pair the page knows what the best, the best preset and the untouched photo score."""
    results = load_results(run)
    results = replace(results, records=[harder_pairs(record) for record in results.records])
    facts = report_data(results)
    first, second, held_out = facts["pairs"]
    best, preset = results.ranked()[0], results.best_preset()
    assert preset is not None and best.finals
    assert first["best"] == pytest.approx(results.score(best), rel=1e-4)
    assert first["preset"] == pytest.approx(results.score(preset), rel=1e-4)
    for role in ("best", "preset"):
        assert second[role] == pytest.approx(first[role] + 1, rel=1e-4)
    assert held_out["best"] == pytest.approx(first["best"] + 2, rel=1e-4)
    assert held_out["preset"] is None  # which was no finalist


def test_baselines_have_the_objective(tmp_path: Path, pictures: Path) -> None:
    """A sum of metrics is known of the untouched photo too, for the line in the plots."""
    goals = {"objective": {"lpips": 1.0, "color": 0.01}}
    run = made_run(tmp_path / "run", pictures, trials=4, **goals)
    content = report_data(load_results(run))["baselines"][0]
    assert content["name"] == "content" and content["objective"] == pytest.approx(0.8)


def test_the_summary_says_what_was_gained(run: Path) -> None:
    """Gain over the photo and the best preset, spread over seeds, held-out pairs, and the work."""
    said = " ".join(summary(load_results(run)))
    assert "better than the untouched content (0.6)" in said
    assert "better than the best preset" in said
    assert "2 seeds" in said and "never saw" in said
    assert "stopped early" in said and "2 failed" in said


def test_the_summary_says_when_nothing_was_gained(tmp_path: Path, pictures: Path) -> None:
    """Where the untouched photo scores better the page says so first."""
    run = made_run(tmp_path / "run", pictures, trials=3, objective="ssim", finals={"count": 0})
    assert "does NOT beat the untouched content" in summary(load_results(run))[0]


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path, pictures: Path) -> None:
    """Before the first report there is a page that says so."""
    run = made_run(tmp_path / "run", pictures, trials=1, over=False)
    facts = report_data(load_results(run))
    assert facts["state"] == "stopped" and facts["best"] is None
    assert facts["summary"] == ["No trial has reported a score yet."]
    write_report(load_results(run), tmp_path / "report.html")


def test_pictures_are_webp_within_their_budget(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All thumbnails fit into the budget by being smaller, the best trial's before others."""
    whole = Album(load_results(run)).embedded()
    results = load_results(run)
    assert len([key for key in whole if re.fullmatch(r"t\d+p\d", key)]) == 2 * len(results.ranked())
    assert all(uri.startswith("data:image/webp;base64,") for uri in whole.values())
    monkeypatch.setattr(album, "THUMB_BYTES", 20_000)
    small = Album(results).embedded()
    thumbs = [uri for key, uri in small.items() if not key.endswith(album.LARGE)]
    assert sum(len(uri) * 3 / 4 for uri in thumbs) < 21_000
    assert f"t{results.ranked()[0].record.trial}p0" in small


def test_what_is_seen_first_is_large(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many pairs the first one's inputs, best and best preset come before other pairs'."""
    results = load_results(made_run(tmp_path / "run", pictures, trials=6, pairs=8, holdout=2))
    best, preset = results.ranked()[0], results.best_preset()
    assert preset is not None and preset is not best
    first = ["content-0", "style-0", "reference-0"]
    first += [f"t{found.record.trial}p0" for found in (best, preset)]
    whole = Album(results).embedded()
    assert set(Album(results).inputs()) == {
        f"{role}-{pair}" for role in ("content", "style", "reference") for pair in range(8)
    }
    monkeypatch.setattr(
        album, "LARGE_BYTES", sum(len(whole[key + album.LARGE]) * 3 // 4 for key in first)
    )
    large = [key for key in Album(results).embedded() if key.endswith(album.LARGE)]
    assert large == [key + album.LARGE for key in first]


def test_every_style_image_is_there_with_its_share(tmp_path: Path, pictures: Path) -> None:
    """Of several style images the page has each, and how much of the blend it is."""
    weights = {"style": 3, "reference": 1, "content": 1}
    styles = [{"image": str(pictures / f"{name}.png"), "weight": n} for name, n in weights.items()]
    pair = {role: str(pictures / f"{role}.png") for role in ("content", "reference")}
    run = made_run(tmp_path / "run", pictures, trials=4, pairs_=[{**pair, "style": styles}])
    results = load_results(run)
    shares = [style["share"] for style in report_data(results)["pairs"][0]["styles"]]
    assert shares == [0.6, 0.2, 0.2]
    keys = ("style-0", "style2-0", "style3-0")
    contents = [Album(results).inputs()[key].read_bytes() for key in keys]
    assert contents == [(pictures / f"{name}.png").read_bytes() for name in weights]
    assert {key + album.LARGE for key in keys} <= Album(results).embedded().keys()


def test_shares_are_those_of_the_best(tmp_path: Path, pictures: Path) -> None:
    """Where the blend is searched, the shares are what the best result has."""
    images = [str(pictures / f"{name}.png") for name in ("style", "reference")]
    pair = {role: str(pictures / f"{role}.png") for role in ("content", "reference")}
    pairs = [{**pair, "style": [{"image": image} for image in images]}]
    run = made_run(tmp_path / "run", pictures, trials=12, pairs_=pairs, space="blend")
    results = load_results(run)
    searched = next(f for f in results.ranked() if f.config["style_blend"])
    results = replace(
        results, records=[r for r in results.records if r.trial == searched.record.trial]
    )
    styles = report_data(results)["pairs"][0]["styles"]
    assert [s["share"] for s in styles] == pytest.approx(searched.config["style_blend"], rel=1e-5)


def test_regions_have_no_shares(tmp_path: Path, pictures: Path) -> None:
    """Style images that each have a part of the picture are told apart by that."""
    image = str(pictures / "style.png")
    Image.linear_gradient("L").resize((96, 64)).save(tmp_path / "mask.png")
    styles = [{"image": image, "region": str(tmp_path / "mask.png")}, {"image": image}]
    pair = {role: str(pictures / f"{role}.png") for role in ("content", "reference")}
    run = made_run(tmp_path / "run", pictures, trials=3, pairs_=[{**pair, "style": styles}])
    assert report_data(load_results(run))["pairs"][0]["styles"] == [
        {"share": None, "region": True},
        {"share": None, "region": False},
    ]


def test_a_damaged_picture_is_left_out(tmp_path: Path, pictures: Path) -> None:
    """A picture that cannot be read costs its place, not the page."""
    run = made_run(tmp_path / "run", pictures, trials=4)
    (run / "trials/0000/pair0.png").write_bytes(b"no picture")
    (run / "trials/0001/pair0.png").unlink()
    found = Album(load_results(run)).embedded()
    assert "t0p0" not in found and "t1p0" not in found and "t2p0" in found


def test_pictures_outside_of_the_run_stay_there(tmp_path: Path, pictures: Path) -> None:
    """A job that names files elsewhere does not make a page carry them along."""
    run = made_run(tmp_path / "run", pictures, trials=4)
    inside = Album(load_results(run)).inputs()
    assert {"content-0", "style-0", "reference-0"} <= inside.keys()
    job = (run / "job.yaml").read_text()
    content = inside["content-0"].relative_to(run).as_posix()
    assert content in job
    (run / "job.yaml").write_text(job.replace(content, str(pictures / "content.png")))
    assert inside.keys() - Album(load_results(run)).inputs().keys() == {"content-0"}


def test_pictures_keep_their_colours_and_sides(tmp_path: Path, pictures: Path) -> None:
    """Transparent parts are white; a turned picture is upright."""
    turned = Image.new("RGBA", (80, 40), (255, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    content = album.Picture(tmp_path / "turned.png", 64).webp()
    assert content is not None
    (tmp_path / "shown.webp").write_bytes(content)
    with Image.open(tmp_path / "shown.webp") as shown:
        assert shown.size == (32, 64)
        assert min(shown.convert("RGB").getpixel((16, 32))) > 250  # type: ignore[type-var]


def test_a_pair_has_the_ratio_of_its_photo(tmp_path: Path, pictures: Path) -> None:
    """It is that of the photo held upright, of each pair its own."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for role in ("content", "reference"):
        Image.open(pictures / f"{role}.png").save(tmp_path / f"{role}.jpg", exif=exif)
    turned = {role: str(tmp_path / f"{role}.jpg") for role in ("content", "reference")}
    pair = {role: str(pictures / f"{role}.png") for role in ("content", "style", "reference")}
    pairs = [{**pair, **turned}, pair]
    run = made_run(tmp_path / "run", pictures, trials=3, pairs=2, pairs_=pairs)
    ratios = [pair["ratio"] for pair in report_data(load_results(run))["pairs"]]
    assert ratios == pytest.approx([64 / 96, 96 / 64], rel=1e-3)


def test_figures_are_optunas(tmp_path: Path, pictures: Path) -> None:
    """Importances, slices, contours and parallel coordinates, none of which needs WebGL."""
    groups = report_figures(load_results(made_run(tmp_path / "run", pictures, trials=24)))
    titles = [group["title"] for group in groups]
    assert titles == [
        "Parameter importances",
        "One parameter",
        "Two parameters",
        "All parameters",
    ]
    assert all(group["figures"] for group in groups)
    kinds = {trace["type"] for g in groups for figure in g["figures"] for trace in figure["data"]}
    assert kinds <= {"bar", "scatter", "contour"}
    assert groups[0]["figures"][0]["data"][0]["y"][-1] == "lr"  # which the made-up score depends on
    labels = [figure["label"] for group in groups for figure in group["figures"]]
    assert "lpips by lr" in labels and len(set(labels)) == len(labels)
    assert "bgcolor" not in json.dumps(groups)  # the page is light or dark


def test_names_are_no_markup_in_figures(tmp_path: Path, pictures: Path) -> None:
    """A link in a setting's name or in an option's is text to Plotly, whose own tags stay."""
    link = '<a href="https://evil.example">details</a>'
    space = tmp_path / "space.yaml"
    space.write_text(
        "name: made\nwhy: names\nparams:\n"
        f"  'lr@{link}': {{low: 0.01, high: 0.1, log: true}}\n"
        "  tv_weight: {low: 0.1, high: 10, log: true}\n"
    )
    run = made_run(tmp_path / "run", pictures, trials=24, space=str(space))
    groups = report_figures(load_results(run))
    drawn = [[f["data"], f["layout"]] for group in groups for f in group["figures"]]
    text = json.dumps(drawn, ensure_ascii=False)
    assert "‹a href" in text and "<a" not in text
    assert set(re.findall("<.*?>", text)) == {"<extra>", "</extra>"}


def figures_of(groups: list[dict[str, Any]], title: str) -> Iterator[dict[str, Any]]:
    return (figure for group in groups if group["title"] == title for figure in group["figures"])


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_what_matters_is_what_makes_trials_good(
    run: Path, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    """A setting that decides who is among the best comes before one that decides who is worst."""
    sign = -1 if direction == "minimize" else 1
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        good, bad = (
            math.exp(-(((trial.suggest_float(name, 0, 1) - 0.5) / 0.05) ** 2))
            for name in ("makes good", "makes bad")
        )
        return sign * (good - bad)

    study.optimize(objective, n_trials=200)
    monkeypatch.setattr("tuner.pages.report.figures.study_for_plots", lambda path, goals: study)
    (bars,) = figures_of(report_figures(load_results(run)), "Parameter importances")
    assert bars["data"][0]["y"][-1] == "makes good"


@pytest.mark.parametrize(
    ("objective", "low_is_good"),
    [("lpips", True), ("ssim", False), (["ssim", "lpips"], False), (["lpips", "ssim"], True)],
)
def test_colours_are_those_of_the_direction(
    tmp_path: Path, pictures: Path, objective: object, low_is_good: bool
) -> None:
    """Optuna turns its scale where low is good; of several objectives it goes by the first."""
    run = made_run(tmp_path / "run", pictures, trials=20, objective=objective)
    contours = list(figures_of(report_figures(load_results(run)), "Two parameters"))
    scales = {
        trace["reversescale"]
        for figure in contours
        for trace in figure["data"]
        if trace["type"] == "contour"
    }
    assert scales == {low_is_good}


def test_few_trials_are_not_plotted(tmp_path: Path, pictures: Path) -> None:
    """With a handful of trials the page says why there are no plots of settings."""
    run = made_run(tmp_path / "run", pictures, trials=6)
    (group,) = report_figures(load_results(run))
    assert group["title"] == "Too few trials" and not group["figures"]


def test_a_page_is_one_file_that_asks_for_nothing(run: Path, tmp_path: Path) -> None:
    """The policy forbids every connection and every script but its own."""
    size = write_report(load_results(run), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert size == (tmp_path / "report.html").stat().st_size < 25_000_000
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy and "default-src &#39;none&#39;" in policy[1]
    assert "connect-src &#39;none&#39;" in policy[1] and "unsafe-eval" not in policy[1]
    assert set(blocks(page)) == {"page-data", "pictures", "figures"}
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_text_of_a_job_cannot_end_a_script(tmp_path: Path, pictures: Path) -> None:
    """Markup in names and notes stays data, in the markup and in the JSON."""
    evil = "</script><script>alert(1)</script><!--"
    run = made_run(tmp_path / "run", pictures, trials=3, name=evil)
    write_report(load_results(run), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert blocks(page)["page-data"]["run"] == evil  # type: ignore[index]


def test_a_served_page_knows_when_there_is_news(tmp_path: Path, pictures: Path) -> None:
    """The version of the facts changes with what is shown, and only then."""
    run = made_run(tmp_path / "run", pictures, trials=6, over=False)
    before = live_data(load_results(run))
    assert live_data(load_results(run))["version"] == before["version"]
    study = RunStudy.open(run, goals=load_results(run).goals)
    study.note("votes", [])
    assert live_data(load_results(run))["version"] == before["version"]
    study.note("over", "all trials are done")
    assert live_data(load_results(run))["version"] != before["version"]


def test_a_study_in_a_database_is_not_read_for_every_picture(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page asks for many pictures at once; what was read a moment ago serves them all."""
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
