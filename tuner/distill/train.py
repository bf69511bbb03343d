"""Distill presets: train with a progress bar, write the ONNX file, measure its quality."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nst_core.distill.networks import MAX_STRENGTH, MIN_STRENGTH, StyleNetwork
from nst_core.distill.onnx_file import (
    TOLERANCE,
    Deployed,
    OnnxNetwork,
    export_program,
    save_program,
    write_onnx,
)
from nst_core.distill.photos import Crops, Photo
from nst_core.distill.training import Trainer
from nst_core.errors import InputError, Say
from nst_core.images.tensors import resize, save_image
from nst_core.lanes.memory import GIB, free_bytes, needed_bytes
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.registry import WEIGHTS_LICENCE
from nst_core.stylization import default_device
from tuner import __version__
from tuner.distill.quality_page import write_quality
from tuner.distill.request import Request, Work, check
from tuner.study.lock import held

#: Files in the folder of a training.
CHECKPOINT, STRIP, PROGRAM = "checkpoint.safetensors", "strip.jpg", "program.pt2"

#: Seconds between two checkpoints, each with a new strip of pictures.
SAVE_EVERY_S = 60.0

#: Number of steps by which the time of a step is measured for the estimate, and of those before
#: them, which also load photos and networks.
_TIMED_STEPS, _FIRST_STEPS = 10, 5

#: Bytes of activations that the backward pass of a network keeps for each pixel: measured 4,170
#: (mobile) and 3,680 (small).
_NETWORK_BYTES = 4200

#: Held-out photos and strengths on the strip of pictures.
_STRIP_PHOTOS, _STRIP_STRENGTHS = 4, (0.3, 1.0, 3.0)


def distill(request: Request, *, console: Console, say: Say) -> dict[str, Any]:
    """Train a network, or continue to train it, and write it with its measured quality.

    Args:
        request: the arguments of the command.
        console: console of the progress bar.
        say: gets lines about estimates, fallbacks and files.

    Returns:
        The content of ``quality.json``, see `quality_page.write_quality`.

    Raises:
        InputError: bad input; nothing was trained.
        RunError: another process trains the same file.
        WorkError: the training or an optimization diverged.
    """
    work = check(request, say)
    store = FeatureStore(work.files, default_device())
    _check_memory(request, work, store)
    suite = MetricSuite.load(work.files, store.device)  # before hours of training, not after them
    crops = Crops(
        work.training_photos,
        work.styles[0].config.size_px,
        seed=request.training.seed,
        augment=request.training.augment,
        say=say,
    )
    with held(request.folder, "distill"):  # two trainings would overwrite each other's checkpoints
        trainer = Trainer(work.styles, crops, store, request.training, request.folder / CHECKPOINT)
        _describe(request, work, trainer, say)
        _train(trainer, request, work, console, say)
        return _finish(request, work, store, suite, trainer, console, say)


def _check_memory(request: Request, work: Work, store: FeatureStore) -> None:
    """Raise InputError if a batch does not fit into memory."""
    size_px, batch = work.styles[0].config.size_px, request.training.batch
    network = _NETWORK_BYTES * size_px**2
    losses = [
        needed_bytes(style.config, size_px, size_px, device=store.device) for style in work.styles
    ]
    needed, free = batch * (network + max(losses)), free_bytes(store.device)
    if needed > free:
        raise InputError(
            f"a batch of {batch} pictures of {size_px} px needs about {needed / GIB:.1f} GiB, but"
            f" {free / GIB:.1f} GiB are free; use a smaller --batch or --size-px"
        )


def _describe(request: Request, work: Work, trainer: Trainer, say: Say) -> None:
    names = ", ".join(style.name for style in work.styles)
    say(
        f"{request.training.network} network, {trainer.network.parameter_count:,} parameters,"
        f" styles: {names}; {len(work.training_photos)} photos to train on,"
        f" {len(work.held_out)} to measure on, {work.styles[0].config.size_px} px"
    )
    if trainer.step:
        say(f"continues after {trainer.step:,} steps and {_duration(trainer.seconds)}")


def _train(trainer: Trainer, request: Request, work: Work, console: Console, say: Say) -> None:
    if trainer.is_done:
        say("the training is complete; more --steps or --minutes would continue it")
        return
    first_step, first_second = trainer.step + _FIRST_STEPS, math.nan
    strip = _Strip(work, request.folder / STRIP)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %, step {task.fields[step]:,}"),
        TextColumn("loss {task.fields[loss]:.3f} of an untouched photo's, left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("train", total=1.0, step=trainer.step, loss=math.nan)
        loss = math.nan
        for progress in trainer.run(save_every_s=SAVE_EVERY_S, on_save=strip.write):
            if math.isfinite(progress.loss):
                loss = progress.loss if math.isnan(loss) else 0.95 * loss + 0.05 * progress.loss
            bar.update(task, completed=progress.share, step=progress.step, loss=loss)
            if progress.step == first_step:
                first_second = progress.seconds
            if progress.step == first_step + _TIMED_STEPS:
                say(_estimate(request, progress.step, progress.seconds, first_second))


def _estimate(request: Request, step: int, seconds: float, before: float) -> str:
    """Return a line about the time that the training will take."""
    per_step = (seconds - before) / _TIMED_STEPS
    last, minutes = request.training.last_step, request.training.minutes
    left_s = (last - step) * per_step
    if minutes is not None and minutes * 60 < seconds + left_s:
        left_s = max(0.0, minutes * 60 - seconds)
        last = step + round(left_s / per_step)
    return (
        f"{per_step:.2g} s a step: the training ends after about {last:,} steps, in"
        f" {_duration(left_s)}; then comes the comparison. Ctrl-C keeps the last checkpoint, and"
        " the same command continues"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Strip:
    """Pictures of held-out photos during the training: one row a photo, weak to strong style."""

    def __init__(self, work: Work, path: Path):
        self._path, self._styles = path, len(work.styles)
        self._photos = [
            _square(photo, work.styles[0].config.size_px) for photo in work.held_out[:_STRIP_PHOTOS]
        ]

    def write(self, network: StyleNetwork) -> None:
        """Write the pictures of the network's present state; the style changes from row to row."""
        device = next(network.parameters()).device
        rows = []
        for index in range(max(len(self._photos), self._styles)):
            photo = self._photos[index % len(self._photos)]
            shares = torch.eye(self._styles, device=device)[[index % self._styles]]
            count = len(_STRIP_STRENGTHS)
            with torch.no_grad():
                results = network(
                    photo.to(device).expand(count, -1, -1, -1),
                    torch.tensor(_STRIP_STRENGTHS, device=device),
                    shares.expand(count, -1),
                )
            rows.append(torch.cat([photo, *results.cpu()], dim=2))
        save_image(torch.cat(rows, dim=1), self._path)


