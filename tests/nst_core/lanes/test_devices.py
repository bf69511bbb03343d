"""Lanes on a device: no tensor on the wrong one, and no traffic with the host within a step."""

from __future__ import annotations

import functools
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import torch

from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.bucket import Buckets
from nst_core.lanes.schedules import stages
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.targets import FeatureStore
from nst_core.networks.registry import EXTRACTORS
from nst_core.networks.weights import Weights
from tests.nst_core.device_traffic import pretended_device, traffic_of

#: Traffic that is known, as the largest number of times that it may occur. Anything else is an
#: error. Uploads when a lane joins are small.
KNOWN: Mapping[str, Mapping[str, int]] = {
    # The eigenvalues of the Wasserstein loss in five layers: torch reads whether they converged.
    "step of a wasserstein lane": {"wait _linalg_eigh": 5},
    # Which lanes measure their gradient norms, every ten steps.
    "step of a balanced lane": {"upload": 1},
    # Settings, images and targets; the roots of five covariances, and the loss without features.
    "first lane joins a bucket": {"upload": 48, "wait _linalg_eigh": 10},
    "second lane joins a bucket": {"upload": 20, "wait _linalg_eigh": 10},
    "lane leaves a bucket": {"upload": 2},
    "six lanes enter a larger bucket": {"upload": 70},
    # An assembly is made anew.
    "first lane joins an assembly": {"upload": 51, "wait _linalg_eigh": 10},
    "second lane joins an assembly": {"upload": 22, "wait _linalg_eigh": 10},
    "lane leaves an assembly": {"upload": 21, "wait _linalg_eigh": 10},
    "six lanes enter a larger assembly": {"upload": 74},
    # The image of an Adam lane and 8 tensors of state; one wait for all of them.
    "save": {"queued download": 9, "wait synchronize": 1},
    "readings": {"download": 1},
    "picture": {},
    # The content, whose colors the picture gets.
    "picture with colors of the content": {"upload": 1},
}


class Place(NamedTuple):
    """Where lanes are.

    Attributes:
        device: one of `DEVICES`.
        buckets: whether they take their steps in buckets, as on a GPU, or in assemblies.
    """

    device: str
    buckets: bool

    @property
    def kind(self) -> str:
        """Name of what holds the lanes."""
        return "bucket" if self.buckets else "assembly"

    def batch(self, weights: Callable[[str], Weights]) -> LaneBatch:
        """Return an empty batch."""
        store = FeatureStore(weights, self.device)
        return LaneBatch(store, Buckets(store) if self.buckets else None)


PLACES = {
    "cuda, bucket": Place("cuda", True),
    "lazy, bucket": Place("lazy:0", True),
    "lazy, assembly": Place("lazy:0", False),
}
everywhere = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)

Changes = Mapping[str, Any]

#: Settings of every lane; noise, so that lanes with ``balance`` measure before their first step.
BASE: Changes = {"size_px": 48, "steps": 4, "init": "noise", "lbfgs_history": 2}

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
OPTIMIZERS = ("adam", "adamw", "sgd", "lamb", "lbfgs")

#: Settings of lanes; every two values of different settings are tested together, in each precision.
FACTORS: Mapping[str, Sequence[Changes]] = {
    "style": [{"style_loss": kind} for kind in ("gram", "mean_cov", "wasserstein")],
    "optimizer": [{"optimizer": kind} for kind in OPTIMIZERS],
    "weights": [{"weight_schedule": kind} for kind in ("constant", "ramp", "balance")],
    "rates": [{}, {"lr_schedule": "cosine", "warmup_steps": 1}],
    "keep": [{"keep": kind} for kind in ("last", "best", "ema")],
    "clamp": [{"clamp": "step"}, {"clamp": "save"}],
    "tv": [{}, {"tv_weight": 1.0}, {"tv_weight": 1.0, "tv_norm": "l1"}],
    "color": [{}, *({"color_weight": 1.0, "color_loss": kind} for kind in ("mean", "histogram"))],
    "pixels": [{}, {"normalization": "caffe"}, {"preserve_color": "luminance"}],
    "images": [{"images": kind} for kind in ("one style", "blend", "regions")],
}


def pairwise(factors: Mapping[str, Sequence[Changes]]) -> list[Changes]:
    """Return changes such that every two values of different factors occur together at least once.

    Greedy: of many random combinations, the one with the most new pairs is taken.
    """
    sizes = [len(values) for values in factors.values()]
    places = list(itertools.combinations(range(len(sizes)), 2))
    missing = {(a, b, i, j) for a, b in places for i in range(sizes[a]) for j in range(sizes[b])}
    chance, rows = random.Random(0), []

    def pairs(row: Sequence[int]) -> set[tuple[int, int, int, int]]:
        return {(a, b, row[a], row[b]) for a, b in places}

    while missing:
        candidates = [[chance.randrange(size) for size in sizes] for _ in range(200)]
        best = max(candidates, key=lambda row: len(pairs(row) & missing))
        missing -= pairs(best)
        rows.append(best)
    chosen = [[v[i] for v, i in zip(factors.values(), row, strict=True)] for row in rows]
    return [{key: v for changes in row for key, v in changes.items()} for row in chosen]


