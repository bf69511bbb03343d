"""Votes on pairs of results: strengths, agreement, the page and the next job."""

import io
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import kendalltau

from benchmarks.support.made_run import made_run
from nst_core.errors import InputError
from tests.tuner.browser import chromium, needs_chromium, served
from tests.tuner.helpers import nst_tuner
from tuner.job.load import load_job
from tuner.pages.prefer.agreement import agreements, learned_objective
from tuner.pages.prefer.outcome import outcome_json, write_job
from tuner.pages.prefer.page import Poll
from tuner.pages.prefer.strengths import next_question, strengths
from tuner.pages.prefer.votes import Vote, candidates, stored_votes
from tuner.results.results import load_results


def simulated_votes(true: dict[int, float], count: int, seed: int) -> list[Vote]:
    """Return votes of a person who follows the strengths ``true`` with some errors."""
    dice, votes = random.Random(seed), list[Vote]()
    for _ in range(count):
        a, b = next_question(strengths(list(true), votes), votes)
        a_wins = dice.random() < 1 / (1 + math.exp(true[b] - true[a]))
        votes.append(Vote(a, b) if a_wins else Vote(b, a))
    return votes


def test_forty_votes_recover_the_order() -> None:
    """With eight clearly different results, 40 votes find the best one and the order."""
    true = {trial: 2.5 * rank for rank, trial in enumerate([4, 9, 1, 7, 3, 12, 30, 2])}
    taus = []
    for seed in range(10):
        fitted = strengths(list(true), simulated_votes(true, 40, seed))
        assert fitted.order()[0] in (30, 2)
        taus.append(kendalltau(list(true.values()), fitted.theta_N).statistic)
    assert np.median(taus) >= 0.85 and min(taus) >= 0.6


def test_votes_without_errors_give_the_exact_order() -> None:
    """A person who never errs gets the exact order."""
    true = {trial: 100.0 * rank for rank, trial in enumerate([5, 3, 8, 1, 9, 2])}
    fitted = strengths(list(true), simulated_votes(true, 40, 0))
    assert fitted.order() == [2, 9, 1, 8, 3, 5]
    assert fitted.chance(2, 5) > 0.99


def test_strengths_agree_with_the_closed_form() -> None:
    """With two results and many votes the difference of strengths is the log-odds of winning."""
    votes = [Vote(1, 2)] * 3000 + [Vote(2, 1)] * 1000
    fitted = strengths([1, 2], votes)
    assert fitted.theta_N[0] - fitted.theta_N[1] == pytest.approx(math.log(3), abs=0.01)
    error = math.sqrt(fitted._variance(0, 1))
    assert error == pytest.approx(1 / math.sqrt(4000 * 0.75 * 0.25), rel=0.02)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=30))
def test_strengths_always_exist(pairs: list[tuple[int, int]]) -> None:
    """Strengths are finite with mean 0, and change their sign with the votes."""
    votes = [Vote(a, b) for a, b in pairs if a != b]
    fitted = strengths(range(5), votes)
    turned = strengths(range(5), [Vote(vote.worse, vote.better) for vote in votes])
    assert np.isfinite(fitted.theta_N).all() and abs(fitted.theta_N.mean()) < 1e-9
    np.testing.assert_allclose(fitted.theta_N, -turned.theta_N, atol=1e-6)
    assert (fitted.spread_N > 0).all()


def test_every_pair_is_asked_before_one_repeats() -> None:
    """Of four results, almost every pair is asked once before one is repeated."""
    votes: list[Vote] = []
    for _ in range(6):
        a, b = next_question(strengths([1, 2, 3, 4], votes), votes)
        votes.append(Vote(a, b))
    assert len({frozenset(vote[:2]) for vote in votes}) >= 5


SCORES = {
    1: [{"lpips": 0.2, "ssim": 0.5, "color": 9.0}],
    2: [{"lpips": 0.3, "ssim": 0.6, "color": 3.0}],
    3: [{"lpips": 0.4, "ssim": 0.7, "color": 6.0}],
}

#: On the second pair the first trial is by far the worst, so the means rank in reverse order.
PAIR_SCORES = {
    1: [{"lpips": 0.2, "ssim": 0.3}, {"lpips": 0.9, "ssim": 0.5}],
    2: [{"lpips": 0.3, "ssim": 0.2}, {"lpips": 0.3, "ssim": 0.6}],
    3: [{"lpips": 0.4, "ssim": 0.1}, {"lpips": 0.2, "ssim": 0.7}],
}


def test_agreement_counts_votes_per_metric() -> None:
    """Each metric counts the votes that it decides like the person, in its own direction."""
    votes = [Vote(1, 2), Vote(1, 3), Vote(2, 3), Vote(3, 2)]
    by_metric = agreements(SCORES, votes)
    assert (by_metric["lpips"].agreed, by_metric["lpips"].votes) == (3, 4)
    assert by_metric["ssim"].agreed == 1
    assert next(iter(by_metric)) == "lpips"


