"""Bodies with calls that nobody awaits, played to their ends."""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from romancy.activity import activity
from romancy.context import WorkflowContext
from romancy.errors import UnawaitedCallError
from romancy.serialization import exception_name
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from tests.core.driver import World

if TYPE_CHECKING:
    from romancy.core import RunEnd

__all__ = ["NAME", "Body", "charge", "child", "ended"]


NAME = exception_name(UnawaitedCallError)
Body = Callable[[WorkflowContext], Coroutine[Any, Any, Any]]


@activity
async def charge(what: str = "a card") -> str:
    return what


@workflow
async def child(ctx: WorkflowContext) -> str:
    return await charge("by a child")


def ended(body: Body) -> RunEnd:
    """Play it once, then cut it at each of its commits and continue from there."""
    definition = workflow(name=body.__name__)(body)
    world = World(Scenario(definition, children=(child,)))
    outcome = world.finish()
    for commits in range(1, len(world.commits)):
        gc.collect()
        assert world.cut(commits).finish() == outcome
    return outcome
