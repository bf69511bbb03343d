"""`nst-tuner stylize` with a preset of another stylizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nst_core.errors import InputError
from nst_core.images.encode import check_writable_image
from tuner.terminal.console import err, say

if TYPE_CHECKING:
    from nst_core.presets.preset import StylizerPreset


def stylize_by_other(
    preset: StylizerPreset,
    file: str,
    content: Path,
    styles: Sequence[str],
    out_file: Path,
    assignments: Sequence[str],
    force: bool,
    trust: bool,
    options: dict[str, Any],
) -> None:
    """Stylize a picture, a folder or a video with the stylizer that a preset names."""
    from nst_core.files import is_folder
    from tuner.apply.picture import preset_file
    from tuner.apply.stylizer_picture import apply_stylizer, changed, stylizer_work
    from tuner.job.style_arguments import parse_styles
    from tuner.study.preflight_checks import is_video
    from tuner.stylizers.trust import require_trust

    parsed = parse_styles(styles)
    if any(len(style.files) > 1 or style.weight not in (None, 1) for style in parsed):
        raise InputError("--style: masks and weights are for our engine only; leave them out")
    preset = changed(preset, assignments, **options)
    images, read = [Path(style.files[0]) for style in parsed], [preset_file(file)]
    several = is_folder(content) or is_video(content)
    if not several:
        check_writable_image(out_file)
    require_trust(preset.config.stylizer, file, trusted=trust)
    outputs: dict[str, Any] = {"force": force, "console": err, "say": say}
    if several:
        from tuner.apply.several import make_several

        make_several(stylizer_work(preset, images), content, out_file, read=read, **outputs)
    else:
        apply_stylizer(preset, content, images, out_file, read=read, **outputs)
