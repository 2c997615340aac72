"""Carries out operations on PostgreSQL: each script is a statement, and returns what it touched."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from romancy.storage.sqlkit.pauses import pause
from romancy.storage.sqlkit.statements import ROUNDS, Answer, OvertakenError, Running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator

    from romancy.storage.sqlkit.pool import Pool
    from romancy.storage.sqlkit.statements import Ask, Operation, Request
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database
    from romancy_postgres._prepared import EngineConnection

__all__ = ["PostgresInterpreter"]

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.25


class PostgresInterpreter:
    """As `Interpreter` promises.

    A cancelled call discards its connection, and the server undoes the transaction. What `in_turn` has committed stays.
    `tell` reports changes. Its connections are those of `pool`; without one, those of the engine's work.
    """

    def __init__(
        self,
        database: Database,
        tell: Callable[[Iterable[str]], None],
        pool: Callable[[], Pool[EngineConnection]] | None = None,
    ) -> None:
        self._database = database
        self._pool = pool or (lambda: database.work)
        self._tell = tell
        self._heads = database.heads

    async def read(self, begin: Callable[[], Operation[T]], /) -> T:
        return await self.in_turn(begin)

    async def in_turn(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,  # noqa: ARG002 - of a file
        lock_waits: int | None = None,
    ) -> T:
        with closing(Running(begin())) as running:
            return await self._one_by_one(running, lock_waits)

    async def together(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,  # noqa: ARG002 - of a file
        lock_waits: int | None = None,
    ) -> T:
        with closing(_attempts(begin)) as attempts:
            first = next(attempts)
            if _is_one_statement(first.request):
                return await self._one_by_one(first, lock_waits)
            body = partial(self._transaction, chain((first,), attempts))
            running, answers = await self._until_undisturbed(body, lock_waits)
            if (request := running.request) is not None:
                running.answer([*answers, *[await self._alone(ask) for ask in request.then]])
            self._tell(running.news)
            return running.result

    async def _one_by_one(self, running: Running[T], lock_waits: int | None) -> T:
        while (request := running.request) is not None:
            running.answer([await self._alone(ask, lock_waits) for ask in (*request.asks, *request.then)])
        self._tell(running.news)
        return running.result

    async def _until_undisturbed(self, body: Callable[[Link], Awaitable[T]], lock_waits: int | None) -> T:
        for attempt in range(1, ROUNDS):
            try:
                return await self._database.transaction(body, pool=self._pool(), lock_waits=lock_waits)
            except OvertakenError:
                await pause(attempt, _FIRST_PAUSE, _LONGEST_PAUSE)
        return await self._database.transaction(body, pool=self._pool(), lock_waits=lock_waits)

    async def _transaction(self, attempts: Iterator[Running[T]], link: Link) -> tuple[Running[T], list[Answer]]:
        """Carry out an operation up to its last request. Returns the operation, and the answers to that request."""
        running = next(attempts)
        while (request := running.request) is not None:
            answers = [await self._answer(link, ask) for ask in request.asks]
            if request.last:
                return running, answers
            running.answer(answers)
        return running, []

    async def _alone(self, ask: Ask, lock_waits: int | None = None) -> Answer:
        return await self._database.single(
            lambda link: self._answer(link, ask), pool=self._pool(), lock_waits=lock_waits
        )

    async def _answer(self, link: Link, ask: Ask) -> Answer:
        head = self._heads[ask.script]
        arguments: list[object] = []
        for name, columns in head.parameters.items():
            value = ask.values[name]
            # A table goes to the server as one array for each column.
            arguments += [[row[place] for row in value] for place in range(len(columns))] if columns else [value]
        if head.columns:
            rows = await link.fetch(ask.script, *arguments)
            answer = Answer([tuple(row) for row in rows], len(rows))
        else:
            answer = Answer((), await link.run(ask.script, *arguments))
        if answer.touched < (ask.expected or 0):
            raise OvertakenError(f"storage {self._database.settings.url}: rows kept changing; try again")
        return answer


def _attempts(begin: Callable[[], Operation[T]]) -> Generator[Running[T]]:
    """The operation, begun anew for each attempt. What an attempt has left behind is closed before the next one."""
    while True:
        with closing(Running(begin())) as running:
            yield running


def _is_one_statement(request: Request | None) -> bool:
    """Whether a transaction is over with this request, which a server makes a transaction of without being told."""
    return request is not None and request.last and len(request.asks) == 1 and request.asks[0].expected is None
