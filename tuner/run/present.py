"""Present: the best trial and the best preset rendered again, at a size worth looking at.

A search works at a small size because it tries many configurations. At that size a result looks
like confetti; so both results that a page compares are made once more, as `nst-tuner stylize` makes
a preset larger. A picture is a file of the run, named by trial and steps, so what a killed
launch has not rendered is rendered by the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from nst_core.config import StyleConfig
from nst_core.errors import InputError, Say, WorkError
from nst_core.files import write_atomic
from nst_core.images.decode import open_picture
from nst_core.images.tensors import encode_image, load_image
from nst_core.lanes.batch import Outcome
from nst_core.networks.weights import Weights, get_weights
from nst_core.presets.other_sizes import at_size
from nst_core.presets.preset import Preset, StylizerPreset
from nst_core.stylization import default_device, stylize
from nst_core.stylizer_config import Configuration, StylizerConfig
from tuner.engine.pairs import load_pair_images
from tuner.results.preset_runs import best_preset_result, preset_run
from tuner.results.results import Results, load_results
from tuner.results.trial_result import TrialResult
from tuner.results.verdict import NOT_PRESENTED
from tuner.study.run_dir import RunDir
from tuner.study.study import RunStudy
from tuner.stylizers.once import PictureStylizer

#: Number of messages about the progress of a picture, at least 10 steps apart.
_MESSAGES = 5


class Picture(NamedTuple):
    """A picture to render: a result on a pair of the search."""

    name: str
    result: TrialResult
    pair: int

    def config(self, results: Results, size_px: int) -> Configuration:
        """Return the configuration of the result, fitted to a size as `stylize` fits a preset."""
        if results.job.stylizer:
            # Not the stylizer of the trial: a person has agreed to run that of the job.
            stylizer = results.job.stylizer.to_plain()
            settings = {**self.result.config, "stylizer": stylizer, "size_px": size_px}
            return StylizerConfig.from_dict(settings)
        settings = {**self.result.config, **results.job.resources.final_settings}
        return at_size(StyleConfig.from_dict(settings), size_px)[0]


def takes_long(results: Results, picture: Picture, size_px: int) -> bool:
    """Return whether it takes more work to render a preset than the search took.

    Some published presets have thousands of steps. The best trial is rendered whatever it takes.
    """
    if picture.result.record.preset is None or picture.result.record.trial == _best(results):
        return False
    config = picture.config(results, size_px)
    if isinstance(config, StylizerConfig):  # its time is not known, and it has a deadline
        return False
    searched = sum(max(r.rungs, default=0) for r in results.records if r.final_of is None)
    # The first of several sizes takes two shares of the steps; the area doubles with each size.
    areas = [2.0 ** (stage + 1 - config.scales) for stage in range(config.scales)]
    mean_area = (areas[0] + sum(areas)) / (config.scales + 1)
    area = mean_area * (size_px / results.job.size_px) ** 2
    return config.steps * area > searched


def _best(results: Results) -> int:
    return results.trial_result().record.trial


def missing_pictures(results: Results, size_px: int) -> list[Picture]:
    """Return the pictures of the best trial and the best preset that are not there at this size.

    With another stylizer, its defaults take the place of the preset.

    Args:
        results: the results of the run.
        size_px: longer side of the pictures in pixels.
    """
    preset = best_preset_result(results)
    named = [("the best trial", r) for r in results.ranked()[:1]]
    if preset and preset.record.trial != named[0][1].record.trial:
        role = preset_run(preset.record, preset.rung.objective).short_role
        named.append((f"the {role}", preset))
    return [
        Picture(name, result, pair)
        for name, result in named
        for pair in range(len(results.job.pairs))
        if _longer_side(results, result, pair) != size_px
    ]


def _longer_side(results: Results, result: TrialResult, pair: int) -> int | None:
    """Return the longer side of a rendered picture; None if there is none."""
    path = results.run.path / results.run.presented(result.record.trial, result.steps, pair)
    if not path.is_file():
        return None
    with open_picture(path) as picture:
        return max(picture.size)


def present(
    results: Results,
    size_px: int,
    *,
    weights: Callable[[str], Weights],
    doing: Say,
    say: Say,
    all_of_them: bool = False,
) -> str | None:
    """Render the pictures of a run that are missing.

    Args:
        results: the results of the run.
        size_px: longer side of the pictures in pixels.
        weights: returns a network's weights by name.
        doing: receives the progress.
        say: receives a line about what was rendered, or why it could not be.
        all_of_them: also render a preset that takes long; see `takes_long`.

    Returns:
        Why a picture could not be rendered, or None.
    """
    missing, left_out = missing_pictures(results, size_px), None
    if not all_of_them and any(takes_long(results, picture, size_px) for picture in missing):
        missing = [picture for picture in missing if not takes_long(results, picture, size_px)]
        left_out = (
            f"the best preset was not rendered again at {size_px} px, because that takes"
            " longer than the search did; `nst-tuner render` does it"
        )
        say(left_out)
    try:
        for picture in missing:
            _render(results, picture, size_px, weights, doing)
    except (InputError, WorkError, torch.OutOfMemoryError) as error:
        why = str(error).splitlines()[0]
        reason = (
            f"the results were not rendered again at {size_px} px: {why}. `nst-tuner render` tries"
            " it again; present.size_px sets another size, or 0 for none"
        )
        say(reason)
        return reason
    finally:
        doing("")
    if missing:
        names = " and ".join(dict.fromkeys(picture.name for picture in missing))
        say(f"rendered {names} at {size_px} px")
    return left_out


def _render(
    results: Results,
    picture: Picture,
    size_px: int,
    weights: Callable[[str], Weights],
    doing: Say,
) -> None:
    """Render one picture and write it into the run.

    Raises:
        InputError: it does not fit into memory, or it diverged at this size.
        WorkError: another stylizer failed.
    """
    result, spec = picture.result, results.job.pairs[picture.pair]
    config = picture.config(results, size_px)
    what = f"rendering {picture.name} at {size_px} px"
    if len(results.job.pairs) > 1:
        what += f", pair {picture.pair}"
    doing(what)
    placed = spec.placed(lambda file, _: str(results.run.path / file))
    content, styles = load_pair_images(placed)
    device = "cpu" if results.job.resources.device == "cpu" else default_device()
    path = results.run.path / results.run.presented(result.record.trial, result.steps, picture.pair)
    path.parent.mkdir(exist_ok=True)
    name = f"{results.job.name}-{result.record.trial}"
    if isinstance(config, StylizerConfig):
        preset = StylizerPreset(name=name, config=config)
        with PictureStylizer(config, device=str(device)) as stylizer:
            image_3HW = stylizer.image(content, [style.image_3HW for style in styles])
        write_atomic(path, encode_image(image_3HW, path, {"nst-tuner-preset": preset.to_json()}))
        return
    steps = stylize(
        config,
        content,
        styles,
        starts={"image": load_image(placed.start)} if placed.start else None,
        weights=weights,
        device=device,
        every=max(10, config.steps // _MESSAGES),
    )
    for step in steps:
        if step.outcome is not Outcome.RUNNING:
            raise InputError(f"step {step.step}: {step.outcome.value}")
        doing(f"{what}: step {step.step} of {config.steps}")
    made_by = Preset(name=name, config=config)
    write_atomic(path, encode_image(step.image_3HW, path, {"nst-tuner-preset": made_by.to_json()}))


def render_run(run: RunDir, size_px: int | None, *, doing: Say, say: Say) -> str | None:
    """Render the pictures of a run that has ended, or was made by an older version.

    Args:
        run: the run directory.
        size_px: longer side in pixels; None for the size of the job.
        doing: receives the progress.
        say: receives lines about downloads and the result.

    Returns:
        Why a picture could not be rendered, or None.

    Raises:
        InputError: the folder holds no run, another command uses it, or a file is missing.
        RunError: no trial has reported a score.
    """
    with run.require().held("render"):
        results = load_results(run.path)
        results.trial_result()
        files = results.job.weights

        def weights(name: str) -> Weights:
            file = str(run.path / files[name]) if name in files else None
            return get_weights(name, file=file, say=say)

        wanted = size_px or results.job.presented_px or results.job.automatic_presented_px
        reason = present(results, wanted, weights=weights, doing=doing, say=say, all_of_them=True)
        RunStudy.open(run.path, goals=results.goals).note(NOT_PRESENTED, reason)
        return reason
