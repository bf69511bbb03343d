"""The demo: a small job on a built-in pair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nst_core.images.tensors import save_image
from nst_core.networks.weights import Weights
from nst_core.sample_pictures import sample_content, sample_reference, sample_style
from nst_core.stylization import Step
from tuner.job.yaml_file import yaml_text

#: The job, small enough for a few minutes on two CPU cores.
_JOB = {
    "name": "demo",
    "size_px": 128,
    "objective": "lpips",
    "search": {"trials": 20, "seed": 0},
    "halving": {"min_steps": 15, "max_steps": 90, "reduction": 3},
    "finals": {"count": 1, "seeds": 2},
}


def write_demo_job(
    folder: Path, weights: Callable[[str], Weights], on_step: Callable[[Step], None]
) -> Path:
    """Write the sample pair and a job file to a folder; return the path of the job file.

    Args:
        folder: an existing folder.
        weights: return the weights of a network by its name, for the reference stylization.
        on_step: receives every step of the reference stylization.
    """
    save_image(sample_content(), folder / "content.png")
    save_image(sample_style(), folder / "style.png")
    save_image(sample_reference(weights, on_step), folder / "reference.png")
    pair = {"content": "content.png", "style": "style.png", "reference": "reference.png"}
    job_file = folder / "job.yaml"
    job_file.write_text(yaml_text({**_JOB, "pairs": [pair]}), encoding="utf-8")
    return job_file
