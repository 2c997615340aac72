"""The events of undos that a body registers while it runs. Their form is public, as that of the others."""

from __future__ import annotations

from msgspec import Raw

from romancy.core.words.events import Command

__all__ = ["UndoRegistered", "UndoTakenBack"]


class UndoRegistered(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The body registered the activity `name` to be carried out with these arguments if the run fails.

    `of` is the activity that had completed last: a retry does it again once this undo was carried out.
    """

    id: str
    name: str
    args: Raw
    of: str = ""


class UndoTakenBack(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The body took a registered undo back."""

    id: str
