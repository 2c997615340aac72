"""The events of undos that a body registers while it runs. Their form is public, as that of the others."""

from __future__ import annotations

from typing import Literal

from msgspec import Raw

from romancy.core.words.events import Command, Input

__all__ = ["UndoRegistered", "UndoTakenBack", "UndoingBegan"]


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


class UndoingBegan(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The instance is rewound, and what its run did behind the point is undone first, ended or not. No code of it runs.

    `undo`: the activities, and the undos of the body, that are undone, one after the other in this order. Compensations
    that are under way go on before them. `WorkflowRewound` follows, to the point of which `seq`, `step` and `children`
    tell.
    """

    seq: int
    step: str = ""
    children: Literal["keep", "again"] = "keep"
    undo: tuple[str, ...] = ()
