"""What the streams of one instance hold, read once for all who follow them in this process.

A follower reads by itself until it has come as far as the others, and then looks together with them. Who is slow falls
behind what is held here, and reads by itself again. So nobody waits for it, and memory is bounded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.engine.surroundings import here
from romancy.errors import StorageUnavailableError
from romancy.log import commits_of
from romancy.managing.stream_looks import StreamLooks
from romancy.storage.journal import LINES_AT_ONCE
from romancy.stream_rows import row_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy._access import Access
    from romancy.core import LogEvent
    from romancy.engine import Answers
    from romancy.storage.journal import KeptLine
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow, LogRow
    from romancy.stream_rows import StreamRow

__all__ = ["Tail", "Written", "tail_of", "written_in"]

_HELD: Final = 1 << 20
"""How many bytes of former looks are held for those who are slower."""
_QUICKEST: Final = 0.05
_SLOWEST: Final = 0.3
_AWAY: Final = 1.0
_SLOWER: Final = 1.3
_LEFT: Final = 5.0
"""Seconds after which a tail at which nobody looks is begun anew, where its next follower is."""


class Written(NamedTuple):
    """A line of the journal, and the row of a stream that it holds. None: it is sealed."""

    line: KeptLine
    row: StreamRow | None


class Tail:
    """The newest commits and lines of one instance, and when somebody looks for more."""

    def __init__(self, looks: StreamLooks, instance_id: str, answers: Answers) -> None:
        self.store, self._all = looks.store, looks
        self._instance_id, self._answers = instance_id, answers
        self.looks = 0
        """How often somebody has looked for all."""
        self.instance: InstanceRow | None = None
        """The instance as the last look has found it. None: nobody has begun to look, or it is gone."""
        self.commits: list[tuple[LogRow, list[LogEvent]]] = []
        self.written: list[Written] = []
        self._commits_from = self._commits_to = self._written_from = self._written_to = self._held = 0
        self._log_read = -_SLOWEST
        """When the log was read last."""
        self._looking: asyncio.Future[None] | None = None
        self._pause, self._due = _QUICKEST, 0.0

    def covers(self, life: int, seq: int, number: int) -> bool:
        """Whether everything is held here that is behind this commit and this line, up to the last look."""
        return (
            self.instance is not None
            and self.instance.life == life
            and self._commits_from <= seq <= self._commits_to
            and self._written_from <= number <= self._written_to
        )

    def has_read(self, instance: InstanceRow, seq: int, number: int) -> None:
        """A follower has read so far by itself. The first one says where the tail begins."""
        is_left = self._looking is None and here().seconds() - self._due > _LEFT
        if self.instance is None or self.instance.life != instance.life or is_left:
            self.instance = instance
            self.commits, self.written, self._held = [], [], 0
            self._commits_from = self._commits_to = seq
            self._written_from = self._written_to = number
            self._pause, self._due = _QUICKEST, here().seconds() + _QUICKEST

    async def next_look(self, looks: int) -> None:
        """Return once somebody has looked again since there were so many looks. One of the followers looks for all."""
        while self.looks == looks:
            if self._looking is not None:
                await asyncio.wait([self._looking])
                continue
            looking = self._looking = asyncio.get_running_loop().create_future()
            try:
                await self._look_in_time()
            except StorageUnavailableError:
                self._due = here().seconds() + _AWAY
            finally:
                self._looking = None
                looking.set_result(None)

    async def _look_in_time(self) -> None:
        with self._answers.news_of(self._instance_id) as news:
            await asyncio.wait([news], timeout=max(0.0, self._due - here().seconds()))
        with self._answers.news_of(self._instance_id) as news:
            self._pause = _QUICKEST if await self._look() else min(self._pause * _SLOWER, _SLOWEST)
            self._due = here().seconds() + (0.0 if news.done() else self._pause)
        self.looks += 1

    async def _look(self) -> bool:
        """Read what is new. Returns whether there was anything.

        While the streams go on, the log is read now and then: it says what becomes of attempts, and when all has ended.
        """
        life = 0 if self.instance is None else self.instance.life
        if here().seconds() - self._log_read < _SLOWEST:
            written = await self._written(life)
            if written and all(each.row is not None and each.row.seen <= self._commits_to for each in written):
                self._hold([], written)
                return True
        return await self._look_at_all(life)

    async def _look_at_all(self, life: int) -> bool:
        """Read the log, and then the journal."""
        commits, after, begun = self.commits[:0], self._commits_to, here().seconds()
        while True:
            page = await self.store.read(self._instance_id, after=after)
            if page is None or page.instance.life != life:
                self.instance = None  # each follower finds out by itself
                return True
            for row, events in commits_of(page, after):
                commits.append((row, events))
                after = row.seq
            if not page.more:
                break
        written = await self._written(life)
        self._hold(commits, written)
        self.instance, self._commits_to, self._log_read = page.instance, after, begun
        return bool(commits or written)

    async def _written(self, life: int) -> list[Written]:
        lines = await self._all.behind(self._instance_id, life, self._written_to)
        return [Written(line, row_of(line)) for line in lines]

    def _hold(self, commits: list[tuple[LogRow, list[LogEvent]]], written: list[Written]) -> None:
        """Hold this for all followers, and what is older as long as it is not too much."""
        if self._held > _HELD:
            self.commits, self.written, self._held = [], [], 0
            self._commits_from, self._written_from = self._commits_to, self._written_to
        self.commits += commits
        self.written += written
        self._held += sum(len(row.body) for row, _ in commits) + sum(len(each.line.body) for each in written)
        if written:
            self._written_to = written[-1].line.number


def tail_of(access: Access, instance_id: str) -> Tail:
    """The tail that all followers of this instance share."""
    store, answers = access.opened(), access.answers
    looks: StreamLooks | None = answers.looks
    if looks is None or looks.store is not store:
        looks = answers.looks = StreamLooks(store)
    tail: Tail | None = answers.tails.get(instance_id)
    if tail is None or tail.store is not store:
        tail = answers.tails[instance_id] = Tail(looks, instance_id, answers)
    return tail


async def written_in(store: Store, instance_id: str, life: int, after: int) -> AsyncGenerator[Written]:
    """What the streams of a life hold behind a number."""
    while True:
        lines = await store.services.journal.written(instance_id, life, after=after, limit=LINES_AT_ONCE)
        for line in lines:
            yield Written(line, row_of(line))
        if len(lines) < LINES_AT_ONCE:
            return
        after = lines[-1].number
