"""Complete run directories with artificial scores and images, for tests and benchmarks.

Only engines are replaced; search, study and files are those of a run. A directory takes a second.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from nst_core.config import StyleConfig
from nst_core.presets.built_in import BASELINES
from tuner.job.load import load_job
from tuner.search.halving import Decision
from tuner.search.protocol import Callback, Plan
from tuner.search.search import Search
from tuner.study.records import Report
from tuner.study.run_dir import RunDir
from tuner.study.study import RunStudy

UNTOUCHED = {"lpips": 0.6, "ssim": 0.5, "psnr": 14.0, "rmse": 0.2, "color": 20.0, "edges": 1.0}
ENVIRONMENT = {"started": "2026-01-01T00:00:00+00:00", "python": "3.11", "platform": "made up"}


def made_run(
    folder: Path,
    pictures: Path,
    *overrides: str,
    trials: int = 24,
    pairs: int = 1,
    holdout: int = 0,
    presets: int = 2,
    over: bool = True,
    **job: Any,
) -> Path:
    """Make a run directory and return its path.

    Args:
        folder: path of the new directory.
        pictures: folder with content.png, style.png and reference.png.
        overrides: overrides of job keys, like ``search.trials=9``.
        trials: number of trials before the finals.
        pairs: number of copies of the pair in the job.
        holdout: number of copies of the pair among the held-out pairs.
        presets: number of baseline presets among the trials.
        over: whether the run has ended; otherwise it is interrupted halfway.
        job: further keys of the job; ``pairs_`` replaces its pairs.
    """
    search = _search(folder, pictures, overrides, trials, pairs, holdout, presets, job)
    pngs = [_png(pictures, share / 15) for share in range(16)]
    done = 0
    while over or done < trials // 2:
        plan = search.next()
        if plan is None:
            break
        done += 1
        _advance(search, plan, pngs, pairs, holdout)
    if over:
        search._study.note("over", search.reason)
    return folder


def _search(
    folder: Path,
    pictures: Path,
    overrides: Sequence[str],
    trials: int,
    pairs: int,
    holdout: int,
    presets: int,
    job: dict[str, Any],
) -> Search:
    pair = {role: str(pictures / f"{role}.png") for role in ("content", "style", "reference")}
    written = {
        "name": "made",
        "pairs": job.pop("pairs_", [pair] * pairs),
        "holdout": [pair] * holdout,
        "size_px": 64,
        "search": {"trials": trials, "sampler": "random"},
        "halving": {"min_steps": 10, "max_steps": 90},
        "finals": {"count": 1, "seeds": 2},
        "present": {"size_px": 0},  # a run that is resumed would render real pictures
    } | job
    file = folder.parent / f"{folder.name}.yaml"
    file.write_text(json.dumps(written))  # JSON is valid YAML
    spec, space = load_job(file, overrides)
    run = RunDir(folder).begin()
    written_job = run.write_job(spec)
    baselines = {"content": UNTOUCHED, "style": {name: 0.9 * v for name, v in UNTOUCHED.items()}}
    notes = {"pair_baselines": [baselines] * (pairs + holdout), "environment": ENVIRONMENT}
    study = RunStudy.create(
        folder,
        goals=spec.goals,
        url=spec.search.study,
        name=spec.name,
        notes=notes,
    )
    chosen = [(preset, None) for preset in list(BASELINES.values())[:presets]]
    return Search(study, run, written_job, space, presets=chosen, callback=Callback())


def _advance(search: Search, plan: Plan, pngs: Sequence[bytes], pairs: int, holdout: int) -> None:
    """Report one trial at its rungs until it pauses or ends."""
    steps = max(search._study.record(plan.trial).rungs, default=0)
    count = pairs + (holdout if plan.final else 0)
    while True:
        steps = plan.next_rung(steps)
        if plan.trial % 11 == 10 and not plan.final:
            search.report(Report(trial=plan.trial, steps=steps, failure="went to NaN"), list)
            return
        scores = _scores(plan, steps)
        # Costs differ between trials, so that a Pareto front has several of them.
        costs = {"seconds_per_image": steps / 10 * (1 + plan.trial % 4 / 8), "vram_gb": 1.0}
        report = Report(
            trial=plan.trial,
            steps=steps,
            scores={**scores, **costs},
            pair_scores=[scores] * count,
            seconds=steps / 10,
        )
        png = pngs[round(15 * max(0.0, 1 - scores["lpips"]))]
        if search.report(report, lambda png=png: [png] * count) is not Decision.CONTINUE:  # type: ignore[misc]
            return


def _scores(plan: Plan, steps: int) -> dict[str, float]:
    """Return scores that are better with more steps, and near one value of a setting.

    This is a learning rate of 0.03 and, for L-BFGS, whose rate is nearly always 1, a style weight
    of 100.
    """
    assert isinstance(plan.config, StyleConfig)
    config = plan.config
    far = config.style_weight / 100 if config.optimizer == "lbfgs" else config.lr / 0.03
    lpips = 0.25 + 0.2 * abs(math.log10(far)) + 1 / (steps + 5)
    lpips += 0.001 * plan.config.seed
    return {**{name: value * lpips for name, value in UNTOUCHED.items()}, "lpips": lpips}


def _png(pictures: Path, share: float) -> bytes:
    """Return a PNG file that blends a share of the reference with the content."""
    with (
        Image.open(pictures / "content.png") as content,
        Image.open(pictures / "reference.png") as goal,
    ):
        mixed = Image.blend(content.convert("RGB"), goal.convert("RGB").resize(content.size), share)
    buffer = io.BytesIO()
    mixed.save(buffer, "PNG")
    return buffer.getvalue()
