"""Adds the headers of a program's context and of hooks to its starts, and reports the starts to hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from romancy.engine.announcing import given

if TYPE_CHECKING:
    from romancy.engine.announcing import Announcer
    from romancy.handle import Handle
    from romancy.hooks import Sending
    from romancy.workflow import Workflow

__all__ = ["AnnouncedStarts"]


class AnnouncedStarts:
    """Asks hooks for headers of one app's starts, and reports committed starts to them."""

    def __init__(self, announcer: Announcer | None) -> None:
        self._announcer = announcer
        self._sendings: WeakKeyDictionary[Handle[Any], Sending] = WeakKeyDictionary()

    def announced(self, definition: Workflow[..., Any], instance_id: str) -> tuple[Workflow[..., Any], Sending | None]:
        """The workflow with all headers of this start."""
        headers = given(definition.headers)
        sending = None
        if self._announcer is not None:
            sending = self._announcer.sending("start", definition.name, instance_id, headers)
            headers = sending.headers
        return definition if headers is definition.headers else definition.options(headers=headers), sending

    def begun(self, handle: Handle[Any], sending: Sending | None) -> None:
        """Record a start that is being written."""
        if sending is not None:
            self._sendings[handle] = sending

    def written(self, handle: Handle[Any]) -> None:
        """Report that the database has the start of this handle's instance."""
        if self._announcer is not None and (sending := self._sendings.pop(handle, None)) is not None:
            self._announcer.sent((sending,))
