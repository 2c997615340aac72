"""Carries out operations with pauses between their requests, as a server does that is asked over a wire.

For tests: on one connection in memory, an operation is otherwise one transaction, while most servers commit each of its
requests alone.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from romancy.storage.sqlkit.statements import Running
from romancy_sqlite._interpreter import SqliteInterpreter, carry_out

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from romancy.storage.sql import Head
    from romancy.storage.sqlkit.statements import Answer, Operation, Request
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._store import SqliteStore

__all__ = ["PacedInterpreter"]

T = TypeVar("T")


class PacedInterpreter(SqliteInterpreter):
    """As `Interpreter` promises, and no better: only the requests of `together` are one transaction."""

    def __init__(self, store: SqliteStore, heads: Mapping[str, Head], pace: Callable[[], Awaitable[None]]) -> None:
        """`pace` is awaited before each request, and may raise: the operation is then given up."""
        super().__init__(store, heads)
        self._pace = pace

    def read(self, begin: Callable[[], Operation[T]], /) -> Coroutine[Any, Any, T]:
        return self._in_parts(begin, self._store.run_read)

    def in_turn(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,
        lock_waits: int | None = None,  # noqa: ARG002 - of servers
    ) -> Coroutine[Any, Any, T]:
        return self._in_parts(begin, partial(self._store.run_write, weight=weight))

    async def together(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,
        lock_waits: int | None = None,
        lasting: bool = True,  # noqa: ARG002 - of servers
        keys: Sequence[int] = (),  # noqa: ARG002 - of servers
    ) -> T:
        await self._pace()
        return await super().in_turn(begin, weight=weight, lock_waits=lock_waits)

    async def _in_parts(
        self,
        begin: Callable[[], Operation[T]],
        run: Callable[[Callable[[Tx], list[Answer]]], Coroutine[Any, Any, list[Answer]]],
    ) -> T:
        with closing(Running(begin())) as running:
            while (request := running.request) is not None:
                await self._pace()
                running.answer(await run(partial(carry_out, heads=self._heads, begin=partial(_alone, request))))
            if running.news:
                self._store.shared.tell(running.news)
            return running.result


def _alone(request: Request) -> Operation[list[Answer]]:
    return (yield request)
