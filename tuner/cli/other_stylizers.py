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
    """Stylize one picture with the stylizer that a preset names."""
    from nst_core.files import is_folder
    from tuner.apply.picture import preset_file
    from tuner.apply.stylizer_picture import apply_stylizer, changed
    from tuner.job.style_arguments import parse_styles
    from tuner.study.preflight_checks import is_video
    from tuner.stylizers.trust import require_trust

    if is_folder(content) or is_video(content):
        raise InputError(
            f"--content {content}: a preset of another stylizer applies to one picture at a time;"
            " name a picture"
        )
    parsed = parse_styles(styles)
    if any(len(style.files) > 1 or style.weight not in (None, 1) for style in parsed):
        raise InputError("--style: masks and weights are for our engine only; leave them out")
    preset = changed(preset, assignments, **options)
    check_writable_image(out_file)
    require_trust(preset.config.stylizer, file, trusted=trust)
    apply_stylizer(
        preset,
        content,
        [Path(style.files[0]) for style in parsed],
        out_file,
        force=force,
        read=[preset_file(file)],
        console=err,
        say=say,
    )
