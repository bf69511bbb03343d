"""A job with a stylizer that runs in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.tuner.stylizers.helpers import STYLIZERS

TINT = "name: tint\nwhy: tests\nparams: {strength: {low: 0.0, high: 1.0}}\n"
SLOW = "name: slow\nwhy: tests\nparams: {rate: {low: 0.001, high: 0.1, log: true}}\n"


@pytest.fixture
def tint_job(tmp_path: Path, pictures: Path) -> Path:
    """A job of six trials with the stylizer `Tint`; ``slow.yaml`` beside it is the space of `Slow`.

    Its defaults are a strength of 1, which hides the content.
    """
    (tmp_path / "tint.yaml").write_text(TINT + "defaults: {strength: 1.0}\n")
    (tmp_path / "slow.yaml").write_text(SLOW)
    roles = ("content", "style", "reference")
    job = {
        "name": "tint",
        "pairs": [{role: str(pictures / f"{role}.png") for role in roles}],
        "size_px": 64,
        "stylizer": {"path": f"{STYLIZERS}:Tint"},
        "space": "tint.yaml",
        "search": {"trials": 6},
        "finals": {"count": 1, "seeds": 1},
    }
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job, sort_keys=False))
    return path
