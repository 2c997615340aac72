"""Explains a divergence to people: where it is, what the log says, what the code does now, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.core.fold.kinds import KINDS
from romancy.core.run.differences import called, differences
from romancy.core.words import events as ev
from romancy.errors import NonDeterminismError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.core.run.match import Matcher

__all__ = ["DivergedError", "describe", "divergence"]

_SHOWN: Final = 5
_CHANGED: Final = (
    "  Deploy the code that fits, or keep the old branch for old histories with `if ctx.patched(name): …`."
)
_UNSTEADY: Final = (
    "  The code has the version with which the log began, so its body probably depends on something else: the time,\n"
    "  random numbers, the order of a set, a file. Take it from ctx.now(), ctx.random(), ctx.uuid4() or an activity."
)


def describe(event: ev.LogEvent) -> str:
    """The event in a few words, without payloads."""
    return KINDS[type(event)].words(event)


class DivergedError(NonDeterminismError):
    """The code asks for other commands than the log holds. Holds the difference as a value, and as text for people."""

    def __init__(self, message: str, departure: ev.Departure) -> None:
        super().__init__(message)
        self.departure = departure

    def __reduce__(self) -> tuple[type[DivergedError], tuple[str, ev.Departure]]:
        return type(self), (str(self), self.departure)


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
    if started is not None and started.identity:
        more.append(
            f"this part was copied from {started.identity} by a fork: another input or other code changes what it "
            "shows. Terminate this fork, and fork at an earlier point or without input="
        )
    departure = ev.Departure(position, describe(cause), _several(matcher.missing), _several(matcher.extra), tuple(more))
    same = started is not None and started.code == code != "" and started.runtime == runtime
    lines = [
        f"workflow {started.workflow if started else '?'}, instance {instance_id}: the code no longer fits the log.",
        f"  where:             event {position}, after {departure.after}",
        f"  the log says:      {'; '.join(departure.recorded) or 'nothing'}",
        f"  the code now does: {'; '.join(departure.asked) or 'nothing'}",
        *(f"  {line}" for line in (*more, *differences(matcher.missing, matcher.extra))),
        _UNSTEADY if same else _CHANGED,
    ]
    return DivergedError("\n".join(lines), departure)
