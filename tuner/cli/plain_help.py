"""Commands whose --help shows a flag without a value; typer would show the value ``<bool>``."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


def _flags_without_value(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


class PlainCommand(TyperCommand):
    """A command whose help shows flags without a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's options and arguments."""
        return _flags_without_value(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """A group of commands whose help shows flags without a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the group's own options."""
        return _flags_without_value(super().get_params(ctx))
