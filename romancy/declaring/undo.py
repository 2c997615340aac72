"""Undos that a body registers while it runs: what `ctx.on_undo` takes and returns, and what the engine carries out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.errors import UsageError

if TYPE_CHECKING:
    from msgspec import Raw

    from romancy._call_options import ActivityOptions
    from romancy.activity import Activity
    from romancy.core import Commands

__all__ = ["Undo", "UndoByActivity", "checked_undo"]


class Undo:
    """A registered undo."""

    __slots__ = ("_commands", "_id")

    def __init__(self, commands: Commands, undo_id: str) -> None:
        self._commands = commands
        self._id = undo_id

    def take_back(self) -> None:
        """Do not carry it out after all. Taking it back again changes nothing."""
        self._commands.take_back(self._id)

    def __repr__(self) -> str:
        return f"<{self._id}>"


class UndoByActivity:
    """An activity in the place of a compensation: it is called with the arguments with which it was registered."""

    kind: Final = "compensation"

    def __init__(self, activity: Activity[..., Any]) -> None:
        self.takes_result = False
        self.name = activity.name
        self.fn = activity.fn
        self.given = activity.given.as_undo
        self.is_async = activity.is_async
        self.dependencies = activity.dependencies
        self.signature = activity.signature

    def arguments(self, _: Activity[..., Any], args: Raw, __: Raw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the call."""
        return self.signature.decode_arguments(args)


def checked_undo(activity: Any) -> None:
    """Raise UsageError unless the activity can be carried out as an undo."""
    kind = getattr(activity, "kind", "")
    if kind != "activity":
        name = getattr(activity, "__name__", type(activity).__name__)
        declared = "declare it with @activity" if kind != "compensation" else "declare it with @activity instead"
        raise UsageError(f"ctx.on_undo() takes an activity, and {name} is none; {declared}")
    if activity.declared.at_most_once:
        raise UsageError(
            f"activity {activity.name} cannot be registered as an undo: an undo is carried out until it succeeds, and "
            "at_most_once=True begins it once. Register an activity without that option"
        )
    if activity.given.id is not None:
        raise UsageError(
            f"activity {activity.name} cannot be registered as an undo under the id {activity.given.id!r}: an undo has "
            "an id of its own. Register it without options(id=…)"
        )
    if activity.given.default is not None:
        raise UsageError(
            f"activity {activity.name} cannot be registered as an undo with a default: nobody gets what an undo "
            "returns. Register it without or_default()"
        )
    options: ActivityOptions = activity.declared
    if options.pass_context or options.executor == "process" or options.heartbeat_timeout is not None:
        raise UsageError(
            f"activity {activity.name} cannot be registered as an undo: an undo has no pass_context, no "
            "executor='process' and no heartbeat_timeout. Register an activity without them that does the same"
        )
