"""Weights in less space, for a machine with a GPU and without a network.

    python -m tests.gpu.pack pack FOLDER      where there is a network; copy FOLDER to the machine
    python -m tests.gpu.pack unpack FOLDER    on that machine: into the cache of weights

Numbers of one kind of byte compress better than whole numbers: 66 MiB become 56, without loss.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import numpy as np

from nst_core.networks.weights import cached_path, get_weights

NAMES = ("vgg16", "alexnet", "lpips-alex")


def pack(content: bytes) -> bytes:
    """Return a safetensors file of float32 numbers in less space: header, then planes of bytes."""
    start = 8 + int.from_bytes(content[:8], "little")
    planes = np.frombuffer(content[start:], np.uint8).reshape(-1, 4).T
    packed = [content[:start], *(zlib.compress(plane.tobytes(), 6) for plane in planes)]
    return b"".join(len(part).to_bytes(8, "little") + part for part in packed)


def unpack(content: bytes) -> bytes:
    """Return the file that `pack` was called with."""
    parts = []
    while content:
        end = 8 + int.from_bytes(content[:8], "little")
        parts.append(content[8:end])
        content = content[end:]
    planes = [np.frombuffer(zlib.decompress(part), np.uint8) for part in parts[1:]]
    return parts[0] + np.stack(planes, axis=1).tobytes()


def main(command: str, folder: Path) -> None:
    """Pack the weights into a folder, or unpack them from there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        path, packed = cached_path(name), folder / f"{name}.packed"
        if command == "pack":
            get_weights(name)
            packed.write_bytes(pack(path.read_bytes()))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(unpack(packed.read_bytes()))
            get_weights(name)  # compares the digest


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
