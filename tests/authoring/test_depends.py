"""Dependencies: opened once, closed in reverse, replaced in tests, never part of what is stored."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Depends, activity
from romancy.depends import Dependencies
from romancy.errors import RegistrationError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

log: list[str] = []


async def client() -> AsyncIterator[str]:
    log.append("open client")
    await asyncio.sleep(0)
    yield "client"
    log.append("close client")


def pool() -> Iterator[str]:
    log.append("open pool")
    yield "pool"
    log.append("close pool")


async def token() -> str:
    return "token"


def limit() -> int:
    return 3


@contextlib.asynccontextmanager
async def managed() -> AsyncGenerator[str, None]:
    yield "managed"
    log.append("close managed")


@activity
async def pay(
    amount: int,
    *,
    via: str = Depends(client),
    through: str = Depends(pool),
    by: str = Depends(token),
    upto: int = Depends(limit),
) -> str:
    return f"{amount} {via} {through} {by} {upto}"


def test_each_provider_is_opened_once_and_closed_in_reverse() -> None:
    log.clear()

    async def play() -> list[str]:
        dependencies = Dependencies()
        passed = await asyncio.gather(*(dependencies.resolve(pay.dependencies) for _ in range(3)))
        answers = [await pay.fn(7, **each) for each in passed]
        await dependencies.close()
        return answers

    assert asyncio.run(play()) == ["7 client pool token 3"] * 3
    assert log == ["open client", "open pool", "close pool", "close client"]


def test_a_dependency_is_not_part_of_what_is_stored() -> None:
    assert pay.signature.names == ("amount",)
    assert pay.signature.encode_arguments((7,), {}) == b'{"amount":7}'
    with pytest.raises(UsageError, match="via"):
        pay.signature.encode_arguments((7,), {"via": "mine"})


def test_a_provider_can_be_replaced_for_a_while() -> None:
    log.clear()

    async def play() -> list[Any]:
        dependencies = Dependencies()
        with dependencies.override(client, lambda: "fake"):
            with dependencies.override(client, lambda: "faker"):
                inner = await dependencies.resolve({"via": client})
            outer = await dependencies.resolve({"via": client})
        real = await dependencies.resolve({"via": client, "m": managed})
        await dependencies.close()
        return [inner["via"], outer["via"], real["via"], real["m"]]

    assert asyncio.run(play()) == ["faker", "fake", "client", "managed"]
    assert log == ["open client", "close managed", "close client"]


def test_a_provider_that_fails_is_tried_again_by_the_next_who_asks() -> None:
    tries: list[int] = []

    def moody() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("not yet")
        return "there"

    async def play() -> str:
        dependencies = Dependencies()
        with pytest.raises(ConnectionError):
            await dependencies.resolve({"x": moody})
        return str((await dependencies.resolve({"x": moody}))["x"])

    assert asyncio.run(play()) == "there"


def test_it_has_to_be_keyword_only_and_a_function() -> None:
    with pytest.raises(RegistrationError, match="keyword"):

        @activity
        async def positional(via: str = Depends(client)) -> None: ...

    with pytest.raises(UsageError, match="not str"):
        Depends("client")  # type: ignore[call-overload]
