"""A live view that erases itself completely when the terminal is resized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.live_render import LiveRender
from rich.segment import Segment


class _ReflowAwareRender(LiveRender):
    """Counts the rows that the last drawing takes at the present width of the terminal.

    A terminal that becomes narrower wraps long lines into several rows. rich moves the cursor up by
    the number of rows that it drew, which is then too few, so the upper rows would stay behind.
    """

    def __init__(self, console: Console, renderable: RenderableType):
        super().__init__(renderable)
        self._console, self._widths = console, list[int]()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        drawn = super().__rich_console__(console, options)
        segments = [part for part in drawn if isinstance(part, Segment)]
        self._widths = [
            sum(segment.cell_length for segment in line) for line in Segment.split_lines(segments)
        ]
        yield from segments

    def _update_shape(self) -> None:
        if self._shape is not None:
            width = max(1, self._console.width)
            rows = sum(max(1, -(-cells // width)) for cells in self._widths)
            self._shape = self._shape[0], max(1, rows)

    def position_cursor(self) -> Control:
        """See `rich.live_render.LiveRender`."""
        self._update_shape()
        return super().position_cursor()

    def restore_cursor(self) -> Control:
        """See `rich.live_render.LiveRender`."""
        self._update_shape()
        return super().restore_cursor()


class LiveView(Live):
    """A live view that disappears when it stops.

    Args:
        console: where to draw.
        view: returns what to draw; called four times a second.
    """

    def __init__(self, console: Console, view: Callable[[], RenderableType]):
        options: Any = {"console": console, "get_renderable": view, "transient": True}
        super().__init__(**options)
        self._live_render = _ReflowAwareRender(console, "")
