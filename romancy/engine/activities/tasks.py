"""Makes the tasks of attempts. From Python 3.12 on, such a task runs to its first wait at once.

Most activities then end without a turn of the event loop, and without a place in it. A task factory of the program, if
it has set one, makes the tasks instead.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextvars import Context

__all__ = ["task_of"]

_EAGER: Final[dict[str, Any]] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


def task_of(
    work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str, context: Context
) -> asyncio.Task[None]:
    """The task of an attempt. It may have ended when it is returned."""
    if not _EAGER or loop.get_task_factory() is not None:
        return loop.create_task(work, name=name, context=context)
    return asyncio.Task(work, loop=loop, name=name, context=context, **_EAGER)
