"""Keeps the traceback of an uncaught Ctrl-C from the terminal, when an app was closed by it.

The KeyboardInterrupt is raised as ever: code may catch it, and a process that does not ends by SIGINT as before. Only
Python's own printing of it is left out. A hook of the user's, or of a debugger, stays in its place.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["closed_by"]


_closed_by: list[KeyboardInterrupt] = []


def closed_by(error: BaseException | None) -> None:
    """An app is closed because of this error. If it is a Ctrl-C or leads to one, uncaught, no traceback is printed."""
    if not isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return
    if isinstance(error, KeyboardInterrupt):
        _closed_by[:] = [error]
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _without_interrupts


def _without_interrupts(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # asyncio.run cancels the task that holds the app, and then raises KeyboardInterrupt from the CancelledError.
    if error in _closed_by or (isinstance(error, KeyboardInterrupt) and _is_cancelled(error.__context__)):
        return
    sys.__excepthook__(kind, error, trace)


def _is_cancelled(error: BaseException | None) -> bool:
    return isinstance(error, asyncio.CancelledError)
