"""Apply a preset of another stylizer to a picture, or to many."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from nst_core.errors import ConfigError, Say, near_miss
from nst_core.output_files import check_outputs, save_elsewhere
from nst_core.presets.preset import StylizerPreset
from tuner.job.yaml_file import set_key

if TYPE_CHECKING:  # torch takes seconds to load, and checking options does not need it
    from torch import Tensor

    from tuner.apply.folder import Work
    from tuner.apply.picture_files import Picture


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
    from nst_core.images.tensors import encode_image, load_image

    check_outputs([("--out", out)], [content, *styles, *read], force=force, say=say)
    config = preset.config
    with Progress(console=console) as progress, _stylizer_of(preset, styles) as stylized:
        task = progress.add_task(escape(f"stylize {content.name}"), total=config.steps)
        image_3HW = stylized(
            load_image(content), lambda step: progress.update(task, completed=step)
        )
        progress.update(task, completed=config.steps)
    save_elsewhere(out, encode_image(image_3HW, out, _text(preset)))
    say(f"wrote {out} ({image_3HW.shape[2]}x{image_3HW.shape[1]})")


def stylizer_work(preset: StylizerPreset, styles: Sequence[Path]) -> Work:
    """Return how another stylizer is applied to many pictures, for `several.make_several`.

    Args:
        preset: the preset.
        styles: style images.

    Raises:
        InputError: a style image cannot be read.
    """
    from tuner.apply.folder import Work, one_by_one
    from tuner.apply.picture_files import file_digest

    def stylize(pictures: Sequence[Picture]) -> Iterator[tuple[Picture, Tensor | str]]:
        with _stylizer_of(preset, styles) as stylized:
            yield from one_by_one(stylized, pictures)

    parts = [preset.config.to_dict(), [file_digest(style) for style in styles]]
    return Work(
        stylize=stylize,
        fingerprint=hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32],
        text=_text(preset),
        size_px=preset.config.size_px,
        read=tuple(styles),
    )


@contextmanager
def _stylizer_of(preset: StylizerPreset, styles: Sequence[Path]) -> Iterator[Callable[..., Tensor]]:
    """Give what makes the result of a content image_3HW and, after each step, calls a function."""
    from nst_core.images.tensors import load_image
    from nst_core.stylization import default_device
    from tuner.stylizers.once import PictureStylizer

    images = [load_image(style) for style in styles]
    with PictureStylizer(preset.config, device=str(default_device())) as stylizer:
        yield lambda content_3HW, *on_step: stylizer.image(content_3HW, images, *on_step)


def _text(preset: StylizerPreset) -> dict[str, str]:
    """Return the text chunks of a result."""
    return {"nst-tuner-preset": preset.to_json()}
