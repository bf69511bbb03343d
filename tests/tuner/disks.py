"""A disk that can be filled, enlarged and made read-only."""

from __future__ import annotations

import subprocess
from pathlib import Path


class SmallDisk:
    """A file system of one megabyte in memory.

    Attributes:
        path: its folder.
        mounted: False where this user may mount none.
    """

    def __init__(self, path: Path):
        self.path = path
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path]
        self.mounted = not subprocess.run(command, capture_output=True, check=False).returncode

    def remount(self, options: str) -> None:
        """With other options: ``size=100m``, ``ro``, ``rw``."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

    def unmount(self) -> None:
        """Gone, with what is on it."""
        subprocess.run(["umount", "--lazy", self.path], check=True)
