"""The options of a start: their names and types, what they may be, and the value that travels.

As in `_call_options`, nothing between `Workflow.options` and the first input of the instance names an option. What an
instance keeps of them (`KEPT`) is a field of the first input of each of its runs. A child's start takes them over the
log of its parent, so it is a field of `ChildStarted` as well. Whatever makes one from the other takes all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, cast

from msgspec import Struct
from msgspec.structs import replace

from romancy._microseconds import microseconds_of
from romancy.errors import UsageError
from romancy.retry import Duration, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "HEAVIEST",
    "HIGHEST",
    "KEPT",
    "LOWEST",
    "StartKeywords",
    "StartOptions",
    "check_no_child",
    "kept",
    "length_of",
]

_LONGEST: Final = 100 * 366 * 86_400.0
_SECOND: Final = 1_000_000
LOWEST: Final = -9
HIGHEST: Final = 9
"""The priorities that a start may have."""
HEAVIEST: Final = 100
"""The highest weight of a fair key."""


class StartKeywords(TypedDict, total=False):
    """The options of a start. None changes nothing."""

    instance_id: str | None
    """The id of the instance. Without it, a new one."""
    delay: Duration | None
    """How long the instance waits before its body begins, if no message comes."""
    at: datetime | None
    """Until when it waits instead, by the database's clock. A moment that is over is now."""
    headers: Mapping[str, str] | None
    """What the workflow reads as `ctx.headers`."""
    timeout: Duration | None
    """The longest time from when its body begins to its end."""
    priority: int | None
    """From -9 to 9, the higher goes first: how early a worker takes the instance, and it gets places under limits."""
    fair_key: str | None
    """On whose behalf the instance runs, as a tenant: of those that wait for a worker, the keys take turns."""
    weight: int | None
    """From 1 to 100: how many turns the `fair_key` has while another has one."""
    detached: bool | None
    """True, of a child: its parent's failure, cancellation or purge leaves it alone."""
    paused: bool | None
    """Whether the instance is paused from its start on: its body begins once it is unpaused."""


class StartOptions(Struct, frozen=True, kw_only=True, gc=False):
    """What a start was given, as it was checked."""

    instance_id: str | None = None
    delay: int = 0
    """In microseconds."""
    at: int | None = None
    """The moment at which it is due, in microseconds since the epoch. None: after `delay`."""
    headers: dict[str, str] = {}
    limit: int = 0
    """For how many microseconds the instance may go on; 0: as long as it takes."""
    priority: int = 0
    fair_key: str = ""
    weight: int = 1
    detached: bool = False
    """Whether the start is that of a child whose parent is not its keeper."""
    paused: bool = False

    def changed(self, options: StartKeywords, name: str) -> Self:
        """The value for a start of this workflow, with an id and headers that were checked. Raises UsageError."""
        changes: dict[str, Any] = {}
        if options.get("delay") is not None and options.get("at") is not None:
            raise UsageError(f"the start of workflow {name}: give one of delay= and at=, not both")
        for option, given in options.items():
            if given is None:
                continue
            if option == "timeout":
                changes["limit"] = _limit(cast("Duration", given), f"the timeout of the start of workflow {name}")
            elif option == "delay":
                changes |= {"delay": length_of(cast("Duration", given), "the delay of the start"), "at": None}
            elif option == "at":
                changes |= {"delay": 0, "at": microseconds_of(given, f"at= of the start of workflow {name}")}
            elif option in _FLAGS:
                changes[option] = _flag(given, f"{option}= of the start of workflow {name}")
            elif option in _NUMBERS:
                changes[option] = _number(given, option, f"the {option} of the start of workflow {name}")
            else:
                changes[option] = given
        changed = replace(self, **changes)
        if options.get("weight") is not None and not changed.fair_key:
            raise UsageError(f"the start of workflow {name}: a weight= is that of a fair_key=; give both")
        return changed


KEPT: Final = ("headers", "limit", "priority", "fair_key", "weight")
"""The options that an instance keeps, by the fields of `WorkflowStarted` and of `ChildStarted`."""


def kept(source: object) -> dict[str, Any]:
    """What options, the first input of a run or the start of a child have of `KEPT`."""
    return {name: getattr(source, name) for name in KEPT}


_NUMBERS: Final = {"priority": (LOWEST, HIGHEST, "; the higher goes first"), "weight": (1, HEAVIEST, "")}
"""The options that are numbers: the lowest and the highest, and a hint."""


_FLAGS: Final = ("detached", "paused")


def _number(given: object, option: str, what: str) -> int:
    least, most, hint = _NUMBERS[option]
    if type(given) is not int:
        raise UsageError(f"{what} must be an int, not {given!r}")
    if not least <= given <= most:
        raise UsageError(f"{what} must be from {least} to {most}, not {given}{hint}")
    return given


def _flag(given: object, what: str) -> bool:
    if type(given) is not bool:
        raise UsageError(f"{what} must be True or False, not {given!r:.100}")
    return given


def check_no_child(given: StartOptions, name: str) -> None:
    """Raise UsageError if a start that no body makes was given what only a child can have."""
    if given.detached:
        raise UsageError(
            f"the start of workflow {name}: detached= says that a child outlives its parent, and this start has none; "
            "leave it out"
        )


def _limit(given: Duration, what: str) -> int:
    if not seconds(given, what):
        raise UsageError(f"{what} must be more than 0 seconds; leave it out for none")
    return max(1, length_of(given, what))


def length_of(given: Duration, what: str) -> int:
    """A duration in microseconds. Raises UsageError unless it is one of at most a century."""
    length = seconds(given, what)
    if length > _LONGEST:
        raise UsageError(f"{what} must be at most {_LONGEST:.0f} seconds (a century), not {length:g}")
    return round(length * _SECOND)
