"""The benchmark `precision`: agreement of rankings, and scores that continue from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.precision import FLOAT32, Turn, Way, _kept, configurations_of, row_of, ways_of
from nst_core.errors import InputError
from search_spaces import CATALOGUE


def turn_of(seconds: float, first: int, *scores: list[float]) -> Turn:
    """Return a turn with the scores of consecutive configurations after 15 steps."""
    return {"seconds": seconds, "scores": {str(first + i): {"15": s} for i, s in enumerate(scores)}}


def test_a_row_compares_rankings() -> None:
    """Tau is that of the means over pairs; the regret is in scores of float32."""
    exact = [turn_of(2.0, 0, [0.1, 0.3], [0.2, 0.6]), turn_of(2.0, 2, [0.5, 0.9], [0.8, 0.8])]
    other = [turn_of(1.0, 0, [0.3, 0.3], [0.2, 0.2]), turn_of(1.0, 2, [0.5, 0.9], [0.8, 0.8])]
    taken = {FLOAT32: exact, "half": other}
    row = row_of("half", Way(timed=True), taken, 2, 15)
    assert row["tau"] == pytest.approx((5 - 1) / 6)
    assert (row["tau, pair 1"], row["regret"]) == (pytest.approx(4 / 6), pytest.approx(0.2))
    assert row["× faster"] == 2.0
    same = row_of(FLOAT32, Way(), taken, 2, 15)
    assert (same["tau"], same["regret"], same["× faster"]) == (1.0, 0.0, "")


def test_failed_configurations_rank_last() -> None:
    """A configuration that failed in both ways costs no agreement, one that failed in one does."""
    exact, failed = [turn_of(1.0, 0, [0.1], [0.2], [])], [turn_of(1.0, 0, [], [0.2], [])]
    assert row_of("x", Way(), {FLOAT32: exact, "x": exact}, 1, 15)["tau"] == 1.0
    row = row_of("x", Way(), {FLOAT32: exact, "x": failed}, 1, 15)
    assert row["tau"] < 1 and row["regret"] == pytest.approx(0.1)


def test_kept_scores_of_other_pictures_are_refused(tmp_path: Path) -> None:
    """A file of scores continues only what it was made of."""
    file = tmp_path / "scores.json"
    assert _kept(file, {"size_px": 64}) == {}
    file.write_text(json.dumps({"of": {"size_px": 64}, "turns": {"a": turn_of(1.0, 0)}}))
    assert list(_kept(file, {"size_px": 64})) == ["a"]
    with pytest.raises(InputError, match=r"scores\.json: has scores of \{'size_px': 64\}"):
        _kept(file, {"size_px": 96})


def test_configurations_are_different_and_every_device_has_a_control() -> None:
    """The configurations are distinct points, and float32 is compared with itself."""
    configs = configurations_of(CATALOGUE["gram"], 8, size_px=64, steps=3)
    assert len({json.dumps(config.to_dict()) for config in configs}) == 8
    assert list(ways_of(torch.device("cpu")))[:3] == [FLOAT32, "float32 again", "tf32, emulated"]
