"""What the streams of one instance hold, read once for all who follow them in this process.

A follower reads by itself until it has come as far as the others, and then looks together with them. Who is slow falls
behind what is held here, and reads by itself again. So nobody waits for it, and memory is bounded.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.engine.surroundings import here
from romancy.errors import StorageUnavailableError
from romancy.log import commits_of
from romancy.managing.stream_looks import StreamLooks
from romancy.storage.journal import LINES_AT_ONCE, KeptLine
from romancy.stream_rows import row_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy._access import Access
    from romancy.core import LogEvent
    from romancy.engine import Answers
    from romancy.storage.journal import NewLine
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
        self._looking: asyncio.Future[None] | None = None
        self._taking: asyncio.Future[None] | None = None
        """Of who waits to look: done when there is something without a look."""
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

    def take(self, line: NewLine, row: StreamRow, before: int, number: int) -> bool:
        """Take a row that this process has written. False if it is not the next one: somebody has to look."""
        instance = self.instance
        if instance is None or line.life != instance.life or before != self._written_to:
            return False
        self._hold([], [Written(KeptLine(line.life, number, line.mark, line.at, line.body), row)])
        self.looks += 1
        if self._taking is not None and not self._taking.done():
            self._taking.set_result(None)
        return True

    def commits_behind(self, seq: int) -> list[tuple[LogRow, list[LogEvent]]]:
        """What is held of the log behind a commit."""
        return self.commits[bisect_right(self.commits, seq, key=lambda commit: commit[0].seq) :]

    def written_behind(self, number: int) -> list[Written]:
        """What is held of the streams behind a line."""
        return self.written[bisect_right(self.written, number, key=lambda written: written.line.number) :]

    async def next_look(self, looks: int) -> None:
        """Return once there may be more than after so many looks. One of the followers looks for all."""
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
        """Look when there is news, or when it is time. Return at once when something comes without a look."""
        taking = self._taking = asyncio.get_running_loop().create_future()
        with self._answers.news_of(self._instance_id) as news:
            await asyncio.wait(
                [news, taking], timeout=max(0.0, self._due - here().seconds()), return_when=asyncio.FIRST_COMPLETED
            )
            if taking.done() and not news.done():
                return
        with self._answers.news_of(self._instance_id) as news:
            self._pause = _QUICKEST if await self._look() else min(self._pause * _SLOWER, _SLOWEST)
            self._due = here().seconds() + (0.0 if news.done() else self._pause)
        self.looks += 1

    async def _look(self) -> bool:
        """Read what is new. Returns whether there was anything.

        The log is read when it has gone on: it says what becomes of attempts, and when all has ended. What it says
        comes behind all rows that were there when it did.
        """
        instance, at = self.instance, self._written_to
        life = 0 if instance is None else instance.life
        behind = await self._all.behind(self._instance_id, life, at)
        if behind is None or behind.life != life or behind.last > self._commits_to:
            return await self._look_at_all(life)
        return self._hold([], [Written(line, row_of(line)) for line in behind.lines])

    async def _look_at_all(self, life: int) -> bool:
        """Read the log, and then the journal."""
        commits, after = self.commits[:0], self._commits_to
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
        written = [one async for one in written_in(self.store, self._instance_id, life, self._written_to)]
        has_more = self._hold(commits, written)
        self.instance, self._commits_to = page.instance, after
        return has_more

    def _hold(self, commits: list[tuple[LogRow, list[LogEvent]]], written: list[Written]) -> bool:
        """Hold this for all followers, and what is older as long as it is not too much. Returns whether it is more.

        Rows may have been taken while somebody looked.
        """
        new = [each for each in written if each.line.number > self._written_to]
        if self._held > _HELD:
            self.commits, self.written, self._held = [], [], 0
            self._commits_from, self._written_from = self._commits_to, self._written_to
        self.commits += commits
        self.written += new
        self._held += sum(len(row.body) for row, _ in commits) + sum(len(each.line.body) for each in new)
        if new:
            self._written_to = new[-1].line.number
        return bool(commits or new)


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
