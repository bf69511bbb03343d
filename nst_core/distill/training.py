"""Training: a network learns to minimize the loss of presets in one pass.

The gradient flows through the loss networks into the parameters (Johnson et al., ECCV 2016). Every
picture of a batch has a random style. Half of them have the preset's strength, the others a random
one, log-uniformly (Dosovitskiy & Djolonga, "You only train once", ICLR 2020).
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from nst_core.distill.checkpoints import Checkpoint
from nst_core.distill.networks import MAX_STRENGTH, StyleNetwork
from nst_core.distill.objective import NetworkStyle, Objective
from nst_core.distill.photos import Crops
from nst_core.distill.settings import TrainingSettings
from nst_core.errors import InputError, WorkError
from nst_core.losses.targets import MEMORY_FORMAT, FeatureStore
from nst_core.networks.precision_support import has_bfloat16

#: Number of crops by which the loss of untouched photos is measured.
_SCALE_CROPS = 8

#: Loss of untouched photos that is rounding noise.
_LEAST_SCALE = 1e-12

#: Consecutive steps without a finite gradient after which a training ends.
_MOST_BAD_STEPS = 20

#: Largest norm of the gradient of a step; larger ones are scaled down to it.
_MAX_GRADIENT = 5.0

#: Share of the steps over which the learning rate rises.
_WARMUP = 0.02

#: Decay of the average of the parameters in a long training; it is less at the beginning.
_EMA_DECAY = 0.999


@dataclass(frozen=True, kw_only=True)
class Progress:
    """State of a training after a step.

    Attributes:
        step: number of steps done.
        share: share of the training that is done, in [0, 1].
        seconds: seconds of training so far, over all launches.
        loss: mean loss of the last step relative to untouched photos; NaN after a skipped step.
    """

    step: int
    share: float
    seconds: float
    loss: float


@dataclass
class _Counters:
    step: int = 0
    seconds: float = 0.0
    bad: int = 0
    #: Mean loss of untouched photos by style, which makes the losses of presets comparable.
    scales: list[float] = field(default_factory=list)


class Trainer:
    """Trains one network.

    Args:
        styles: styles of the network, checked by `objective.check_styles`.
        crops: training pictures.
        store: loss networks; its device is where the training runs.
        settings: settings of the training.
        checkpoint: file of the state. If it exists, the training continues from it.

    Raises:
        InputError: the checkpoint is of another training, or is damaged.
    """

    def __init__(
        self,
        styles: Sequence[NetworkStyle],
        crops: Crops,
        store: FeatureStore,
        settings: TrainingSettings,
        checkpoint: Path,
    ):
        self._styles, self._crops, self._store = styles, crops, store
        self._settings, self._path = settings, checkpoint
        device = store.device
        self._half = device.type == "cuda" and has_bfloat16(device)
        self._objective = Objective(store, styles, "bfloat16" if self._half else None)
        with torch.random.fork_rng([]):
            torch.manual_seed(settings.seed)
            network = StyleNetwork(settings.network, len(styles))
        self._network = network.to(device=device, memory_format=MEMORY_FORMAT)  # type: ignore[call-overload]
        self._average = AveragedModel(self._network, avg_fn=_averaged)
        self._adam = torch.optim.Adam(self._network.parameters(), settings.peak_lr)
        self._counters = _Counters()
        saved = Checkpoint.load(checkpoint)
        if saved is not None:
            self._restore(saved)

    @property
    def step(self) -> int:
        """Number of steps done."""
        return self._counters.step

    @property
    def seconds(self) -> float:
        """Seconds of training so far, over all launches."""
        return self._counters.seconds

    @property
    def is_done(self) -> bool:
        """Whether the training has reached its last step or its time limit."""
        return self._share >= 1

    @property
    def network(self) -> StyleNetwork:
        """The network with averaged parameters, in evaluation mode."""
        module = self._average.module
        assert isinstance(module, StyleNetwork)
        return module.eval()

    @property
    def _share(self) -> float:
        counters, settings = self._counters, self._settings
        shares = [counters.step / settings.last_step]
        if settings.minutes is not None:
            shares.append(counters.seconds / (60 * settings.minutes))
        return min(1.0, max(shares))

    def run(
        self,
        *,
        save_every_s: float = 60.0,
        on_save: Callable[[StyleNetwork], None] = lambda _: None,
    ) -> Iterator[Progress]:
        """Train until the end; yield after every step, and save the state from time to time.

        Args:
            save_every_s: seconds between two checkpoints.
            on_save: gets the network with averaged parameters after each checkpoint.

        Raises:
            WorkError: the loss is not finite in step after step.
        """
        if not self._counters.scales:
            self._counters.scales = self._untouched_losses()
        saved = time.monotonic()
        while not self.is_done:
            started = time.monotonic()
            loss = self._advance()
            self._counters.seconds += time.monotonic() - started
            self._counters.step += 1
            if self.is_done or time.monotonic() - saved >= save_every_s:
                self.save()
                on_save(self.network)
                saved = time.monotonic()
            yield Progress(step=self.step, share=self._share, seconds=self.seconds, loss=loss)

    def _untouched_losses(self) -> list[float]:
        """Return the mean loss of untouched crops for each style."""
        scales = []
        for index, style in enumerate(self._styles):
            losses = []
            for crop_3HW in self._crops.batch(0, _SCALE_CROPS):
                crop_13HW = crop_3HW[None]
                one = torch.ones(1, device=self._store.device)
                with torch.no_grad():
                    placed = self._store.place(crop_13HW)
                    losses.append(float(self._objective(placed, crop_13HW, [index], one)))
            scale = mean(losses)
            if not scale > _LEAST_SCALE:
                raise InputError(
                    f"`{style.name}`: untouched photos already have a loss of {scale:.3g}, so there"
                    " is nothing to learn; the preset needs a larger style_weight"
                )
            scales.append(scale)
        return scales

    def _advance(self) -> float:
        """Take one step; return its mean loss, or NaN if the step was skipped."""
        for group in self._adam.param_groups:
            group["lr"] = self._settings.peak_lr * _rate(self._share, self._settings.last_step)
        loss = self._loss()
        self._adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._network.parameters(), _MAX_GRADIENT)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            self._counters.bad += 1
            if self._counters.bad >= _MOST_BAD_STEPS:
                raise WorkError(
                    f"step {self.step}: the loss was not a finite number in {_MOST_BAD_STEPS}"
                    f" steps; a smaller learning rate than {self._settings.peak_lr:g} (--lr) may"
                    " help"
                )
            return math.nan
        self._counters.bad = 0
        self._adam.step()
        self._average.update_parameters(self._network)
        return value

    def _loss(self) -> Tensor:
        """Return the mean loss of the batch of this step, relative to untouched photos."""
        batch, device = self._settings.batch, self._store.device
        rng = np.random.default_rng([self._settings.seed, 2, self.step])
        style_N = [int(index) for index in rng.integers(len(self._styles), size=batch)]
        # Half of the pictures have the preset's own strength, at which networks are used most.
        exponent_N = rng.uniform(-1, 1, size=batch) * (rng.random(batch) < 0.5)
        strength_N = torch.tensor(MAX_STRENGTH**exponent_N, dtype=torch.float32, device=device)
        scale_N = torch.tensor([self._counters.scales[index] for index in style_N], device=device)
        crops_N3HW = self._crops.batch(self.step, batch)
        photos_N3HW = self._store.place(crops_N3HW).contiguous(memory_format=MEMORY_FORMAT)
        shares_NK = torch.eye(len(self._styles), device=device)[style_N]
        half = (
            torch.autocast(device.type, torch.bfloat16) if self._half else contextlib.nullcontext()
        )
        with half:
            result_N3HW = self._network(photos_N3HW, strength_N, shares_NK)
        loss_N = self._objective(result_N3HW.float(), crops_N3HW, style_N, strength_N)
        # The root keeps weak and strong styles at one scale: content falls as style grows.
        return (loss_N / (scale_N * strength_N.sqrt())).mean()

    # --- the state --------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the state to the checkpoint file.

        Raises:
            InputError: the file cannot be written.
        """
        tensors = {f"network.{key}": value for key, value in self._network.state_dict().items()}
        tensors |= {f"average.{key}": value for key, value in self._average.state_dict().items()}
        for index, state in self._adam.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{key}": value for key, value in state.items()}
        on_host = {key: value.detach().cpu().clone() for key, value in tensors.items()}
        facts = {"training": self._identity(), **asdict(self._counters)}
        Checkpoint(tensors={k: v.contiguous() for k, v in on_host.items()}, facts=facts).save(
            self._path
        )

    def _restore(self, saved: Checkpoint) -> None:
        facts = dict(saved.facts)
        self._check_same(facts.pop("training", {}))
        facts.pop("version")
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "adam": {}}
        try:
            for name, tensor in saved.tensors.items():
                part, _, key = name.partition(".")
                parts[part][key] = tensor
            self._network.load_state_dict(parts["network"])
            self._average.load_state_dict(parts["average"])
            self._load_adam(parts["adam"])
            self._counters = _Counters(**facts)
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise InputError(
                f"{self._path}: is damaged, or of another version of nst-tuner; remove it to begin"
                " again"
            ) from None

    def _load_adam(self, tensors: Mapping[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": state, "param_groups": groups})

    def _identity(self) -> dict[str, Any]:
        """Return what must not change when a training continues, as plain JSON."""
        settings = asdict(self._settings)
        # More steps or minutes may be added to a training.
        del settings["steps"], settings["minutes"]
        styles = [
            {
                "name": style.name,
                "config": style.config.to_dict(),
                "images": [[each.key, each.weight] for each in style.styles],
            }
            for style in self._styles
        ]
        settings |= {"styles": styles, "photos": self._crops.identity}
        identity: dict[str, Any] = json.loads(json.dumps(settings))
        return identity

    def _check_same(self, saved: dict[str, Any]) -> None:
        now = self._identity()
        if changed := [key for key in now if saved.get(key) != now[key]]:
            raise InputError(
                f"{self._path}: is of a training with other {', '.join(changed)}; name another"
                f" result with --out, or remove {self._path} to begin again"
            )


def _rate(share: float, steps: int) -> float:
    """Return the learning rate relative to its peak: linear warm-up, then half a cosine."""
    warmup = max(_WARMUP, 1 / steps)
    if share < warmup:
        return (share + 1 / steps) / (warmup + 1 / steps)
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup + 1e-9)))


def _averaged(average: Tensor, new: Tensor, updates: Tensor | int) -> Tensor:
    """Return the moving average of a parameter; the decay rises with the number of updates."""
    count = float(updates)
    decay = min(_EMA_DECAY, (1 + count) / (10 + count))
    return torch.lerp(new, average, decay)
