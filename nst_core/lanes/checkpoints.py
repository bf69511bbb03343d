"""Checkpoints: lanes as bytes, in safetensors format with a JSON header.

Reading such bytes never executes code, unlike reading a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import safetensors
import safetensors.torch

from nst_core.errors import InputError
from nst_core.lanes.lane_state import LaneState

VERSION = 1

_IMAGE = "image"


def dump_lanes(lanes: Sequence[LaneState], facts: Mapping[str, Any]) -> bytes:
    """Return the lanes of a trial as bytes.

    Args:
        lanes: one for each pair.
        facts: further values to save with the lanes; must be JSON serializable.
    """
    tensors = {}
    for index, lane in enumerate(lanes):
        copy = lane.copied()
        tensors[f"{index}/{_IMAGE}"] = copy.image_3HW.contiguous()
        tensors.update({f"{index}/state/{k}": v.contiguous() for k, v in copy.state.items()})
    header = {"version": VERSION, "steps": [lane.step for lane in lanes], "facts": dict(facts)}
    return safetensors.torch.save(tensors, metadata={"lanes": json.dumps(header)})


def load_lanes(content: bytes) -> tuple[list[LaneState], Mapping[str, Any]]:
    """Return the lanes, on the CPU, and the facts that `dump_lanes` wrote.

    Raises:
        InputError: the bytes are damaged, not from `dump_lanes`, or of an unknown version.
    """
    try:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["lanes"])
        tensors = safetensors.torch.load(content)
        if header["version"] != VERSION:
            raise InputError(
                f"saved lanes have version {header['version']}, expected {VERSION}; another version"
                " of nst-tuner saved them"
            )
        lanes = []
        for index, step in enumerate(header["steps"]):
            start = f"{index}/state/"
            state = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            image = tensors[f"{index}/{_IMAGE}"]
            lanes.append(LaneState(step=int(step), image_3HW=image, state=state))
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(f"saved lanes cannot be read ({type(error).__name__}: {error})") from None
    return lanes, header["facts"]
