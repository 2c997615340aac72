"""A statement by the driver's own object, whichever driver it is; no driver is imported for it."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["run_natively"]


async def run_natively(native: Any, sql: str) -> None:
    """Run one statement by a session's native object."""
    if hasattr(native, "query") and hasattr(native, "select_db"):  # a connection of aiomysql's, whose cursors execute
        native = await native.cursor()
    answer = native.execute(sql)
    if inspect.isawaitable(answer):
        await answer
