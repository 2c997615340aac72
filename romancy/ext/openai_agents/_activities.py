"""Activities as tools: a call of the model is a call of the body, with the activity's compensation."""

from __future__ import annotations

import inspect
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from agents import FunctionTool, function_tool

from romancy.activity import Activity
from romancy.errors import UsageError
from romancy.ext.openai_agents._tools import body_tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agents import RunContextWrapper

__all__ = ["activity_tool"]


def activity_tool(
    activity: Activity[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: bool | Callable[[RunContextWrapper[Any], dict[str, Any], str], Awaitable[bool]] = False,
    strict: bool = True,
) -> FunctionTool:
    """A tool whose calls are calls of this activity: with its options, its limits and its compensation.

    What it did is undone if the workflow fails or is cancelled. The model does not learn of a failure: after the
    activity's own retries, it fails the run. Name, description and schema are those of the function.
    """
    if not isinstance(activity, Activity):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped code calls this too
        raise UsageError(f"activity_tool takes an activity, not {type(activity).__name__}; use function_tool")

    async def call(*args: Any, **kwargs: Any) -> Any:
        return await activity(*args, **kwargs)

    update_wrapper(call, activity.fn)
    vars(call)["__signature__"] = _signature(activity)
    return body_tool(
        function_tool(
            call,
            name_override=name or activity.name,
            description_override=description,
            failure_error_function=None,
            needs_approval=needs_approval,
            strict_mode=strict,
        )
    )


def _signature(activity: Activity[..., Any]) -> inspect.Signature:
    """The parameters that a caller gives: without the context and without dependencies."""
    whole = inspect.signature(activity.fn)
    parameters = list(whole.parameters.values())[int(activity.pass_context) :]
    return whole.replace(parameters=[one for one in parameters if one.name not in activity.dependencies])
