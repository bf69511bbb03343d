"""The benchmark `live`: its ways, its file of results, its searches, its report and its sheets."""

import json
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.support import live_searches
from benchmarks.support.common import Pair
from benchmarks.support.live_cases import Best, Case, CaseResult, append_result, read_results
from benchmarks.support.live_pairs import (
    BUILT_IN,
    LONG_CONFIG,
    PairSource,
    check_references,
    chosen_pairs,
)
from benchmarks.support.live_report import comparisons, goals, sections
from benchmarks.support.live_runs import Selection, is_current, run_missing
from benchmarks.support.live_sheets import HEIGHT_PX, KEY, write_sheets
from benchmarks.support.live_ways import REMOVED, Way, fingerprint, parse_way
from nst_core.errors import InputError
from nst_core.networks.weights import Weights
from search_spaces import CATALOGUE, Float, Space

CASE = Case(
    source="feed-forward",
    pair="cat",
    pictures="0",
    size_px=64,
    way=Way(name="gram", space="gram"),
    space="1",
    starts=True,
    steps=(5, 90),
    full_trials=4,
    lanes=8,
    seed=0,
)


def result(way: str, *trace: tuple[int, float], **case: object) -> CaseResult:
    changed = replace(CASE, way=Way(name=way, space=way.partition("/")[0]), **case)  # type: ignore[arg-type]
    return CaseResult(
        case=changed,
        trace=list(trace),
        best=Best(lpips=trace[-1][1], trial=0, steps=90, config={}),
        untouched=0.5,
        stlpips=0.2,
        trials=3,
        seconds=1.0,
        machine={"processor": "a"},
    )


def test_a_way_is_a_space_and_a_variant() -> None:
    """Every space works alone, with every sampler and with stock Ray Tune."""
    assert {parse_way(name).space for name in CATALOGUE} == set(CATALOGUE)
    assert parse_way("wide/cmaes").sampler == "cmaes"
    assert parse_way("gram-wide/stock").sampler == "stock"
    assert parse_way("gram/former").sampler in REMOVED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gramm", "is no named space; .* did you mean `gram`"),
        ("gram/tpee", "is no variant; .* did you mean `tpe`"),
        ("gram/", "is no variant"),
    ],
)
def test_a_wrong_way_is_one_clear_error(text: str, message: str) -> None:
    """An unknown space and an unknown variant are refused with a hint."""
    with pytest.raises(InputError, match=message):
        parse_way(text)


def test_the_fingerprint_follows_what_a_search_depends_on() -> None:
    """A fingerprint depends on ranges, fixed settings and used initial points, not on texts."""
    gram = CATALOGUE["gram"]

    def changed(**parts: object) -> Space:
        return Space(**{**vars(gram), **parts})  # type: ignore[arg-type]

    own = fingerprint(gram, starts=True)
    assert fingerprint(changed(why="Another reason."), starts=True) == own
    assert (
        fingerprint(changed(params={**gram.params, "lr": Float(low=0.01, high=0.2)}), starts=True)
        != own
    )
    assert fingerprint(changed(fixed={**gram.fixed, "beta2": 0.99}), starts=True) != own
    fewer = changed(initial_points=gram.initial_points[:1])
    assert fingerprint(fewer, starts=True) != own
    assert fingerprint(fewer, starts=False) == fingerprint(gram, starts=False)


def test_results_of_a_changed_space_are_not_current() -> None:
    """A result counts only with the present fingerprint of its space."""
    present = replace(CASE, space=fingerprint(CATALOGUE["gram"], starts=True))
    assert is_current(present)
    assert not is_current(CASE)
    assert not is_current(replace(present, way=Way(name="gone", space="gone")))


def test_pairs_have_the_source_of_their_reference(pictures: Path) -> None:
    """Built-in pairs exist for each source; a pair with its own reference is of another engine."""
    both = chosen_pairs(["feed-forward", "long-optimization"], ())
    assert [pair.name for pair in both] == [name for name in BUILT_IN for _ in range(2)]
    (own,) = chosen_pairs(["feed-forward"], ["cat=a.png,b.png,c.png"])
    assert own.source == "other-engine"
    with pytest.raises(InputError, match="did you mean `rocket-cells`") as raised:
        chosen_pairs(["feedforward"], ["rocket-cell", "cat=a.png"])
    assert len(str(raised.value).splitlines()) == 3
    with pytest.raises(InputError, match="at most that"):
        check_references(chosen_pairs(["long-optimization"], ()), 512)


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_space_reaches_the_long_optimization(name: str) -> None:
    """No space has the network input of the long optimization together with its start image."""
    space = CATALOGUE[name]
    assert not (
        LONG_CONFIG.normalization in space.may_set("normalization")
        and LONG_CONFIG.init in space.may_set("init")
    )


def test_results_survive_a_torn_line(tmp_path: Path) -> None:
    """A file gives back its results; a last line without an end is ignored, then overwritten."""
    file = tmp_path / "new" / "cases.jsonl"
    assert read_results(file) == []
    first, second = result("gram", (5, 0.4), (90, 0.3)), result("gram/tpe", (5, 0.2))
    append_result(file, first)
    with file.open("a") as stream:
        stream.write(json.dumps(asdict(second))[:200])
    assert read_results(file) == [first]
    append_result(file, second)
    assert read_results(file) == [first, second]


