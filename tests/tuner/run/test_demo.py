"""The demo's job, which `scripts/demo` runs."""

from pathlib import Path

from PIL import Image

from nst_core.networks.weights import get_weights
from tuner.job.load import load_job
from tuner.run.demo import REFERENCE_PX, reference_source, write_demo_job


def test_the_demo_writes_a_valid_job(tmp_path: Path) -> None:
    """The job loads, and the network of the extra, if it is installed, makes its reference."""
    assert reference_source() == "feed-forward"
    job, space = load_job(write_demo_job(tmp_path, "feed-forward", get_weights))
    with Image.open(job.pairs[0].reference_file) as reference:
        assert max(reference.size) == REFERENCE_PX["feed-forward"]
    assert space.name == "standard" and job.present.size_px == 256
