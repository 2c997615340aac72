"""Finds where a coroutine waits, in the code of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import CodeType

__all__ = ["place_of"]

_OWN_FOLDER: Final = __file__.rpartition("core")[0]


def place_of(coro: Any) -> str | None:
    """The innermost line of code that is not Romancy's."""
    place = None
    while coro is not None:
        frame = getattr(coro, "cr_frame", None)
        if frame is not None:
            code: CodeType = frame.f_code
            if not code.co_filename.startswith(_OWN_FOLDER):
                file = code.co_filename.replace("\\", "/").rpartition("/")[2]
                place = f"{file}, line {frame.f_lineno}"
        coro = getattr(coro, "cr_await", None)
    return place
