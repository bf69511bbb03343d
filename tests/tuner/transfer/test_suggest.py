import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nst_core.errors import InputError
from nst_core.losses.inputs import LossInputs
from nst_core.presets.preset import Preset
from nst_core.samples import sample_content, sample_style
from search_spaces import CATALOGUE, Params, Space
from tests.tuner.helpers import Recorder, nst_tuner
from tuner.job.load import find_space, load_job
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job
from tuner.sampling.encoding import encode
from tuner.sampling.gaussian_process import GaussianProcess, Kernel, fitted_kernel
from tuner.sampling.sobol_grid import planned_point
from tuner.transfer.curves import SHIPPED, Curves, PairCurves, load_curves
from tuner.transfer.picture_statistics import FEATURES, picture_features
from tuner.transfer.suggest import (
    Experience,
    experience_of_run,
    experiences_of,
    fitting,
    similarities,
    suggest_for,
)

SPACE = CATALOGUE["gram"]
KERNEL = Kernel(lengths_D=np.ones(len(encode(SPACE, {}))), noise=1e-6)


def points(count: int) -> list[Params]:
    drawn = [planned_point("sobol", SPACE, index, 0) for index in range(count)]
    return [point for point in drawn if point is not None]


def curves_of(likes: dict[str, float]) -> Curves:
    """Made-up curves: each pair likes one ratio, and its features say which."""
    params = points(40)
    pairs = {}
    for name, liked in likes.items():
        loss_N = np.array([abs(float(p["log10_style_content"]) - liked) for p in params])
        score_NSM = (0.2 + 0.1 * loss_N[:, None] + np.array([0.3, 0.1]))[..., None]
        pairs[name] = PairCurves(
            name=name,
            features_F=np.full(len(FEATURES), liked),
            score_NSM=score_NSM,
            untouched={"lpips": 0.8},
            lengths_D=np.full_like(KERNEL.lengths_D, 0.5 + 0.1 * len(pairs)),
        )
    return Curves(
        space=SPACE,
        params=params,
        steps=(10, 90),
        metrics=("lpips",),
        features=FEATURES,
        pairs=pairs,
        size_px=64,
        kernel=KERNEL,
    )


def test_curves_survive_a_file(tmp_path: Path) -> None:
    """What is saved is read back, to the three digits that are kept."""
    curves = curves_of({"a": 0.0, "b": 2.0})
    curves.save(tmp_path / "c.npz")
    again = load_curves(tmp_path / "c.npz")
    assert again.params == curves.params
    assert (again.steps, again.size_px) == ([10, 90], 64)
    scores = curves.scores("b", curves.params[3], 30)
    assert again.scores("b", curves.params[3], 30) == pytest.approx(scores, rel=1e-2)


@pytest.mark.parametrize("lengths", [np.ones(3), np.zeros_like(KERNEL.lengths_D)])
def test_a_kernel_of_another_space_is_refused(tmp_path: Path, lengths: np.ndarray) -> None:
    """One that has not a length above 0 for each coordinate would fail at the first guess."""
    kernel = Kernel(lengths_D=lengths, noise=0.1)
    replace(curves_of({"a": 0.0}), kernel=kernel).save(tmp_path / "c.npz")
    with pytest.raises(InputError, match="kernel"):
        load_curves(tmp_path / "c.npz")


def test_curves_of_before_lengths_are_read(tmp_path: Path) -> None:
    """A file that has them only for all pairs together still serves: it took hours to record."""
    curves = curves_of({"a": 0.0})
    curves.save(tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as arrays:
        kept = dict(arrays)
    header = json.loads(kept["header"].tobytes())
    del header["pairs"][0]["lengths"]
    kept["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(tmp_path / "before.npz", **kept)
    found = load_curves(tmp_path / "before.npz").pairs["a"].lengths_D
    np.testing.assert_array_equal(found, curves.kernel.lengths_D)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"\x93NUMPY"])
def test_what_are_no_curves_is_refused(tmp_path: Path, content: bytes) -> None:
    """Another file is refused by name; nothing in it is run."""
    path = tmp_path / "c.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a file of recorded curves"):
        load_curves(path)


def test_scores_between_what_was_recorded() -> None:
    """A recorded configuration has its own scores; steps are interpolated by their logarithm."""
    curves = curves_of({"a": 0.5})
    first = curves.params[0]
    recorded = curves.pairs["a"].score_NSM[0, :, 0]
    assert curves.scores("a", first, 10)["lpips"] == pytest.approx(recorded[0], abs=1e-4)
    assert curves.scores("a", first, 30)["lpips"] == pytest.approx(recorded.mean(), abs=1e-4)
    assert curves.scores("a", first, 900)["lpips"] == pytest.approx(recorded[1], abs=1e-4)
    own_NS, left_out_NS = curves.pairs["a"].score_NSM[:, :, 0], curves.left_out("a")[:, :, 0]
    assert (left_out_NS != own_NS).all()