def _square(photo: Photo, size_px: int) -> torch.Tensor:
    """Return the central square of a photo, image_3HW."""
    image = photo.load()
    side = min(image.shape[1:])
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return resize(image[:, top : top + side, left : left + side], size_px, size_px)


def _finish(
    request: Request,
    work: Work,
    store: FeatureStore,
    suite: MetricSuite,
    trainer: Trainer,
    console: Console,
    say: Say,
) -> dict[str, Any]:
    """Write the ONNX file and the program, and measure the quality of the file."""
    say("exporting")
    keeps = [style.config.preserve_color != "none" for style in work.styles]
    program = export_program(Deployed(trainer.network, keeps))
    difference = write_onnx(program, request.out, _facts(request, work, trainer))
    save_program(program, request.folder / PROGRAM)
    say(
        f"wrote {request.out} ({request.out.stat().st_size / 1e6:.1f} MB; its pixels differ from"
        f" torch's by at most {difference:.1g}, allowed: {TOLERANCE:g})"
    )
    with Progress(console=console) as bar:
        task = bar.add_task("compare with the optimization", total=None)
        return write_quality(
            OnnxNetwork.load(request.out),
            work.styles,
            work.held_out,
            store,
            suite,
            request.folder,
            on_done=lambda done, total: bar.update(task, completed=done, total=total),
            say=say,
        )


def _facts(request: Request, work: Work, trainer: Trainer) -> dict[str, Any]:
    """Return the metadata of the ONNX file."""
    return {
        "network": request.training.network,
        "styles": [
            {"name": style.name, "preset": preset.to_dict()}
            for style, preset in zip(work.styles, work.presets, strict=True)
        ],
        "size_px": work.styles[0].config.size_px,
        "strength": {"least": MIN_STRENGTH, "most": MAX_STRENGTH, "preset": 1.0},
        "training": {
            "photos": len(work.training_photos),
            "steps": trainer.step,
            "seconds": round(trainer.seconds),
        },
        "versions": {"nst-tuner": __version__, "torch": torch.__version__},
        "licenses": {
            "loss network": WEIGHTS_LICENCE,
            "photos and style images": "their owners decide; they are not contained",
        },
    }
