"""Messages between an engine and its worker: a JSON object, then bytes of pictures. No pickles."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_LENGTHS = struct.Struct(">IQ")
#: Largest JSON object, in bytes.
MAX_HEADER_BYTES = 2**20


class Message(NamedTuple):
    """A received message: its JSON object and its pictures, uint8 [H, W, 3] each."""

    content: Mapping[str, Any]
    pictures: Sequence[np.ndarray]


class MessageError(Exception):
    """The other side sent something that is no message, or a larger one than allowed."""


def send(
    to: socket.socket, content: Mapping[str, Any], pictures: Sequence[np.ndarray] = ()
) -> None:
    """Send a message.

    Args:
        to: the socket.
        content: JSON object.
        pictures: uint8 [H, W, 3] each.

    Raises:
        OSError: the other side is gone.
    """
    shapes = [list(picture.shape) for picture in pictures]
    header = json.dumps({**content, "shapes": shapes}).encode()
    payload = b"".join(np.ascontiguousarray(picture).tobytes() for picture in pictures)
    to.sendall(_LENGTHS.pack(len(header), len(payload)) + header + payload)


def receive(source: BinaryIO, max_bytes: int) -> Message | None:
    """Return the next message; None if the other side has closed the connection.

    Args:
        source: reads from the socket.
        max_bytes: most bytes of pictures.

    Raises:
        MessageError: it is no message, or has too many bytes.
    """
    start = source.read(_LENGTHS.size)
    if len(start) < _LENGTHS.size:
        return None
    header_bytes, payload_bytes = _LENGTHS.unpack(start)
    if header_bytes > MAX_HEADER_BYTES or payload_bytes > max_bytes:
        raise MessageError(f"a message of {payload_bytes:,} bytes, expected at most {max_bytes:,}")
    header, payload = source.read(header_bytes), source.read(payload_bytes)
    if len(header) < header_bytes or len(payload) < payload_bytes:
        return None
    try:
        content = json.loads(header)
        shapes = [tuple(map(int, shape)) for shape in content.pop("shapes")]
        return Message(content, _pictures(payload, shapes))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MessageError(f"no message ({type(error).__name__}: {error})") from None


def _pictures(payload: bytes, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    pictures, start = [], 0
    for height, width, channels in shapes:
        end = start + height * width * channels
        level_HW3 = np.frombuffer(payload[start:end], dtype=np.uint8)
        pictures.append(level_HW3.reshape(height, width, channels))
        start = end
    if start != len(payload):
        raise ValueError("its pictures have another size than it says")
    return pictures
