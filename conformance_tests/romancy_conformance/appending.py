"""Appends to a file that several processes write: no entry is lost, and none is inside of another."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["append"]

if sys.platform == "win32":
    import msvcrt

    _FAR_BEHIND: Final = 1 << 30

    def _write(file: int, data: bytes) -> None:
        """Write at the end under a lock: on Windows, two processes may find the same end."""
        os.lseek(file, _FAR_BEHIND, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_LOCK, 1)
        try:
            os.lseek(file, 0, os.SEEK_END)
            os.write(file, data)
        finally:
            os.lseek(file, _FAR_BEHIND, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

    _FLAGS: Final = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
else:

    def _write(file: int, data: bytes) -> None:
        os.write(file, data)

    _FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def append(path: Path, text: str) -> None:
    """Append the text; it is in the file when this returns."""
    file = os.open(path, _FLAGS, 0o666)
    try:
        _write(file, text.encode())
    finally:
        os.close(file)
