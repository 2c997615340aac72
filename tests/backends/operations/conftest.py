"""Two stores on one database, and what MySQL is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.storage.backends import create_store
from romancy_conformance.contract.building import Actor, unique
from romancy_conformance.contract.publishing import Publisher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from romancy.storage.protocol import Store
    from romancy_mysql._sql import Statement

    Call = Callable[[Store], Awaitable[Any]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def stores(storage_url: str) -> AsyncIterator[tuple[Store, Store]]:
    """Two stores on one database."""
    one, other = create_store(storage_url), create_store(storage_url)
    await one.open()
    await other.open()
    yield one, other
    await one.close()
    await other.close()


@pytest.fixture
async def publisher(stores: tuple[Store, Store]) -> Publisher:
    actor = await Actor(stores[1], workflows={unique("flow"): "c1"}).register()
    return Publisher(actor, await actor.begin())


@pytest.fixture
def packets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what MySQL is sent, packet by packet, if the database is MySQL."""
    from romancy_mysql._database import Database  # noqa: PLC0415 - its driver is an extra

    sent: list[str] = []
    join: Any = Database._packets  # pyright: ignore[reportPrivateUsage] - as the tap does

    def joined(database: Database, given: Iterable[Statement]) -> Any:
        named = list(given)
        sent.append(" ".join(one.name for one in named))
        return join(database, named)

    send = Database.send

    async def counted(database: Database, line: Any, given: Sequence[Statement]) -> Any:
        if len(given) == 1:
            sent.append(given[0].name)
        return await send(database, line, given)

    monkeypatch.setattr(Database, "_packets", joined)
    monkeypatch.setattr(Database, "send", counted)
    return sent
