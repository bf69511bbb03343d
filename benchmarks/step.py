"""Time of an optimizer step per image, by lanes and precision, against other implementations.

Command: ``python -m benchmarks.step``. All implementations alternate within one run, so that other
load on the machine affects all of them. The others run in the same precision as ours; the column
``others in`` names it. They cannot run in bfloat16: there they run in the fastest precision that
they can, which is TF32 on GPUs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean, median
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.support.common import (
    Goal,
    JsonOption,
    QuickOption,
    Row,
    Section,
    pairs_from,
    progress,
    publish,
    run,
    square,
)
from benchmarks.support.rivals import (
    CONTENT_LAYER,
    LR,
    STYLE_LAYERS,
    STYLE_WEIGHT,
    Step,
    plain_script,
    pystiche,
)
from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.networks.precision import arithmetic
from nst_core.networks.precision_support import has_bfloat16
from nst_core.networks.weights import Weights, get_weights
from nst_core.stylization import default_device

SIZES_PX = (64, 128, 256, 512)
LANES = (1, 2, 4, 8, 16, 32)
QUICK_SIZES_PX = (64, 128)
QUICK_LANES = (1, 4)

#: Measurements of every implementation, and approximate seconds of one measurement.
TURNS, QUICK_TURNS = 7, 3
TURN_S = 1.0

#: Largest number of pixels of a batch that is measured on a CPU, to limit the duration.
MAX_PIXELS_ON_CPU = 8 * 256 * 256


@dataclass(frozen=True, kw_only=True)
class Contender:
    """An implementation in one precision.

    Attributes:
        way: its name.
        lanes: number of images that a step advances.
        others_in: precision of the other implementations that it is compared with.
        step: takes a step.
    """

    way: str
    lanes: int
    others_in: str
    step: Step


def main(
    size_px: Annotated[list[int] | None, typer.Option(help="longer side; repeatable")] = None,
    lanes: Annotated[list[int] | None, typer.Option(help="lanes of a batch; repeatable")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare a step with that of a plain script and of pystiche."""
    device = default_device()
    weights = {"vgg16": get_weights("vgg16")}
    rows: list[Row] = []
    sizes = size_px or (QUICK_SIZES_PX if quick else SIZES_PX)
    with progress() as bar:
        for side in bar.track(list(sizes)):
            contenders = make_contenders(
                side, lanes or (QUICK_LANES if quick else LANES), weights, device
            )
            seconds = measure(contenders, QUICK_TURNS if quick else TURNS, device)
            others = {(c.way, c.others_in): s for c, s in zip(contenders, seconds, strict=True)}
            for contender, one_step in zip(contenders, seconds, strict=True):
                each = one_step / contender.lanes
                rows.append(
                    {
                        "size px": side,
                        "way": contender.way,
                        "others in": contender.others_in,
                        "lanes": contender.lanes,
                        "ms per step and image": 1000 * each,
                        "× script": others["plain script", contender.others_in] / each,
                        "× pystiche": others["pystiche", contender.others_in] / each,
                    }
                )
    publish(
        "Seconds of a step",
        f"One Adam step on VGG16, content {CONTENT_LAYER}, style {', '.join(STYLE_LAYERS)}; square"
        " images; the median of alternating measurements. `others in` is the precision of the"
        " script and of pystiche in a comparison.",
        [Section(title="Steps", rows=rows)],
        goals=goals(rows, device),
        json_file=json_file,
    )


