"""What windows hold now, read from the log of their run and from their inbox.

A window reports when it opens and when it closes. The calls that it has are in its log, and those that no worker has
looked at lie in its inbox. They are counted here as its keeper will count them.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from romancy._microseconds import moment_of
from romancy.core import ChildStarted, Message, MessageReceived, ProgressReported, WorkflowStarted
from romancy.engine.messages import decode_message
from romancy.errors import HistoryVersionError
from romancy.log import commits_of, dated
from romancy.serialization import refuse_sealed
from romancy.status import TERMINAL_STATUSES
from romancy.storage.any_store import lying_in
from romancy.windows.records import TOLD, WINDOW, Ask, Drop, Flush, Kind, Of, Open, State, Told, WindowStart

if TYPE_CHECKING:
    from romancy.core import LogEvent
    from romancy.storage.protocol import Store
    from romancy.storage.records import History, InstanceRow

__all__ = ["Window", "told_by", "window_of"]

_PAGE: Final = 500
_MOST_LYING: Final = 100_000


class Window(Struct, frozen=True, kw_only=True):
    """A window as it is now."""

    kind: Kind
    workflow: str
    key: str
    calls: int
    """How many calls have come that are in no start yet, with those that no worker has looked at."""
    since: datetime | None
    """When the first of these calls came. None: there are none, and the next call opens the window."""
    due: datetime | None
    """When the window closes if no further call comes."""
    started: int
    """How many instances it has started."""
    starts: tuple[WindowStart, ...]
    """The last ten of them, in the order of their starts."""

    @property
    def instance_id(self) -> str:
        """The id of the instance that is the window."""
        return Of(kind=self.kind, workflow=self.workflow, key=self.key).instance_id


class _Began(Struct):
    """The input of a run."""

    state: State
    window: Open | None


class _Looked:
    """A window, as its keeper sees it behind the events that were taken."""

    def __init__(self) -> None:
        self.state: State | None = None
        self._open: Open | None = None
        self._rests_since: datetime | None = None
        """The latest time that it has seen: a message that came before its run began counts from then on."""
        self._owed = 0
        """How many starts are still to come in the log for what has closed behind a call, and not by its time."""

    def take(self, event: LogEvent) -> None:
        match event:
            case WorkflowStarted():
                began = msgspec.json.decode(event.input, type=_Began)
                self.state, self._open, self._owed = began.state, began.window, 0
                self._rests_since = moment_of(event.at)
            case ProgressReported():
                self.state = msgspec.json.decode(event.state, type=State)
            case MessageReceived():
                self.hear(told_by(event.message), moment_of(event.at))
            case ChildStarted() if self._owed:
                self._owed -= 1
            case ChildStarted():
                self._open = None
            case _:
                pass

    def hear(self, told: Told | None, at: datetime) -> None:
        at = self._rests_since = max(at, self._rests_since or at)
        match told:
            case Ask():
                self._open = self._open or Open(since=at, latest=at, calls=0, last=told)
                self._open.add(told, at)
                if self._open.is_full:
                    self._close()
            case Flush():
                self._close()
            case Drop():
                self._open = None
            case None:
                pass

    def _close(self) -> None:
        self._owed += self._open is not None
        self._open = None

    def window(self, *, ended: bool) -> Window | None:
        """The window. None: its instance has not begun."""
        if self.state is None:
            return None
        of, held = self.state.of, None if ended else self._open
        return Window(
            kind=of.kind,
            workflow=of.workflow,
            key=of.key,
            calls=0 if held is None else held.calls,
            since=None if held is None else held.since,
            due=None if held is None else held.due,
            started=self.state.started,
            starts=self.state.starts,
        )


async def window_of(store: Store, instance_id: str) -> Window | None:
    """The window that is this instance. None: there is no such instance, or it is none.

    Raises CodecError if its calls are sealed with a codec that the store does not have.
    """
    page = await store.read(instance_id, limit=0)
    if page is None or page.instance.workflow_name != WINDOW:
        return None
    row = page.instance
    lying = [] if row.status in TERMINAL_STATUSES else await _lying(store, instance_id)
    looked = _Looked()
    received = await _read_log(store, row, looked)
    if looked.state is None:  # its start has not been driven yet
        refuse_sealed(row.input, "input", f"input of window {instance_id}")
        looked.state = msgspec.json.decode(row.input, type=_Began).state
    for message, at in lying:
        if received[bytes(message.data)]:
            received[bytes(message.data)] -= 1
        else:
            looked.hear(told_by(message), at)
    return looked.window(ended=row.status in TERMINAL_STATUSES)


async def _read_log(store: Store, row: InstanceRow, looked: _Looked) -> Counter[bytes]:
    """Take the log of the current run, which is bounded. Returns what was received since the row was read."""
    after, received = row.run_from - 1, Counter[bytes]()
    page: History | None = None
    while page is None or page.more:
        page = await store.read(row.instance_id, after=after, limit=_PAGE)
        if page is None or page.instance.life != row.life:
            break
        for commit, events in commits_of(page, after):
            after = commit.seq
            for event in events:
                looked.take(dated(event, commit.at))
                if after > row.last_seq and isinstance(event, MessageReceived):
                    received[bytes(event.message.data)] += 1
    return received


async def _lying(store: Store, instance_id: str) -> list[tuple[Message, datetime]]:
    """The messages in the inbox, in the order in which they came. Until they are read here, some may be received."""
    found = [each.row async for each in lying_in(store, instance_id, most=_MOST_LYING)]
    lying: list[tuple[Message, datetime]] = []
    for row in sorted(found, key=lambda row: (row.at, row.delivery_id)):
        try:
            message = decode_message(row.body)
        except HistoryVersionError:
            continue
        if isinstance(message, Message):
            lying.append((message, moment_of(row.at)))
    return lying


def told_by(message: Message) -> Told | None:
    """What a window was told with a message."""
    if message.topic != TOLD.topic:
        return None
    try:
        told: Told = msgspec.json.decode(message.data, type=Told)
    except msgspec.MsgspecError:
        return None
    return told
