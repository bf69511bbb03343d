"""The demo: a small job on a photo, a drawn painting and a reference, all made on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nst_core.errors import InputError
from nst_core.feed_forward.magenta import check_installed
from nst_core.images.tensors import save_image
from nst_core.networks.weights import Weights
from nst_core.references import make_reference
from nst_core.sample_pictures import sample_photo, sample_style
from nst_core.stylization import Step
from tuner.job.yaml_file import yaml_text

#: Longer side of the reference by its source. The network's strokes have a fixed number of pixels,
#: so on a small photo they cover everything. A long run takes a minute at 256 px.
REFERENCE_PX = {"feed-forward": 384, "long-run": 256}
#: Optimizer steps of the reference where the feed-forward network is not installed.
REFERENCE_STEPS = 120

#: The job, small enough for a few minutes on two CPU cores.
_JOB = {
    "name": "demo",
    "size_px": 128,
    "objective": "lpips",
    "search": {"trials": 40, "seed": 0},
    "halving": {"min_steps": 15, "max_steps": 90, "reduction": 3},
    "finals": {"count": 3, "seeds": 2},
    "present": {"size_px": 256},
}


def reference_source() -> str:
    """Return how the demo makes its reference: by nothing that its search could find again.

    This is the feed-forward network if it is installed. A long run has another style loss
    and other layers than the space of the demo.
    """
    try:
        check_installed()
    except InputError:
        return "long-run"
    return "feed-forward"


def write_demo_job(
    folder: Path,
    source: str,
    weights: Callable[[str], Weights],
    on_step: Callable[[Step], None] = lambda _: None,
) -> Path:
    """Write the sample pair and a job file to a folder; return the path of the job file.

    Args:
        folder: an existing folder.
        source: what makes the reference, see `reference_source`.
        weights: return the weights of a network by its name, for a long run.
        on_step: receives the steps of a long run.
    """
    photo, painting = sample_photo(), sample_style()
    reference = make_reference(
        source,
        photo,
        [(painting, 1.0)],
        size_px=REFERENCE_PX[source],
        weights=weights,
        steps=REFERENCE_STEPS if source == "long-run" else None,
        on_step=on_step,
    )
    save_image(photo, folder / "content.png")
    save_image(painting, folder / "style.png")
    save_image(reference, folder / "reference.png")
    pair = {"content": "content.png", "style": "style.png", "reference": "reference.png"}
    job_file = folder / "job.yaml"
    job_file.write_text(yaml_text({**_JOB, "pairs": [pair]}), encoding="utf-8")
    return job_file
