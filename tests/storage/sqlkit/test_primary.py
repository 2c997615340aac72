"""The search for the primary among several hosts."""

from __future__ import annotations

import asyncio

import pytest

from romancy.errors import StorageConfigurationError, StorageError, StorageUnavailableError
from romancy.storage.hosts import Host
from romancy.storage.sqlkit.primary import Primary

pytestmark = pytest.mark.anyio

A, B, C = Host("a", 1), Host("b", 2), Host("c", 3)


@pytest.fixture
def anyio_backend() -> str:
    """The pools run on asyncio."""
    return "asyncio"


class Cluster:
    """Hosts, of which one is the primary and the others refuse."""

    def __init__(self, *hosts: Host, primary: Host | None) -> None:
        self.primary = primary
        self.tried: list[Host] = []
        self.refusal: type[StorageError] = StorageUnavailableError
        self.open = asyncio.Event()
        self.open.set()
        self._search = Primary("storage x", hosts)

    async def connection(self) -> Host:
        return await self._search.connect(self._make)

    async def _make(self, host: Host) -> Host:
        self.tried.append(host)
        await self.open.wait()
        if host != self.primary:
            raise self.refusal(f"{host}: it is a standby")
        return host


async def test_the_primary_is_found_and_kept() -> None:
    cluster = Cluster(A, B, C, primary=B)

    assert [await cluster.connection() for _ in range(3)] == [B, B, B]
    assert cluster.tried == [A, B, B, B]


async def test_a_primary_that_was_lost_is_tried_last() -> None:
    cluster = Cluster(A, B, C, primary=A)
    await cluster.connection()
    cluster.primary = C

    assert await cluster.connection() == C
    assert cluster.tried == [A, A, B, C]


async def test_without_a_primary_the_error_names_every_host_with_its_reason() -> None:
    cluster = Cluster(A, B, primary=None)

    with pytest.raises(StorageUnavailableError) as caught:
        await cluster.connection()

    text = "storage x: none of its 2 hosts can be used: (1) a:1: it is a standby (2) b:2: it is a standby"
    assert str(caught.value) == text
    cluster.primary = B
    assert await cluster.connection() == B


async def test_only_what_no_host_accepts_is_an_error_of_configuration() -> None:
    cluster = Cluster(A, B, primary=None)
    cluster.refusal = StorageConfigurationError

    with pytest.raises(StorageConfigurationError, match="none of its 2 hosts"):
        await cluster.connection()


async def test_all_callers_share_one_search() -> None:
    cluster = Cluster(A, B, primary=B)
    cluster.open.clear()
    calls = [asyncio.create_task(cluster.connection()) for _ in range(5)]
    await asyncio.sleep(0)
    assert cluster.tried == [A]

    cluster.open.set()

    assert await asyncio.gather(*calls) == [B] * 5
    assert cluster.tried == [A, *[B] * 5]


async def test_all_callers_share_the_failure_of_a_search() -> None:
    cluster = Cluster(A, B, primary=None)
    cluster.open.clear()
    calls = [asyncio.create_task(cluster.connection()) for _ in range(5)]
    await asyncio.sleep(0)

    cluster.open.set()

    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in errors} == {StorageUnavailableError}
    assert cluster.tried == [A, B]


async def test_a_search_that_is_cancelled_is_taken_over() -> None:
    cluster = Cluster(A, B, primary=B)
    cluster.open.clear()
    calls = [asyncio.create_task(cluster.connection()) for _ in range(4)]
    await asyncio.sleep(0)

    calls[0].cancel()
    cluster.open.set()

    assert await asyncio.gather(*calls[1:]) == [B] * 3
    assert cluster.tried == [A, A, *[B] * 3]


async def test_a_search_waits_after_one_that_found_none() -> None:
    """However many ask again at once, a standby gets few connections."""
    cluster = Cluster(A, B, primary=None)
    loop = asyncio.get_running_loop()
    ends: list[float] = []
    for _ in range(3):
        with pytest.raises(StorageUnavailableError):
            await cluster.connection()
        ends.append(loop.time())

    assert min(ends[1] - ends[0], ends[2] - ends[1]) >= 0.19


async def test_a_search_follows_a_loss_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "sleep", None)
    cluster = Cluster(A, B, primary=A)
    await cluster.connection()
    cluster.primary = B

    assert await cluster.connection() == B
