"""Ctrl-C while the command `romancy` starts, or has ended: the process ends, without a traceback of imports.

The package imports this first, so it imports next to nothing. In any other process it does nothing.
"""

from __future__ import annotations

import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["is_answered", "is_not_answered"]

_NAME = (sys.argv[0] if sys.argv else "").replace("\\", "/").rpartition("/")[2]
_IS_COMMAND = _NAME in {"romancy", "romancy.exe"} or sys.orig_argv[1:3] == ["-m", "romancy"]


def is_answered() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt."""
    if _IS_COMMAND:
        _change(signal.SIG_DFL, signal.default_int_handler)


def is_not_answered() -> None:
    """From now on, Ctrl-C ends the process at once, unless something handles it or it is ignored."""
    if _IS_COMMAND:
        _change(signal.default_int_handler, signal.SIG_DFL)


def _change(present: object, wanted: Any) -> None:
    if signal.getsignal(signal.SIGINT) is present:
        try:
            signal.signal(signal.SIGINT, wanted)
        except ValueError:
            """Another thread than the main one imports the package."""


is_not_answered()
