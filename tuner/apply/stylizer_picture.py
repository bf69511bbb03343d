"""Apply a preset of another stylizer to one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from nst_core.errors import ConfigError, Say, near_miss
from nst_core.output_files import check_outputs, save_elsewhere
from nst_core.presets.preset import StylizerPreset
from tuner.job.yaml_file import set_key


def changed(
    preset: StylizerPreset, assignments: Sequence[str], *, size_px: int | None, seed: int | None
) -> StylizerPreset:
    """Return a preset with other parameters, another size or another seed.

    Args:
        preset: the preset.
        assignments: changed parameters, each as ``NAME=VALUE``.
        size_px: longer side of the result; None for that of the preset.
        seed: the seed; None for that of the preset.

    Raises:
        ConfigError: the preset has no such parameter, or a value is invalid.
    """
    given: dict[str, Any] = {}
    for assignment in assignments:
        content: dict[str, Any] = {}
        value: Any = content
        path = set_key(content, assignment)
        for part in path:
            value = value[part]
        given[".".join(map(str, path))] = value
    params = dict(preset.config.params)
    if problems := [
        f"`{name}`: the preset has no such parameter{near_miss(name, params)}"
        for name in given
        if name not in params
    ]:
        raise ConfigError("settings", problems)
    changes = {"size_px": size_px, "seed": seed}
    config = preset.config.replace(
        params={**params, **given}, **{k: v for k, v in changes.items() if v is not None}
    )
    return replace(preset, config=config)


def apply_stylizer(
    preset: StylizerPreset,
    content: Path,
    styles: Sequence[Path],
    out: Path,
    *,
    force: bool,
    read: Sequence[Path | None] = (),
    console: Console,
    say: Say,
) -> None:
    """Stylize one picture with another stylizer and save the result.

    Args:
        preset: the preset.
        content: picture to stylize.
        styles: style images.
        out: file of the result.
        force: replace a file that nst-tuner did not make.
        read: further files that are read, such as the preset.
        console: console of the progress bar.
        say: gets a line about the file.

    Raises:
        InputError: a picture or the output cannot be used; nothing was written.
        WorkError: the stylizer failed.
    """
    from nst_core.images.tensors import encode_image, from_uint8, load_image, to_uint8
    from nst_core.losses.inputs import LossInputs
    from nst_core.stylization import default_device
    from tuner.stylizers.once import stylized_once

    check_outputs([("--out", out)], [content, *styles, *read], force=force, say=say)
    config = preset.config
    inputs = LossInputs.at_size(
        load_image(content), [(load_image(style), 1.0) for style in styles], config.size_px
    )
    with Progress(console=console) as progress:
        task = progress.add_task(escape(f"stylize {content.name}"), total=config.steps)
        picture = stylized_once(
            config,
            to_uint8(inputs.content_3HW),
            [to_uint8(image) for image, _ in inputs.styles],
            device=str(default_device()),
            on_step=lambda step: progress.update(task, completed=step),
        )
        progress.update(task, completed=config.steps)
    text = {"nst-tuner-preset": preset.to_json()}
    save_elsewhere(out, encode_image(from_uint8(picture), out, text))
    say(f"wrote {out} ({picture.shape[1]}x{picture.shape[0]})")
