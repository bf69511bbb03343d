"""Settings of a training, validated. This module does not load torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nst_core.errors import ConfigError, near_miss

#: Kinds of networks, and what each is for.
NETWORKS: dict[str, str] = {
    "mobile": "inverted residuals, 0.2 million parameters, for phones and browsers",
    "small": "residual network, 1.7 million parameters",
}

#: Peak learning rates by network, unless one is given.
LEARNING_RATES: dict[str, float] = {"mobile": 5e-3, "small": 1e-3}

#: Number of steps without a limit of steps or time.
STEPS = 20_000
#: Largest number of steps.
MAX_STEPS = 10**8


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of a training.

    Attributes:
        network: a key of `NETWORKS`.
        steps: number of optimizer steps, >= 1; None: as many as ``minutes`` allow, or else
            `STEPS`.
        minutes: time limit, > 0; the learning rate then falls with the time if that ends first.
            None: no limit.
        batch: number of pictures of a step, >= 1.
        lr: peak learning rate of Adam, > 0; None: that of the network, see `LEARNING_RATES`.
        seed: seed of parameters, crops, styles and strengths.
        augment: whether crops are random.

    Raises:
        ConfigError: a setting is out of range; the error lists all problems.
    """

    network: str = "mobile"
    steps: int | None = None
    minutes: float | None = None
    batch: int = 4
    lr: float | None = None
    seed: int = 0
    augment: bool = True

    def __post_init__(self) -> None:
        problems = []
        if self.network not in NETWORKS:
            hint = near_miss(self.network, NETWORKS)
            problems.append(
                f"`network`: {self.network!r} is not one of {', '.join(NETWORKS)}{hint}"
            )
        for name, low, high in (("steps", 1, MAX_STEPS), ("batch", 1, 1024), ("lr", 1e-8, 1.0)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                problems.append(f"`{name}`: expected {low:g} to {high:g}, got {value!r}")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            problems.append(f"`minutes`: expected a number above 0, got {self.minutes!r}")
        if not 0 <= self.seed < 2**63:
            problems.append(f"`seed`: expected 0 to 2^63 - 1, got {self.seed}")
        if problems:
            raise ConfigError("training", problems)

    @property
    def peak_lr(self) -> float:
        """Peak learning rate: the given one, or that of the network."""
        return LEARNING_RATES[self.network] if self.lr is None else self.lr

    @property
    def last_step(self) -> int:
        """Number of steps after which the training ends, if the time limit does not end it."""
        return self.steps or (STEPS if self.minutes is None else MAX_STEPS)