def test_a_way_may_have_its_own_first_rung() -> None:
    """The way that stands for the former default has its first rung at a twentieth of the last."""
    assert replace(CASE, way=parse_way("gram/early-rung")).rungs == (5, 90)
    assert replace(CASE, steps=(15, 90), way=parse_way("gram")).rungs == (15, 90)


def test_a_foreign_line_is_an_error(tmp_path: Path) -> None:
    """A whole line that is no result is an error that names file and line."""
    (tmp_path / "cases.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"cases\.jsonl, line 1: expected a result"):
        read_results(tmp_path / "cases.jsonl")


def test_the_report_compares_by_pair_and_seed() -> None:
    """Means, differences, shares of pairs and of steps follow from the traces."""
    results = [
        result("gram", (90, 0.4), (180, 0.2)),
        result("gram", (90, 0.4), (180, 0.3), pair="dog"),
        result("gram/stock", (90, 0.5), (360, 0.25)),
        result("gram/stock", (90, 0.5), (360, 0.27), pair="dog"),
    ]
    (one,) = comparisons(results, ["gram", "gram/stock"])
    by_way, by_pair = sections([one])
    ours, stock = by_way.rows
    assert (ours["1/4"], ours["1/2"], ours["all"]) == (0.4, 0.25, 0.25)
    assert (stock["behind"], stock["pairs won"], stock["searches"]) == (0.01, 0.5, 2)
    assert stock["±"] == pytest.approx(0.04)
    assert (ours["steps to stock"], stock["steps to stock"]) == (0.5, 1.0)
    assert by_pair.rows[0] == {
        **{"pair": "cat", "untouched photo": 0.5},
        **{"gram": 0.2, "gram/stock": 0.25},
    }
    (goal,) = goals([one])
    assert goal.met and goal.value == 0.01


def test_searches_with_another_reference_are_not_compared() -> None:
    """A reference that was made again and differs is told by the score of the untouched photo."""
    results = [
        result("gram", (90, 0.4), (360, 0.2)),
        result("gram", (90, 0.4), (360, 0.3), pair="dog"),
        result("gram/stock", (90, 0.5), (360, 0.25)),
        replace(result("gram/stock", (90, 0.5), (360, 0.9), pair="dog"), untouched=0.51),
    ]
    (one,) = comparisons(results, ["gram", "gram/stock"])
    assert [key[0] for key in one.shared("gram", "gram/stock")] == ["cat"]
    assert [key[0] for key in one.common] == ["cat"]


@pytest.fixture
def tiny(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, random_weights: Callable[[str], Weights]
) -> Selection:
    """Searches of 8 steps at 48 px with random weights, on a pair with its own reference."""
    monkeypatch.setattr(live_searches, "get_weights", random_weights)
    files = tuple(str(pictures / f"{name}.png") for name in ("content", "style", "reference"))
    return Selection(
        ways=[parse_way(text) for text in ("gram", "wide/random", "gram/stock")],
        pairs=[PairSource(source="other-engine", name="cat", files=files)],
        sizes_px=[48],
        seeds=[0],
        steps=(1, 2),
        full_trials=4,
        starts=True,
    )


def test_searches_end_with_their_budget_and_sheets_are_blind(
    tiny: Selection, tmp_path: Path
) -> None:
    """Searches end with their budget; a sheet shows the recorded best ones and no names.

    What is computed again has the recorded score. A command whose results are all in the file runs
    nothing.
    """
    file = tmp_path / "cases.jsonl"
    for pair, case in tiny.cases():
        append_result(file, live_searches.run_case(pair, case))
    results = read_results(file)
    assert [found.case for found in results] == [case for _, case in tiny.cases()]
    for found in results:
        assert found.trace[0][0] <= found.trace[-1][0] <= found.case.budget == 8
        assert found.best.lpips == found.trace[-1][1]
        assert found.best.config["size_px"] == 48
    run_missing(tiny, file, jobs=1)
    assert read_results(file) == results

    ways = ("gram", "gram/stock")
    orders = set()
    for seed in range(4):
        out = tmp_path / str(seed)
        (sheet,) = write_sheets(results, ways, tiny.pairs, out, random.Random(seed))
        key = json.loads((out / KEY).read_text())[sheet.name]
        orders.add(tuple(entry["way"] for entry in key.values()))
        assert not any(word in sheet.name for word in ("gram", "stock"))
        assert all(e["lpips"] == e["lpips, computed again"] for e in key.values())
        with Image.open(sheet) as picture:
            assert picture.height >= HEIGHT_PX and not picture.info
    assert orders == {ways, ways[::-1]}


def test_a_given_reference_has_the_shape_of_the_results() -> None:
    """A reference whose height rounds differently from the content's is scaled to its shape."""
    pair = Pair(
        name="cat",
        content_3HW=torch.zeros(3, 400, 600),
        style_3HW=torch.zeros(3, 64, 64),
        reference_3HW=torch.zeros(3, 171, 256),
    )
    assert pair.reference(128).shape == (3, 85, 128)