#: Lanes of an assembly, which computes for each lane only what it needs.
PAIRWISE = pairwise(FACTORS)
#: Lanes of a bucket, which computes everything for every lane: each value occurs once.
ONCE = [
    {k: v for values in FACTORS.values() for k, v in values[i % len(values)].items()}
    for i in range(max(map(len, FACTORS.values())))
]


def images(kind: str) -> LossInputs:
    """Return inputs of 46x48 px: ``one style``, a ``blend`` of two, or two ``regions``."""
    chance = torch.Generator().manual_seed(0)
    content, first, second = (torch.rand(3, 46, 48, generator=chance) for _ in range(3))
    half = torch.zeros(46, 48)
    half[:, 24:] = 1
    styles = {
        "one style": [Style(image_3HW=first)],
        "blend": [Style(image_3HW=first, weight=0.3), Style(image_3HW=second, weight=0.7)],
        "regions": [
            Style(image_3HW=first, region_HW=half, style_region_HW=half),
            Style(image_3HW=second),
        ],
    }
    return LossInputs.at_size(content, styles[kind], 48)


@pytest.fixture(scope="module")
def weights(random_weights: Callable[[str], Weights]) -> Callable[[str], Weights]:
    """Random weights of a network, made once."""
    return functools.cache(random_weights)


@contextmanager
def batch_on(
    place: Place, weights: Callable[[str], Weights], lanes: Sequence[Changes]
) -> Iterator[LaneBatch]:
    """Give a batch of fresh lanes on a pretended device.

    Args:
        place: where they are.
        weights: network weights by name.
        lanes: settings of each lane besides `BASE`; ``images`` names its images.
    """
    chosen = [(images(lane.get("images", "one style")), config_of(lane)) for lane in lanes]
    for inputs, config in chosen:  # resized here, where they have values that can be digested
        for stage in stages(config, *inputs.height_width):
            inputs.at(stage.size_px)
    with pretended_device(place.device):
        batch = place.batch(weights)
        for index, (inputs, config) in enumerate(chosen):
            batch.add(index, config, inputs)
        yield batch


def config_of(lane: Changes) -> StyleConfig:
    """Return the configuration of a lane."""
    return StyleConfig(**{**BASE, **{key: lane[key] for key in lane if key != "images"}})


def known_in_step(lanes: Sequence[Changes]) -> Counter[str]:
    """Return the known traffic of the first step of some lanes."""
    known: Counter[str] = Counter()
    if any(lane.get("style_loss") == "wasserstein" for lane in lanes):
        known.update(KNOWN["step of a wasserstein lane"])
    if any(lane.get("weight_schedule") == "balance" for lane in lanes):
        known.update(KNOWN["step of a balanced lane"])
    return known


def check_step(
    place: Place,
    weights: Callable[[str], Weights],
    lanes: Sequence[Changes],
    *,
    memory: bool = True,
) -> None:
    """Check the traffic of a step of some lanes, and where their state is afterwards.

    Args:
        place: where they are.
        weights: network weights by name.
        lanes: settings of each lane besides `BASE`.
        memory: whether to keep all activations; else some are computed again.
    """
    with batch_on(place, weights, lanes) as batch:
        batch._store.checkpointing = not memory
        batch.prepare()
        found = traffic_of(lambda: batch.advance(1))
        states = [batch.take(index) for index in range(len(lanes))]
    assert found <= known_in_step(lanes), found
    tensors = [value for state in states for value in (state.image_3HW, *state.state.values())]
    assert {value.device.type for value in tensors} == {torch.device(place.device).type}


@everywhere
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_step_stays_on_its_device(
    precision: str, place: Place, weights: Callable[[str], Weights]
) -> None:
    """A step of lanes with every pair of settings causes only the known traffic."""
    lanes = ONCE if place.buckets else PAIRWISE
    check_step(place, weights, [{**lane, "precision": precision} for lane in lanes])


@pytest.mark.parametrize("network", sorted(set(EXTRACTORS) - {"vgg16"}))
def test_a_step_of_every_network_stays_on_its_device(
    network: str, weights: Callable[[str], Weights]
) -> None:
    """A step of a single lane on each of the other networks causes no traffic."""
    check_step(PLACES["lazy, bucket"], weights, [{"extractor": network}])


