"""Every named space, from the job file to changed pixels."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import skimage.data
import torch

from nst_core.images.tensors import from_uint8, save_image
from nst_core.lanes.batch import Outcome
from nst_core.losses.targets import FeatureStore
from nst_core.networks.weights import Weights
from nst_core.sample_pictures import sample_content, sample_style
from nst_core.stylization import advance
from search_spaces import CATALOGUE
from tests.tuner.helpers import Recorder
from tuner.engine.pairs import load_pair
from tuner.job.load import load_job
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job
from tuner.sampling.draw import Draw
from tuner.study.study import RunStudy, load_records


@pytest.fixture(scope="module")
def store(weights: Mapping[str, Weights]) -> FeatureStore:
    return FeatureStore(weights.__getitem__)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the built-in sample pictures and a job with two style images."""
    folder = tmp_path_factory.mktemp("samples")
    save_image(sample_content(), folder / "cat.png")
    save_image(sample_style(128), folder / "strokes.png")
    save_image(from_uint8(skimage.data.colorwheel()), folder / "wheel.png")
    job = {
        "name": "samples",
        "pairs": [
            {
                "content": "cat.png",
                "style": [{"image": "strokes.png"}, {"image": "wheel.png"}],
                "reference": "cat.png",
            }
        ],
        "size_px": 64,
        "search": {"trials": 2, "sampler": "random", "presets": False},
        "halving": {"min_steps": 2, "max_steps": 2},
        "finals": {"count": 0},
    }
    (folder / "job.yaml").write_text(json.dumps(job))
    return folder


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_space_changes_pixels(
    name: str, samples: Path, store: FeatureStore, tmp_path: Path
) -> None:
    """A trial of each named space changes the image in two steps on VGG16 and stays finite."""
    job, space = load_job(samples / "job.yaml", [f"space={name}"])
    study = RunStudy.create(tmp_path, goals=job.goals)
    number = study.begin()
    draw = Draw(study, space, goals=job.goals, sampler="random", seed=0)
    given = {"extractor": "vgg16"} if "extractor" in space.params else None
    config = space.build(draw(number, given), size_px=job.size_px, steps=2)
    inputs = load_pair(job.pairs[0], job.size_px).inputs
    *_, last = advance(store, config, inputs)
    assert (last.step, last.outcome) == (2, Outcome.RUNNING)
    assert torch.isfinite(last.image_3HW).all()
    assert not torch.equal(last.image_3HW, inputs.content_3HW)


def test_a_blend_is_searched(samples: Path, tmp_path: Path) -> None:
    """A run in the space `blend` tries its initial points and records the blend of each trial."""
    job, space = load_job(samples / "job.yaml", ["space=blend"])
    run_job(job, space, tmp_path / "run", InlineBackend(), callback=Recorder(), say=print)
    records, _ = load_records(tmp_path / "run")
    assert [record.state for record in records] == ["complete", "complete"]
    blends = [record.config["style_blend"] for record in records]
    assert blends[0] == pytest.approx([0.5, 0.5])
    assert blends[1] == pytest.approx([0.2, 0.8], abs=0.001)
