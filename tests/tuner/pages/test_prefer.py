import json
import math
import random
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from benchmarks.support.made_run import made_run
from nst_core.errors import InputError
from tests.tuner.browser import chromium, needs_chromium
from tests.tuner.helpers import nst_tuner
from tuner.job.load import load_job
from tuner.pages.prefer.agreement import agreements, learned_objective
from tuner.pages.prefer.outcome import outcome_json, write_job
from tuner.pages.prefer.page import Poll
from tuner.pages.prefer.strengths import next_question, strengths
from tuner.pages.prefer.votes import Vote, candidates, kept_votes
from tuner.results.results import load_results


def ask_around(true: dict[int, float], count: int, seed: int) -> list[Vote]:
    """Votes of a person whose liking is ``true``, who at times chooses the other one."""
    dice, votes = random.Random(seed), list[Vote]()
    for _ in range(count):
        a, b = next_question(strengths(list(true), votes), votes)
        a_wins = dice.random() < 1 / (1 + math.exp(true[b] - true[a]))
        votes.append(Vote(a, b) if a_wins else Vote(b, a))
    return votes


def test_forty_votes_recover_the_intended_order() -> None:
    """Of eight results that a person tells apart well, 40 votes find the best and the order."""
    true = {trial: 2.5 * rank for rank, trial in enumerate([4, 9, 1, 7, 3, 12, 30, 2])}
    taus = []
    for seed in range(10):
        known = strengths(list(true), ask_around(true, 40, seed))
        assert known.order()[0] in (30, 2)
        taus.append(kendalltau(list(true.values()), known.theta_N).statistic)
    assert np.median(taus) >= 0.85 and min(taus) >= 0.6


def test_sure_votes_give_the_exact_order() -> None:
    """A person who never errs is ordered exactly."""
    true = {trial: 100.0 * rank for rank, trial in enumerate([5, 3, 8, 1, 9, 2])}
    known = strengths(list(true), ask_around(true, 40, 0))
    assert known.order() == [2, 9, 1, 8, 3, 5]
    assert known.chance(2, 5) > 0.99


def test_strengths_are_those_of_the_textbook() -> None:
    """With two results and many votes the difference is the log-odds of winning."""
    votes = [Vote(1, 2)] * 3000 + [Vote(2, 1)] * 1000
    known = strengths([1, 2], votes)
    assert known.theta_N[0] - known.theta_N[1] == pytest.approx(math.log(3), abs=0.01)
    error = math.sqrt(known._variance(0, 1))
    assert error == pytest.approx(1 / math.sqrt(4000 * 0.75 * 0.25), rel=0.02)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=30))
def test_strengths_always_exist(pairs: list[tuple[int, int]]) -> None:
    """Whatever the votes, strengths are finite, of mean 0, and turn with the votes."""
    votes = [Vote(a, b) for a, b in pairs if a != b]
    known = strengths(range(5), votes)
    turned = strengths(range(5), [Vote(vote.worse, vote.better) for vote in votes])
    assert np.isfinite(known.theta_N).all() and abs(known.theta_N.mean()) < 1e-9
    np.testing.assert_allclose(known.theta_N, -turned.theta_N, atol=1e-6)
    assert (known.spread_N > 0).all()


def test_questions_are_asked_of_what_is_close_and_little_known() -> None:
    """Without votes every pair is asked once before one is asked again."""
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

#: On the second pair the first trial is the worst by far, which turns the means around.
PAIR_SCORES = {
    1: [{"lpips": 0.2, "ssim": 0.3}, {"lpips": 0.9, "ssim": 0.5}],
    2: [{"lpips": 0.3, "ssim": 0.2}, {"lpips": 0.3, "ssim": 0.6}],
    3: [{"lpips": 0.4, "ssim": 0.1}, {"lpips": 0.2, "ssim": 0.7}],
}


def test_metrics_agree_or_not() -> None:
    """Each metric counts the votes that it ranks as the person does, in its own direction."""
    votes = [Vote(1, 2), Vote(1, 3), Vote(2, 3), Vote(3, 2)]
    found = agreements(SCORES, votes)
    assert (found["lpips"].agreed, found["lpips"].votes) == (3, 4)
    assert found["ssim"].agreed == 1
    assert next(iter(found)) == "lpips"


def test_metrics_are_held_against_the_pictures_that_were_compared() -> None:
    """A vote is on one pair, and what a metric says of that pair is what counts."""
    votes = [Vote(1, 2, 0), Vote(2, 3, 0), Vote(3, 2, 1), Vote(2, 1, 1)]
    for one in agreements(PAIR_SCORES, votes).values():
        assert (one.agreed, one.votes) == (4, 4)
    assert agreements(PAIR_SCORES, [Vote(1, 2, 1)])["lpips"].agreed == 0
    assert set(learned_objective(PAIR_SCORES, votes * 5)) == {"lpips", "ssim"}
    assert learned_objective(PAIR_SCORES, [Vote(1, 3, 1)] * 5) == {}


