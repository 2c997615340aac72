"""Compares asked with recorded commands: on replay, the code must ask for those that the log holds, and no others.

Within one activation, the commands are compared as a multiset of (kind, name, arguments), because their order may
differ between Python versions. Each takes the id it was recorded under. Between activations, the order is the log's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from romancy.core import _events as ev
from romancy.core import _message_events as ms
from romancy.core import _undo_events as un

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from romancy.core._definitions import ActivityDefinition, WorkflowDefinition
    from romancy.core._messages import Message

    Definition: TypeAlias = ActivityDefinition | WorkflowDefinition

__all__ = ["Matcher"]


def _same_json(one: Raw, other: Raw) -> bool:
    if one == other:
        return True
    return bool(msgspec.json.decode(one) == msgspec.json.decode(other))


def _same_message(one: Message, other: Message) -> bool:
    """Whether two messages say the same. Headers and ids are no part of it."""
    same = (one.topic, one.subject) == (other.topic, other.subject)
    return same and _same_json(one.data, other.data) and _same_json(one.beside, other.beside)


_Fits: TypeAlias = "Callable[[Any, Any], bool]"
_FITS: Final[Mapping[type[ev.LogEvent], _Fits]] = {
    ev.ActivityScheduled: lambda a, b: a.name == b.name and _same_json(a.args, b.args),
    ev.TimerStarted: lambda a, b: a.when == b.when,
    ms.MessageAwaited: lambda a, b: (a.topic, a.mode, a.due, a.where) == (b.topic, b.mode, b.due, b.where),
    ms.MessagePutAside: lambda a, b: a.id == b.id,
    ev.ChildStarted: lambda a, b: (a.workflow, a.delay) == (b.workflow, b.delay) and _same_json(a.input, b.input),
    ev.MessagePublished: lambda a, b: (a.name, a.key) == (b.name, b.key) and _same_json(a.data, b.data),
    ms.MessageSent: lambda a, b: a.to == b.to and _same_message(a.message, b.message),
    ms.Subscribed: lambda a, b: (a.topic, a.mode) == (b.topic, b.mode),
    ms.MembersAsked: lambda a, b: a.topic == b.topic,
    un.UndoRegistered: lambda a, b: a.name == b.name and _same_json(a.args, b.args),
    ev.CompensationScheduled: lambda a, b: (a.activity_id, a.name) == (b.activity_id, b.name),
    ev.WorkflowCompleted: lambda a, b: _same_json(a.result, b.result),
    ev.WorkflowFailed: lambda a, b: a.error.type == b.error.type,
    ev.WorkflowCancelled: lambda _a, _b: True,
    ev.WorkflowContinued: lambda a, b: a.run == b.run and _same_json(a.input, b.input),
    ev.ActivityCancelRequested: lambda a, b: a.id == b.id,
}
_VALUES: Final = ("args", "input", "data", "beside", "where", "state", "result")
_HARMLESS: Final = (ev.ProgressReported, ev.PatchMarked)
"""Reports and patches, which do not change the course of a run: code may stop making them, or change them."""


def _fits(recorded: ev.Command, asked: ev.Command, *, chosen: bool) -> bool:
    kind = type(asked)
    if type(recorded) is not kind:
        return False
    if chosen and recorded.id != asked.id:  # type: ignore[attr-defined]
        return False
    fits: _Fits | None = _FITS.get(kind)
    return recorded == asked if fits is None else fits(recorded, asked)


def _is_older(recorded: ev.Command, asked: ev.Command, of: Definition | None, chosen: bool) -> bool:  # noqa: FBT001
    """Whether both are the same call for today's code, although one was recorded with fewer parameters or fields."""
    if of is None:
        return False
    match recorded, asked:
        case ev.ActivityScheduled(), ev.ActivityScheduled():
            same = recorded.name == asked.name and (recorded.id == asked.id or not chosen)
            return same and of.is_same_call(recorded.args, asked.args)
        case un.UndoRegistered(), un.UndoRegistered():
            return recorded.name == asked.name and of.is_same_call(recorded.args, asked.args)
        case ev.ChildStarted(), ev.ChildStarted():
            same = (recorded.workflow, recorded.delay) == (asked.workflow, asked.delay)
            return same and of.is_same_call(recorded.input, asked.input)
        case _:
            return False


class Matcher:
    """The recorded commands of one activation, each to be claimed once."""

    __slots__ = ("_claimed", "_left", "extra", "recorded")

    def __init__(self, recorded: Sequence[ev.Command]) -> None:
        self.recorded = recorded
        self.extra: list[ev.Command] = []
        self._claimed = 0
        self._left: list[ev.Command] | None = None

    def claim(self, asked: ev.Command, *, chosen: bool, of: Definition | None = None) -> ev.Command | None:
        """The recorded command that `asked` repeats. `chosen`: the user chose its id, which has to be the same.

        `of` is the called definition. A call that an older version of it recorded, with fewer parameters or fields, is
        the same call if the missing ones have today's defaults.
        """
        if self._left is None:
            if self._claimed < len(self.recorded):
                command = self.recorded[self._claimed]
                if command == asked or _fits(command, asked, chosen=chosen) or _is_older(command, asked, of, chosen):
                    self._claimed += 1
                    return command
            self._left = list(self.recorded[self._claimed :])
        return self._search(self._left, asked, chosen=chosen, of=of)

    def _search(
        self, left: list[ev.Command], asked: ev.Command, *, chosen: bool, of: Definition | None
    ) -> ev.Command | None:
        if left and _is_older(left[0], asked, of, chosen):
            return left.pop(0)  # saves a search for each of, say, ten thousand older calls
        for position, command in enumerate(left):
            if _fits(command, asked, chosen=chosen):
                return left.pop(position)
        for position, command in enumerate(left):
            if _is_older(command, asked, of, chosen):
                return left.pop(position)
        if not isinstance(asked, ev.ProgressReported):
            self.extra.append(asked)
        return None

    def holds(self, value: Raw | bytes) -> bool:
        """Whether a recorded command has this argument, input, message, report or result."""
        given = bytes(value)
        holders = (getattr(command, "message", command) for command in self.recorded)
        values = (getattr(holder, field, None) for holder in holders for field in _VALUES)
        return any(isinstance(one, Raw) and bytes(one) == given for one in values)

    def holds_patch(self, name: str) -> bool:
        """Whether this activation took the new branch of the patch."""
        return any(isinstance(command, ev.PatchMarked) and command.name == name for command in self.recorded)

    def holds_put_aside(self, wait_id: str) -> bool:
        """Whether the message that this wait received was put aside."""
        return any(isinstance(command, ms.MessagePutAside) and command.id == wait_id for command in self.recorded)

    @property
    def caught_up(self) -> bool:
        """Whether the run acted on deferred inputs at the time of this activation's input."""
        return bool(self.recorded) and type(self.recorded[0]) is ev.WorkflowCaughtUp

    @property
    def missing(self) -> list[ev.Command]:
        """The recorded commands that the code has not asked for."""
        left = self.recorded[self._claimed :] if self._left is None else self._left
        return [command for command in left if not isinstance(command, _HARMLESS)]

    @property
    def diverged(self) -> bool:
        return bool(self.extra) or bool(self.missing)
