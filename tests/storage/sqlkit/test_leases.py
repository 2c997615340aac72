"""Heartbeats and the census, without a database."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from romancy.storage.sqlkit.leases import Leases
from romancy.storage.sqlkit.statements import Answer, Operation, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.anyio

T = TypeVar("T")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def line(token: str) -> tuple[Any, ...]:
    return (7, True, token, f"id of {token}", 1, 1, False, [], "", "", 1, 1, 0, 0)


class Answering:
    """An interpreter of a database that answers every script with these rows."""

    def __init__(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._rows = rows

    async def read(self, begin: Callable[[], Operation[T]], /) -> T:
        with closing(Running(begin())) as running:
            while (request := running.request) is not None:
                running.answer([Answer(self._rows, len(self._rows)) for _ in request.asks])
            return running.result

    async def in_turn(
        self, begin: Callable[[], Operation[T]], /, *, weight: int = 3, lock_waits: int | None = None
    ) -> T:
        return await self.read(begin)

    async def together(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,
        lock_waits: int | None = None,
        lasting: bool = True,
        keys: Sequence[int] = (),
    ) -> T:
        return await self.read(begin)


async def test_workers_are_listed_in_one_order() -> None:
    """A server finds rows in another order once they have been updated, and displays would jump."""
    interpreter = Answering([line("b"), line("c"), line("a")])

    census = await Leases(interpreter, interpreter).census()

    assert ["a", "b", "c"] == [peer.token for peer in census.workers]
