"""Checks that an app is used on the event loop that opened it, and not by workflow code."""

from __future__ import annotations

import asyncio

from romancy.core import not_in_a_workflow
from romancy.errors import UsageError

__all__ = ["check_place"]


def check_place(home: asyncio.AbstractEventLoop | None) -> None:
    """Raise NonDeterminismError in a workflow, and UsageError on another loop than the app's."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:  # there is no running loop: handles can be made without one
        here = None
    if here is home is not None:
        return  # a workflow runs on a loop of its own
    not_in_a_workflow("a method of the app (children are begun by ctx.start)")
    if here is not None:
        raise UsageError(
            "this app was opened on another event loop: from a thread use "
            "`asyncio.run_coroutine_threadsafe(app.start(…), loop).result()`, or open an app there"
        )
