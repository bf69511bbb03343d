"""A live view that leaves no lines behind when the terminal is resized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.live_render import LiveRender
from rich.segment import Segment


class _Reflowed(LiveRender):
    """Knows how many rows its last picture takes now.

    A terminal that becomes narrower breaks long lines anew. Rich goes up by as many rows as it drew
    and leaves what was pushed further up.
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

    def _take_size(self) -> None:
        if self._shape is not None:
            width = max(1, self._console.width)
            rows = sum(max(1, -(-cells // width)) for cells in self._widths)
            self._shape = self._shape[0], max(1, rows)

    def position_cursor(self) -> Control:
        """See `LiveRender`."""
        self._take_size()
        return super().position_cursor()

    def restore_cursor(self) -> Control:
        """See `LiveRender`."""
        self._take_size()
        return super().restore_cursor()


class LiveView(Live):
    """A transient live view.

    Args:
        console: where it is drawn.
        view: gives what is drawn, four times a second.
    """

    def __init__(self, console: Console, view: Callable[[], RenderableType]):
        options: Any = {"console": console, "get_renderable": view, "transient": True}
        super().__init__(**options)
        self._live_render = _Reflowed(console, "")
