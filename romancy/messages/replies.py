"""The answers to requests, as the logs of those that were asked have them.

However many wait here for one instance, one of them reads its log for all. Who begins to wait first reads by itself
what the others have read already, and joins them once it has come as far.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from romancy.core import (
    Message,
    MessageReceived,
    RequestAnswered,
    RequestRefused,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinued,
    WorkflowFailed,
    WorkflowStarted,
)
from romancy.engine.surroundings import here
from romancy.errors import (
    InstanceEndedError,
    InstanceNotFoundError,
    RequestUnansweredError,
    RomancyError,
    StorageUnavailableError,
    UsageError,
)
from romancy.log import LogCursor, read_log
from romancy.messages.lying import lies_there
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from romancy._access import Access
    from romancy.core import LogEvent

__all__ = ["Answer", "Place", "Search", "answer_to"]

Answer: TypeAlias = "RequestAnswered | RequestRefused"

_QUICKEST, _SLOWEST, _SLOWER = 0.02, 30.0, 1.5
_ENDS: Final[Mapping[type[LogEvent], Status]] = {
    WorkflowCompleted: Status.COMPLETED,
    WorkflowFailed: Status.FAILED,
    WorkflowCancelled: Status.CANCELLED,
}


class Place(NamedTuple):
    """Which request is asked about."""

    instance_id: str
    life: int
    name: str
    id: str
    method: str = ""
    """Of a call of an entity: `Cart.add`."""

    @property
    def words(self) -> str:
        """What was asked, for people."""
        return f"the call of {self.method}" if self.method else f"the request {self.name!r}"

    def is_of(self, message: Message) -> bool:
        """Whether this message is the request."""
        topic = message.topic
        return (topic.kind, topic.name, message.id) == ("request", self.name, self.id)

    @property
    def told(self) -> dict[str, str]:
        """The attributes of an error about it."""
        return {"instance_id": self.instance_id, "request": self.name, "request_id": self.id}


class Search:
    """One who waits for the answer to a request, and what the log has said of it so far."""

    __slots__ = ("after", "found", "is_unsure", "place", "rests", "taken", "turn")

    def __init__(
        self, place: Place, after: LogCursor | None, rests: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self.place = place
        self.rests = rests
        """Entered while it only waits."""
        self.after = after
        """It knows the log up to here. None: it knows nothing of it."""
        self.is_unsure = after is None
        """Whether the log may have lost the request: it was sent before, and what followed may have been pruned."""
        self.taken = False
        """Whether the present run has received the request."""
        self.found: asyncio.Future[Answer | RomancyError | None]
        """The answer, or why there will be none. None: what the log had of it is pruned, and it has to begin anew."""
        self.turn: asyncio.Future[None]
        """Done when it is this one that reads for all."""

    @property
    def key(self) -> tuple[str, str]:
        """By what the log names the request."""
        return self.place.name, self.place.id

    def unanswered(self, run: int) -> RequestUnansweredError:
        """The error that this run has begun, and the one before had taken the request."""
        return RequestUnansweredError(
            f"instance {self.place.instance_id} went on with run {run} and had not answered "
            f"{self.place.words}: its handler was stopped, or nobody replied. Ask again with another id",
            **self.place.told,
        )

    def ended(self, status: Status) -> InstanceEndedError:
        """The error that the instance has ended."""
        return InstanceEndedError(
            f"instance {self.place.instance_id} has ended ({status}) without an answer to {self.place.words}",
            instance_id=self.place.instance_id,
            status=status,
        )

    def lost(self) -> RequestUnansweredError:
        """The error that the log holds nothing of a request that was sent before."""
        return RequestUnansweredError(
            f"{self.place.words} with the id {self.place.id!r} was sent to instance "
            f"{self.place.instance_id} before, and its log holds it no more: the run that received it was pruned",
            **self.place.told,
        )

    def removed(self) -> InstanceNotFoundError:
        """The error that the instance is gone."""
        return InstanceNotFoundError(f"the instance {self.place.instance_id!r} that was asked was removed")


async def answer_to(access: Access, search: Search) -> Answer:
    """Wait for the answer, also while the database is away. Raises the error that says that there will be none."""
    place = search.place
    log = access.answers.logs.get(place[:2])
    if log is None:
        log = access.answers.logs[place[:2]] = _Log(access, place.instance_id, place.life)
    while True:
        alone = _Log(access, place.instance_id, place.life)
        answer = await _caught_up(alone, log, search) or await log.joined_by(search)
        if answer is not None:
            return answer


async def _caught_up(alone: _Log, log: _Log, search: Search) -> Answer | None:
    """Read by itself what the others have read already. Returns the answer, if it was there."""
    while log.is_ahead_of(search):
        search.found = asyncio.get_running_loop().create_future()
        alone.begin_at(search)
        try:
            await alone.read()
            if search.is_unsure and not search.found.done() and not search.taken:
                await _look_for(alone, search)
        except StorageUnavailableError:
            with search.rests():
                await asyncio.sleep(1.0)
            continue
        finally:
            alone.leave(search)
        if not search.found.done():
            search.after, search.is_unsure = alone.after or LogCursor(search.place.life, 0), False
        elif (outcome := _outcome(search)) is not None:
            return outcome
    return None


async def _look_for(alone: _Log, search: Search) -> None:
    """Find out whether a request of which the log says nothing is still to come."""
    if await lies_there(alone.access.opened("request"), search.place.instance_id, search.place.is_of):
        return
    await alone.read()  # it may have been received since
    if not (search.found.done() or search.taken):
        search.found.set_result(search.lost())


def _outcome(search: Search) -> Answer | None:
    outcome = search.found.result()
    if isinstance(outcome, RomancyError):
        raise outcome
    return outcome


class _Log:
    """The log of one life of an instance, read for those who wait for an answer in it."""

    def __init__(self, access: Access, instance_id: str, life: int) -> None:
        self.access = access
        self._instance_id = instance_id
        self._life = life
        self.after: LogCursor | None = None
        self._ended: Status | None = None
        self._searches: dict[tuple[str, str], dict[Search, None]] = {}
        self._all: dict[Search, None] = {}
        """In the order in which they came. The first one reads."""

    def is_ahead_of(self, search: Search) -> bool:
        """Whether something was read here that this one does not know. Whoever knows nothing reads by itself."""
        if search.after is None:
            return True
        return bool(self._all) and self.after is not None and self.after.seq > search.after.seq

    def begin_at(self, search: Search) -> None:
        """Read for this one alone, from where it is."""
        self.after, self._ended = search.after, None
        self._add(search)

    async def joined_by(self, search: Search) -> Answer | None:
        """Wait with the others. None: it has to begin anew."""
        loop = asyncio.get_running_loop()
        search.found, search.turn = loop.create_future(), loop.create_future()
        if not self._all:
            self.after, self._ended = search.after, None
        self._add(search)
        try:
            if next(iter(self._all)) is not search:
                either: list[asyncio.Future[Any]] = [search.found, search.turn]
                with search.rests():
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not search.found.done():
                await self._read_for_all(search)
            return _outcome(search)
        finally:
            self.leave(search)

    def _add(self, search: Search) -> None:
        self._all[search] = None
        self._searches.setdefault(search.key, {})[search] = None

    def leave(self, search: Search) -> None:
        """It waits here no more. The next one reads from now on."""
        del self._all[search]
        alike = self._searches[search.key]
        del alike[search]
        if not alike:
            del self._searches[search.key]
        following = next(iter(self._all), None)
        if following is not None and not following.turn.done():
            following.turn.set_result(None)

    async def _read_for_all(self, reader: Search) -> None:
        """Read what comes, until the reader has its answer."""
        pause, since = _QUICKEST, here().seconds()
        while True:
            with self.access.answers.news_of(self._instance_id) as news:
                try:
                    pause = _QUICKEST if await self.read() else _longer(pause, here().seconds() - since)
                except StorageUnavailableError:
                    pause = 1.0
                if reader.found.done():
                    return
                if not news.done():
                    with reader.rests():
                        await asyncio.wait([news], timeout=pause)

    # ── what is read ────────────────────────────────────────────────────────────────────────────────────────────

    async def read(self) -> bool:
        """Read on to the present end, and tell those who wait. Returns whether there was anything."""
        moved, store = False, self.access.opened("request")
        try:
            async for entry in read_log(store, self._instance_id, self.after):
                cursor = LogCursor.parse(entry.cursor)
                if cursor.life != self._life:
                    return self._fail_all(None)
                moved, self.after = True, cursor
                self._look_at(entry.event, cursor.seq)
        except InstanceNotFoundError:
            return self._fail_all(None)
        except UsageError:  # a new run has pruned what followed: all that is left is later
            self._begin_anew()
            return True
        if self._ended is not None:
            self._fail_all(self._ended)
        return moved

    def _look_at(self, event: LogEvent, seq: int) -> None:
        if isinstance(event, RequestAnswered | RequestRefused):
            if not (isinstance(event, RequestAnswered) and event.again):
                for search in self._told(event.name, event.id, seq):
                    search.found.set_result(event)
        elif isinstance(event, MessageReceived):
            if event.message.topic.kind == "request":
                for search in self._told(event.message.topic.name, event.message.id, seq):
                    search.taken = True
        else:
            self._look_at_run(event, seq)

    def _look_at_run(self, event: LogEvent, seq: int) -> None:
        """Look at what begins or ends a run."""
        if isinstance(event, WorkflowContinued):
            for search in self._waiting(seq):
                if search.taken:
                    search.found.set_result(search.unanswered(event.run))
        elif isinstance(event, WorkflowStarted):
            self._ended = None
            for search in self._waiting(seq):
                search.taken = False
        elif (ended := _ENDS.get(type(event))) is not None:
            self._ended = ended

    def _told(self, name: str, id: str, seq: int) -> list[Search]:
        """Those who wait for this request and do not know this commit."""
        return [one for one in self._searches.get((name, id), ()) if _is_news(one, seq)]

    def _waiting(self, seq: int) -> list[Search]:
        return [one for one in self._all if _is_news(one, seq)]

    def _fail_all(self, ended: Status | None) -> bool:
        for search in self._all:
            if not search.found.done():
                search.found.set_result(search.removed() if ended is None else search.ended(ended))
        return True

    def _begin_anew(self) -> None:
        self.after, self._ended = None, None
        for search in self._all:
            search.after, search.taken, search.is_unsure = None, False, True
            if not search.found.done():
                search.found.set_result(None)


def _longer(pause: float, waited: float) -> float:
    """The next pause: half as long again, but after a minute never more than a sixtieth of the time waited."""
    return min(pause * _SLOWER, max(1.0, min(waited / 60, _SLOWEST)))


def _is_news(search: Search, seq: int) -> bool:
    return not search.found.done() and (search.after is None or seq > search.after.seq)