def test_what_diverged_says_nothing_of_others() -> None:
    """Only where the most similar configuration had diverged does a guess; others know nothing."""
    curves = curves_of({"a": 0.5})
    score_NSM = curves.pairs["a"].score_NSM
    whole = curves.scores("a", curves.params[3], 10)["lpips"]
    score_NSM[7, 1:] = np.nan
    assert math.isfinite(curves.scores("a", curves.params[7], 10)["lpips"])
    assert math.isnan(curves.scores("a", curves.params[7], 11)["lpips"])
    score_NSM[7] = np.nan
    assert math.isnan(curves.scores("a", curves.params[7], 10)["lpips"])
    assert curves.scores("a", curves.params[3], 10)["lpips"] == pytest.approx(whole)
    others = [curves.scores("a", params, 90)["lpips"] for params in curves.params[8:]]
    assert np.isfinite(others).all()


@pytest.mark.parametrize("size_px", [96, 256])
def test_statistics_are_those_of_the_pictures(size_px: int) -> None:
    """Pairs compare whatever the size that they are tuned at."""
    content, style = sample_content(), sample_style()
    small, large = (
        np.asarray(picture_features(LossInputs.at_size(content, [(style, 1.0)], size)))
        for size in (64, size_px)
    )
    assert np.abs(small - large).max() < 0.05


def bowl(points_ND: np.ndarray) -> np.ndarray:
    """Two made-up values of points, which matter by their first two coordinates."""
    first_N, second_N = points_ND[:, 0], points_ND[:, 1]
    return np.stack([(first_N - 0.3) ** 2 + second_N, 100 * first_N], 1)


def test_a_surrogate_knows_what_it_was_told_and_guesses_the_rest() -> None:
    """Points that were tried have their values, others nearly, all of them in their own units."""
    points_ND = np.random.default_rng(0).random((80, 4))
    kernel = fitted_kernel(points_ND, bowl(points_ND))
    assert kernel.lengths_D[:2].max() < kernel.lengths_D[2:].min()
    known = GaussianProcess(points_ND[:60], bowl(points_ND[:60]), kernel)
    off_NV = np.abs(known(points_ND) - bowl(points_ND)) / bowl(points_ND).std(0)
    assert off_NV[:60].max() < 0.02
    assert off_NV[60:].mean() < 0.05


def test_points_left_out_are_guessed_from_the_others() -> None:
    """At once, as if each had been left out of a surrogate of its own."""
    points_ND = np.random.default_rng(1).random((12, 3))
    values_NV = bowl(points_ND)
    kernel = Kernel(lengths_D=np.ones(3), noise=1e-2)
    known = GaussianProcess(points_ND, values_NV, kernel)
    others = np.arange(12) != 5
    # The scale of the values is that of all of them here, so noise weighs a little less there.
    alone = GaussianProcess(points_ND[others], values_NV[others], kernel)(points_ND[5:6])[0]
    assert known.left_out()[5] == pytest.approx(alone, rel=0.05, abs=0.05)


def test_what_does_not_vary_is_its_mean() -> None:
    """One point, or equal values, are no division by zero."""
    kernel = Kernel(lengths_D=np.ones(2), noise=1e-6)
    for count in (1, 5):
        points_ND = np.random.default_rng(2).random((count, 2))
        guess = GaussianProcess(points_ND, np.full((count, 1), 3.0), kernel)
        assert guess(np.array([[0.5, 0.5]]))[0, 0] == pytest.approx(3.0)


def test_similar_pairs_count_more() -> None:
    """What did well on the pair with such statistics is suggested, with what it should reach."""
    curves = curves_of({"low": -1.0, "middle": 0.5, "high": 2.0})
    known = experiences_of(curves)
    for name, liked in (("low", -1.0), ("high", 2.0)):
        best, *others = suggest_for(np.full(len(FEATURES), liked), known, SPACE, KERNEL, top=3)
        assert best.like[0][0] == name
        assert float(best.params["log10_style_content"]) == pytest.approx(liked, abs=0.7)
        assert best.share <= min(other.share for other in others)
        assert best.steps > 60


