"""Checkpoints: the state of a training in one safetensors file, with its JSON in the header.

One file, so that tensors and numbers always belong together, whenever a process is killed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from nst_core.errors import InputError
from nst_core.files import is_file, write_atomic, writing

#: Key of the JSON in the header of the file.
_KEY = "nst-tuner-distill"

#: Version of the layout.
VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State of a training.

    Attributes:
        tensors: parameters, their averages and the state of the optimizer, by name, on the CPU.
        facts: everything else as plain JSON: settings, step, seconds, losses.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write the file atomically.

        Raises:
            InputError: the file cannot be written.
        """
        header = json.dumps({"version": VERSION, **self.facts}, allow_nan=False)
        with writing(path):
            write_atomic(path, safetensors.torch.save(dict(self.tensors), {_KEY: header}))

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """Return the checkpoint of a file; None if there is no file.

        Raises:
            InputError: the file is not a checkpoint.
        """
        if not is_file(path):
            return None
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})[_KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception:  # a damaged file may raise any exception
            raise InputError(
                f"{path}: not a checkpoint of a training; remove it to begin again"
            ) from None
        if not isinstance(facts, dict) or facts.get("version") != VERSION:
            raise InputError(
                f"{path}: a checkpoint of another version of nst-tuner (expected {VERSION});"
                " remove it to begin again"
            )
        return cls(tensors=tensors, facts=facts)
