"""What the benchmarks share: pictures, the machine, output."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import skimage.data
import torch
import typer
from rich.console import Console
from rich.progress import Progress
from threadpoolctl import threadpool_limits
from torch import Tensor

from nst_core.errors import InputError, NstError
from nst_core.files import write_atomic
from nst_core.images.tensors import from_uint8, load_image, resize_longer_side
from nst_core.lanes.hardware import device_name
from nst_core.networks.weights import Weights, expected_shapes
from nst_core.samples import sample_content, sample_style
from nst_core.stylization import default_device

QuickOption = Annotated[bool, typer.Option("--quick", help="a short run, to see that it works")]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="OUT.json", help="also write rows and goals")
]
PairsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pair",
        metavar="NAME[=CONTENT,STYLE[,REFERENCE]]",
        help="a built-in pair, or pictures of yours; repeatable",
    ),
]

WeightsOption = Annotated[
    list[str] | None,
    typer.Option("--weights", metavar="NAME=FILE", help="weights file of a network; repeatable"),
]

Row = dict[str, Any]

err = Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Pictures to measure on, float32 in [0, 1].

    Attributes:
        reference_3HW: None where a feed-forward network has to make one.
    """

    name: str
    content_3HW: Tensor
    style_3HW: Tensor
    reference_3HW: Tensor | None

    def reference(self, size_px: int) -> Tensor:
        """The reference, or the one that a feed-forward network makes, with that longer side."""
        if self.reference_3HW is not None:
            return resize_longer_side(self.reference_3HW, size_px)
        from nst_core.feed_forward.magenta import feed_forward  # an optional dependency

        content_3HW = resize_longer_side(self.content_3HW, size_px)
        return feed_forward(content_3HW, [(self.style_3HW, 1.0)])


def on_one_thread() -> None:
    """One thread for this process, which is one of several that share the cores."""
    torch.set_num_threads(1)
    threadpool_limits(limits=1, user_api="blas")


def run(main: Callable[..., None]) -> None:
    """Run a benchmark's command line; bad input is one message and exit code 2."""
    try:
        typer.run(main)
    except NstError as error:
        err.print(f"error: {error}", markup=False)
        sys.exit(2)


def built_in_pairs() -> dict[str, Pair]:
    """Photos that come with scikit-image, each with a painting of its own, by name."""
    contents = {
        "chelsea": sample_content(),
        "coffee": from_uint8(skimage.data.coffee()),
        "astronaut": from_uint8(skimage.data.astronaut()),
    }
    return {
        name: Pair(
            name=name, content_3HW=content, style_3HW=sample_style(seed=seed), reference_3HW=None
        )
        for seed, (name, content) in enumerate(contents.items())
    }


def pairs_from(texts: Sequence[str] | None, *, count: int = 3) -> list[Pair]:
    """The pairs that ``--pair`` names, or the first ``count`` built-in ones.

    Raises:
        InputError: a text is no built-in pair and not ``NAME=CONTENT,STYLE[,REFERENCE]``, or a
            picture is unreadable.
    """
    built_in = built_in_pairs()
    if not texts:
        return list(built_in.values())[:count]
    return [built_in.get(text) or _pair_from(text) for text in texts]


def square(image_3HW: Tensor, side: int) -> Tensor:
    """The upper left square of a picture, ``side`` pixels wide."""
    shorter = min(image_3HW.shape[1:])
    return resize_longer_side(image_3HW[:, :shorter, :shorter], side)


def _pair_from(text: str) -> Pair:
    name, _, files = text.partition("=")
    images = [load_image(Path(file)) for file in files.split(",") if file]
    if not 2 <= len(images) <= 3:
        known = ", ".join(built_in_pairs())
        raise InputError(
            f"--pair {text}: expected NAME=CONTENT,STYLE[,REFERENCE] or one of {known}"
        )
    return Pair(
        name=name,
        content_3HW=images[0],
        style_3HW=images[1],
        reference_3HW=images[2] if len(images) == 3 else None,
    )


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    return {
        "processor": device_name(default_device()),
        "torch": f"torch {torch.__version__}",
        "python": f"Python {platform.python_version()}",
    }


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a benchmark was to reach.

    Attributes:
        name: of the figure.
        value: measured.
        goal: to be reached: at least, or at most where ``at_most``.
    """

    name: str
    value: float
    goal: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it was."""
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def row(self) -> Row:
        """As a row of a table and of the JSON."""
        bound = "≤" if self.at_most else "≥"
        return {
            "name": self.name,
            "value": self.value,
            "goal": self.goal,
            "bound": bound,
            "met": self.met,
        }


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table of the outcome.

    Attributes:
        title: its heading.
        rows: what was measured.
        text: what to know about it, before the table.
        columns: keys of the rows that are shown, in order; all of the first row by default.
    """

    title: str
    rows: Sequence[Row]
    text: str = ""
    columns: Sequence[str] = ()


def publish(
    title: str,
    intro: str,
    sections: Sequence[Section],
    *,
    goals: Sequence[Goal] = (),
    json_file: Path | None = None,
) -> None:
    """Print the outcome as a Markdown document; also write it as JSON where asked to."""
    where = machine()
    parts = [f"# {title}", f"{intro} Measured on {', '.join(where.values())}."]
    for section in sections:
        parts += [f"## {section.title}", *([section.text] if section.text else [])]
        parts.append(markdown_table(section.rows, section.columns))
    if goals:
        parts += ["## Goals", markdown_table([goal.row() for goal in goals])]
    typer.echo("\n\n".join(part.strip() for part in parts))
    if json_file:
        content = {
            "intro": intro,
            "machine": where,
            "rows": [row for section in sections for row in section.rows],
            "goals": [goal.row() for goal in goals],
        }
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(json_file, (json.dumps(content, indent=1) + "\n").encode())


def format_cell(value: object) -> str:
    """A figure with four digits, yes or no, anything else as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def markdown_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Rows as a Markdown table."""
    if not rows:
        return "(nothing)"
    names = list(columns or rows[0])
    lines = [names, ["---"] * len(names)]
    lines += [[format_cell(row.get(name, "")) for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def random_weights(name: str) -> Weights:
    """Random weights of any network (He et al., arXiv 1502.01852): for mechanics only."""
    generator = torch.Generator().manual_seed(0)
    made = {}
    for key, shape in expected_shapes(name).items():
        value = torch.randn(shape, generator=generator)
        fan_in = max(1, value[0].numel()) if value.dim() > 1 else 1
        made[key] = value.abs() + 0.5 if "running_var" in key else value * (2 / fan_in) ** 0.5
    return made


def progress() -> Progress:
    """A progress bar on standard error."""
    return Progress(console=err)
