"""Lanes as bytes: safetensors with a JSON header, so that nothing runs when they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import safetensors
import safetensors.torch

from nst_core.errors import InputError
from nst_core.lanes.assembly import LaneState

VERSION = 1

_IMAGE = "image"


def dump_lanes(lanes: Sequence[LaneState], facts: Mapping[str, Any]) -> bytes:
    """Lanes of a trial as bytes.

    Args:
        lanes: one for each pair.
        facts: plain JSON to keep with them.
    """
    tensors = {}
    for index, lane in enumerate(lanes):
        kept = lane.copied()
        tensors[f"{index}/{_IMAGE}"] = kept.image_3HW.contiguous()
        tensors.update({f"{index}/state/{k}": v.contiguous() for k, v in kept.state.items()})
    header = {"version": VERSION, "steps": [lane.step for lane in lanes], "facts": dict(facts)}
    return safetensors.torch.save(tensors, metadata={"lanes": json.dumps(header)})


def load_lanes(content: bytes) -> tuple[list[LaneState], Mapping[str, Any]]:
    """What `dump_lanes` made: lanes on the CPU, and the facts.

    Raises:
        InputError: it is something else, or of a version that is not known.
    """
    try:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["lanes"])
        tensors = safetensors.torch.load(content)
        if header["version"] != VERSION:
            raise InputError(
                f"saved lanes of version {header['version']}, expected {VERSION}; they were saved"
                " by another version of this program"
            )
        lanes = []
        for index, step in enumerate(header["steps"]):
            start = f"{index}/state/"
            state = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            image = tensors[f"{index}/{_IMAGE}"]
            lanes.append(LaneState(step=int(step), image_3HW=image, state=state))
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(f"not saved lanes ({type(error).__name__}: {error})") from None
    return lanes, header["facts"]