def test_agreement_uses_the_pair_that_was_shown() -> None:
    """A vote is compared with the scores on the pair that the person saw."""
    votes = [Vote(1, 2, 0), Vote(2, 3, 0), Vote(3, 2, 1), Vote(2, 1, 1)]
    for agreement in agreements(PAIR_SCORES, votes).values():
        assert (agreement.agreed, agreement.votes) == (4, 4)
    assert agreements(PAIR_SCORES, [Vote(1, 2, 1)])["lpips"].agreed == 0
    assert set(learned_objective(PAIR_SCORES, votes * 5)) == {"lpips", "ssim"}
    assert learned_objective(PAIR_SCORES, [Vote(1, 3, 1)] * 5) == {}


def test_a_learned_objective_follows_the_votes() -> None:
    """Only metrics that agree with the votes get a weight."""
    by_color = [Vote(2, 3), Vote(3, 1), Vote(2, 1)] * 5
    assert set(learned_objective(SCORES, by_color)) <= {"color", "ssim"}
    assert learned_objective(SCORES, by_color)["color"] > 0
    by_lpips = [Vote(1, 2), Vote(2, 3), Vote(1, 3)] * 5
    assert set(learned_objective(SCORES, by_lpips)) == {"lpips"}
    assert learned_objective(SCORES, []) == {}


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A run with 40 votes of a person who agrees with LPIPS."""
    folder = tmp_path_factory.mktemp("prefer") / "run"
    run = made_run(folder, pictures, "space=gram", trials=20, pairs=2)
    results = load_results(run)
    rungs = {result.record.trial: result.rung for result in candidates(results)}
    poll = Poll(results, seed=0)
    for _ in range(40):
        left, right, pair = poll._question
        lpips = {trial: rungs[trial].pair_scores[pair]["lpips"] for trial in (left, right)}
        better, worse = sorted((left, right), key=lpips.__getitem__)
        poll.vote({"better": better, "worse": worse, "pair": pair})
    return run


def test_votes_are_stored_and_rank_the_results(voted: Path) -> None:
    """The study keeps all votes; ranking and agreement follow from them."""
    results = load_results(voted)
    assert len(stored_votes(results.notes)) == 40
    outcome = outcome_json(results)
    scores = [trial["objective"] for trial in outcome["order"]]
    assert scores == sorted(scores)
    assert outcome["agreement"]["lpips"] == {"agreed": 40, "votes": 40, "share": 1.0}
    assert json.loads(nst_tuner("prefer", voted, "--json").stdout)["votes"] == 40
    text = nst_tuner("prefer", voted, "--result").stdout
    assert "40 of 40" in text and "by 40 votes" in text


def test_every_input_is_shown(tmp_path: Path, pictures: Path) -> None:
    """The page shows the content, every style image by its number, and the reference."""
    content, style, reference = (
        str(pictures / f"{name}.png") for name in ("content", "style", "reference")
    )
    pair = {"content": content, "reference": reference}
    blended = [{"image": style}, {"image": content}]
    run = made_run(tmp_path / "two", pictures, trials=6, pairs_=[{**pair, "style": blended}])
    assert Poll(load_results(run)).state()["inputs"] == {
        "content-0": "content",
        "style-0": "style 1",
        "style2-0": "style 2",
        "reference-0": "reference",
    }
    run = made_run(tmp_path / "one", pictures, trials=6)
    assert list(Poll(load_results(run)).state()["inputs"].values())[1] == "style"


def test_results_are_compared_at_one_size(tmp_path: Path, pictures: Path) -> None:
    """A result that was rendered larger is shown as it was tuned, like all others."""
    results = load_results(made_run(tmp_path / "run", pictures, trials=6))
    best = results.ranked()[0]
    rendered = results.run.path / results.run.presented(best.record.trial, best.steps, 0)
    rendered.parent.mkdir()
    Image.new("RGB", (512, 384), "teal").save(rendered)
    poll = Poll(results)
    trials = [f"t{result.record.trial}p0" for result in candidates(results, 6)]
    sizes = set()
    for key in trials:
        answer = poll._album.answer(f"{key}-large")
        assert answer is not None
        with Image.open(io.BytesIO(answer.content)) as shown:
            sizes.add(shown.size)
    assert len(sizes) == 1 and max(*sizes.pop()) < 512


def test_votes_can_be_skipped_and_undone(tmp_path: Path, pictures: Path) -> None:
    """A skipped question is followed by another one; undo removes the last vote."""
    run = made_run(tmp_path / "run", pictures, trials=8)
    poll = Poll(load_results(run), seed=1)
    before = poll._question
    poll.vote({"skip": True})
    assert set(poll._question[:2]) != set(before[:2]) and not poll.votes
    left, right, pair = poll._question
    poll.vote({"better": left, "worse": right, "pair": pair})
    assert stored_votes(load_results(run).notes) == [Vote(left, right, pair)]
    poll.vote({"undo": True})
    assert stored_votes(load_results(run).notes) == []
    for bad in (
        {},
        "x",
        {"better": left, "worse": left, "pair": 0},
        {"better": 99, "worse": left, "pair": 0},
    ):
        with pytest.raises(InputError):
            poll.vote(bad)


def test_the_next_job_does_not_need_the_run(voted: Path, tmp_path: Path, pictures: Path) -> None:
    """The next job finds its space from any folder and has no target, mirror or database."""
    (tmp_path / "my.yaml").write_text("params: {lr: {low: 0.01, high: 0.1}}\n")
    run = made_run(
        tmp_path / "run",
        pictures,
        trials=8,
        space=str(tmp_path / "my.yaml"),
        search={"trials": 8, "sampler": "random", "study": f"sqlite:///{tmp_path / 'study.db'}"},
        storage=str(tmp_path / "mirror"),
        budget={"target": 0.2, "minutes": 5.0},
    )
    results = load_results(run)
    poll = Poll(results, seed=0)
    for _ in range(10):
        left, right, pair = poll._question
        poll.vote({"better": min(left, right), "worse": max(left, right), "pair": pair})
    (tmp_path / "elsewhere").mkdir()
    write_job(load_results(run), tmp_path / "elsewhere" / "next.yaml")
    job, _ = load_job(tmp_path / "elsewhere" / "next.yaml")
    assert Path(job.space) == run / "inputs" / "space.yaml"
    assert job.storage is None and job.search.study is None
    assert (job.budget.target, job.budget.minutes) == (None, 5.0)


def test_the_next_job_continues_by_the_votes(voted: Path, tmp_path: Path, pictures: Path) -> None:
    """The next job has the learned objective and the run as warm start; few votes are an error."""
    objective = write_job(load_results(voted), tmp_path / "next.yaml")
    job, _ = load_job(tmp_path / "next.yaml")
    assert dict(job.goals.first.weights).keys() == objective.keys()
    assert job.search.warm_start == [str(voted)]
    assert len(job.pairs) == 2
    few = made_run(tmp_path / "few", pictures, trials=6)
    done = nst_tuner("prefer", few, "--job", tmp_path / "none.yaml")
    assert done.returncode == 2 and "expected at least 10" in done.stderr
    assert not (tmp_path / "none.yaml").exists()


@needs_chromium
def test_only_a_deliberate_key_press_votes(tmp_path: Path, pictures: Path) -> None:
    """Browser shortcuts, held keys and keys before the pictures are loaded do not vote."""
    run = made_run(tmp_path / "run", pictures, trials=8)
    with served(Poll(load_results(run), seed=0).site()) as url, chromium() as watched:
        page = watched.open(url)
        sent = []
        page.on("request", lambda asked: sent.append(asked.url) if "vote" in asked.url else None)
        pressed = "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', %s}))"
        for unlike in ("altKey", "ctrlKey", "metaKey", "shiftKey", "repeat"):
            page.evaluate(pressed % f"{unlike}: true")
        assert sent == []
        page.evaluate("() => { HTMLImageElement.prototype.decode = () => new Promise(() => {}); }")
        page.locator("#two button").nth(1).focus()
        with page.expect_response("**/vote"):
            page.keyboard.press("Enter")
        page.get_by_text("1 vote").wait_for()
        assert page.evaluate("document.activeElement.ariaLabel") == "The right result is better"
        page.keyboard.press("ArrowRight")  # the new pictures are not loaded yet
        page.wait_for_timeout(200)
        assert len(sent) == 1


@needs_chromium
def test_the_page_works_by_keyboard(tmp_path: Path, pictures: Path) -> None:
    """Arrow keys vote, Backspace undoes, pictures are shown, and no request leaves the page."""
    run = made_run(tmp_path / "run", pictures, trials=8)
    with served(Poll(load_results(run), seed=0).site()) as url, chromium() as watched:
        page = watched.open(url)
        for key, count in (
            ("ArrowLeft", 1),
            ("ArrowRight", 2),
            ("ArrowDown", 2),
            ("Backspace", 1),
        ):
            with page.expect_response("**/vote"):
                page.keyboard.press(key)
            page.locator("#two:not([aria-busy])").wait_for()
            page.get_by_text(f"{count} vote", exact=False).first.wait_for()
        page.locator("summary").click()
        assert page.locator("#ranking-table tbody tr").count() >= 2
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth)")
        assert watched.errors == []
        assert watched.foreign_requests == []
    assert len(stored_votes(load_results(run).notes)) == 1