def make_contenders(
    side: int, lanes: Sequence[int], weights: Mapping[str, Weights], device: torch.device
) -> list[Contender]:
    """Return the others in each precision that they can use, and ours in each precision."""
    (pair,) = pairs_from(None, count=1)
    content, style = (square(image, side) for image in (pair.content_3HW, pair.style_3HW))
    others = {"plain script": plain_script, "pystiche": pystiche}
    contenders = [
        Contender(
            way=way,
            lanes=1,
            others_in=precision,
            step=in_precision(precision, device, make(content, style, weights["vgg16"], device)),
        )
        for precision in ("float32", "tf32")[: 2 if device.type == "cuda" else 1]
        for way, make in others.items()
    ]
    fastest_others = contenders[-1].others_in
    precisions = {"float32": "float32", fastest_others: fastest_others}
    if has_bfloat16(device):
        precisions["bfloat16"] = fastest_others
    for precision, others_in in precisions.items():
        for count in lanes:
            if device.type == "cpu" and count > 1 and count * side**2 > MAX_PIXELS_ON_CPU:
                continue
            store = FeatureStore(weights.__getitem__, device)
            name = f"ours, {precision}" + (f", {count} lanes" if count > 1 else "")
            step = ours(content, style, precision, count, store)
            contenders.append(Contender(way=name, lanes=count, others_in=others_in, step=step))
    return contenders


def in_precision(precision: str, device: torch.device, step: Step) -> Step:
    """Return a step of another implementation that uses TF32 only if ``precision`` says so.

    PyTorch's convolutions use TF32 on GPUs by default, so others would have it for nothing.
    """

    def with_switches() -> object:
        with arithmetic(precision, device):
            return step()

    return with_switches


def ours(
    content_3HW: Tensor, style_3HW: Tensor, precision: str, lanes: int, store: FeatureStore
) -> Step:
    """Return a step of a `LaneBatch` whose lanes differ in their style weights."""
    inputs = LossInputs.at_size(content_3HW, [(style_3HW, 1.0)], max(content_3HW.shape))
    config = StyleConfig(
        content_layers={CONTENT_LAYER: 1.0},
        style_layers=dict.fromkeys(STYLE_LAYERS, 0.2),
        style_weight=STYLE_WEIGHT,
        lr=LR,
        steps=10**5,
        precision=precision,
    )
    batch = LaneBatch(store)
    for lane in range(lanes):
        batch.add(lane, config.replace(style_weight=STYLE_WEIGHT * (1 + lane)), inputs)
    return lambda: batch.advance(1)


def measure(contenders: Sequence[Contender], turns: int, device: torch.device) -> list[float]:
    """Return the median seconds of a step of each implementation; they alternate."""
    calls: list[int] = []
    for contender in contenders:
        contender.step()  # the first step includes initialization
        calls.append(max(1, round(TURN_S / max(1e-4, timed(contender.step, 1, device)))))
    seconds: list[list[float]] = [[] for _ in contenders]
    for _ in range(turns):
        for contender, count, measured in zip(contenders, calls, seconds, strict=True):
            measured.append(timed(contender.step, count, device))
    return [median(measured) for measured in seconds]


def timed(step: Step, calls: int, device: torch.device) -> float:
    """Return the mean seconds of one of several calls."""
    started = time.perf_counter()
    for _ in range(calls):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / calls


def goals(rows: Sequence[Row], device: torch.device) -> list[Goal]:
    """Return the goals; values are geometric means over the sizes."""
    by_size: dict[int, list[Row]] = {}
    for row in rows:
        by_size.setdefault(row["size px"], []).append(row)

    def over_sizes(of: Callable[[list[Row]], float]) -> float:
        return geometric_mean([of(group) for group in by_size.values()])

    def one_lane(key: str) -> float:
        return over_sizes(lambda group: next(r[key] for r in group if r["way"] == "ours, float32"))

    def best(key: str) -> float:
        return over_sizes(lambda group: max(r[key] for r in group))

    if device.type == "cuda":
        at_256 = max((r["× pystiche"] for r in by_size.get(256, [])), default=0.0)
        return [Goal(name="best at 256 px, times pystiche", value=at_256, goal=15)]
    result = [
        Goal(name="one lane, float32, times pystiche", value=one_lane("× pystiche"), goal=1.3),
        Goal(name="one lane, float32, times the script", value=one_lane("× script"), goal=3.5),
    ]
    if has_bfloat16(device):
        result += [
            Goal(name="best, times pystiche", value=best("× pystiche"), goal=2.4),
            Goal(name="best, times the script", value=best("× script"), goal=6.0),
        ]
    return result


if __name__ == "__main__":
    run(main)
