"""Applying presets to pictures and scoring pictures: what `stylize` and `score` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError, InputError, WorkError, near_miss
from nst_core.images import (
    check_writable_image,
    load_image,
    resize,
    save_image,
    to_uint8,
)
from nst_core.lanes import Outcome
from nst_core.metrics import Judge
from nst_core.presets import Preset, load_preset, runnable
from nst_core.stylize import stylize
from nst_core.weights import SOURCES, Say, Weights, cached_path, get_weights
from tuner.yamlfile import set_key


def settings(
    preset: str | None, assignments: Sequence[str], *, size_px: int | None, seed: int | None
) -> Preset:
    """A preset with single settings changed; without a preset, the defaults with them changed.

    Raises:
        PresetError: no such preset.
        ConfigError: a setting is unknown or out of range, all at once.
    """
    if preset is None and not assignments:
        raise InputError(
            "nothing to apply: give --preset NAME_OR_FILE or settings with --set key=value"
            " (`nst-tuner presets` lists the built-in ones)"
        )
    base = load_preset(preset) if preset else Preset(name="custom", config=StyleConfig())
    values = base.config.to_dict()
    for assignment in assignments:
        set_key(values, assignment)
    changes = {"size_px": size_px, "seed": seed}
    values.update({key: value for key, value in changes.items() if value is not None})
    config = StyleConfig.from_dict(values, source="settings")
    return Preset(**{**vars(base), "config": config})


def apply_preset(
    preset: Preset,
    content: Path,
    styles: Sequence[str],
    out_file: Path,
    *,
    weights: Sequence[str],
    console: Console,
    say: Say,
) -> None:
    """Stylize one picture and save it, with a progress bar.

    Raises:
        InputError: a picture, the preset or the output cannot be used; nothing was written.
        WorkError: the stylization diverged; nothing was written.
    """
    check_writable_image(out_file)
    content_3HW = load_image(content)
    blend = [(load_image(path), weight) for path, weight in map(parse_style, styles)]
    source = WeightsFiles(weights, say)
    preset, note = runnable(preset, source.available)
    if note:
        say(f"{preset.name}: {note}")
    image = None
    with Progress(console=console) as progress:
        task = progress.add_task(f"stylize {content.name}", total=preset.config.steps)
        for step in stylize(preset.config, content_3HW, blend, weights=source):
            progress.update(task, completed=step.step)
            if step.outcome is not Outcome.RUNNING:
                raise WorkError(f"step {step.step}: {step.outcome.value}; nothing was written")
            image = step.image_3HW
    assert image is not None
    save_image(image, out_file, text={"nst-tuner-preset": preset.to_json()})
    say(f"wrote {out_file} ({image.shape[2]}x{image.shape[1]})")


def score_image(
    image: Path, reference: Path, content: Path | None, *, weights: Sequence[str], say: Say
) -> dict[str, dict[str, float]]:
    """Every metric of a picture, and of the untouched content if given, by ``image``/``content``.

    The reference, and the content, are scaled to the picture's size, as they are in a run.
    """
    picture = load_image(image)
    goal = load_image(reference)
    size = tuple(picture.shape[1:])
    if tuple(goal.shape[1:]) != size:
        say(
            f"{reference}: {goal.shape[2]}x{goal.shape[1]} scaled to {size[1]}x{size[0]},"
            " the size of the picture"
        )
    pictures = {"image": picture}
    if content is not None:
        pictures["content"] = resize(load_image(content), *size)
    judge = Judge.load(WeightsFiles(weights, say))
    goal_HW3 = to_uint8(resize(goal, *size))
    return {name: judge.score(to_uint8(p), goal_HW3) for name, p in pictures.items()}


def parse_style(text: str) -> tuple[str, float]:
    """``FILE`` or ``FILE:WEIGHT`` -> (file, weight); a file whose name holds a colon wins."""
    if Path(text).is_file():
        return text, 1.0
    path, colon, number = text.rpartition(":")
    if not colon:
        return text, 1.0
    try:
        weight = float(number)
    except ValueError:
        return text, 1.0
    if not 0 < weight <= 1e6:
        raise InputError(f"--style {text}: expected a weight above 0 and at most 1e6, got {number}")
    return path, weight


class WeightsFiles:
    """Weights by name, from ``NAME=FILE`` where given, else from the usual sources."""

    def __init__(self, assignments: Sequence[str], say: Say):
        self._say = say
        self._files: dict[str, str] = {}
        problems = []
        for assignment in assignments:
            name, equals, file = assignment.partition("=")
            if not equals:
                problems.append(f"`{assignment}`: expected NAME=FILE")
            elif name not in SOURCES:
                problems.append(f"`{name}`: no such weights{near_miss(name, SOURCES)}")
            self._files[name] = file
        if problems:
            raise ConfigError("--weights", problems)

    def __call__(self, name: str) -> Weights:
        """See `weights.get_weights`."""
        return get_weights(name, file=self._files.get(name), say=self._say)

    def available(self, name: str) -> bool:
        """Whether the weights can be had now; tries to fetch them if they are not here."""
        if name in self._files or cached_path(name).is_file():
            return True
        try:
            self(name)
        except InputError:
            return False
        return True
