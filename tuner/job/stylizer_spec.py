"""StylizerSpec: the section of a job file that names another stylizer than our engine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from nst_core.stylizer_config import KINDS
from tuner.job.command_template import placed, template_problems
from tuner.job.pair_spec import Section

_FACTORY = re.compile(r"(?P<module>.+):(?P<factory>[A-Za-z_]\w*)", re.DOTALL)
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")


def split_factory(text: str) -> tuple[str, str]:
    """Return (module or file, factory) of ``package.module:factory`` or ``file.py:factory``.

    Raises:
        ValueError: the text has another form.
    """
    match = _FACTORY.fullmatch(text)
    if match is None:
        raise ValueError("expected MODULE:FACTORY, with the name of a class or function at the end")
    return match["module"], match["factory"]


class StylizerSpec(Section):
    """Another stylizer than our engine: a Python class, or a command. It is code, and is run."""

    python: Annotated[
        str | None,
        Field(description="package.module:factory of an installed package"),
    ] = None
    path: Annotated[
        str | None,
        Field(description="file.py:factory, relative to the job file"),
    ] = None
    command: Annotated[
        list[str | list[str]] | None,
        Field(
            max_length=1000,
            description='a program with its arguments, such as [blur, "{content}", --alpha,'
            ' "{alpha}", --out, "{out}"]; no shell reads it',
        ),
    ] = None
    deadline_s: Annotated[
        float,
        Field(gt=0, le=1e7, description="seconds that a trial may take, and loading the stylizer"),
    ] = 600.0
    writable: Annotated[
        list[str],
        Field(
            max_length=100,
            description="folders that it may write into, beside its own temporary one and caches",
        ),
    ] = Field(default=[])
    env: Annotated[
        list[str],
        Field(
            max_length=100,
            description="environment variables that it gets as well, such as HF_TOKEN",
        ),
    ] = Field(default=[])

    @field_validator("python")
    @classmethod
    def _is_a_module(cls, value: str | None) -> str | None:
        if value is not None and not _MODULE.fullmatch(split_factory(value)[0]):
            raise ValueError("expected the dotted name of a module before the colon")
        return value

    @field_validator("path")
    @classmethod
    def _is_a_file(cls, value: str | None) -> str | None:
        if value is not None and not split_factory(value)[0].endswith(".py"):
            raise ValueError("expected the name of a .py file before the colon")
        return value

    @field_validator("command")
    @classmethod
    def _is_a_template(cls, value: list[str | list[str]] | None) -> list[str | list[str]] | None:
        if value is not None and (problems := template_problems(value)):
            raise ValueError("; ".join(problems))
        return value

    @field_validator("env")
    @classmethod
    def _names_of_variables(cls, value: list[str]) -> list[str]:
        if wrong := [name for name in value if not _VARIABLE.fullmatch(name)]:
            raise ValueError(f"expected names of variables, and not {wrong[0]!r}")
        return value

    @model_validator(mode="after")
    def _has_one_kind(self) -> StylizerSpec:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of {', '.join(KINDS)}, got {' and '.join(given) or 'none'}"
            )
        return self

    @property
    def name(self) -> str:
        """What people call the stylizer: its module, its file or its program."""
        if self.command is not None:
            words = [word for word in self.command if isinstance(word, str)]
            script = next((word for word in words[1:] if word.endswith(".py")), words[0])
            return os.path.basename(script)  # noqa: PTH119
        return self.python or os.path.basename(self.path or "")  # noqa: PTH119

    def placed(self, place: Callable[[str], str], folder: str) -> StylizerSpec:
        """Return the section with absolute paths.

        Args:
            place: returns the absolute path of a file that is relative to the job file.
            folder: folder of the job file.
        """
        changes: dict[str, Any] = {"writable": [place(name) for name in self.writable]}
        if self.path is not None:
            file, factory = split_factory(self.path)
            changes["path"] = f"{place(file)}:{factory}"
        if self.command is not None:
            command = placed(self.command, folder)
            program = command[0]
            if isinstance(program, str) and "/" in program and "{" not in program:
                command[0] = place(program)
            changes["command"] = command
        return self.model_copy(update=changes)

    def to_plain(self) -> dict[str, Any]:
        """Return the section as plain JSON, without the kinds that it is not."""
        return self.model_dump(mode="json", exclude_none=True)
