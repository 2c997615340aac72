"""Wake-ups: this store's changes reach waiting callers here at once and elsewhere by NOTIFY.

Notifications are sent after commits, never inside one: PostgreSQL serialises all transactions that notify. The first is
sent at once; changes of the next few milliseconds are sent together. They carry only ids; too many become "look
everywhere". The listener has its own connection and makes a new one when that is lost; then all callers look
everywhere. A slow poll covers lost notifications. Without LISTEN (behind a pooler, if `listen_url` names no way round
it) the poll is faster, and the only way to see changes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from hashlib import sha256
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import msgspec

from romancy.errors import StorageConfigurationError, StorageError, StorageUnavailableError
from romancy.storage.sqlkit.news import News, parted
from romancy_postgres._errors import DRIVER_ERRORS, translated

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    import asyncpg

    from romancy_postgres._database import Database

__all__ = ["Signals", "payloads"]

_log = logging.getLogger("romancy.postgres")

_GATHER = 0.004
_MOST_IDS = 1000
_PAYLOAD_BYTES = 7000
_LONGEST_CHANNEL = 63
_LOOK_WITH_PUSH, _LOOK_WITHOUT_PUSH = 20.0, 1.0
_LOOK_AGAIN = 0.2
"""Seconds until the next look without notifications, after a claim that has brought something, and at first."""
_AT_FIRST = 3.0
"""Seconds in which a store without notifications looks often: others may hand over to a worker that has come."""
_CHECK_LISTENER = 15.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_ANSWER = 5.0
_SAME_DATABASE = 2
"""So many values of a place say that it is in the same database. The roles may have other search paths."""

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(list[str]).decode


class Signals:
    """Sends and receives the wake-ups of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._origin = token_hex(6)
        self._channel = channel_of(database.settings.schema, database.settings.prefix)
        self._news = News()
        self._outbox = News()
        """The same for the outbox: that it may have news."""
        self._outgoing: set[str] = set()
        self._sender: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._deaf = False
        """Whether it was said that notifications are not heard."""
        self._looked, self._jitter = 0.0, _jitter()
        self._settled_at = 0.0
        """Until when it looks often; never where notifications are only away for a while, as the server may be."""
        self._again: asyncio.TimerHandle | None = None
        """When callers look everywhere, without notifications, because a claim has brought something."""
        self._unfinished: set[asyncio.Task[None]] = set()
        """Tasks to finish before the store is closed."""
        self._closing = asyncio.Event()

    async def open(self) -> None:
        """Begin to listen. Commits after this are reported."""
        self._looked = asyncio.get_running_loop().time()
        self._closing = asyncio.Event()
        if not self._database.settings.listen:
            self._settled_at = self._looked + _AT_FIRST
            return
        await self._check_listener()
        self._listener = asyncio.create_task(self._listen())
        try:
            async with asyncio.timeout(_ANSWER):
                await self._listening.wait()
        except TimeoutError:
            self._hear(None)  # it keeps trying; until then, the slow poll finds changes

    async def close(self) -> None:
        """Send pending notifications, stop listening, and release all waiting callers."""
        self._closing.set()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._unfinished:
            await asyncio.wait(set(self._unfinished), timeout=_ANSWER)
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=_ANSWER)
        for task in (self._sender, self._listener):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait({task})
        self._news.end()
        self._outbox.end()

    async def before_close(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work in a task that closing waits for. After closing has begun, do nothing."""
        if self._closing.is_set():
            work.close()
            return
        task = asyncio.create_task(work)
        self._unfinished.add(task)
        try:
            await task
        finally:
            self._unfinished.discard(task)

    def tell(self, instance_ids: Iterable[str]) -> None:
        """Report committed changes: these instances became due, got mail or ended."""
        changed = set(instance_ids)
        if not changed:
            return
        self._hear(changed)
        self._tell_others(changed)

    def announce(self, marks: Iterable[str]) -> None:
        """Tell others alone. This store's own worker must not take its claim for one that spares it the next."""
        if told := set(marks):
            self._tell_others(told)

    def found_work(self) -> None:
        """Without notifications, look again soon: who had something to hand over often has more."""
        if self._again is None and not self._listening.is_set() and not self._closing.is_set():
            self._again = asyncio.get_running_loop().call_later(_LOOK_AGAIN * _jitter(), self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self._news.hear(None)

    def _tell_others(self, changed: set[str]) -> None:
        self._outgoing |= changed
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())

    async def wait(self, timeout: float) -> frozenset[str] | None:
        """As `Store.wait_for_work` promises. All callers that wait at a change get it."""
        self._database.check_open()
        loop = asyncio.get_running_loop()
        if self._listening.is_set():
            interval = _LOOK_WITH_PUSH
        else:
            interval = _LOOK_AGAIN if loop.time() < self._settled_at else _LOOK_WITHOUT_PUSH
        until_look = max(0.0, self._looked + interval * self._jitter - loop.time())
        heard = await self._news.wait(min(timeout, until_look))
        if heard != frozenset() or until_look > timeout or self._closing.is_set():
            return heard
        self._looked, self._jitter = loop.time(), _jitter()
        return None

    async def wait_for_outbox(self, timeout: float) -> bool:
        """Whether the outbox may have news; without LISTEN, True at intervals. False after the time-out."""
        self._database.check_open()
        longest = (_LOOK_WITH_PUSH if self._listening.is_set() else _LOOK_WITHOUT_PUSH) * _jitter()
        heard = await self._outbox.wait(min(timeout, longest))
        return heard != frozenset() or (timeout > longest and not self._closing.is_set())

    def _hear(self, changed: Iterable[str] | None) -> None:
        outbox, rest = parted(changed)
        if outbox:
            self._outbox.hear(None)
        if rest is None or rest:
            self._news.hear(rest)

    async def _send(self) -> None:
        """Send the first change at once, and the changes that closely follow it together, or when the store closes."""
        while self._outgoing:
            outgoing, self._outgoing = self._outgoing, set()
            try:
                await self._database.fetch(
                    "notify", self._channel, payloads(self._origin, outgoing), pool=self._database.heartbeats
                )
            except StorageError:
                return  # other stores poll; so does this one when the server is back
            with suppress(TimeoutError):
                async with asyncio.timeout(_GATHER):
                    await self._closing.wait()

    async def _check_listener(self) -> None:
        """`StorageConfigurationError` if notifications of another database would be heard."""
        settings = self._database.settings
        if settings.listener is None:
            return
        try:
            (theirs,) = await self._database.fetch("place", pool=self._database.listening)
        except StorageUnavailableError:
            return  # it is tried again; until then, the poll finds changes
        (ours,) = await self._database.fetch("place")
        if tuple(theirs)[:_SAME_DATABASE] != tuple(ours)[:_SAME_DATABASE]:
            raise StorageConfigurationError(
                f"{settings.where}: listen_url leads to another database, {settings.listener.where}; notifications of "
                "this one would not be heard there"
            )

    async def _listen(self) -> None:
        pause = _FIRST_PAUSE
        again = False
        while True:
            try:
                connection = await self._database.listening.take()
                try:
                    lost = await self._attach(connection)
                    if again:
                        self._hear(None)
                    again, pause, self._deaf = True, _FIRST_PAUSE, False
                    self._listening.set()
                    await self._watch(connection, lost)
                finally:
                    self._listening.clear()
                    self._database.listening.discard(connection)
            except (StorageError, *DRIVER_ERRORS) as error:
                self._tell_of_outage(error)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _tell_of_outage(self, error: BaseException) -> None:
        """Say once that notifications are not heard, where another connection than the others hears them."""
        listener = self._database.settings.listener
        if listener is not None and not self._deaf:
            self._deaf = True
            text = "%s: notifications are not heard until it is back, and work is looked for once a second: %s"
            _log.warning(text, listener.where, translated(error, listener.where) or error)

    async def _attach(self, connection: asyncpg.Connection) -> asyncio.Event:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(self._channel, self._receive)
        return lost

    async def _watch(self, connection: asyncpg.Connection, lost: asyncio.Event) -> None:
        """Return when the connection is lost, even if it still seems open."""
        while not lost.is_set():
            try:
                async with asyncio.timeout(_CHECK_LISTENER):
                    await lost.wait()
            except TimeoutError:
                await connection.execute("select 1", timeout=_ANSWER)

    def _receive(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        origin, *instance_ids = _decode(str(payload))
        if origin != self._origin:
            self._hear(instance_ids or None)


def _jitter() -> float:
    return random.uniform(0.9, 1.1)  # noqa: S311 - processes do not poll all at once


def channel_of(schema: str | None, prefix: str) -> str:
    """The channel of these tables. PostgreSQL allows 63 bytes."""
    name = f"{schema}.{prefix}work" if schema else f"{prefix}work"
    return name if len(name) <= _LONGEST_CHANNEL else f"romancy_{sha256(name.encode()).hexdigest()[:40]}"


def payloads(origin: str, instance_ids: set[str]) -> list[str]:
    """The payloads: the origin and ids, each well under the server's 8,000 bytes. No ids: everywhere."""
    if len(instance_ids) > _MOST_IDS:
        return [_encode([origin]).decode()]
    texts: list[str] = []
    part: list[str] = [origin]
    size = 0
    for instance_id in sorted(instance_ids):
        weight = len(_encode(instance_id)) + 1
        if size + weight > _PAYLOAD_BYTES:
            texts.append(_encode(part).decode())
            part, size = [origin], 0
        part.append(instance_id)
        size += weight
    return [*texts, _encode(part).decode()]
