"""What `nst-tuner export` writes."""

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
from nst_core.presets.preset import Preset
from nst_core.presets.resolution import at_size
from tuner.export.commands import stylize_inputs
from tuner.job.spec import StyleImage
from tuner.results.results import Results, load_results

#: How much of a run's name becomes a file's.
_STEM = 60


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
        folders: the run directory.
        out: the file to write.
        trial: which; the best if None.
        steps: after how many steps; as at its best if None.
        kind: ``preset``, ``script``, ``neural-style-pt`` or ``pystiche``.
        size_px: longer side of what the others than a preset are to make; as tuned if None.
        force: replace a file that nst-tuner did not make.
        say: is told what was written.
        warn: is told what was lost on the way, and of results that gain nothing.

    Raises:
        InputError: it cannot be exported like that, or written.
        RunError: there is no such run or trial.
    """
    if len(folders) > 1:
        raise InputError("several run directories: expected --pack DIR to put them into")
    if out is None:
        raise InputError("expected --out FILE, or --pack DIR for a folder of presets")
    if kind == "preset" and size_px is not None:
        raise InputError(
            "--size-px: `nst-tuner stylize --size-px` fits a preset when it applies it"
        )
    results = load_results(folders[0])
    preset = results.preset(trial, steps)
    check_text_output("--out", out, [folders[0]], force=force, say=say)
    if size_px is not None:
        preset = _fitted(preset, size_px, say)
    if kind == "preset":
        preset.save(out)
        pair = results.job.pairs[0]
        weighed = any(style != StyleImage(image=style.image) for style in pair.style)
        if pair.start or weighed or preset.weights_file:
            config = preset.config.to_dict()
            inputs = stylize_inputs(results.run.path, pair, config, results.job.weights)
            say(
                f"as it was scored: nst-tuner stylize {inputs} --preset {shlex.quote(str(out))}"
                " --out result.png"
            )
    else:
        text, warnings = _text(results, preset, out, kind)
        for warning in warnings:
            warn(f"{kind}: {warning}")
        with writing(out):
            # Of names that are no UTF-8 a shell wants the bytes, and Python an escape.
            in_shell = kind == "neural-style-pt"
            errors = "surrogateescape" if in_shell else "backslashreplace"
            write_atomic(out, text.encode(errors=errors))
    if results.beats_content(preset.provenance["score"]) is False:
        warn("This preset does NOT beat the untouched content.")
    say(f"wrote {out}: {preset.description}")


def _fitted(preset: Preset, size_px: int, say: Say) -> Preset:
    """The preset for another size than it was tuned at, as `stylize` fits it."""
    StyleConfig.from_dict({**preset.config.to_dict(), "size_px": size_px}, source="--size-px")
    config, note = at_size(preset.config, size_px)
    if note:
        say(note)
    return replace(preset, config=config)


def _text(results: Results, preset: Preset, out: Path, kind: str) -> tuple[str, list[str]]:
    from nst_core.images.decode import open_picture, upright_size
    from nst_core.images.sizes import fit_size
    from tuner.export.engines import neural_style_pt, pystiche
    from tuner.export.script import script_of

    pair = results.job.pairs[0]
    if kind == "script":
        return script_of(preset, out.name, pair.style)
    with open_picture(results.run.path / pair.content) as picture:
        width, height = upright_size(picture)
    height, width = fit_size(width, height, preset.config.size_px)
    translate = {"neural-style-pt": neural_style_pt, "pystiche": pystiche}[kind]
    found = translate(preset, pair.style, height=height, width=width)
    return found.text, found.warnings


def export_pack(folders: Sequence[Path], pack: Path, say: Say) -> list[str]:
    """Write the best preset of every run into one folder, with a contact sheet of them all.

    Returns:
        Warnings about runs whose best gains nothing; their presets are written as well.

    Raises:
        InputError: the folder holds files already, or cannot be written.
        RunError: one of the runs has nothing to export; nothing is written then.
    """
    from tuner.results.contact_sheet import Cell, contact_sheet, style_cells

    if pack.exists() and (not pack.is_dir() or any(pack.iterdir())):
        raise InputError(f"{pack}: is not empty; name a new folder for the pack")
    runs = [load_results(folder) for folder in folders]
    presets = [results.preset() for results in runs]
    cells: list[Cell] = []
    styles = max(len(results.job.pairs[0].style) for results in runs)
    warnings = []
    pack.mkdir(parents=True, exist_ok=True)
    for results, preset, name in zip(runs, presets, _names(runs), strict=True):
        preset.save(pack / f"{name}.json")
        folder, pair, best = results.run.path, results.job.pairs[0], results.ranked()[0]
        score = f"{results.goals.first.name} {results.score(best):.3f}"
        cells.append((f"{name}\ncontent", folder / pair.content))
        cells += style_cells(folder, pair.style, preset.config.style_blend, styles)
        cells.append((f"result\n{score}", folder / results.run.image(best.record.trial, 0)))
        if results.beats_content(results.score(best)) is False:
            warnings.append(f"{name}: does NOT beat the untouched content")
    contact_sheet(cells, columns=2 + styles).save(pack / "contact-sheet.jpg", quality=92)
    say(f"wrote {len(presets)} presets and contact-sheet.jpg to {pack}")
    return warnings


def _names(runs: Sequence[Results]) -> list[str]:
    """File names of the runs' presets: safe, and each only once, in whatever case."""
    names: list[str] = []
    for results in runs:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", results.job.name).strip(".-")[:_STEM] or "preset"
        name, count = stem, 2
        while name.lower() in {known.lower() for known in names}:  # one file on exFAT and macOS
            name, count = f"{stem}-{count}", count + 1
        names.append(name)
    return names
