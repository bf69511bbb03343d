"""The demo: the main job on a built-in pair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nst_core.images.tensors import save_image
from nst_core.networks.weights import Weights
from nst_core.samples import sample_content, sample_reference, sample_style
from nst_core.stylization import Step
from tuner.job.yaml_file import yaml_text

#: Small enough for two CPU cores and a few minutes.
_JOB = {
    "name": "demo",
    "size_px": 128,
    "space": "gram",
    "objective": "lpips",
    "search": {"trials": 20, "seed": 0},
    "halving": {"min_steps": 15, "max_steps": 90, "reduction": 3},
    "finals": {"count": 1, "seeds": 2},
}


def write_demo_job(
    folder: Path, weights: Callable[[str], Weights], on_step: Callable[[Step], None]
) -> Path:
    """Make the sample pair in ``folder`` and a job file beside it; returns the job file."""
    save_image(sample_content(), folder / "content.png")
    save_image(sample_style(), folder / "style.png")
    save_image(sample_reference(weights, on_step), folder / "reference.png")
    pair = {"content": "content.png", "style": "style.png", "reference": "reference.png"}
    job_file = folder / "job.yaml"
    job_file.write_text(yaml_text({**_JOB, "pairs": [pair]}), encoding="utf-8")
    return job_file
