"""Metric disagreement: pictures that LPIPS and ST-LPIPS order differently."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.support.made_run import made_run
from tests.tuner.helpers import nst_tuner
from tests.tuner.made_results import printed
from tuner.apply.metric_check import Ranking
from tuner.apply.metric_disagreement import (
    COMPARED,
    Comparison,
    compare,
    compare_rankings,
    compare_run,
)
from tuner.terminal.metric_tables import disagreement_table

#: Picture -> its two scores. Only c and d, and d and e, are ordered differently.
SCORES = {
    name: dict(zip(COMPARED, scores, strict=True))
    for name, scores in {
        **{"a": (0.10, 0.10), "b": (0.20, 0.15), "c": (0.30, 0.70)},
        **{"d": (0.60, 0.50), "e": (0.90, 0.49)},
    }.items()
}


def names(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the names that LPIPS and ST-LPIPS prefer, of each disagreement."""
    return [
        (each.preferred["lpips"], each.preferred["stlpips"]) for each in comparison.disagreements
    ]


def test_the_most_certain_disagreement_comes_first() -> None:
    """A disagreement is as certain as the less certain of both metrics."""
    comparison = compare([SCORES])
    assert (comparison.pictures, comparison.pairs) == (5, 10)
    assert names(comparison) == [("c", "e"), ("c", "d"), ("d", "e")]
    certainties = [each.certainty for each in comparison.disagreements]
    assert certainties == sorted(certainties, reverse=True) and certainties[-1] > 0


def test_only_pictures_of_one_reference_are_compared() -> None:
    """Scores against different references say nothing about each other."""
    parts = [{name: SCORES[name] for name in part} for part in ("abc", "de")]
    comparison = compare([*parts, {}])
    assert (comparison.pictures, comparison.pairs) == (5, 4)
    assert names(comparison) == [("d", "e")]


def test_equal_scores_are_no_disagreement() -> None:
    """If a metric scores two pictures alike, it prefers neither."""
    assert compare([{"a": SCORES["a"], "b": {**SCORES["c"], "lpips": 0.10}}]).disagreements == []
    assert compare([{"a": SCORES["a"], "b": SCORES["a"]}]).disagreements == []


def test_rankings_are_compared_if_both_metrics_are_there() -> None:
    """A check without ST-LPIPS has no comparison."""
    rankings = [
        Ranking(metric=metric, scores={name: scores[metric] for name, scores in SCORES.items()})
        for metric in COMPARED
    ]
    assert compare_rankings(rankings) == compare([SCORES])
    assert compare_rankings(rankings[:1]) is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A run with two pairs, whose pictures are between the content and the reference."""
    folder = tmp_path_factory.mktemp("run") / "run"
    return made_run(folder, pictures, "space=gram", trials=6, pairs=2, size_px=96)


def test_pictures_of_a_run_are_compared(run: Path, tmp_path: Path) -> None:
    """The pictures of all trials but finals are scored; their names are paths in the run."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    with Image.open(folder / "inputs" / "pair0-reference.png") as goal:
        reference = goal.convert("RGB").resize((96, 64))
    # LPIPS prefers a faint blend to a shift, and ST-LPIPS the shift.
    reference.transform(reference.size, Image.Transform.AFFINE, (1, 0, 3, 0, 1, 3)).save(
        folder / "trials" / "0001" / "pair0.png"
    )
    totals: list[int] = []
    comparison = compare_run(folder, [], print, totals.append)
    assert totals == [12] == [comparison.pictures]
    assert comparison.pairs == 2 * 15
    assert "trials/0001/pair0.png" in {stlpips for _, stlpips in names(comparison)}
    for each in comparison.disagreements:
        for metric in COMPARED:
            (other,) = set(each.scores) - {each.preferred[metric]}
            assert each.scores[each.preferred[metric]][metric] < each.scores[other][metric]
            assert (folder / other).is_file()


def test_command_shows_disagreements(run: Path) -> None:
    """The table and the JSON have the same disagreements; the table shows at most five."""
    done = nst_tuner("metrics", run, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["pictures"] == 12 and found["pairs"] == 30
    assert found["ordered_differently"] == len(found["disagreements"])
    table = nst_tuner("metrics", run).stdout
    if found["disagreements"]:
        assert f"{found['ordered_differently']} of 30 pairs" in table
        assert found["disagreements"][0]["preferred"]["lpips"] in table
    else:
        assert "order the 12 pictures alike" in table


def test_options_of_the_check_are_refused_for_a_run(run: Path, tmp_path: Path) -> None:
    """Options that a comparison of a run ignores are refused, as are folders that are no run."""
    for options in (("--all",), ("--size-px", 64)):
        done = nst_tuner("metrics", run, *options)
        assert done.returncode == 2 and "not for a run" in done.stderr
    done = nst_tuner("metrics", tmp_path)
    assert done.returncode == 2 and "not a run directory" in done.stderr
    done = nst_tuner("metrics", run, "--weights", "vgg16=x.pth")
    assert done.returncode == 2 and "lpips-alex, stlpips-alex" in done.stderr


def test_pictures_that_cannot_be_compared(run: Path, tmp_path: Path) -> None:
    """A run with fewer than two pictures, and a picture of another size, are clear errors."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    Image.new("RGB", (40, 40)).save(folder / "trials" / "0002" / "pair1.png")
    done = nst_tuner("metrics", folder)
    assert done.returncode == 2 and "trials/0002/pair1.png: 40x40, expected 96x64" in done.stderr
    for picture in folder.glob("trials/000[1-9]/*.png"):
        picture.unlink()
    done = nst_tuner("metrics", folder)
    assert done.returncode == 2 and "with pictures is 1, expected at least 2" in done.stderr


def test_table_shows_the_first_five() -> None:
    """The table has the scores of both pictures with their order, and says how many there are."""
    many = {
        f"p{i}": dict(zip(COMPARED, (0.1 * i, 0.9 - 0.1 * i), strict=True)) for i in range(1, 6)
    }
    text = printed(disagreement_table(compare([many])))
    assert "order 10 of 10 pairs of pictures differently. The 5 on which" in text
    assert "p1" in text and "0.1000 < 0.5000" in text and "0.8000 > 0.4000" in text
    alike = compare([{name: SCORES[name] for name in "ab"}])
    assert "lpips and stlpips order the 2 pictures alike." in printed(disagreement_table(alike))
