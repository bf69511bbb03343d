"""The data that the report shows."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.support.made_run import UNTOUCHED, made_run
from tuner.pages.report import album
from tuner.pages.report.album import Album
from tuner.pages.report.page_data import report_data
from tuner.results.preset_runs import best_preset_result
from tuner.results.results import load_results
from tuner.results.verdict import summary
from tuner.study.records import TrialRecord


def test_page_data_agree_with_the_results(run: Path) -> None:
    """The page has every trial of the search, with rank, score and gain of the results."""
    results = load_results(run)
    page_data = report_data(results)
    ranked = results.ranked()
    assert page_data["state"] == "finished" and page_data["over"] == "all trials are done"
    assert page_data["best"] == ranked[0].record.trial
    assert len(page_data["trials"]) == 24
    by_number = {trial["trial"]: trial for trial in page_data["trials"] if trial["rank"]}
    assert [by_number[result.record.trial]["rank"] for result in ranked] == list(
        range(1, len(ranked) + 1)
    )
    for result in ranked:
        assert by_number[result.record.trial]["objective"] == pytest.approx(
            results.score(result), rel=1e-5
        )
    assert page_data["counts"]["failed"] == sum(
        trial["state"] == "failed" for trial in page_data["trials"]
    )
    assert [pair["heldOut"] for pair in page_data["pairs"]] == [False, False, True]
    assert all(pair["untouched"] == UNTOUCHED["lpips"] for pair in page_data["pairs"])
    assert [frame["steps"] for frame in page_data["frames"]["frames"]] == [
        1,
        6,
        13,
        22,
        35,
        51,
        69,
        90,
    ]
    json.dumps(page_data, allow_nan=False)


def harder_pairs(record: TrialRecord) -> TrialRecord:
    """Return the trial with scores that are worse by 1 on each further pair, and equal means."""
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


def test_each_pair_has_its_own_scores(run: Path) -> None:
    """The page has the scores of best trial, best preset and untouched content on each pair."""
    results = load_results(run)
    results = replace(results, records=[harder_pairs(record) for record in results.records])
    page_data = report_data(results)
    first, second, held_out = page_data["pairs"]
    best, preset = results.ranked()[0], best_preset_result(results)
    assert preset is not None and best.finals
    assert first["best"] == pytest.approx(results.score(best), rel=1e-4)
    assert first["preset"] == pytest.approx(results.score(preset), rel=1e-4)
    for role in ("best", "preset"):
        assert second[role] == pytest.approx(first[role] + 1, rel=1e-4)
    assert held_out["best"] == pytest.approx(first["best"] + 2, rel=1e-4)
    assert (held_out["preset"] is None) != preset.record.full  # only runs in full are on all pairs


def test_baselines_have_the_objective(tmp_path: Path, pictures: Path) -> None:
    """The untouched content has a value of the objective even if that is a sum of metrics."""
    goals = {"objective": {"lpips": 1.0, "color": 0.01}}
    run = made_run(tmp_path / "run", pictures, trials=4, **goals)
    content = report_data(load_results(run))["baselines"][0]
    assert content["name"] == "content" and content["objective"] == pytest.approx(0.8)


def test_the_summary_names_gains_finals_and_work(run: Path) -> None:
    """The summary names gains, finals, held-out pairs and the number of trials."""
    text = " ".join(summary(load_results(run)))
    assert "better than the untouched photo (0.6000)" in text
    assert "better than the best published preset" in text
    assert "2 seeds" in text and "never saw" in text
    assert "stopped early" in text and "2 failed" in text


def test_the_summary_starts_with_a_failure(tmp_path: Path, pictures: Path) -> None:
    """If the untouched content scores better, the summary says so first."""
    run = made_run(tmp_path / "run", pictures, trials=3, objective="ssim", finals={"count": 0})
    assert "does NOT beat the untouched photo" in summary(load_results(run))[0]


def test_every_style_image_has_its_share(tmp_path: Path, pictures: Path) -> None:
    """With several style images the page has each of them and its share of the blend."""
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


def test_shares_are_those_of_the_best_trial(tmp_path: Path, pictures: Path) -> None:
    """If the search varies the blend, the page shows the shares of the best trial."""
    images = [str(pictures / f"{name}.png") for name in ("style", "reference")]
    pair = {role: str(pictures / f"{role}.png") for role in ("content", "reference")}
    pairs = [{**pair, "style": [{"image": image} for image in images]}]
    run = made_run(tmp_path / "run", pictures, trials=12, pairs_=pairs, space="blend")
    results = load_results(run)
    searched = next(r for r in results.ranked() if r.config["style_blend"])
    results = replace(
        results, records=[r for r in results.records if r.trial == searched.record.trial]
    )
    styles = report_data(results)["pairs"][0]["styles"]
    assert [s["share"] for s in styles] == pytest.approx(searched.config["style_blend"], rel=1e-5)


def test_style_images_with_regions_have_no_shares(tmp_path: Path, pictures: Path) -> None:
    """Style images of different regions have no shares; the page says which have a region."""
    image = str(pictures / "style.png")
    Image.linear_gradient("L").resize((96, 64)).save(tmp_path / "mask.png")
    styles = [{"image": image, "region": str(tmp_path / "mask.png")}, {"image": image}]
    pair = {role: str(pictures / f"{role}.png") for role in ("content", "reference")}
    run = made_run(tmp_path / "run", pictures, trials=3, pairs_=[{**pair, "style": styles}])
    assert report_data(load_results(run))["pairs"][0]["styles"] == [
        {"share": None, "region": True},
        {"share": None, "region": False},
    ]


def test_each_pair_has_the_ratio_of_its_content(tmp_path: Path, pictures: Path) -> None:
    """The aspect ratio of a pair is that of its upright content image."""
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
