"""Nodes, edges and tasks as a durable graph has them: in a workflow a step, and outside what they were."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any, cast

from langchain_core.runnables.config import run_in_executor, var_child_runnable_config
from langgraph._internal import _constants as names
from langgraph._internal._runnable import RunnableCallable
from langgraph.config import get_config

from romancy.context import in_workflow
from romancy.errors import UsageError
from romancy.ext.langgraph._options import for_name, with_policy
from romancy.ext.langgraph._steps import stepped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langchain_core.runnables import Runnable, RunnableConfig

    from romancy.ext.langgraph._options import Given, StepOptions

__all__ = ["durable_node", "in_place", "is_plain", "with_steps"]


def durable_node(
    runnable: Any, name: str, options: StepOptions | None, steps: Mapping[str, Given], retry: object
) -> Runnable[Any, Any]:
    """The node as a step; without options it runs in the body."""
    if options is None:
        return with_steps(in_place(runnable), steps)
    what = f"node {name!r}"
    given = with_policy(options, retry, what)

    async def as_step(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        about = {"node": name, "turn": get_config().get("metadata", {}).get("langgraph_step")}
        return await stepped(f"node.{name}", what, function, args, kwargs, given, about)

    if isinstance(runnable, RunnableCallable):
        return _replaced(runnable, as_step)

    async def runs(value: Any, config: RunnableConfig) -> Any:
        return await runnable.ainvoke(value, config)

    def runs_outside(value: Any, config: RunnableConfig) -> Any:
        return runnable.invoke(value, config)

    return _replaced(RunnableCallable(runs_outside, runs, name=name, trace=False), as_step)


def with_steps(runnable: Any, steps: Mapping[str, Given]) -> Runnable[Any, Any]:
    """What runs in the body, and whose tasks are steps."""

    async def in_body(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        config = get_config()
        of_graph = config.get(names.CONF, {})
        if names.CONFIG_KEY_CALL not in of_graph:
            return await function(*args, **kwargs)
        call = functools.partial(_call_task, of_graph[names.CONFIG_KEY_CALL], steps)
        changed = cast("RunnableConfig", {**config, names.CONF: {**of_graph, names.CONFIG_KEY_CALL: call}})
        token = var_child_runnable_config.set(changed)
        try:
            return await function(*args, **({**kwargs, "config": changed} if "config" in kwargs else kwargs))
        finally:
            var_child_runnable_config.reset(token)

    return _replaced(runnable, in_body) if isinstance(runnable, RunnableCallable) else runnable


def in_place(runnable: Any) -> Any:
    """A plain function that a body calls itself, and not on a thread."""
    if not is_plain(runnable):
        return runnable
    plain = runnable.func

    async def calls(_: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return plain(*args, **kwargs)

    return _replaced(runnable, calls)


def is_plain(runnable: Any) -> bool:
    """Whether LangGraph would call the function on a thread."""
    if not isinstance(runnable, RunnableCallable) or runnable.func is None:
        return False
    awaited: Any = runnable.afunc
    return isinstance(awaited, functools.partial) and cast("Any", awaited).func is run_in_executor


def _replaced(runnable: RunnableCallable, in_workflows: Callable[..., Any]) -> RunnableCallable:
    """A copy that does this in workflows, and outside of them what it did."""
    again = copy.copy(runnable)
    plain, awaited = runnable.func, runnable.afunc
    function = plain if is_plain(runnable) or awaited is None else awaited

    async def awaits(*args: Any, **kwargs: Any) -> Any:
        if in_workflow():
            return await in_workflows(function, *args, **kwargs)
        if awaited is None:
            return cast("Any", plain)(*args, **kwargs)
        return await awaited(*args, **kwargs)

    again.afunc = awaits
    return again


def _call_task(
    call: Callable[..., Any],
    steps: Mapping[str, Given],
    function: Callable[..., Any],
    given: Any,
    *,
    retry_policy: Any = None,
    cache_policy: object = None,
    **more: Any,
) -> Any:
    """Calls a task as LangGraph does, but for the function."""
    name: str = getattr(function, "__name__", type(function).__name__)
    if cache_policy is not None:
        raise UsageError(f"task {name!r} has a cache_policy; the log has its result already")
    options = for_name(steps, name)
    if options is None:
        return call(_task_in_place(function), given, retry_policy=retry_policy, **more)
    what = f"task {name!r}"
    with_retry = with_policy(options, retry_policy, what)

    @functools.wraps(function)
    async def as_step(*args: Any, **kwargs: Any) -> Any:
        return await stepped(f"task.{name}", what, function, args, kwargs, with_retry, {"task": name})

    return call(as_step, given, **more)


def _task_in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def runs(*args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        return await value if hasattr(value, "__await__") else value

    return runs
