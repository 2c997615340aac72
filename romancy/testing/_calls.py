"""The attempts that were made, for assertions of tests: which activity, with which arguments, and how each ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, overload

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ActivityCall", "Calls", "name_of_activity"]


@dataclass(slots=True, kw_only=True)
class ActivityCall:
    """One attempt at an activity or at a compensation."""

    activity: str
    """The name of the activity, or of the compensation."""
    arguments: dict[str, Any]
    """The arguments by name, those with defaults included."""
    attempt: int
    """1 for the first attempt of the call."""
    instance_id: str
    activity_id: str
    """The id of the call in the log."""
    at: datetime
    """When it began, by the clock of the test."""
    mocked: bool
    """Whether a fake was called in the place of the activity."""
    compensates: str | None = None
    """For a compensation: the id of the call that it undoes."""
    outcome: Literal["executing", "completed", "failed", "cancelled"] = "executing"
    """How the attempt ended. A failed attempt may be followed by another one."""
    result: Any = None
    error: BaseException | None = field(default=None, repr=False)

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments in the order of the parameters."""
        return tuple(self.arguments.values())


class Calls(Sequence[ActivityCall]):
    """Attempts in the order in which they began."""

    def __init__(self, calls: list[ActivityCall] | None = None) -> None:
        self._calls: list[ActivityCall] = [] if calls is None else calls

    def of(self, activity: object) -> Calls:
        """The calls of one activity or compensation, given as such or by name."""
        name = name_of_activity(activity)
        return Calls([call for call in self._calls if call.activity == name])

    @property
    def names(self) -> list[str]:
        """The names of the activities alone."""
        return [call.activity for call in self._calls]

    def clear(self) -> None:
        """Forget the attempts so far."""
        self._calls.clear()

    def note(self, call: ActivityCall) -> ActivityCall:
        """Append an attempt. The app does so when it begins."""
        self._calls.append(call)
        return call

    @overload
    def __getitem__(self, index: int) -> ActivityCall: ...
    @overload
    def __getitem__(self, index: slice) -> Calls: ...
    def __getitem__(self, index: int | slice) -> ActivityCall | Calls:
        return Calls(self._calls[index]) if isinstance(index, slice) else self._calls[index]

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[ActivityCall]:
        return iter(list(self._calls))

    def __repr__(self) -> str:
        return f"<calls: {', '.join(self.names) or 'none'}>"


def name_of_activity(given: object) -> str:
    """The name of an activity or of a compensation. Raises UsageError for anything else."""
    if isinstance(given, str):
        return given
    if getattr(given, "kind", None) in ("activity", "compensation"):
        return given.name  # type: ignore[attr-defined, no-any-return]
    raise UsageError(f"this takes an activity or a compensation, or its name, not a {type(given).__name__}: {given!r}")
