"""Rules for every named space."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nst_core.config import StyleConfig
from nst_core.presets.built_in import BASELINES, runnable
from search_spaces import CATALOGUE, Float, Int, Params, Space, space_from_dict, space_to_dict
from search_spaces.derived_parameters import base_of
from tuner.job.yaml_file import parse_yaml

#: Name and version of a space -> digest of its declaration.
DECLARED = {
    ("standard", 2): "748d8ab2957d",
    ("gram", 1): "f2ce97e96772",
    ("gram-wide", 1): "fe0a6c6b11ba",
    ("wide", 1): "779fa581ce25",
    ("layers", 1): "470243bc73d8",
    ("networks", 1): "0c84cdb495e2",
    ("optimizers", 1): "d73c32fce1ce",
    ("fast", 1): "e5139d49fb83",
    ("blend", 1): "578499e57a68",
    ("photoreal", 1): "c999992ac905",
    ("report-adam-1000", 1): "85d90b72999f",
    ("report-layered-2000", 1): "e179ebfdce32",
    ("report-lbfgs-resnet18", 1): "879c3608fc46",
    ("report-tv-amp", 1): "b2da47efdc5c",
    ("report-weighted-layers", 1): "225d55b6d97b",
}

REPORTS = {name: CATALOGUE[f"report-{name}"] for name in BASELINES}


@st.composite
def samples(draw: st.DrawFn, space: Space) -> Params:
    drawn: dict[str, Any] = {}
    for name, parameter in space.params.items():
        if space.active(name, drawn):
            if isinstance(parameter, Float):
                drawn[name] = draw(st.floats(parameter.low, parameter.high))
            elif isinstance(parameter, Int):
                drawn[name] = draw(st.integers(parameter.low, parameter.high))
            else:
                drawn[name] = draw(st.sampled_from(parameter.options))
    return drawn


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_sample_builds(name: str) -> None:
    """All of 1,000 draws from a named space are valid configurations."""
    space = CATALOGUE[name]

    @settings(max_examples=1000)
    @given(samples(space))
    def check(params: Params) -> None:
        config = space.build(params, size_px=128, steps=50)
        drawn = {base_of(key): value for key, value in params.items()}
        assert (config.size_px, config.steps) == (128, 50)
        ratio = config.style_weight / config.content_weight
        assert ratio == pytest.approx(10 ** drawn["log10_style_content"])
        if {"style_scheme", "style_slope", "log10_layer_2"} & drawn.keys():
            assert sum(config.style_layers.values()) == pytest.approx(1)
        if "log10_blend_2" in drawn:
            assert sum(config.style_blend or ()) == pytest.approx(1)

    check()


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_space_says_what_it_is_for_and_why(name: str) -> None:
    """A space has a one-line purpose and reasons of several sentences."""
    space = CATALOGUE[name]
    assert 10 < len(space.summary) < 80
    assert len(space.why) > 100 and space.why.count(". ") > 1


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_space_survives_its_yaml(name: str) -> None:
    """A space is equal after being written to a file and read back."""
    space = CATALOGUE[name]
    text = yaml.safe_dump(space_to_dict(space), sort_keys=False)
    assert space_from_dict(parse_yaml(text, "x.yaml").data, "x.yaml") == space


def test_a_version_of_a_space_keeps_its_meaning() -> None:
    """The declaration of a named space changes only together with its version.

    After a change, raise the space's version and write its new digest here.
    """

    def digest(space: Space) -> str:
        declared = {key: value for key, value in space_to_dict(space).items() if key != "why"}
        return hashlib.sha256(json.dumps(declared).encode()).hexdigest()[:12]

    found = {(space.name, space.version): digest(space) for space in CATALOGUE.values()}
    assert found == DECLARED


def terms(config: StyleConfig) -> Mapping[str, float]:
    return {layer: config.style_weight * w for layer, w in config.style_layers.items()}


@pytest.mark.parametrize("name", list(REPORTS))
def test_reports_start_from_their_preset(name: str) -> None:
    """The first initial point of a report's space equals the report's preset on VGG16."""
    preset, _ = runnable(BASELINES[name], lambda network: network == "vgg16")
    space = REPORTS[name]
    own = {key: getattr(preset.config, key) for key in ("steps", "size_px")}
    found = space.build(space.initial_points[0], **own)
    assert terms(found) == pytest.approx(terms(preset.config), rel=1e-4)
    shares = {"style_weight": 1.0, "style_layers": preset.config.style_layers}
    assert found.replace(**shares) == preset.config.replace(**shares)
