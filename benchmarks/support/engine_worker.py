"""Work of `benchmarks.engine`: steps of a batch, other ways to use a device, whole engines.

Nothing here needs Ray, except `job_on_ray`.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.support.common import square
from benchmarks.support.rivals import (
    CONTENT_LAYER,
    LR,
    STYLE_LAYERS,
    STYLE_WEIGHT,
    Step,
    pystiche,
)
from nst_core.config import StyleConfig
from nst_core.images.tensors import to_uint8
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.bucket import Buckets
from nst_core.lanes.step_graph import StepGraphs
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.registry import DEFAULT_METRICS, weights_of
from nst_core.networks.extractors import NORMALIZATION_STATS, bare_network
from nst_core.networks.precision import arithmetic
from nst_core.networks.registry import NETWORKS
from nst_core.networks.weights import Weights, get_weights
from nst_core.sample_pictures import sample_content, sample_style
from search_spaces import CATALOGUE

if TYPE_CHECKING:
    from tuner.engine.engine import Engine

#: Steps before a measurement: they initialize libraries, and record the step if it is recorded.
WARM_STEPS = 6
EAGER_STEPS = 2

#: Rungs of the trials that come and go on an engine; 1/3 of the trials goes on after each.
RUNGS = (15, 45, 135)


@cache
def weights() -> Mapping[str, Weights]:
    """Return the weights of VGG16 and of the networks of the default metrics."""
    return {name: get_weights(name) for name in ("vgg16", *weights_of(DEFAULT_METRICS))}


@cache
def built_in_pictures(side: int) -> tuple[Tensor, Tensor]:
    """Return a built-in content and style, 3 x ``side`` x ``side``, float32 in [0, 1]."""
    return square(sample_content(), side), square(sample_style(seed=0), side)


def our_step(
    side: int, lanes: int, precision: str, device: torch.device, graphs: StepGraphs | None
) -> Step:
    """Return a step of ``lanes`` lanes as an engine takes it.

    Args:
        side: side of the square pictures in pixels.
        lanes: number of lanes; they differ in their style weights.
        precision: see `StyleConfig.precision`.
        device: where to compute.
        graphs: records the step; None: it is eager.
    """
    store = FeatureStore(weights().__getitem__, device)
    buckets = Buckets(store, graphs) if device.type == "cuda" else None
    return _step_of(LaneBatch(store, buckets), side, lanes, precision)


def fused_step(side: int, lanes: int, precision: str, device: torch.device) -> Step:
    """Return a step of equal jobs that are fused into one process: one eager batch, no buckets.

    This is how jobs are trained together by Wang et al., "HFTA" (MLSys 2021, arXiv 2102.02344).
    """
    store = FeatureStore(weights().__getitem__, device)
    return _step_of(LaneBatch(store), side, lanes, precision)


def _step_of(batch: LaneBatch, side: int, lanes: int, precision: str) -> Step:
    content, style = built_in_pictures(side)
    inputs = LossInputs.at_size(content, [(style, 1.0)], side)
    config = StyleConfig(
        content_layers={CONTENT_LAYER: 1.0},
        style_layers=dict.fromkeys(STYLE_LAYERS, 0.2),
        lr=LR,
        size_px=side,
        steps=10**5,
        precision=precision,
    )
    for lane in range(lanes):
        batch.add(lane, config.replace(style_weight=STYLE_WEIGHT * (1 + lane)), inputs)
    batch.advance(WARM_STEPS)
    return lambda: batch.advance(1)


def new_recorder() -> StepGraphs:
    """Return a recorder that begins after few eager steps, whatever the environment says."""
    return StepGraphs(eager_steps=EAGER_STEPS)


def single_step(side: int, precision: str, device: torch.device) -> tuple[str, Step]:
    """Return the name and a step of pystiche, or of a loop that does the same, on one picture."""
    content, style = built_in_pictures(side)
    installed = find_spec("pystiche") is not None
    make = pystiche if installed else loop_like_pystiche
    step = make(content, style, weights()["vgg16"], device)

    def in_precision() -> object:
        with arithmetic(precision, device):
            return step()

    return "pystiche" if installed else "a loop like pystiche's", in_precision


def loop_like_pystiche(
    content_3HW: Tensor, style_3HW: Tensor, weights: Mapping[str, Tensor], device: torch.device
) -> Step:
    """Return an Adam step as in pystiche's beginner example, for machines without pystiche.

    Targets are computed once, and the weights of the network are not frozen.
    """
    network = bare_network("vgg16")
    network.load_state_dict(dict(weights), assign=True)
    nodes = NETWORKS["vgg16"].node
    names = {int(nodes[name].split(".")[1]): name for name in (CONTENT_LAYER, *STYLE_LAYERS)}
    modules = list(network.get_submodule("features").to(device).children())[: max(names) + 1]
    for module in modules:
        module.requires_grad_()
    stats = NORMALIZATION_STATS["imagenet"]
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (stats.mean, stats.std))

    def features(pixels: Tensor) -> dict[str, Tensor]:
        value, found = (pixels - mean) / std, {}
        for index, module in enumerate(modules):
            value = module(value)
            if index in names:
                found[names[index]] = value
        return found

    def gram(feat: Tensor) -> Tensor:
        flat = feat.flatten(2)
        return flat @ flat.mT / flat.shape[2]

    image = content_3HW[None].to(device).clone().requires_grad_()
    with torch.no_grad():
        content = features(image)[CONTENT_LAYER]
        style_features = features(style_3HW[None].to(device))
        style = {layer: gram(style_features[layer]) for layer in STYLE_LAYERS}
    optimizer = torch.optim.Adam([image], lr=LR)

    def step() -> float:
        optimizer.zero_grad()
        found = features(image)
        loss = F.mse_loss(found[CONTENT_LAYER], content)
        for layer in STYLE_LAYERS:
            loss = loss + STYLE_WEIGHT / 5 * F.mse_loss(gram(found[layer]), style[layer])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return step


def processes_rate(
    count: int, side: int, precision: str, device: torch.device, seconds: float
) -> float:
    """Return the steps per second of several processes together, one picture in each.

    All of them begin to count at the same time, after their first steps.
    """
    context = multiprocessing.get_context("spawn")
    barrier, done = context.Barrier(count), context.SimpleQueue()
    workers = [
        context.Process(
            target=_process, args=(barrier, done, side, precision, str(device), seconds)
        )
        for _ in range(count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    failed = [worker.exitcode for worker in workers if worker.exitcode]
    if failed:
        raise RuntimeError(f"{len(failed)} of {count} processes failed, exit code {failed[0]}")
    return sum(float(done.get()) for _ in range(count))


def _process(
    barrier: Any, done: Any, side: int, precision: str, device: str, seconds: float
) -> None:
    torch.set_num_threads(1)
    try:
        _, step = single_step(side, precision, torch.device(device))
        step()
        step()
    except BaseException:
        barrier.abort()
        raise
    barrier.wait()
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        step()  # it reads the loss, and so waits for the device
        steps += 1
    done.put(steps / (time.perf_counter() - started))


def configs_of_the_space(count: int, size_px: int, steps: int, precision: str) -> list[StyleConfig]:
    """Return random configurations of the space `gram`, in one precision."""
    from tuner.sampling.encoding import point_at

    space, rng = CATALOGUE["gram"], np.random.default_rng(0)
    drawn = (
        point_at(space, dict(zip(space.params, rng.random(len(space.params)), strict=True)))
        for _ in range(count)
    )
    configs = (space.build(params, size_px=size_px, steps=steps) for params in drawn)
    return [config.replace(precision=precision) for config in configs]


def new_engine(size_px: int, device: torch.device) -> Engine:
    """Return an engine with one pair and all default metrics."""
    from tuner.engine.engine import Engine
    from tuner.engine.pairs import Pair as EnginePair

    content, style = built_in_pictures(size_px)
    pair = EnginePair(
        inputs=LossInputs.at_size(content, [(style, 1.0)], size_px),
        reference_HW3=to_uint8(0.5 * content + 0.5 * style),
    )
    return Engine([pair], weights(), device=device)


@dataclass(frozen=True, kw_only=True)
class EngineUse:
    """How an engine spent its time.

    Attributes:
        advancing: share of the time in which lanes advanced.
        reports_per_s: reports per second.
        lane_steps_per_s: steps of single lanes per second.
        lost: share of the steps that were taken ahead in vain.
    """

    advancing: float
    reports_per_s: float
    lane_steps_per_s: float
    lost: float


def engine_use(
    engine: Engine, configs: Sequence[StyleConfig], lanes: int, seconds: float
) -> EngineUse:
    """Keep an engine busy with ``lanes`` trials, as a search does, and measure its time.

    Trials report at `RUNGS`; after each of them, one of three goes on and the others are replaced
    by new ones. The first third of the time is not counted: there, batches grow to their size.
    """
    rung_of: dict[int, int] = {}
    begun = 0

    def begin() -> None:
        nonlocal begun
        engine.submit(begun, configs[begun % len(configs)], RUNGS[0], RUNGS[1])
        rung_of[begun] = 0
        begun += 1

    for _ in range(lanes):
        begin()
    started, reports, first = time.perf_counter(), 0, None
    while (now_s := time.perf_counter() - started) < seconds or first is None:
        if first is None and now_s >= seconds / 3:
            first = (time.perf_counter(), reports, engine.stats)
        for report in engine.advance():
            reports += 1
            rung = rung_of.pop(report.trial)
            if report.failure is None and rung + 1 < len(RUNGS) and reports % 3 == 0:
                beyond = RUNGS[rung + 2] if rung + 2 < len(RUNGS) else None
                config = configs[report.trial % len(configs)]
                engine.submit(report.trial, config, RUNGS[rung + 1], beyond)
                rung_of[report.trial] = rung + 1
            else:
                engine.drop(report.trial)
                begin()
    counted_s, before = time.perf_counter() - first[0], first[2]
    steps = engine.stats.lane_steps - before.lane_steps
    for trial in list(rung_of):
        engine.drop(trial)
    return EngineUse(
        advancing=(engine.stats.advancing_s - before.advancing_s) / counted_s,
        reports_per_s=(reports - first[1]) / counted_s,
        lane_steps_per_s=steps / counted_s,
        lost=(engine.stats.lane_steps_lost - before.lane_steps_lost) / max(1, steps),
    )


def job_on_engine(engine: Engine, configs: Sequence[StyleConfig], lanes: int) -> float:
    """Return the seconds in which an engine runs all trials to their last step and scores them.

    Raises:
        RuntimeError: more than half of the trials failed.
    """
    started, waiting, running = time.perf_counter(), list(enumerate(configs)), 0
    failures = []
    while waiting or running:
        while waiting and running < lanes:
            trial, config = waiting.pop(0)
            engine.submit(trial, config, config.steps)
            running += 1
        for report in engine.advance():
            engine.drop(report.trial)
            running -= 1
            if report.failure is not None:
                failures.append(report.failure)
    if len(failures) > len(configs) / 2:
        raise RuntimeError(f"{len(failures)} of {len(configs)} trials failed: {failures[-1]}")
    return time.perf_counter() - started


def job_on_ray(size_px: int, trials: int, steps: int) -> float:
    """Return the seconds of the same job on Ray, from its start to its end."""
    from benchmarks.support.runs import Timeline, on_ray, scratch_search
    from tuner.engine.pairs import Pair as EnginePair
    from tuner.engine.workload import Workload

    content, style = built_in_pictures(size_px)
    pair = EnginePair(
        inputs=LossInputs.at_size(content, [(style, 1.0)], size_px),
        reference_HW3=to_uint8(0.5 * content + 0.5 * style),
    )
    workload = Workload(pairs=[pair], weights=weights())
    started, timeline = time.perf_counter(), Timeline()
    with scratch_search(
        CATALOGUE["gram"],
        timeline,
        trials=trials,
        steps=(steps, steps),
        size_px=size_px,
        sampler="random",
    ) as (search, job):
        on_ray(search, job, workload)
    if len(timeline.ended_s) != trials:
        raise RuntimeError(f"only {len(timeline.ended_s)} of {trials} trials ended")
    return time.perf_counter() - started
