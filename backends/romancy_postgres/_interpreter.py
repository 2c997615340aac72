"""Carries out operations on PostgreSQL: each script is a statement, and returns what it touched."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from romancy.storage.sqlkit.pauses import pause
from romancy.storage.sqlkit.statements import ROUNDS, Answer, OvertakenError, Running, nothing
from romancy_postgres import _rebuilding, _routing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from romancy.storage.sqlkit.pool import Pool
    from romancy.storage.sqlkit.statements import Ask, Operation, Own, Request
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database
    from romancy_postgres._prepared import EngineConnection

__all__ = ["PostgresInterpreter"]

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.25
_OWN: Own = {**_rebuilding.OWN, **_routing.OWN, "journal_hold": nothing}


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
        self._pool = pool
        self._tell = tell
        self._heads = database.heads

    def read(self, begin: Callable[[], Operation[T]], /) -> Coroutine[Any, Any, T]:
        return self.in_turn(begin)

    async def in_turn(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,  # noqa: ARG002 - of a file
        lock_waits: int | None = None,
    ) -> T:
        with closing(Running(begin(), _OWN)) as running:
            while (request := running.request) is not None:
                answers: list[Answer] = []
                for ask in (*request.asks, *request.then):
                    answers.append(await self._alone(ask, lock_waits))  # noqa: PERF401 - a frame less for each wait
                running.answer(answers)
            if running.news:
                self._tell(running.news)
            return running.result

    async def together(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,  # noqa: ARG002 - of a file
        lock_waits: int | None = None,
        lasting: bool = True,
        keys: Sequence[int] = (),
    ) -> T:
        with ExitStack() as stack:
            running = stack.enter_context(closing(Running(begin(), _OWN)))
            if (only := _only_script(running.request)) is not None:
                answers = [await self._alone(only, lock_waits)]
            else:
                attempt = partial(self._transaction, begin, stack, [running])
                send = partial(
                    self._database.transaction,
                    attempt,
                    pool=self._pool and self._pool(),
                    lock_waits=lock_waits,
                    lasting=lasting,
                    first=_locks(keys),
                )
                try:
                    running, answers = await send()
                except OvertakenError:
                    running, answers = await _again(send)
            if (request := running.request) is not None:
                for ask in request.then:
                    answers.append(await self._alone(ask))
                running.answer(answers)
            if running.news:
                self._tell(running.news)
            return running.result

    async def _transaction(
        self, begin: Callable[[], Operation[T]], stack: ExitStack, begun: list[Running[T]], link: Link
    ) -> tuple[Running[T], list[Answer]]:
        """Carry out an operation up to its last request. Returns the operation, and the answers to that request.

        The first attempt takes the operation in `begun`.
        """
        if begun:
            running = begun.pop()
        else:
            stack.close()  # closes the operation of an attempt that was undone
            running = stack.enter_context(closing(Running(begin(), _OWN)))
        while (request := running.request) is not None:
            answers: list[Answer] = []
            for ask in request.asks:
                answers.append(await self._answer(link, ask))  # noqa: PERF401 - as above
            if request.last:
                return running, answers
            running.answer(answers)
        return running, []

    def _alone(self, ask: Ask, lock_waits: int | None = None) -> Coroutine[Any, Any, Answer]:
        pool = self._pool and self._pool()
        answer = partial(self._answer, ask=ask)
        return self._database.single(answer, name=ask.script, pool=pool, lock_waits=lock_waits)

    async def _answer(self, link: Link, ask: Ask) -> Answer:
        if ask.composed is not None:
            found = await link.fetch_text(ask.composed.text, *ask.composed.values)
            return Answer([tuple(row) for row in found], len(found))
        head = self._heads[ask.script]
        arguments: list[object] = []
        for name, columns in head.parameters.items():
            value = ask.values[name]
            if columns:  # a table goes to the server as one array for each column
                arguments += map(list, zip(*value, strict=True)) if value else [[] for _ in columns]
            else:
                arguments.append(value)
        if head.columns:
            rows = await link.fetch(ask.script, *arguments)
            answer = Answer(list(map(tuple, rows)), len(rows))
        else:
            answer = Answer((), await link.run(ask.script, *arguments))
        if answer.touched < (ask.expected or 0):
            raise OvertakenError(f"{self._database.settings.where}: rows kept changing; try again")
        return answer


async def _again(send: Callable[[], Awaitable[T]]) -> T:
    """Send it in the other rounds, until no other transaction is faster."""
    for attempt in range(1, ROUNDS - 1):
        await pause(attempt, _FIRST_PAUSE, _LONGEST_PAUSE)
        try:
            return await send()
        except OvertakenError:
            continue
    await pause(ROUNDS - 1, _FIRST_PAUSE, _LONGEST_PAUSE)
    return await send()


def _locks(keys: Sequence[int]) -> str:
    if not keys:
        return ""
    numbers = ",".join(f"{key:d}" for key in sorted(set(keys)))
    return f"select pg_advisory_xact_lock(key) from unnest('{{{numbers}}}'::bigint[]) as t (key)"  # noqa: S608 - numbers


def _only_script(request: Request | None) -> Ask | None:
    """The script of an operation that asks for one alone, which needs no BEGIN and no COMMIT."""
    if request is None or not request.last or len(request.asks) != 1 or request.asks[0].expected is not None:
        return None
    return request.asks[0]
