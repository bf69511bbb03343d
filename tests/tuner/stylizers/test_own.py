"""Our engine as a stylizer: the same pictures as the engine of lanes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import skimage.data
import torch

from nst_core.config import StyleConfig
from nst_core.images.tensors import resize_longer_side
from nst_core.losses.inputs import LossInputs
from nst_core.networks.weights import Weights
from nst_core.stylizer_config import StylizerConfig
from tuner.engine.engine import Engine
from tuner.engine.pairs import Pair
from tuner.engine.protocol import TrialEngine
from tuner.engine.workload import Workload
from tuner.study.records import Report
from tuner.stylizers.engine import StylizerEngine, pictures_of
from tuner.stylizers.own import OwnSession, OwnStylizer

SETTINGS = {"style_weight": 10.0, "lr": 0.05}


def pair() -> Pair:
    content, style = (
        torch.from_numpy(getattr(skimage.data, name)().astype(np.float32) / 255).permute(2, 0, 1)
        for name in ("chelsea", "coffee")
    )
    # Pictures of 8 bits, which is what both engines get here.
    small, painted = ((resize_longer_side(p, 64) * 255).round() / 255 for p in (content, style))
    inputs = LossInputs.at_size(small, [(painted, 1.0)], 64)
    reference = (resize_longer_side(style, 64)[:, : small.shape[1]] * 255).byte()
    return Pair(inputs=inputs, reference_HW3=reference.permute(1, 2, 0).numpy().copy())


def report_of(engine: TrialEngine, config: object, until: int) -> Report:
    """Return the report of one trial on an engine."""
    engine.submit(0, config, until)
    for _ in itertools.count():
        if reports := engine.advance():
            return reports[0]
    raise AssertionError


def test_both_boundaries_make_the_same_picture(weights: Mapping[str, Weights]) -> None:
    """Through the protocol of stylizers, our engine reports the scores that its lanes report."""
    workload = Workload(
        pairs=[pair()],
        weights=weights,
        metrics=("lpips", "rmse"),
        stylizer={"python": "tuner.stylizers.own:OwnStylizer"},
    )
    other = StylizerEngine(workload)
    try:
        config = StylizerConfig(stylizer=workload.stylizer or {}, params=SETTINGS, size_px=64)
        found = report_of(other, config.replace(steps=3), 3)
        assert found.failure is None
        steps = other.stats.lane_steps
    finally:
        other.close()
    lanes = Engine(workload.pairs, weights, metrics=workload.metrics)
    own = StyleConfig.from_dict({**SETTINGS, "size_px": 64, "steps": 3})
    expected = report_of(lanes, own, 3)
    assert steps == 3
    for name in workload.metrics:
        assert abs(found.scores[name] - expected.scores[name]) < 1e-3


def test_wrong_settings_are_the_failure_of_a_trial(weights: Mapping[str, Weights]) -> None:
    """A parameter that our engine does not have fails the trial, with the hint of `StyleConfig`."""
    content, styles = pictures_of(pair())
    session = OwnStylizer().open(content, styles, 64, "cpu")
    assert isinstance(session, OwnSession)
    try:
        next(session.start({"style_wieght": 1.0}, 0))
    except Exception as error:
        assert "did you mean `style_weight`?" in str(error)
    else:
        raise AssertionError
