"""Choice of initial points among the winners of searches."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.support.live_pairs import PairSource
from benchmarks.support.live_starts import (
    initial_points,
    measure,
    portfolio,
    read_scores,
    sections,
)
from nst_core.networks.weights import Weights


def test_a_portfolio_covers_the_pairs() -> None:
    """Each further candidate is the one that lowers the mean of the best scores most."""
    scores_CP = np.array([[0.5, 0.5, 0.5], [0.1, 0.9, 0.9], [0.9, 0.4, 0.4], [0.1, 0.9, 0.9]])
    assert portfolio(scores_CP, 2) == [0, 1]
    assert portfolio(scores_CP, 3) == [0, 1, 2]
    assert sorted(portfolio(scores_CP, 9)) == [0, 1, 2, 3]


def test_candidates_are_scored_once(
    tmp_path: Path,
    pictures: Path,
    weights: dict[str, Weights],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scores are shares of the untouched photo's; what a file has is not measured again."""
    monkeypatch.setattr("benchmarks.support.live_starts.STEPS", (1, 2))
    cat, dog = (
        PairSource(
            source="other-engine",
            name=name,
            files=tuple(str(pictures / f"{role}.png") for role in ("content", style, "reference")),
        )
        for name, style in (("cat", "style"), ("dog", "reference"))
    )
    points, scores = initial_points("gram", 48, 4), tmp_path / "scores.jsonl"
    measure(points[:2], cat, 48, scores)
    before = read_scores(scores)
    for source in (cat, dog):
        measure(points, source, 48, scores)
    after = read_scores(scores)
    assert before.items() < after.items() and len(after) == 2 * len(points) == 6
    assert all(0 < score < 2 for score in after.values())
    chosen, by_pair = sections(points, points[:1], [cat, dog], [48], scores, 2)
    best = chosen.rows[-1]["mean of the best so far"]
    assert best == pytest.approx(by_pair.rows[-1]["portfolio"], abs=2e-3)
    assert [row["pair"] for row in by_pair.rows] == ["cat, 48 px", "dog, 48 px", "mean"]
