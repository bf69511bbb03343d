"""Writes a golden run and preset in the present format: ``make_golden tests/tuner/golden/NAME``.

A new format of runs gets a new folder; existing folders never change.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

import skimage.data
import yaml
from PIL import Image

from nst_core.errors import RunInterruptedError
from tests.tuner.helpers import Recorder
from tuner.job.load import load_job
from tuner.results.results import load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job
from tuner.study.records import RungRecord

TRIALS, STEPS, SIZE_PX = 6, (2, 18), 32


class InterruptingCallback(Recorder):
    """A callback that interrupts the run at the first report of the last trial."""

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        super().reported(trial, steps, rung)
        if trial == TRIALS - 1:
            raise KeyboardInterrupt


def main(folder: Path) -> None:
    """Write ``run/``, an interrupted run, and ``preset.json`` into a new folder."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        pictures = {
            "content": skimage.data.chelsea(),
            "style": skimage.data.coffee(),
            "reference": skimage.data.chelsea()[::-1],
        }
        for role, pixels in pictures.items():
            image = Image.fromarray(pixels).resize((SIZE_PX, SIZE_PX))
            image.save(Path(scratch) / f"{role}.png")
        job = {
            "name": "golden",
            "pairs": [{role: f"{role}.png" for role in pictures}],
            "size_px": SIZE_PX,
            "search": {"trials": TRIALS, "presets": False, "seed": 1},
            "halving": {"min_steps": STEPS[0], "max_steps": STEPS[1]},
            "finals": {"count": 0},
        }
        file = Path(scratch) / "job.yaml"
        file.write_text(yaml.safe_dump(job, sort_keys=False))
        spec, space = load_job(file)
        callback = InterruptingCallback()
        with contextlib.suppress(RunInterruptedError):
            run_job(
                spec, space, folder / "run", InlineBackend(), callback=callback, say=callback.say
            )
    for name in (".lock", "launch.json", "log.jsonl"):
        (folder / "run" / name).unlink(missing_ok=True)
    load_results(folder / "run").preset().save(folder / "preset.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