@everywhere
@pytest.mark.parametrize(
    "network", [{"pooling": "average", "padding": "replicate"}, {"pooling": "l2"}]
)
def test_a_step_of_a_changed_network_stays_on_its_device(
    network: Changes, place: Place, weights: Callable[[str], Weights]
) -> None:
    """A step on a network with another pooling or padding causes no traffic."""
    check_step(place, weights, [network])


def test_a_step_that_saves_memory_stays_on_its_device(weights: Callable[[str], Weights]) -> None:
    """A step that keeps only some activations causes no traffic."""
    check_step(PLACES["cuda, bucket"], weights, [{}], memory=False)


def check_photo_step(
    place: Place, weights: Callable[[str], Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check the traffic of a step in which one of two lanes has the photorealism term."""
    laplacian = torch.eye(46 * 48, dtype=torch.float64)
    monkeypatch.setattr("nst_core.losses.laplacian.matting_laplacian", lambda image: laplacian)
    check_step(place, weights, [{"photo_weight": 1.0}, {}])


@everywhere
def test_a_step_of_a_photo_stays_on_its_device(
    place: Place, weights: Callable[[str], Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photorealism term causes no traffic in a step."""
    check_photo_step(place, weights, monkeypatch)


def check_joins(place: Place, weights: Callable[[str], Weights]) -> None:
    """Check the traffic when a lane begins, another one joins, and leaves again."""
    kind = "a bucket" if place.buckets else "an assembly"
    with batch_on(place, weights, [{"style_loss": "wasserstein"}]) as batch:
        first = batch.lanes[0]

        def join() -> None:
            batch.add("later", first.config.replace(lr=0.3), first.inputs)
            batch.prepare()

        def leave() -> None:
            state = batch.take("later")
            assert state.image_3HW.device.type == torch.device(place.device).type
            batch.prepare()

        actions = {
            f"first lane joins {kind}": batch.prepare,
            f"second lane joins {kind}": join,
            f"lane leaves {kind}": leave,
        }
        for name, action in actions.items():
            found = traffic_of(action)
            assert found <= Counter(KNOWN[name]), (name, found)
            batch.advance(1)


@everywhere
def test_joining_and_leaving_cause_only_the_known_traffic(
    place: Place, weights: Callable[[str], Weights]
) -> None:
    """A lane that joins or leaves uploads its settings, and no state goes to the host."""
    check_joins(place, weights)


def check_next_size(place: Place, weights: Callable[[str], Weights]) -> None:
    """Check the traffic of lanes of all optimizers that continue at the next size."""
    lanes = [{"scales": 2, "keep": "ema", "optimizer": name} for name in OPTIMIZERS]
    with batch_on(place, weights, [*lanes, {"scales": 2, "images": "regions"}]) as batch:
        width = batch.group.width
        batch.advance(batch.stage_steps_left)
        later = place.batch(weights)

        def enter() -> None:
            for lane in list(batch.lanes):
                later.add(lane.key, lane.config, lane.inputs, batch.take(lane.key))
            later.prepare()

        found = traffic_of(enter)
        assert found <= Counter(KNOWN[f"six lanes enter a larger {place.kind}"]), found
        assert later.group.width > width
        found = traffic_of(lambda: later.advance(1))
        assert found <= known_in_step(lanes), found


@everywhere
def test_the_next_size_causes_only_the_known_traffic(
    place: Place, weights: Callable[[str], Weights]
) -> None:
    """At the next size, images and settings are uploaded, and the state stays on the device."""
    check_next_size(place, weights)


def check_readings(place: Place, weights: Callable[[str], Weights]) -> None:
    """Check the traffic of everything that the host reads of a batch."""
    colors = ("none", "luminance", "after")
    lanes = [{"keep": k, "preserve_color": c} for k in ("last", "best", "ema") for c in colors]
    with batch_on(place, weights, lanes) as batch:
        losses = batch.advance(1)
        found = traffic_of(lambda: batch.readings(losses))
        assert found <= Counter(KNOWN["readings"]), found
        for index, lane in enumerate(lanes):
            found = traffic_of(functools.partial(batch.picture, index))
            has_colors = lane["preserve_color"] != "none"
            name = "picture with colors of the content" if has_colors else "picture"
            assert found <= Counter(KNOWN[name]), (lane, found)
        found = traffic_of(lambda: batch.save(0))
        assert found <= Counter(KNOWN["save"]), found


@everywhere
def test_readings_cause_only_the_known_traffic(
    place: Place, weights: Callable[[str], Weights]
) -> None:
    """The host waits once for readings of all lanes and for a saved state, never for a picture."""
    check_readings(place, weights)
