"""Windows as programs see them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from romancy.core import ChildStarted, MessageReceived
from romancy.errors import InstanceEndedError, InstanceNotFoundError, UsageError
from romancy.handle import Handle
from romancy.retry import seconds
from romancy.windows.records import TOLD, WINDOW, Ask, Drop, Flush, Kind, State, Told, WindowStart

if TYPE_CHECKING:
    from romancy._followed import Followed
    from romancy.core import LogEvent
    from romancy.retry import Duration
    from romancy.windows.records import Of
    from romancy.workflow import Workflow

__all__ = ["Window", "WindowHandle", "window_told"]

T = TypeVar("T")


class Window(Struct, frozen=True, kw_only=True):
    """A window as it is now."""

    kind: Kind
    workflow: str
    key: str
    since: datetime | None
    """When the first of its calls came. None: it is closed, and the next call opens it."""
    due: datetime | None
    """When it closes if no further call comes, as it was when it opened."""
    started: int
    """How many instances it has started."""
    starts: tuple[WindowStart, ...]
    """The last ten of them, in the order of their starts."""


class WindowHandle(Generic[T]):
    """The window that a call has come to, or one by its key."""

    def __init__(
        self,
        app: Followed,
        of: Of,
        workflow: Workflow[..., T] | None = None,
        call: str | None = None,
        relay: str | None = None,
    ) -> None:
        self._app = app
        self._of = of
        self._workflow = workflow
        self._call = call
        self._relay = relay

    @property
    def instance_id(self) -> str:
        """The id of the instance that is the window. Its children are what it has started."""
        return self._of.instance_id

    async def get(self) -> Window | None:
        """The window as it is now. None: there was no call for this key lately."""
        found = await self._app.get_instance(self.instance_id)
        if found is None or found.workflow_name != WINDOW:
            return None
        told = await self._app.report(self.instance_id)
        return window_told(told or {"of": self._of})

    async def started(self, timeout: Duration | None = None) -> Handle[T]:
        """The instance to which this call has come, once the window has started it.

        Raises TimeoutError if it has not within `timeout`, and InstanceNotFoundError if it never will: the calls were
        dropped, or it is so long ago that it is forgotten. A handle by its key has no call, and raises UsageError.
        """
        if self._call is None:
            raise UsageError("this handle of a window belongs to no call: use those that debounce and batch return")
        limit = None if timeout is None else seconds(timeout, "timeout")
        async with asyncio.timeout(limit):
            return Handle(self._app, await self._start_of(self._call), self._workflow)

    async def _start_of(self, call: str) -> str:
        if self._relay is not None:
            await Handle(self._app, self._relay, None).result()
        came = False
        async for entry in self._app.entries_of(self.instance_id, follow=True):
            event = entry.event
            told = _told(event)
            if came and isinstance(told, Drop):
                break
            if came and isinstance(event, ChildStarted):
                return event.instance_id
            came = came or (isinstance(told, Ask) and told.id == call)
        raise InstanceNotFoundError(
            f"window {self.instance_id!r} has started nothing for this call that it still knows: its calls were "
            "dropped, or that was long ago"
        )

    async def flush(self) -> None:
        """Close the window now: what its calls come to is started. Without calls, nothing is."""
        await self._tell(Flush())

    async def drop(self) -> None:
        """Forget the calls of the window. Nothing is started for them."""
        await self._tell(Drop())

    async def _tell(self, told: Flush | Drop) -> None:
        with suppress(InstanceNotFoundError, InstanceEndedError):  # then there are no calls
            await self._app.channel(TOLD).send_to(self.instance_id, told)

    def __repr__(self) -> str:
        return f"<window {self.instance_id}>"


def window_told(told: Any) -> Window:
    """The window that an instance has reported."""
    state = msgspec.json.decode(msgspec.json.encode(told), type=State)
    return Window(
        kind=state.of.kind,
        workflow=state.of.workflow,
        key=state.of.key,
        since=state.since,
        due=state.due,
        started=state.started,
        starts=state.starts,
    )


def _told(event: LogEvent) -> Told | None:
    """What a window was told with a message."""
    if not isinstance(event, MessageReceived) or event.message.topic != TOLD.topic:
        return None
    try:
        told: Told = msgspec.json.decode(event.message.data, type=Told)
    except msgspec.MsgspecError:
        return None
    return told
