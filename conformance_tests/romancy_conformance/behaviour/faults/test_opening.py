"""Apps that open while their database is down: a worker logs it and waits, a client gets an error at once."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import romancy.app
from romancy import Romancy
from romancy.engine.worker import opening
from romancy.errors import StorageConfigurationError, StorageUnavailableError, UsageError
from romancy.storage.backends import create_store
from romancy.storage.url import parse_url
from romancy_conformance.behaviour.cast import returns

if TYPE_CHECKING:
    from romancy_conformance.servers import Server

pytestmark = pytest.mark.anyio


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records if "waits for its database" in line.getMessage()]


@pytest.mark.timeout(300)
async def test_a_worker_waits_for_a_server_that_is_down(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    url = server.fresh_database()
    await asyncio.to_thread(server.kill)
    async with AsyncExitStack() as stack:
        try:
            with pytest.raises(StorageUnavailableError):
                await Romancy(url, workflows=[returns], worker=False).__aenter__()
            opening = asyncio.create_task(stack.enter_async_context(Romancy(url, workflows=[returns])))
            async with asyncio.timeout(120):
                while not said(caplog):  # noqa: ASYNC110 - a log tells nobody
                    await asyncio.sleep(0.01)
            assert not opening.done()
            shown = f"{urlsplit(url).hostname}:{urlsplit(url).port}{urlsplit(url).path} (for "
            assert shown in said(caplog)[0]
            assert not any(str(urlsplit(url).password) in line for line in said(caplog))
            for worker in (True, False):
                with pytest.raises(StorageUnavailableError, match=r"not reached within 0\.3 s \(connect_timeout\): "):
                    await Romancy(url, workflows=[returns], worker=worker, connect_timeout=0.3).__aenter__()
        finally:
            await asyncio.to_thread(server.start)
        app = await asyncio.wait_for(opening, 120)
        assert await app.run(returns, "hello") == "hello"


async def test_who_waits_says_so_again_and_opens_when_it_can(
    storage_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(opening, "_SAY_EVERY", 0.0)
    monkeypatch.setattr(opening, "_LONGEST_PAUSE", 0.01)
    away = 3

    def create(url: str, **options: Any) -> Any:
        store = create_store(url, **options)
        is_there = store.open

        async def open_(**options: Any) -> None:
            nonlocal away
            if away:
                away -= 1
                raise StorageUnavailableError("nobody answers")
            await is_there(**options)

        store.open = open_  # type: ignore[method-assign]
        return store

    monkeypatch.setattr(romancy.app, "create_store", create)
    async with Romancy(storage_url, workflows=[returns]) as app:
        assert await app.run(returns, "hello") == "hello"

    assert [line.partition(": ")[2] for line in said(caplog)] == ["nobody answers"] * 3
    assert any("the database is there" in line.getMessage() for line in caplog.records)


async def test_a_database_that_does_not_answer_at_all_is_told_as_well(
    storage_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_SILENT_AFTER", 0.05)

    def create(url: str, **options: Any) -> Any:
        store = create_store(url, **options)

        async def open_(**options: Any) -> None:
            await asyncio.get_running_loop().create_future()

        store.open = open_  # type: ignore[method-assign]
        return store

    monkeypatch.setattr(romancy.app, "create_store", create)
    with pytest.raises(StorageUnavailableError, match=r"connect_timeout.*it has not answered"):
        await Romancy(storage_url, workflows=[returns], connect_timeout=0.5).__aenter__()
    (line,) = said(caplog)
    assert line.endswith("it has not answered yet")


@pytest.mark.parametrize("worker", [True, False])
async def test_a_first_open_gives_up_after_a_minute_unless_the_user_says_otherwise(
    storage_url: str, monkeypatch: pytest.MonkeyPatch, *, worker: bool
) -> None:
    assert opening._WITHIN == 60  # pyright: ignore[reportPrivateUsage] - what the documentation promises
    monkeypatch.setattr(opening, "_WITHIN", 0.05)
    answers = asyncio.Event()

    def create(url: str, **options: Any) -> Any:
        store = create_store(url, **options)
        is_there = store.open

        async def open_(**options: Any) -> None:
            await answers.wait()
            await is_there(**options)

        store.open = open_  # type: ignore[method-assign]
        return store

    monkeypatch.setattr(romancy.app, "create_store", create)
    with pytest.raises(StorageUnavailableError) as gave_up:
        await Romancy(storage_url, workflows=[returns], worker=worker).__aenter__()
    told = str(gave_up.value)
    assert told.startswith(
        f"{parse_url(storage_url)}: not reached within 0.05 s (connect_timeout): it has not answered"
    )
    assert "Start the database or correct the URL" in told
    assert (password := urlsplit(storage_url).password) is None or f":{password}@" not in told
    for_ever = Romancy(storage_url, workflows=[returns], worker=worker, connect_timeout=math.inf)
    waits = asyncio.create_task(for_ever.__aenter__())
    with pytest.raises(StorageUnavailableError):  # a whole limit passes while it waits
        await Romancy(storage_url, workflows=[returns], worker=worker).__aenter__()
    assert not waits.done()
    answers.set()
    await asyncio.wait_for(waits, 60)
    await for_ever.__aexit__(None, None, None)


async def test_a_timeout_is_a_time() -> None:
    with pytest.raises(UsageError, match="connect_timeout must be more than 0 seconds"):
        Romancy("memory://", connect_timeout=0)


async def test_what_can_never_open_fails_at_once(server: Server) -> None:
    url = server.fresh_database()
    parts = urlsplit(url)
    missing = url.replace(parts.path, "/there_is_no_such_database")
    for wrong in (missing, f"nosuch://{parts.netloc}/x"):
        with pytest.raises(StorageConfigurationError):
            await asyncio.wait_for(Romancy(wrong, workflows=[returns]).__aenter__(), 120)
