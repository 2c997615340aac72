"""LangSmith's wrapper around middleware runs a function on a thread, which no body has: there it runs in place."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import langsmith

from romancy.context import in_workflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

__all__ = ["forbid_threads"]


def forbid_threads() -> None:
    """From now on, LangSmith uses threads only outside of workflows. It has one such hook a process."""
    langsmith.set_runtime_overrides(aio_to_thread=_in_place)


async def _in_place(
    default: Callable[..., Any], context: Context, function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    if in_workflow():
        return context.run(function, *args, **kwargs)
    return await default(context, function, *args, **kwargs)
