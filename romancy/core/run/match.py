"""Compares asked with recorded commands: on replay, the code must ask for those that the log holds, and no others.

Within one activation, the commands are compared as a multiset of (kind, name, arguments), because their order may
differ between Python versions. Each takes the id it was recorded under. Between activations, the order is the log's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Raw

from romancy.core.fold.kinds import COMMANDS
from romancy.core.words import events as ev
from romancy.core.words import message_events as ms
from romancy.core.words import place_events as pl
from romancy.core.words import undo_events as un
from romancy.limit import turn_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.core.words.definitions import ActivityDefinition, CalledWorkflow
    from romancy.limit import Turn

    Definition: TypeAlias = ActivityDefinition | CalledWorkflow

__all__ = ["Matcher"]


_VALUES: Final = ("args", "input", "data", "beside", "where", "state", "result", "reply")


def _fits(recorded: ev.Command, asked: ev.Command, *, chosen: bool) -> bool:
    kind = type(asked)
    if type(recorded) is not kind:
        return False
    if chosen and recorded.id != asked.id:  # type: ignore[attr-defined]
        return False
    fits = COMMANDS[kind].fits
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
            same = (recorded.workflow, recorded.delay, recorded.due) == (asked.workflow, asked.delay, asked.due)
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
        if not isinstance(asked, (ev.ProgressReported, ev.StreamWritten)):
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

    def place_of_the_whole(self, last: Turn) -> pl.PlaceAsked | None:
        """The place that this activation asked for before the body began, behind the turn `last`."""
        asked = (one for one in self.recorded if isinstance(one, pl.PlaceAsked) and one.whole)
        return next((one for one in asked if turn_of(one.limit, executing=one.executing) > last), None)

    @property
    def caught_up(self) -> bool:
        """Whether the run acted on deferred inputs at the time of this activation's input."""
        return bool(self.recorded) and type(self.recorded[0]) is ev.WorkflowCaughtUp

    @property
    def missing(self) -> list[ev.Command]:
        """The recorded commands that the code has not asked for."""
        left = self.recorded[self._claimed :] if self._left is None else self._left
        return [command for command in left if not COMMANDS[type(command)].harmless]

    @property
    def diverged(self) -> bool:
        return bool(self.extra) or bool(self.missing)
