"""The command line of a result, for a stylizer that is a command."""

from __future__ import annotations

import shlex

from nst_core.errors import InputError
from nst_core.presets.preset import Preset, StylizerPreset
from tuner.job.command_template import STYLE_PLACES, filled
from tuner.results.results import Results


def command_of(results: Results, preset: Preset | StylizerPreset) -> str:
    """Return the command that makes the result of a preset, for a shell.

    Args:
        results: results of the run, whose first pair it stylizes.
        preset: a preset of the run.

    Raises:
        InputError: the stylizer is no command.
    """
    if isinstance(preset, Preset):
        raise InputError(
            "--format command: is for stylizers that are commands, and this run used our engine;"
            " expected preset, script or neural-style-pt"
        )
    config = preset.config
    if "command" not in config.stylizer:
        raise InputError(
            "--format command: the stylizer of this run is Python code, and no command; export a"
            " preset, which `nst-tuner stylize --preset FILE` applies"
        )
    pair, folder = results.job.pairs[0], results.run.path
    styles = dict(zip(STYLE_PLACES, (style.image for style in pair.style), strict=False))
    places = {"content": pair.content, **styles}
    values = {
        **config.params,
        **{place: str(folder / file) for place, file in places.items()},
        "out": "result.png",
        "seed": config.seed,
        "size_px": config.size_px,
        "device": "cpu" if results.job.resources.device == "cpu" else "cuda",
        "python": "python",
    }
    return shlex.join(filled(config.stylizer["command"], values))
