"""Short runs: suggestions that are tried on the user's own pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nst_core.config import StyleConfig
from nst_core.images.tensors import load_image
from nst_core.networks.weights import Weights
from search_spaces import CATALOGUE
from tests.tuner.helpers import nst_tuner
from tuner.transfer.short_runs import (
    MIN_EDGES_KEPT,
    ShortRun,
    ShortRuns,
    explain_short_runs,
    recognizable_first,
)
from tuner.transfer.suggest import Suggestion

GRAM = CATALOGUE["gram"]


def suggested(count: int) -> list[tuple[Suggestion, StyleConfig]]:
    """Return suggestions with 1, 2, … steps."""
    return [
        (
            Suggestion(
                params=GRAM.initial_points[0], steps=n, share=0.5 + n / 100, like=[("a", 1.0)]
            ),
            GRAM.build(GRAM.initial_points[0], steps=n),
        )
        for n in range(1, count + 1)
    ]


def test_unrecognizable_result_fails(pictures: Path, weights: dict[str, Weights]) -> None:
    """A start from the style with a low rate and few steps fails; one from the photo passes."""
    content, style = (load_image(pictures / f"{name}.png") for name in ("content", "style"))
    run = ShortRuns(content, style, weights.__getitem__)
    steps: list[int] = []
    common = {"style_layers": {"relu1_1": 1.0, "relu2_1": 1.0}, "style_weight": 30.0}
    bad = run(StyleConfig(init="style", lr=0.002, steps=3, **common), steps.append)
    good = run(StyleConfig(init="content", lr=0.01, steps=3, **common))
    assert steps[-1] == 3
    assert not bad.recognizable
    assert good.recognizable and bad.style < good.style  # the bad result is still the style image


def test_failed_suggestions_are_replaced() -> None:
    """Suggestions that pass keep their order, and no more are tried than necessary."""
    tried: list[int] = []

    def run(config: StyleConfig) -> ShortRun:
        tried.append(config.steps)
        return ShortRun(edges=MIN_EDGES_KEPT - 0.1 * (config.steps in {1, 3}), style=0.5)

    tested = recognizable_first(suggested(6), run, 2)
    assert [suggestion.steps for suggestion, *_ in tested] == [2, 4]
    assert tried == [1, 2, 3, 4]
    assert "hard to recognize" not in explain_short_runs(tested)


def test_failed_suggestions_fill_the_list() -> None:
    """If too few suggestions pass, failed ones follow, and the explanation says so."""
    tested = recognizable_first(
        suggested(3), lambda config: ShortRun(edges=0.9 * (config.steps == 3), style=1.0), 2
    )
    assert [suggestion.steps for suggestion, *_ in tested] == [3, 1]
    assert "1 of 2 keep less than 35% of the edges" in explain_short_runs(tested)


@pytest.mark.parametrize("tried", [True, False])
def test_command_reports_short_runs(pictures: Path, tmp_path: Path, tried: bool) -> None:
    """JSON and preset contain the results of short runs; with `--no-try` there are none."""
    content, style = (pictures / f"{name}.png" for name in ("content", "style"))
    command = ["suggest", "--content", content, "--style", style, "--top", 1]
    options = [] if tried else ["--no-try"]
    if not tried:
        assert "Not tried on these pictures" in nst_tuner(*command, *options).stdout
    done = nst_tuner(*command, *options, "--json", "--out", tmp_path / "first.json")
    (first,) = json.loads(done.stdout)["suggestions"]
    preset = json.loads((tmp_path / "first.json").read_text())
    assert (preset["provenance"]["tried"] is not None) == tried
    assert (first["tried"] is not None) == tried
    assert not tried or 0 <= first["tried"]["edges"] <= 1