@pytest.mark.parametrize("count", [1, 2, 7])
def test_similarities_sum_to_one(count: int) -> None:
    """Weights are shares, and the same pair counts most."""
    known = [np.full(11, float(i)) for i in range(count)]
    weights = similarities(known[-1], known)
    assert weights.sum() == pytest.approx(1)
    assert weights.argmax() == count - 1


def test_a_lane_that_diverged_is_just_bad() -> None:
    """Missing scores are no reason to suggest a configuration, nor to fail."""
    curves = curves_of({"a": 0.0})
    curves.pairs["a"].score_NSM[5] = np.nan
    (one,) = experiences_of(curves)
    assert isinstance(one, Experience)
    assert one.share_N[5] == 2.0
    assert curves.params[5] != suggest_for(one.features_F, [one], SPACE, KERNEL)[0].params


def test_statistics_of_pictures() -> None:
    """Each is a finite number, and unlike pictures differ in them."""
    flat, noisy = torch.full((3, 48, 64), 0.5), torch.rand(3, 48, 64)
    found = [
        picture_features(LossInputs.at_size(content, [(style, 1.0)], 64))
        for content, style in ((flat, noisy), (noisy, flat))
    ]
    assert all(len(features) == len(FEATURES) and np.isfinite(features).all() for features in found)
    assert found[0] != found[1]


def test_what_fits_another_space() -> None:
    """Values that another space has a place for are kept, all others left to its sampler."""
    start: Params = SPACE.initial_points[1]
    small = Space(
        name="small",
        why="-",
        params={k: v for k, v in SPACE.params.items() if k in ("lr", "tv", "tv_weight")},
    )
    fits: Any = fitting(start, small)
    assert fits == {k: start[k] for k in ("lr", "tv", "tv_weight")}
    assert fitting({"lr": 99.0, "tv_weight": 20.0}, small) == {}
    assert fitting(start, find_space("gram")) == start


def test_the_package_brings_curves() -> None:
    """They are small, of the space `gram` as it is, and of several hundred settings by pairs."""
    curves = load_curves()
    assert SHIPPED.stat().st_size < 1_000_000
    assert curves.space.params == SPACE.params
    assert tuple(curves.features) == FEATURES
    assert len(curves.params) * len(curves.pairs) >= 1000
    assert all(fitting(params, SPACE) == params for params in curves.params)
    for pair in curves.pairs.values():
        at = curves.metrics.index("lpips")
        lpips_NS, guess_NS = pair.score_NSM[:, :, at], curves.left_out(pair.name)[:, :, at]
        assert np.nanmin(lpips_NS) < 0.8 * pair.untouched["lpips"]
        # Settings say most of what a configuration reaches.
        assert np.abs(guess_NS - lpips_NS).mean() < 0.6 * np.abs(lpips_NS - lpips_NS.mean(0)).mean()


def test_suggestions_for_pictures(pictures: Path, tmp_path: Path) -> None:
    """The command names settings, steps and pairs, and writes a preset that can be applied."""
    content, style = (pictures / f"{name}.png" for name in ("content", "style"))
    asked = ("suggest", "--content", content, "--style", style, "--size-px", 64, "--no-try")
    shown = nst_tuner(*asked)
    assert shown.returncode == 0 and "Most similar tuned pairs:" in shown.stdout
    done = nst_tuner(*asked, "--top", 2, "--json", "--out", tmp_path / "first.json")
    first, second = json.loads(done.stdout)["suggestions"]
    assert first["share"] <= second["share"] < 1
    assert first["params"] != second["params"]
    preset = Preset.from_json((tmp_path / "first.json").read_text(), "first.json")
    assert preset.config.to_dict() == first["config"]
    assert preset.config.steps == first["steps"]


def test_suggestions_learn_from_runs(job_file: Path, tmp_path: Path) -> None:
    """A run of the same space counts, most for its own pictures; another space is refused."""
    job, space = load_job(job_file, ["search.presets=false", "search.trials=3", "space=gram"])
    run_job(job, space, tmp_path / "own", InlineBackend(), callback=Recorder(), say=print)
    pair = job.pairs[0]
    asked = (
        "suggest",
        "--content",
        pair.content,
        "--style",
        pair.style[0].image,
        "--no-try",
        "--json",
        "--run",
    )
    (first, *_) = json.loads(nst_tuner(*asked, tmp_path / "own").stdout)["suggestions"]
    assert max(first["like"], key=first["like"].get) == job.name
    other = find_space("gram-wide")
    with pytest.raises(InputError, match=r"searched the space gram .* expected gram-wide"):
        experience_of_run(tmp_path / "own", other)
    refused = nst_tuner(*asked, tmp_path / "none")
    assert refused.returncode == 2 and "none" in refused.stderr
