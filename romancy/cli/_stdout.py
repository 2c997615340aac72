"""Checks before a command acts whether stdout takes its answer: afterwards it would be too late."""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import Final

import click

__all__ = ["LOST", "check_stdout", "lost"]

LOST: Final = frozenset({errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC})
"""The errors of a stdout that takes nothing more. A reader that has left is none of them."""


def check_stdout() -> None:
    """Raise click.ClickException if stdout is closed, or on a device without space."""
    stdout = sys.stdout
    if stdout is None or stdout.closed:  # pyright: ignore[reportUnnecessaryComparison] - Python sets it so
        raise click.ClickException("nothing was done: stdout is closed; send it to a file or to /dev/null")
    try:
        place = stdout.fileno()
    except (OSError, ValueError):
        return  # a test or another program has put an object there
    try:
        os.write(place, b"")
        full = _is_full(place)
    except OSError as error:
        raise click.ClickException(f"nothing was done: {lost(error)}") from None
    if full:
        raise click.ClickException(f"nothing was done: {lost(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))}")


def lost(error: OSError) -> str:
    """The message about output that cannot be written."""
    return f"stdout cannot be written to ({error.strerror}); send it elsewhere"


if sys.platform == "win32":

    def _is_full(_: int) -> bool:
        return False  # it does not tell

else:

    def _is_full(place: int) -> bool:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            return False
        room = os.fstatvfs(place)
        return (room.f_bavail if os.geteuid() else room.f_bfree) == 0
