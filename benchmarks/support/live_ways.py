"""Ways to search, for `benchmarks.live`: a search space, a sampler, and stopping."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from benchmarks.support.runs import REDUCTION
from nst_core.config import StyleConfig
from nst_core.errors import InputError, near_miss
from search_spaces import CATALOGUE, Space, space_to_dict
from tuner.job.spec import SamplerName
from tuner.sampling.sobol_grid import planned_point

#: Name of the variant that is Ray Tune's own OptunaSearch and ASHA on our engine.
STOCK = "stock"
#: Number of configurations that the fingerprint of a space includes.
_FINGERPRINT_CONFIGS = 8


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to search.

    Attributes:
        name: ``SPACE`` or ``SPACE/VARIANT``.
        space: name of the search space.
        sampler: name of a sampler, or ``stock``.
        reduction: reduction factor of successive halving.
        rung_divisor: the last rung has this many times the steps of the first; None: as ``auto``.
    """

    name: str
    space: str
    sampler: str = "gp"
    reduction: int = REDUCTION
    rung_divisor: int | None = None


#: Variant -> what differs from the default.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    STOCK: {"sampler": STOCK},
    "reduction-2": {"reduction": 2},
    # The default before `halving.min_steps: auto`: 15 of 300 steps.
    "early-rung": {"rung_divisor": 20},
    **{name: {"sampler": name} for name in get_args(SamplerName) if name != Way.sampler},
}
#: Variant that was removed -> what it was. Its results in the file are still reported.
REMOVED: Mapping[str, str] = {
    "own-gp": "the Gaussian process of this project until version 0.2, with rungs as `auto`",
    "former": "the same with an early first rung: the default until version 0.2",
    "adam": "version 1 of the space `standard`, whose optimizer was Adam",
    "cmaes-adam": "CMA-ES in that version",
    "first-points": "that version with its first initial points",
    "tpe-first-points": "TPE with these initial points",
}


def parse_way(text: str) -> Way:
    """Return the way of the option ``--way SPACE[/VARIANT]``.

    Raises:
        InputError: there is no such space or variant.
    """
    space, slash, variant = text.partition("/")
    if space not in CATALOGUE:
        raise InputError(
            f"--way {text}: {space!r} is no named space; expected SPACE or SPACE/VARIANT with one"
            f" of {', '.join(CATALOGUE)}{near_miss(space, CATALOGUE)}"
        )
    if variant in REMOVED:
        return Way(name=text, space=space, sampler=variant)
    if slash and variant not in VARIANTS:
        raise InputError(
            f"--way {text}: {variant!r} is no variant; expected one of {', '.join(VARIANTS)}"
            f"{near_miss(variant, VARIANTS)}"
        )
    return Way(name=text, space=space, **VARIANTS.get(variant, {}))


def space_of(way: Way) -> Space:
    """Return the search space of a way, for one style image."""
    return CATALOGUE[way.space].for_style_images(1)


def fingerprint(space: Space, *, starts: bool) -> str:
    """Return a digest that changes when a search in the space would change.

    It includes the parameters in their order, the fixed settings, and the settings of some
    configurations, which also depend on derived parameters. Texts are not included.

    Args:
        space: the search space.
        starts: whether the digest includes the initial points.
    """
    declared = space_to_dict(space)
    # Only settings that differ from the defaults, so that a new setting changes no digest.
    defaults = StyleConfig().to_dict()
    points = [
        planned_point("sobol", space, index, 0) or {} for index in range(_FINGERPRINT_CONFIGS)
    ]
    configs = [space.build(point).to_dict() for point in points]
    content = {
        "params": list(declared["params"].items()),
        "fixed": declared["fixed"],
        "starts": declared["starts"] if starts else [],
        "configs": [{k: v for k, v in c.items() if v != defaults[k]} for c in configs],
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
