"""A small disk that tests can fill, enlarge and make read-only."""

from __future__ import annotations

import subprocess
from pathlib import Path


class SmallDisk:
    """A file system of one megabyte in memory.

    Args:
        path: a new folder, where the disk is mounted.

    Attributes:
        path: the folder.
        mounted: False if this user may not mount file systems.
    """

    def __init__(self, path: Path):
        self.path = path
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path]
        self.mounted = not subprocess.run(command, capture_output=True, check=False).returncode

    def remount(self, options: str) -> None:
        """Mount the disk again with other options: ``size=100m``, ``ro`` or ``rw``."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

    def unmount(self) -> None:
        """Unmount the disk; its files are lost."""
        subprocess.run(["umount", "--lazy", self.path], check=True)
