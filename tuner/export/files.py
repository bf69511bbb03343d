"""Files that `nst-tuner export` writes: one configuration, or a pack of presets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nst_core.config import StyleConfig
from nst_core.errors import InputError, Say
from nst_core.files import write_atomic, writing
from nst_core.output_files import check_text_output
from nst_core.presets.other_sizes import at_size
from nst_core.presets.preset import Preset, StylizerPreset
from tuner.export.commands import stylize_inputs
from tuner.export.stylizer_command import command_of
from tuner.job.spec import StyleImage
from tuner.results.results import Results, load_results

#: Characters of a run's name that go into a file name.
_MAX_STEM_LENGTH = 60


def export_one(
    folders: Sequence[Path],
    out: Path | None,
    *,
    trial: int | None,
    steps: int | None = None,
    kind: str,
    size_px: int | None = None,
    force: bool = False,
    say: Say,
    warn: Callable[[str], None],
) -> None:
    """Write one configuration of a run.

    Args:
        folders: the run directory, as the only element.
        out: the file to write.
        trial: number of the trial; the best trial if None.
        steps: number of steps after which the trial's score counts; its best rung if None.
        kind: ``preset``, ``script``, ``neural-style-pt`` or ``command``.
        size_px: longer side in pixels of what a script or command makes; the tuned size if None.
        force: replace a file that nst-tuner did not make.
        say: gets a line about what was written.
        warn: gets a line about each thing that is lost, and about a preset without a gain.

    Raises:
        InputError: the options do not fit together, or the file cannot be written.
        RunError: there is no such run or trial.
    """
    if len(folders) > 1:
        raise InputError("several run directories: expected --pack DIR to put their presets into")
    if out is None:
        raise InputError("expected --out FILE, or --pack DIR for a folder of presets")
    if kind == "preset" and size_px is not None:
        raise InputError(
            "--size-px: `nst-tuner stylize --size-px` fits a preset when it applies it"
        )
    results = load_results(folders[0])
    preset = results.preset(trial, steps)
    check_text_output("--out", out, [folders[0]], force=force, say=say)
    if isinstance(preset, StylizerPreset) or kind == "command":
        _write_of_stylizer(results, preset, out, kind, size_px)
    elif kind == "preset":
        _write_preset(results, preset, out, say)
    else:
        if size_px is not None:
            preset = _at_size(preset, size_px, say)
        _write_translation(results, preset, out, kind, warn)
    if results.beats_content(preset.provenance["score"]) is False:
        warn("This preset does NOT beat the untouched content.")
    say(f"wrote {out}: {preset.description}")


def _write_of_stylizer(
    results: Results,
    preset: Preset | StylizerPreset,
    out: Path,
    kind: str,
    size_px: int | None,
) -> None:
    """Write the preset of another stylizer, or its command."""
    if kind not in ("preset", "command"):
        raise InputError(
            f"--format {kind}: is for our engine only, and this run used another stylizer; expected"
            " preset, or command if the stylizer is one"
        )
    if isinstance(preset, StylizerPreset) and size_px is not None:
        preset = replace(preset, config=preset.config.replace(size_px=size_px))
    if kind == "preset":
        preset.save(out)
        return
    with writing(out):
        write_atomic(out, (command_of(results, preset) + "\n").encode(errors="surrogateescape"))


def _at_size(preset: Preset, size_px: int, say: Say) -> Preset:
    """Return the preset fitted to another size than the tuned one, as `stylize` fits it."""
    StyleConfig.from_dict({**preset.config.to_dict(), "size_px": size_px}, source="--size-px")
    config, note = at_size(preset.config, size_px)
    if note:
        say(note)
    return replace(preset, config=config)


def _write_preset(results: Results, preset: Preset, out: Path, say: Say) -> None:
    """Write the preset, and say the command that repeats its score if options belong to that."""
    preset.save(out)
    pair = results.job.pairs[0]
    has_style_options = any(style != StyleImage(image=style.image) for style in pair.style)
    if pair.start or has_style_options or preset.weights_file:
        config = preset.config.to_dict()
        inputs = stylize_inputs(results.run.path, pair, config, results.job.weights)
        say(
            f"as it was scored: nst-tuner stylize {inputs} --preset {shlex.quote(str(out))}"
            " --out result.png"
        )


def _write_translation(
    results: Results, preset: Preset, out: Path, kind: str, warn: Callable[[str], None]
) -> None:
    """Write a script or a command, and warn of each thing that it leaves out."""
    from nst_core.images.decode import open_picture, upright_size
    from nst_core.images.sizes import fit_size
    from tuner.export.neural_style_pt import neural_style_pt
    from tuner.export.script import script_of

    pair = results.job.pairs[0]
    # A file name that is not UTF-8: a shell needs its bytes, Python source an escape sequence.
    errors = "backslashreplace"
    if kind == "script":
        text, warnings = script_of(preset, out.name, pair.style)
    else:
        errors = "surrogateescape"
        with open_picture(results.run.path / pair.content) as picture:
            width, height = upright_size(picture)
        height, width = fit_size(width, height, preset.config.size_px)
        text, warnings = neural_style_pt(preset, pair.style, height=height, width=width)
    for warning in warnings:
        warn(f"{kind}: {warning}")
    with writing(out):
        write_atomic(out, text.encode(errors=errors))


def export_pack(folders: Sequence[Path], pack: Path, say: Say) -> list[str]:
    """Write the best preset of every run into one folder, with a contact sheet of all of them.

    Args:
        folders: the run directories.
        pack: the folder to write; it must not exist or must be empty.
        say: gets a line about what was written.

    Returns:
        A warning for each run whose best trial does not beat the untouched content; its preset is
        written as well.

    Raises:
        InputError: the folder is not empty, or cannot be written.
        RunError: one of the runs has nothing to export; no file is written then.
    """
    from tuner.results.contact_sheet import Cell, contact_sheet, style_cells

    if pack.exists() and (not pack.is_dir() or any(pack.iterdir())):
        raise InputError(f"{pack}: is not empty; name a new folder for the pack")
    runs = [load_results(folder) for folder in folders]
    presets = [results.preset() for results in runs]
    cells: list[Cell] = []
    style_columns = max(len(results.job.pairs[0].style) for results in runs)
    warnings = []
    pack.mkdir(parents=True, exist_ok=True)
    for results, preset, name in zip(runs, presets, _file_stems(runs), strict=True):
        preset.save(pack / f"{name}.json")
        folder, pair, best = results.run.path, results.job.pairs[0], results.ranked()[0]
        score = results.goals.first.labeled(results.score(best))
        cells.append((f"{name}\ncontent", folder / pair.content))
        cells += style_cells(
            folder, pair.style, getattr(preset.config, "style_blend", None), style_columns
        )
        cells.append((f"result\n{score}", folder / results.run.image(best.record.trial, 0)))
        if results.beats_content(results.score(best)) is False:
            warnings.append(f"{name}: does NOT beat the untouched content")
    contact_sheet(cells, columns=2 + style_columns).save(pack / "contact-sheet.jpg", quality=92)
    say(f"wrote {len(presets)} presets and contact-sheet.jpg to {pack}")
    return warnings


def _file_stems(runs: Sequence[Results]) -> list[str]:
    """Return a safe file name without suffix for each run's preset; all names differ."""
    stems: list[str] = []
    for results in runs:
        safe = re.sub(r"[^A-Za-z0-9._-]+", "-", results.job.name).strip(".-")[:_MAX_STEM_LENGTH]
        base = stem = safe or "preset"
        number = 2
        # exFAT and macOS do not distinguish upper and lower case.
        while stem.lower() in {other.lower() for other in stems}:
            stem, number = f"{base}-{number}", number + 1
        stems.append(stem)
    return stems
