"""A copy of a graph whose nodes and tasks are steps of the workflow that runs it."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

import copy
from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel

from romancy.context import in_workflow
from romancy.errors import UsageError
from romancy.ext.langgraph._nodes import durable_node, in_place, is_plain, with_steps
from romancy.ext.langgraph._options import checked, for_name
from romancy.ext.langgraph._threads import forbid_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langgraph.types import RetryPolicy as GraphRetry

    from romancy.ext.langgraph._options import Given, StepOptions

__all__ = ["durable"]

G = TypeVar("G", StateGraph[Any, Any, Any, Any], Pregel[Any, Any, Any, Any])


def durable(graph: G, *, steps: Mapping[str, StepOptions | bool] | None = None) -> G:
    """A copy of a `StateGraph`, compiled or not, or of an `@entrypoint`, whose nodes and tasks are steps of a workflow.

    Edges run in the body. `steps` has options by the names of nodes and tasks, and False for one that runs in the
    body, where it may wait and start children. A node of a subgraph is named behind that of its graph: `"team.plan"`.

    Outside of workflows the copy does what the graph does.

    Raises UsageError for what cannot be durable, and names it.
    """
    forbid_threads()
    given = checked(steps)
    if isinstance(graph, StateGraph):
        return cast("G", _builder(graph, given, ""))
    if isinstance(graph, Pregel):  # pyright: ignore[reportUnnecessaryIsInstance] - said to those without types
        return cast("G", _compiled(graph, given, ""))
    raise UsageError(f"durable() takes a StateGraph, a compiled one, or an @entrypoint, not {type(graph).__name__}")


def _compiled(graph: Any, steps: Mapping[str, Given], prefix: str) -> Any:
    if not isinstance(graph, CompiledStateGraph):
        return _entrypoint(graph, steps)
    of_state: CompiledStateGraph[Any, Any, Any, Any] = graph
    again = _builder(of_state.builder, steps, prefix).compile(
        checkpointer=of_state.checkpointer,
        cache=of_state.cache,
        store=of_state.store,
        interrupt_before=cast("Any", of_state.interrupt_before_nodes),
        interrupt_after=cast("Any", of_state.interrupt_after_nodes),
        debug=of_state.debug,
        name=of_state.name,
    )
    for name in ("config", "step_timeout", "stream_mode", "stream_transformers"):
        if hasattr(of_state, name):
            setattr(again, name, getattr(of_state, name))
    return again


def _builder(builder: StateGraph[Any, Any, Any, Any], steps: Mapping[str, Given], prefix: str) -> Any:
    _check_names(builder, steps, prefix)
    again = copy.copy(builder)
    defaults = again._node_defaults = copy.copy(builder._node_defaults)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if defaults.error_handler is not None:
        raise UsageError("durable(): name an error handler at each node instead of by set_node_defaults()")
    if defaults.cache_policy is not None:
        raise UsageError("durable(): a cache_policy of set_node_defaults() cannot be durable; the log has each result")
    of_all = defaults.retry_policy
    defaults.retry_policy = _outside(of_all)
    again.compiled = False
    again.nodes = {}
    for name, spec in builder.nodes.items():
        if spec.cache_policy is not None:
            raise UsageError(f"durable(): node {name!r} has a cache_policy; the log has its result already")
        changed = again.nodes[name] = copy.copy(spec)
        changed.retry_policy = _outside(spec.retry_policy)
        changed.runnable = _node(spec.runnable, f"{prefix}{name}", steps, spec.retry_policy or of_all)
    again.edges = set(builder.edges)
    again.waiting_edges = set(builder.waiting_edges)
    again.channels, again.managed = dict(builder.channels), dict(builder.managed)
    again.schemas = {schema: dict(channels) for schema, channels in builder.schemas.items()}
    again.branches = defaultdict(dict)
    for start, branches in builder.branches.items():
        again.branches[start] = {name: one._replace(path=in_place(one.path)) for name, one in branches.items()}
    return again


def _node(runnable: Any, name: str, steps: Mapping[str, Given], retry: object) -> Any:
    if isinstance(runnable, Pregel) and name not in steps:
        return _compiled(cast("Any", runnable), steps, f"{name}.")
    return durable_node(runnable, name, for_name(steps, name), steps, retry)


def _entrypoint(graph: Pregel[Any, Any, Any, Any], steps: Mapping[str, Given]) -> Any:
    """The function of an entrypoint runs in the body, and its tasks are steps."""
    nodes: dict[str, Any] = {}
    for name, node in graph.nodes.items():
        bound: Any = node.bound
        if is_plain(bound):
            raise UsageError(
                f"durable(): the entrypoint {name!r} is a plain function, which waits on a thread; make it an "
                "`async def` that awaits its tasks. The tasks may be plain"
            )
        nodes[name] = node.copy({"bound": with_steps(bound, steps)})
    return graph.copy({"nodes": nodes, "retry_policy": _outside(graph.retry_policy)})


def _outside(given: Any) -> Any:
    """The retry policy of LangGraph, which counts outside of workflows only: there is one layer of retries."""
    if not given:
        return given
    if isinstance(given, (list, tuple)) and not hasattr(given, "max_attempts"):
        return [_outside(one) for one in cast("list[Any]", given)]
    policy = cast("GraphRetry", given)
    return policy._replace(retry_on=_only_outside(policy.retry_on))


def _only_outside(retry_on: Any) -> Callable[[Exception], bool]:
    kinds = tuple(cast("Any", retry_on)) if isinstance(retry_on, (list, tuple)) else retry_on

    def decides(error: Exception) -> bool:
        if in_workflow():
            return False
        return isinstance(error, kinds) if isinstance(kinds, (type, tuple)) else bool(kinds(error))

    return decides


def _check_names(builder: StateGraph[Any, Any, Any, Any], steps: Mapping[str, Given], prefix: str) -> None:
    """Raise UsageError for options of a node that is not there."""
    for name in steps:
        if not name.startswith(prefix):
            continue
        first, *more = name.removeprefix(prefix).split(".")
        node = builder.nodes.get(name.removeprefix(prefix)) or (builder.nodes.get(first) if more else None)
        if node is None and not more and False in steps.values():
            continue  # it may be a task that a node calls, which runs in the body
        if node is None:
            raise UsageError(f"steps[{name!r}]: the graph has no such node; it has {', '.join(builder.nodes)}")
