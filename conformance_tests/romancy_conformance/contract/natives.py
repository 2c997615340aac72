"""Run a statement through a driver's own object without importing the driver."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["run_natively"]


async def run_natively(native: Any, sql: str) -> None:
    """Run one statement through a session's native object."""
    if hasattr(native, "query") and hasattr(native, "select_db"):  # an aiomysql connection, whose cursors execute
        native = await native.cursor()
    answer = native.execute(sql)
    if inspect.isawaitable(answer):
        await answer
