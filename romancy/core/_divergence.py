"""Explains a divergence to people: where it is, what the log says, what the code does now, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.core import _events as ev
from romancy.core import _message_events as ms
from romancy.core import _undo_events as un
from romancy.core._differences import called, differences
from romancy.errors import NonDeterminismError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from romancy.core._match import Matcher
    from romancy.core._messages import Topic

__all__ = ["DivergedError", "describe", "divergence"]

_SHOWN: Final = 5
_CHANGED: Final = (
    "  Deploy the code that fits, or keep the old branch for old histories with `if ctx.patched(name): …`."
)
_UNSTEADY: Final = (
    "  The code has the version with which the log began, so its body probably depends on something else: the time,\n"
    "  random numbers, the order of a set, a file. Take it from ctx.now(), ctx.random(), ctx.uuid4() or an activity."
)


def _about(topic: Topic) -> str:
    return f"{topic.kind} {topic.name}"


def _awaited(wait: ms.MessageAwaited) -> str:
    topic = wait.topic
    if topic.kind == "channel":
        return f"a {wait.mode} message of {_about(topic)}"
    return _about(topic) + (f" with key {topic.key}" if topic.key else "")


_WORDS: Final[Mapping[type[ev.LogEvent], Callable[[Any], str]]] = {
    ev.ActivityScheduled: lambda e: f"activity {e.name} as {e.id}",
    ev.ActivityCancelRequested: lambda e: f"cancel of activity {e.id}",
    ev.TimerStarted: lambda e: f"timer {e.id} until {e.when:g} s after the start",
    ev.TimerCancelled: lambda e: f"cancel of timer {e.id}",
    ev.ChildStarted: lambda e: f"child workflow {e.workflow} as {e.id}",
    ev.ChildCancelRequested: lambda e: f"cancel of child {e.id}",
    ev.MessagePublished: lambda e: f"publication of {e.name} as {e.id}",
    ms.MessageSent: lambda e: f"sending of {_about(e.message.topic)} as {e.id}" + (f" to {e.to}" if e.to else ""),
    ms.MessageAwaited: lambda e: f"wait for {_awaited(e)}",
    ms.WaitCancelled: lambda e: f"end of the wait {e.id}",
    ms.MessagePutAside: lambda e: f"putting aside of the message of the wait {e.id}",
    ms.Subscribed: lambda e: f"{e.mode} subscription to {_about(e.topic)}",
    ms.Unsubscribed: lambda e: f"end of the subscription to {_about(e.topic)}",
    ms.MembersAsked: lambda e: f"question for the members of {_about(e.topic)}",
    ev.PatchMarked: lambda e: f"patch {e.name}",
    ev.CompensationScheduled: lambda e: f"compensation {e.name} of {e.activity_id}",
    un.UndoRegistered: lambda e: f"registration of the undo {e.name} as {e.id}",
    un.UndoTakenBack: lambda e: f"taking back of the undo {e.id}",
    ev.WorkflowCompleted: lambda _: "return of a result",
    ev.WorkflowFailed: lambda e: f"failure with {e.error.type}",
    ev.WorkflowCancelled: lambda _: "end by cancellation",
    ev.WorkflowContinued: lambda e: f"continuation as run {e.run}",
    ev.WorkflowAbandoned: lambda _: "end without the code",
    ev.WorkflowCaughtUp: lambda _: "acting late on deferred inputs",
    ev.WorkflowStarted: lambda e: f"start of {e.workflow}",
}


def describe(event: ev.LogEvent) -> str:
    """The event in a few words, without payloads."""
    words = _WORDS.get(type(event))
    if words is not None:
        return words(event)
    identity = getattr(event, "id", None)
    return type(event).__name__ + (f" of {identity}" if identity else "")


class DivergedError(NonDeterminismError):
    """The code asks for other commands than the log holds. Holds the difference as a value, and as text for people."""

    def __init__(self, message: str, misfit: ev.Misfit) -> None:
        super().__init__(message)
        self.misfit = misfit

    def __reduce__(self) -> tuple[type[DivergedError], tuple[str, ev.Misfit]]:
        return type(self), (str(self), self.misfit)


def _several(events: Iterable[ev.LogEvent]) -> tuple[str, ...]:
    words = tuple(describe(event) for event in events)
    more = (f"… and {len(words) - _SHOWN} more",) if len(words) > _SHOWN else ()
    return words[:_SHOWN] + more


def _changed_arguments(matcher: Matcher) -> bool:
    missing = {called(event) for event in matcher.missing}
    return bool(missing) and missing == {called(event) for event in matcher.extra}


def divergence(
    *,
    instance_id: str,
    position: int,
    cause: ev.Input,
    matcher: Matcher,
    started: ev.WorkflowStarted | None,
    code: str,
    runtime: str,
) -> DivergedError:
    """The error for an activation whose commands differ from the recorded ones."""
    more: list[str] = []
    if _changed_arguments(matcher):
        more.append("the same calls, but with other arguments, delays or ids than those recorded.")
    if started is not None and (started.code or code):
        more.append(f"code of the log: {started.code or 'unknown'}; code now: {code or 'unknown'}")
    if started is not None and started.runtime != runtime:
        more.append(f"runtime of the log: {started.runtime or 'unknown'}; runtime now: {runtime or 'unknown'}")
    misfit = ev.Misfit(position, describe(cause), _several(matcher.missing), _several(matcher.extra), tuple(more))
    same = started is not None and started.code == code != "" and started.runtime == runtime
    lines = [
        f"workflow {started.workflow if started else '?'}, instance {instance_id}: the code no longer fits the log.",
        f"  where:             event {position}, after {misfit.after}",
        f"  the log says:      {'; '.join(misfit.recorded) or 'nothing'}",
        f"  the code now does: {'; '.join(misfit.asked) or 'nothing'}",
        *(f"  {line}" for line in (*more, *differences(matcher.missing, matcher.extra))),
        _UNSTEADY if same else _CHANGED,
    ]
    return DivergedError("\n".join(lines), misfit)
