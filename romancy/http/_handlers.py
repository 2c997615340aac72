"""Checks of the functions that a user gives as handlers."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_handler"]


def check_handler(fn: Callable[..., Any], what: str) -> None:
    """Raise UsageError unless it is an `async def`; a plain function would block every other request."""
    if not inspect.iscoroutinefunction(fn):
        raise UsageError(f"{what}: the handler has to be an `async def`")
