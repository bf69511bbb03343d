"""Code of all benchmarks: options, images, random weights, description of the machine, output."""

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
from nst_core.images.tensors import from_uint8, load_image, resize, resize_longer_side
from nst_core.lanes.device import device_name
from nst_core.networks.weights import Weights, expected_shapes
from nst_core.sample_pictures import sample_content, sample_style
from nst_core.stylization import default_device

QuickOption = Annotated[bool, typer.Option("--quick", help="a short run, to check that it works")]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="OUT.json", help="also write rows and goals")
]
PairsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pair",
        metavar="NAME[=CONTENT,STYLE[,REFERENCE]]",
        help="a built-in pair, or your own pictures; repeatable",
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
    """Images of a benchmark, float32 in [0, 1].

    Attributes:
        name: name of the pair.
        content_3HW: content image.
        style_3HW: style image.
        reference_3HW: reference; None: a feed-forward network makes it.
    """

    name: str
    content_3HW: Tensor
    style_3HW: Tensor
    reference_3HW: Tensor | None

    def reference(self, size_px: int) -> Tensor:
        """Return the given or the feed-forward reference, at the size of the results.

        Its shape is that of the content with a longer side of ``size_px``: scaled by itself, a
        given reference may have a row more or less.
        """
        content_3HW = resize_longer_side(self.content_3HW, size_px)
        if self.reference_3HW is not None:
            return resize(self.reference_3HW, *content_3HW.shape[1:])
        from nst_core.feed_forward.magenta import feed_forward  # needs an optional extra

        return feed_forward(content_3HW, [(self.style_3HW, 1.0)])


def on_one_thread() -> None:
    """Use one thread in this process, since several processes share the cores."""
    torch.set_num_threads(1)
    threadpool_limits(limits=1, user_api="blas")


def run(main: Callable[..., None] | typer.Typer) -> None:
    """Run a benchmark's command line; on bad input, print a message and exit with code 2."""
    try:
        if isinstance(main, typer.Typer):
            main()
        else:
            typer.run(main)
    except NstError as error:
        err.print(f"error: {error}", markup=False)
        sys.exit(2)


def built_in_pairs() -> dict[str, Pair]:
    """Return photos from scikit-image, each with its own generated painting, by name."""
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
    """Return the pairs of the option ``--pair``, or the first ``count`` built-in pairs.

    Raises:
        InputError: a text is neither a built-in pair nor ``NAME=CONTENT,STYLE[,REFERENCE]``, or an
            image cannot be read.
    """
    built_in = built_in_pairs()
    if not texts:
        return list(built_in.values())[:count]
    return [built_in.get(text) or _pair_from(text) for text in texts]


def square(image_3HW: Tensor, side: int) -> Tensor:
    """Return the upper left square of an image, scaled to ``side`` pixels."""
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
    """Return the processor, the version of torch and the version of Python."""
    return {
        "processor": device_name(default_device()),
        "torch": f"torch {torch.__version__}",
        "python": f"Python {platform.python_version()}",
    }


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A goal of a benchmark.

    Attributes:
        name: name of the measured value.
        value: measured value.
        goal: bound of the value.
        at_most: whether the bound is an upper one.
    """

    name: str
    value: float
    goal: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the value keeps the bound."""
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def row(self) -> Row:
        """Return the goal as a row of a table and of the JSON file."""
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
    """A heading with a table.

    Attributes:
        title: heading.
        rows: rows of the table.
        text: explanation before the table.
        columns: keys of the rows to show, in order; by default all keys of the first row.
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
    """Print results as a Markdown document, and write them to ``json_file`` if it is given."""
    measured_on = machine()
    parts = [f"# {title}", f"{intro} Measured on {', '.join(measured_on.values())}."]
    for section in sections:
        parts += [f"## {section.title}", *([section.text] if section.text else [])]
        parts.append(markdown_table(section.rows, section.columns))
    if goals:
        parts += ["## Goals", markdown_table([goal.row() for goal in goals])]
    typer.echo("\n\n".join(part.strip() for part in parts))
    if json_file:
        content = {
            "intro": intro,
            "machine": measured_on,
            "rows": [row for section in sections for row in section.rows],
            "goals": [goal.row() for goal in goals],
        }
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(json_file, (json.dumps(content, indent=1) + "\n").encode())


def format_cell(value: object) -> str:
    """Return a float with four digits, a boolean as yes or no, any other value as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def markdown_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Return rows as a Markdown table."""
    if not rows:
        return "(nothing)"
    names = list(columns or rows[0])
    lines = [names, ["---"] * len(names)]
    lines += [[format_cell(row.get(name, "")) for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def random_weights(name: str) -> Weights:
    """Return random weights of a network (He et al., arXiv 1502.01852), for functional checks."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for key, shape in expected_shapes(name).items():
        value = torch.randn(shape, generator=generator)
        fan_in = max(1, value[0].numel()) if value.dim() > 1 else 1
        weights[key] = value.abs() + 0.5 if "running_var" in key else value * (2 / fan_in) ** 0.5
    return weights


def progress() -> Progress:
    """Return a progress bar on standard error."""
    return Progress(console=err)
