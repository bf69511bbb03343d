"""Suggestions tried on the pictures that they are for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nst_core.config import StyleConfig
from nst_core.images.tensors import load_image
from nst_core.networks.weights import Weights
from search_spaces import CATALOGUE
from tests.tuner.helpers import nst_tuner
from tuner.transfer.short_runs import LEAST_EDGES, ShortRun, ShortRuns, recognizable_first, said_of
from tuner.transfer.suggest import Suggestion

GRAM = CATALOGUE["gram"]


def suggested(count: int) -> list[tuple[Suggestion, StyleConfig]]:
    """Suggestions of so many different steps."""
    return [
        (
            Suggestion(
                params=GRAM.initial_points[0], steps=n, share=0.5 + n / 100, like=[("a", 1.0)]
            ),
            GRAM.build(GRAM.initial_points[0], steps=n),
        )
        for n in range(1, count + 1)
    ]


def test_settings_that_leave_the_photo_unrecognizable_fail(
    pictures: Path, weights: dict[str, Weights]
) -> None:
    """A start from the style with a low rate and few steps fails; one from the photo does not."""
    content, style = (load_image(pictures / f"{name}.png") for name in ("content", "style"))
    run = ShortRuns(content, style, weights.__getitem__)
    seen: list[int] = []
    common = {"style_layers": {"relu1_1": 1.0, "relu2_1": 1.0}, "style_weight": 30.0}
    bad = run(StyleConfig(init="style", lr=0.002, steps=3, **common), seen.append)
    good = run(StyleConfig(init="content", lr=0.01, steps=3, **common))
    assert seen[-1] == 3
    assert not bad.recognizable
    assert good.recognizable and bad.style < good.style  # it still is the style image


def test_what_fails_is_replaced() -> None:
    """The ranking keeps its order without those that fail, and tries no more than it needs."""
    tried: list[int] = []

    def run(config: StyleConfig) -> ShortRun:
        tried.append(config.steps)
        return ShortRun(edges=LEAST_EDGES - 0.1 * (config.steps in {1, 3}), style=0.5)

    found = recognizable_first(suggested(6), run, 2)
    assert [one.steps for one, *_ in found] == [2, 4]
    assert tried == [1, 2, 3, 4]
    assert "hard to recognize" not in said_of(found)


def test_where_nothing_is_recognizable_it_is_said() -> None:
    """With too few that pass, those that fail follow, and the output says so."""
    found = recognizable_first(
        suggested(3), lambda config: ShortRun(edges=0.9 * (config.steps == 3), style=1.0), 2
    )
    assert [one.steps for one, *_ in found] == [3, 1]
    assert "1 of 2 keep less than 35% of the edges" in said_of(found)


@pytest.mark.parametrize("tried", [True, False])
def test_the_command_says_whether_it_tried(pictures: Path, tmp_path: Path, tried: bool) -> None:
    """What was measured is in the JSON and in the preset; `--no-try` says that nothing was."""
    content, style = (pictures / f"{name}.png" for name in ("content", "style"))
    asked = ["suggest", "--content", content, "--style", style, "--top", 1]
    options = [] if tried else ["--no-try"]
    if not tried:
        assert "Not tried on these pictures" in nst_tuner(*asked, *options).stdout
    done = nst_tuner(*asked, *options, "--json", "--out", tmp_path / "first.json")
    (first,) = json.loads(done.stdout)["suggestions"]
    preset = json.loads((tmp_path / "first.json").read_text())
    assert (preset["provenance"]["tried"] is not None) == tried
    assert (first["tried"] is not None) == tried
    assert not tried or 0 <= first["tried"]["edges"] <= 1
