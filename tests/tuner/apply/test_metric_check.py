"""Metric check: the list of metrics, and which of them prefer doing nothing on given pictures."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from nst_core.metrics.registry import METRICS, ON_REQUEST
from nst_core.networks.weights import Weights
from tests.tuner.helpers import nst_tuner
from tuner.apply.metric_check import Ranking, advice, suite_of_available

SCORES = {
    **{"content": 0.5, "style": 0.1, "blurred_reference": 0.6, "grey_reference": 0.7},
    **{"noisy_reference": 0.8, "jpeg_reference": 0.9},
    **{"shifted_reference": 0.85, "half_reference": 0.75},
}


def ssim_ranking(**changes: float) -> Ranking:
    """Return a ranking by SSIM, for which higher is better, with some scores changed."""
    return Ranking(metric="ssim", scores={**SCORES, **changes})


@pytest.fixture
def pair(pictures: Path) -> list[object]:
    """Options of the command that name the test pictures."""
    return [
        part
        for key in ("content", "style", "reference")
        for part in (f"--{key}", pictures / f"{key}.png")
    ]


def test_ranking_follows_the_direction_of_the_metric() -> None:
    """Images are ordered from best to worst, whether higher or lower is better."""
    assert ssim_ranking().order[0] == "jpeg_reference"
    assert Ranking(metric="rmse", scores=SCORES).order[0] == "style"


def test_no_warning_if_every_copy_beats_the_content() -> None:
    """A metric gets no warning if all copies beat the content; the style does not matter."""
    assert ssim_ranking(style=0.99).warning is None
    assert ssim_ranking().content_beats == []


def test_metric_that_ranks_the_content_before_a_similar_copy_prefers_doing_nothing() -> None:
    """The warning names every copy that scores worse than the content."""
    ranking = ssim_ranking(shifted_reference=0.4, noisy_reference=0.3, grey_reference=0.2)
    assert ranking.prefers_doing_nothing
    assert ranking.content_beats == ["shifted_reference", "noisy_reference", "grey_reference"]
    assert ranking.warning == (
        "ssim prefers doing nothing: the untouched content scores better than the reference"
        " shifted by a few pixels, with noise or without its color."
    )


def test_copy_without_detail_may_score_worse_than_the_content() -> None:
    """A metric that ranks the content before a blurred copy gets another warning."""
    ranking = ssim_ranking(blurred_reference=0.4)
    assert not ranking.prefers_doing_nothing
    assert ranking.warning == (
        "ssim prefers doing nothing to losing a part: the untouched content scores better than the"
        " reference without its detail."
    )


def test_metrics_without_weights_are_left_out(weights: Mapping[str, Weights]) -> None:
    """A metric whose weights are not available is left out, and a message says so."""
    messages: list[str] = []
    suite = suite_of_available(weights.__getitem__, lambda name: name != "dists", messages.append)
    assert set(METRICS) - set(suite.measures) == {"dists"}
    assert messages == ["dists: not checked, no weights of dists"]


def test_command_lists_all_metrics() -> None:
    """Without arguments the command lists every metric with its direction and comparison."""
    listed = json.loads(nst_tuner("metrics", "--json").stdout)
    assert list(listed) == list(METRICS)
    assert listed["edges"]["against"] == "content"
    assert listed["lpips"]["direction"] == "minimize"
    table = nst_tuner("metrics").stdout
    assert all(name in table for name in METRICS)


def test_command_checks_a_pair(pair: list[object]) -> None:
    """Every metric ranks the eight images, and metrics that prefer doing nothing are named."""
    done = nst_tuner("metrics", *pair, "--size-px", 64, "--all", "--json")
    assert done.returncode == 0, done.stderr
    check = json.loads(done.stdout)
    assert check["sizes"] == [[64, 43]]
    assert list(check["metrics"]) == list(METRICS)
    for name, ranking in check["metrics"].items():
        assert set(ranking["order"]) == set(SCORES), name
        best, worst = (ranking["scores"][ranking["order"][place]] for place in (0, -1))
        assert METRICS[name].better(best, worst)
    assert "edges" in check["prefer_doing_nothing"]
    assert check["metrics"]["edges"]["order"][0] == "content"


def test_command_checks_all_pairs_of_a_job(job_file: Path, pair: list[object]) -> None:
    """Scores of a job are means over its pairs at its own size; the table has the warnings."""
    job = yaml.safe_load(job_file.read_text())
    other = {**job["pairs"][0], "content": job["pairs"][0]["reference"]}
    job_file.write_text(yaml.safe_dump({**job, "pairs": [*job["pairs"], other]}))
    job_check = json.loads(nst_tuner("metrics", job_file, "--json").stdout)
    assert job_check["sizes"] == [[64, 43]] * 2
    pair_check = json.loads(nst_tuner("metrics", *pair, "--size-px", 64, "--json").stdout)
    mean = job_check["metrics"]["rmse"]["scores"]["content"]
    assert mean == pytest.approx(pair_check["metrics"]["rmse"]["scores"]["content"] / 2)
    table = nst_tuner("metrics", *pair, "--size-px", 64).stdout
    assert "edges compares with the content: doing nothing gives its best score." in table
    assert all(name in table for name in ("lpips", "content", "blurred", "shifted"))


def rankings_with(**faults: int) -> list[Ranking]:
    """Return rankings of metrics for which this many similar copies are worse than the content."""
    similar = ["shifted_reference", "jpeg_reference", "noisy_reference", "half_reference"]
    others = {"content": 0.5, "style": 0.9, "blurred_reference": 0.6, "grey_reference": 0.4}
    rankings = []
    for name, count in faults.items():
        losses = others | {copy: 0.8 if i < count else 0.1 for i, copy in enumerate(similar)}
        sign = -1 if METRICS[name].higher_is_better else 1
        rankings.append(Ranking(metric=name, scores={k: sign * v for k, v in losses.items()}))
    return rankings


def test_advice_is_the_first_metric_without_faults() -> None:
    """The recommended metric ranks every similar copy before the content."""
    best = advice(rankings_with(lpips=0, ssim=2, rmse=0, color=0, edges=4))
    assert best.metric == "lpips"
    assert best.reason == (
        "Use `objective: lpips`: on these pictures it puts every copy that looks like the reference"
        " before the untouched content (ssim does not), and of all metrics it is nearest to what"
        " people see."
    )
    assert advice(rankings_with(lpips=1, ssim=2, rmse=0, color=0)).metric == "rmse"


def test_no_metric_is_recommended_if_none_is_safe() -> None:
    """If every metric has faults, the advice is to compare by eye; `color` is never recommended."""
    best = advice(rankings_with(lpips=1, ssim=2, color=0))
    assert best.metric is None
    assert "even lpips" in best.reason and "`nst-tuner prefer`" in best.reason
    assert advice(rankings_with(edges=0)).metric is None


def test_check_ends_with_advice_and_leaves_out_slow_metrics(pair: list[object]) -> None:
    """The table and the JSON contain one recommendation; slow metrics are scored with --all."""
    done = nst_tuner("metrics", *pair, "--size-px", 64, "--json")
    check = json.loads(done.stdout)
    assert set(METRICS) - set(check["metrics"]) == set(ON_REQUEST)
    assert "stlpips, dists: not checked" in done.stderr
    table = nst_tuner("metrics", *pair, "--size-px", 64, COLUMNS="400").stdout
    assert table.strip().splitlines()[-1] == check["recommended"]["reason"]


def test_objective_of_a_job_is_always_checked(job_file: Path) -> None:
    """The metric that a job optimizes is in the check, even if it is slow."""
    job_file.write_text(f"{job_file.read_text()}objective: dists\n")
    check = json.loads(nst_tuner("metrics", job_file, "--json").stdout)
    assert "dists" in check["metrics"]
