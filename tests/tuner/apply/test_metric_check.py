"""metrics: the list, and which of them prefer doing nothing on given pictures."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from nst_core.metrics.registry import METRICS
from nst_core.networks.weights import Weights
from tests.tuner.helpers import nst_tuner
from tuner.apply.metric_check import Ranking, advice, judge_of_all

SCORES = {
    **{"content": 0.5, "style": 0.1, "blurred_reference": 0.6, "grey_reference": 0.7},
    **{"noisy_reference": 0.8, "jpeg_reference": 0.9},
    **{"shifted_reference": 0.85, "half_reference": 0.75},
}


def of_ssim(**changes: float) -> Ranking:
    return Ranking(metric="ssim", scores={**SCORES, **changes})


@pytest.fixture
def pair(pictures: Path) -> list[object]:
    """The pictures, as options."""
    return [
        part
        for key in ("content", "style", "reference")
        for part in (f"--{key}", pictures / f"{key}.png")
    ]


def test_the_order_is_the_metrics_own() -> None:
    """Images stand from best to worst, whichever way the metric points."""
    assert of_ssim().order[0] == "jpeg_reference"
    assert Ranking(metric="rmse", scores=SCORES).order[0] == "style"


def test_a_metric_that_every_copy_satisfies_gets_no_warning() -> None:
    """Where each copy beats the content, nothing is said, wherever the style comes."""
    assert of_ssim(style=0.99).warning is None
    assert of_ssim().content_beats == []


def test_what_looks_like_the_reference_must_beat_the_content() -> None:
    """To put the content before a shifted copy is to prefer doing nothing, and named so."""
    found = of_ssim(shifted_reference=0.4, noisy_reference=0.3, grey_reference=0.2)
    assert found.prefers_doing_nothing
    assert found.content_beats == ["shifted_reference", "noisy_reference", "grey_reference"]
    assert found.warning == (
        "ssim prefers doing nothing: the untouched content scores better than the reference"
        " shifted by a few pixels, with noise or without its colour."
    )


def test_what_lost_much_may_lose_to_the_content() -> None:
    """To put the content before a blur is told, and is not called preferring to do nothing."""
    found = of_ssim(blurred_reference=0.4)
    assert not found.prefers_doing_nothing
    assert found.warning == (
        "ssim would rather do nothing than lose something: the untouched content scores better"
        " than the reference without its detail."
    )


def test_metrics_without_weights_are_left_out(weights: Mapping[str, Weights]) -> None:
    """What cannot be computed here is left out, and said."""
    said: list[str] = []
    judge = judge_of_all(weights.__getitem__, lambda name: name != "dists", said.append)
    assert set(METRICS) - set(judge.measures) == {"dists"}
    assert said == ["dists: left out, no weights of dists"]


def test_the_list() -> None:
    """Without arguments every metric is listed with its direction and what it compares with."""
    listed = json.loads(nst_tuner("metrics", "--json").stdout)
    assert list(listed) == list(METRICS)
    assert listed["edges"]["against"] == "content"
    assert listed["lpips"]["direction"] == "minimize"
    shown = nst_tuner("metrics").stdout
    assert all(name in shown for name in METRICS)


def test_a_pair_is_checked(pair: list[object]) -> None:
    """Every metric ranks the eight images; SSIM and whatever asks the content are named."""
    done = nst_tuner("metrics", *pair, "--size-px", 64, "--all", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["sizes"] == [[64, 43]]
    assert list(found["metrics"]) == list(METRICS)
    for name, ranking in found["metrics"].items():
        assert set(ranking["order"]) == set(SCORES), name
        best, worst = (ranking["scores"][ranking["order"][place]] for place in (0, -1))
        assert METRICS[name].better(best, worst)
    assert "edges" in found["prefer_doing_nothing"]
    assert found["metrics"]["edges"]["order"][0] == "content"


def test_a_job_is_checked_on_all_of_its_pairs(job_file: Path, pair: list[object]) -> None:
    """A job's scores are means over its pairs, at its own size; the table says the same."""
    job = yaml.safe_load(job_file.read_text())
    other = {**job["pairs"][0], "content": job["pairs"][0]["reference"]}
    job_file.write_text(yaml.safe_dump({**job, "pairs": [*job["pairs"], other]}))
    found = json.loads(nst_tuner("metrics", job_file, "--json").stdout)
    assert found["sizes"] == [[64, 43]] * 2
    alone = json.loads(nst_tuner("metrics", *pair, "--size-px", 64, "--json").stdout)
    mean = found["metrics"]["rmse"]["scores"]["content"]
    assert mean == pytest.approx(alone["metrics"]["rmse"]["scores"]["content"] / 2)
    shown = nst_tuner("metrics", *pair, "--size-px", 64).stdout
    assert "edges compares with the content: doing nothing is its best score." in shown
    assert all(name in shown for name in ("lpips", "content", "blurred", "shifted"))


def of_all(**faults: int) -> list[Ranking]:
    """Rankings of metrics, higher is better in none, that put so many look-alikes behind."""
    alike = ["shifted_reference", "jpeg_reference", "noisy_reference", "half_reference"]
    near = {"content": 0.5, "style": 0.9, "blurred_reference": 0.6, "grey_reference": 0.4}
    found = []
    for name, count in faults.items():
        losses = near | {copy: 0.8 if i < count else 0.1 for i, copy in enumerate(alike)}
        sign = -1 if METRICS[name].higher_is_better else 1
        found.append(Ranking(metric=name, scores={k: sign * v for k, v in losses.items()}))
    return found


def test_the_advice_is_the_first_metric_without_a_fault() -> None:
    """Advised is what puts every look-alike before the content, and nothing worse than that."""
    found = advice(of_all(lpips=0, ssim=2, rmse=0, color=0, edges=4))
    assert found.metric == "lpips"
    assert found.reason == (
        "Use `objective: lpips`: on these pictures it puts every copy that looks like the reference"
        " before the untouched content (ssim does not), and of all metrics it is nearest to what"
        " people see."
    )
    assert advice(of_all(lpips=1, ssim=2, rmse=0, color=0)).metric == "rmse"


def test_no_metric_is_advised_where_none_is_safe() -> None:
    """Where every metric prefers doing nothing, the advice is to look; color alone is none."""
    found = advice(of_all(lpips=1, ssim=2, color=0))
    assert found.metric is None
    assert "even lpips" in found.reason and "`nst-tuner prefer`" in found.reason
    assert advice(of_all(edges=0)).metric is None


def test_the_check_ends_with_advice_and_leaves_out_what_is_dear(pair: list[object]) -> None:
    """Table and JSON end with one recommendation; DISTS is scored only with --all."""
    done = nst_tuner("metrics", *pair, "--size-px", 64, "--json")
    found = json.loads(done.stdout)
    assert set(METRICS) - set(found["metrics"]) == {"dists"}
    assert "dists: left out" in done.stderr
    shown = nst_tuner("metrics", *pair, "--size-px", 64, COLUMNS="400").stdout
    assert shown.strip().splitlines()[-1] == found["recommended"]["reason"]


def test_a_job_that_searches_by_dists_has_it_checked(job_file: Path) -> None:
    """What a job optimizes is in the check, however dear."""
    job_file.write_text(f"{job_file.read_text()}objective: dists\n")
    found = json.loads(nst_tuner("metrics", job_file, "--json").stdout)
    assert "dists" in found["metrics"]
