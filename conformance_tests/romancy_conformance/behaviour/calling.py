"""Workflows that only call something. A test of an activity needs one; a program under test need not know the cast."""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from romancy import Workflow, WorkflowContext, workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["calling"]

P = ParamSpec("P")
T = TypeVar("T")


def calling(call: Callable[P, Coroutine[Any, Any, T]], /) -> Workflow[P, T]:
    """A workflow that calls this activity with its own arguments, or has this workflow as its child.

    Write `calls_charge = calling(charge)` beside `charge`: by this name the process that replays logs finds it.
    """
    called: Any = call

    async def calls(ctx: WorkflowContext, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await call(*args, **kwargs)

    taken = [Parameter("ctx", Parameter.POSITIONAL_OR_KEYWORD)]
    for each in called.signature.parameters:
        kind = Parameter.KEYWORD_ONLY if each.keyword_only else Parameter.POSITIONAL_OR_KEYWORD
        taken.append(Parameter(each.name, kind, default=each.default))
    shown = cast("Any", calls)
    shown.__signature__ = Signature(taken)
    shown.__annotations__ = {"ctx": WorkflowContext, **called.signature.declared()}
    shown.__module__, shown.__name__ = called.fn.__module__, f"calls_{called.fn.__name__}"
    shown.__qualname__ = shown.__name__
    return workflow(calls)
