"""Windows as programs see them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from romancy.core import ChildStarted, MessageReceived
from romancy.errors import InstanceEndedError, InstanceNotFoundError, StorageUnavailableError, UsageError
from romancy.handle import Handle
from romancy.log import LogCursor
from romancy.messages.lying import lies_there
from romancy.retry import seconds
from romancy.windows.looking import told_by, window_of
from romancy.windows.records import TOLD, Ask, Drop, Flush, Told

if TYPE_CHECKING:
    from romancy._followed import Followed
    from romancy.messages.senders import Senders
    from romancy.retry import Duration
    from romancy.windows.looking import Window
    from romancy.windows.records import Of
    from romancy.workflow import Workflow

__all__ = ["WindowHandle", "tell_window"]

T = TypeVar("T")
_PAUSE: Final = 1.0
"""Seconds after which a search goes on that the database did not answer."""


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
        store = self._app._access.opened()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app itself reads
        return await window_of(store, self.instance_id)

    async def started(self, timeout: Duration | None = None) -> Handle[T]:
        """The instance to which this call has come, once the window has started it.

        Raises TimeoutError if it has not within `timeout`, and InstanceNotFoundError if it never will: the calls were
        dropped, the window was stopped, or it is so long ago that it is forgotten. A handle by its key has no call, and
        raises UsageError.
        """
        if self._call is None:
            raise UsageError("this handle of a window belongs to no call: use those that debounce and batch return")
        limit = None if timeout is None else seconds(timeout, "timeout")
        async with asyncio.timeout(limit):
            return Handle(self._app, await self._start_of(self._call), self._workflow)

    async def _start_of(self, call: str) -> str:
        if self._relay is not None:
            await Handle(self._app, self._relay, None).result()
        return await _Search(self._app, self.instance_id, call).start()

    async def flush(self) -> None:
        """Close the window now: what its calls come to is started. Without calls, nothing is."""
        await self._tell(Flush())

    async def drop(self) -> None:
        """Forget the calls of the window. Nothing is started for them."""
        await self._tell(Drop())

    async def _tell(self, told: Flush | Drop) -> None:
        await tell_window(self._app, self.instance_id, told)

    def __repr__(self) -> str:
        return f"<window {self.instance_id}>"


async def tell_window(senders: Senders, instance_id: str, told: Flush | Drop) -> bool:
    """Tell the window that is this instance. False: it has ended, so there are no calls."""
    try:
        await senders.channel(TOLD).send_to(instance_id, told)
    except (InstanceNotFoundError, InstanceEndedError):
        return False
    return True


class _Search:
    """Looks in the log of a window for what a call has come to."""

    def __init__(self, app: Followed, window: str, call: str) -> None:
        self._app = app
        self._window = window
        self._call = call
        self._came = False
        """Whether the window has received the call."""
        self._life = 0
        """The life of the id that has been read. Another one knows nothing of the call."""
        self._after: str | None = None

    async def start(self) -> str:
        """The id of what was started for the call, once it was. Raises InstanceNotFoundError if it never will be."""
        while True:
            try:
                start = await self._read()
                if start is None and not self._came and not await self._lies_there():
                    start = await self._read()  # it may have been received since
                    if not self._came:
                        raise self._is_lost
                break
            except StorageUnavailableError:
                await asyncio.sleep(_PAUSE)
        start = start or await self._read(follow=True)
        if start is None:
            raise self._is_lost
        return start

    async def _read(self, *, follow: bool = False) -> str | None:
        """The id, if it stands in what has not been read yet."""
        try:
            async for entry in self._app.entries_of(self._window, after=self._after, follow=follow):
                life = LogCursor.parse(entry.cursor).life
                told = told_by(entry.event.message) if isinstance(entry.event, MessageReceived) else None
                if life != (self._life or life) or (self._came and isinstance(told, Drop)):
                    raise self._is_lost
                if self._came and isinstance(entry.event, ChildStarted):
                    return entry.event.instance_id
                self._life, self._after = life, entry.cursor
                self._came = self._came or self._is_it(told)
        except InstanceNotFoundError:
            raise
        except UsageError:  # what followed has been pruned
            raise self._is_lost from None
        return None

    @property
    def _is_lost(self) -> InstanceNotFoundError:
        return InstanceNotFoundError(
            f"window {self._window!r} has started nothing for this call that it still knows: its calls were dropped, "
            "it was stopped, or that was long ago"
        )

    async def _lies_there(self) -> bool:
        store = self._app._access.opened()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app itself reads
        return await lies_there(store, self._window, lambda message: self._is_it(told_by(message)))

    def _is_it(self, told: Told | None) -> bool:
        return isinstance(told, Ask) and told.id == self._call