def test_a_learned_objective_follows_the_votes() -> None:
    """Metrics that speak against the votes get no weight; those that speak for them do."""
    by_colour = [Vote(2, 3), Vote(3, 1), Vote(2, 1)] * 5
    assert set(learned_objective(SCORES, by_colour)) <= {"color", "ssim"}
    assert learned_objective(SCORES, by_colour)["color"] > 0
    by_lpips = [Vote(1, 2), Vote(2, 3), Vote(1, 3)] * 5
    assert set(learned_objective(SCORES, by_lpips)) == {"lpips"}
    assert learned_objective(SCORES, []) == {}


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A run with 40 votes of somebody who likes what LPIPS likes."""
    run = made_run(tmp_path_factory.mktemp("prefer") / "run", pictures, trials=20, pairs=2)
    results = load_results(run)
    rungs = {found.record.trial: found.rung for found in candidates(results)}
    poll = Poll(results, seed=0)
    for _ in range(40):
        left, right, pair = poll._question
        lpips = {trial: rungs[trial].pair_scores[pair]["lpips"] for trial in (left, right)}
        better, worse = sorted((left, right), key=lpips.__getitem__)
        poll.vote({"better": better, "worse": worse, "pair": pair})
    return run


def test_votes_are_kept_in_the_study_and_order_the_results(voted: Path) -> None:
    """After 40 votes the order is that of the person, and the metric they agree with is named."""
    results = load_results(voted)
    assert len(kept_votes(results.notes)) == 40
    found = outcome_json(results)
    scores = [one["objective"] for one in found["order"]]
    assert scores == sorted(scores)
    assert found["agreement"]["lpips"] == {"agreed": 40, "votes": 40, "share": 1.0}
    assert json.loads(nst_tuner("prefer", voted, "--json").stdout)["votes"] == 40
    said = nst_tuner("prefer", voted, "--result").stdout
    assert "40 of 40" in said and "by 40 votes" in said


def test_every_style_image_is_shown(tmp_path: Path, pictures: Path) -> None:
    """What a person judges by is the content, each style image by its number, the reference."""
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


def test_votes_can_be_skipped_and_taken_back(tmp_path: Path, pictures: Path) -> None:
    """A skip asks something else; undoing forgets the last vote; what is no vote is refused."""
    run = made_run(tmp_path / "run", pictures, trials=8)
    poll = Poll(load_results(run), seed=1)
    before = poll._question
    poll.vote({"skip": True})
    assert set(poll._question[:2]) != set(before[:2]) and not poll.votes
    left, right, pair = poll._question
    poll.vote({"better": left, "worse": right, "pair": pair})
    assert kept_votes(load_results(run).notes) == [Vote(left, right, pair)]
    poll.vote({"undo": True})
    assert kept_votes(load_results(run).notes) == []
    for bad in (
        {},
        "x",
        {"better": left, "worse": left, "pair": 0},
        {"better": 99, "worse": left, "pair": 0},
    ):
        with pytest.raises(InputError):
            poll.vote(bad)


def test_a_job_by_votes_leaves_the_run_alone(voted: Path, tmp_path: Path, pictures: Path) -> None:
    """Its space is found from anywhere; the run's goal, mirror and database are not its own."""
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


def test_the_search_goes_on_by_the_votes(voted: Path, tmp_path: Path, pictures: Path) -> None:
    """A job follows with the learned objective and the run as experience; few votes are refused."""
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
def test_a_vote_is_one_key_pressed_once_for_what_is_seen(tmp_path: Path, pictures: Path) -> None:
    """The browser's own keys vote for nothing, nor does a held key, nor one before the pictures."""
    run = made_run(tmp_path / "run", pictures, trials=8)
    site = Poll(load_results(run), seed=0).site()
    thread = threading.Thread(target=site.serve, args=(lambda _: None,), kwargs={"show": False})
    thread.start()
    try:
        with chromium() as seen:
            page = seen.open(site.url)
            sent = []
            page.on(
                "request", lambda asked: sent.append(asked.url) if "vote" in asked.url else None
            )
            pressed = "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', %s}))"
            for unlike in ("altKey", "ctrlKey", "metaKey", "shiftKey", "repeat"):
                page.evaluate(pressed % f"{unlike}: true")
            assert sent == []
            page.evaluate(
                "() => { HTMLImageElement.prototype.decode = () => new Promise(() => {}); }"
            )
            page.locator("#two button").nth(1).focus()
            with page.expect_response("**/vote"):
                page.keyboard.press("Enter")
            page.get_by_text("1 vote").wait_for()
            assert page.evaluate("document.activeElement.ariaLabel") == "The right result is better"
            page.keyboard.press("ArrowRight")  # its pictures are still on their way
            page.wait_for_timeout(200)
            assert len(sent) == 1
    finally:
        site.stop()
        thread.join()


@needs_chromium
def test_the_page_takes_votes_by_keys(tmp_path: Path, pictures: Path) -> None:
    """Arrow keys vote, Backspace takes back, pictures are shown, nothing leaves the machine."""
    run = made_run(tmp_path / "run", pictures, trials=8)
    site = Poll(load_results(run), seed=0).site()
    thread = threading.Thread(target=site.serve, args=(lambda _: None,), kwargs={"show": False})
    thread.start()
    try:
        with chromium() as seen:
            page = seen.open(site.url)
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
            assert seen.errors == []
            assert seen.left == []
    finally:
        site.stop()
        thread.join()
    assert len(kept_votes(load_results(run).notes)) == 1
