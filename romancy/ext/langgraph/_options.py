"""What the steps of a graph are run with."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from langgraph.errors import GraphRecursionError, InvalidUpdateError

from romancy.errors import UsageError
from romancy.ext._agents.options import policy_of
from romancy.retry import Duration, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langgraph.types import RetryPolicy as GraphRetry

__all__ = ["Given", "StepOptions", "checked", "for_name", "with_policy"]

_NOT_MENDED: Final = (GraphRecursionError, InvalidUpdateError)
"""The same node would fail again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOptions:
    """The options of the steps of a node or a task: `durable(graph, steps={"search": StepOptions(timeout=30)})`.

    Without `retry`, the retry policy of the node counts, if LangGraph has one; else a step has five attempts, 1, 2, 4
    and 8 seconds apart. An error's `retry_after` is waited for, up to `max_interval`.
    """

    retry: RetryPolicy | None = None
    timeout: Duration | None = None
    """The longest time of one attempt."""
    heartbeat_timeout: Duration | None = None
    """The longest time between two heartbeats, which a node gives by `runtime.heartbeat()`."""
    raises: tuple[type[Exception], ...] = ()
    """The exceptions that the graph gets as themselves."""


Given = StepOptions | bool
"""What is said of a node or a task: its options, or False if it runs in the body."""


def checked(steps: object) -> Mapping[str, Given]:
    """What `steps=` says. Raises UsageError for anything else."""
    given: Any = {} if steps is None else steps
    if not isinstance(given, dict):
        raise UsageError(f"steps= takes a dict of names of nodes and StepOptions or False, not {given!r}")
    for name, one in given.items():
        if one is not False and not isinstance(one, StepOptions):
            raise UsageError(f"steps[{name!r}] is StepOptions(…), or False to run it in the body, not {one!r}")
    return dict(given)


def for_name(steps: Mapping[str, Given], name: str) -> StepOptions | None:
    """The options of a step; None if this one runs in the body."""
    given = steps.get(name, _AS_ALWAYS)
    return given if isinstance(given, StepOptions) else None


def with_policy(options: StepOptions, of_graph: object, what: str) -> StepOptions:
    """The options with a policy: their own, else that of the graph, else five attempts."""
    given = options.retry or _translated(of_graph, what)
    return replace(options, retry=policy_of(given, _NOT_MENDED))


def _translated(of_graph: Any, what: str) -> RetryPolicy | None:
    """The policy that LangGraph has for a node."""
    if not of_graph:
        return None
    policies: list[GraphRetry] = [of_graph] if hasattr(of_graph, "max_attempts") else list(of_graph)
    if len(policies) != 1:
        raise UsageError(f"{what} has {len(policies)} retry policies; say StepOptions(retry=…) in steps= instead")
    one = policies[0]
    kinds: Any = one.retry_on
    return RetryPolicy(
        one.max_attempts,
        one.initial_interval,
        max(1.0, one.backoff_factor),
        one.max_interval,
        jitter=0.5 if one.jitter else 0.0,
        retry_on=kinds if isinstance(kinds, type) or not isinstance(kinds, (list, tuple)) else _of(tuple(kinds)),
    )


def _of(kinds: tuple[type[Exception], ...]) -> Callable[[Exception], bool]:
    return lambda error: isinstance(error, kinds)


_AS_ALWAYS: Final = StepOptions()
