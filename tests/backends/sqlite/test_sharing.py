"""One writer for each process and file, however many stores there are; a child process inherits none."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest

from romancy.errors import RomancyError, StorageUnavailableError, UsageError
from romancy.storage.records import Outcome
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import Actor, full_log, start, step, unique
from romancy_sqlite import create_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from romancy_sqlite import SqliteStore

    Open = Callable[..., Awaitable[SqliteStore]]

pytestmark = pytest.mark.anyio


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("romancy-sqlite /")]


async def test_stores_on_one_file_share_its_writer(open_store: Open, path: Path, tmp_path: Path) -> None:
    soft, hard = tmp_path / "soft.db", tmp_path / "hard.db"
    first = await open_store()
    soft.symlink_to(path)
    hard.hardlink_to(path)

    others = [await open_store(), await open_store(soft), await open_store(hard), await open_store(prefix="shop_")]

    assert len(writers()) == 1
    item = start()
    await first.commit([item])
    assert [await store.read(item.instance_id) is not None for store in others] == [True, True, True, False]


async def test_the_writer_ends_with_the_last_store(open_store: Open) -> None:
    first, second = await open_store(), await open_store()

    await first.close()
    assert len(writers()) == 1
    assert await second.commit([start()]) == [Outcome.ACCEPTED]
    await second.close()

    assert writers() == []


def move_away(path: Path, to: Path) -> None:
    path.rename(to)
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).unlink()


async def test_a_file_put_in_the_place_of_another_is_another(open_store: Open, path: Path, tmp_path: Path) -> None:
    first = await open_store()
    item = start()
    await first.commit([item])
    move_away(path, tmp_path / "away.db")

    second = await open_store()

    assert len(writers()) == 2
    assert await second.read(item.instance_id) is None


async def test_event_loops_of_several_threads_share_a_file(store: SqliteStore, actor: Actor, path: Path) -> None:
    begun = await actor.begin()

    async def elsewhere() -> list[Outcome]:
        other = create_store(parse_url(f"sqlite:///{path}"))
        await other.open()
        outcomes = await other.commit([step(begun, 2)], worker=actor.token)
        outcomes += await other.commit([start() for _ in range(20)])
        await other.close()
        return outcomes

    answers = await asyncio.gather(*(asyncio.to_thread(asyncio.run, elsewhere()) for _ in range(4)))

    assert sorted(answer[0] for answer in answers) == [Outcome.ACCEPTED] + [Outcome.TAKEN] * 3
    assert all(answer[1:] == [Outcome.ACCEPTED] * 20 for answer in answers)
    assert len(await full_log(store, begun.instance_id)) == 2


async def test_calls_in_flight_fail_when_the_store_is_closed(open_store: Open) -> None:
    holder, store = await open_store(), await open_store()
    async with holder.services.sessions.begin():
        waiting = asyncio.ensure_future(store.commit([start(), start()]))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(StorageUnavailableError, match="closed during the call"):
            await waiting

    assert await holder.commit([start()]) == [Outcome.ACCEPTED]


async def test_a_session_in_flight_ends_when_its_store_is_closed(store: SqliteStore, open_store: Open) -> None:
    other = await open_store()

    async def use_after_close() -> None:
        async with store.services.sessions.begin() as session:
            await store.close()
            await session.execute("select 1")

    with pytest.raises(UsageError, match="closed"):
        await use_after_close()

    assert await other.commit([start()]) == [Outcome.ACCEPTED]


def in_child(check: Callable[[], str]) -> str:
    """Return what `check` returns in a forked child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, check().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_neither_use_nor_reopen_the_file(path: Path) -> None:
    """SQLite's locks stay with the parent; a child that assumes them would damage the file."""
    store = create_store(parse_url(f"sqlite:///{path}"))

    def error_of(call: Awaitable[object]) -> str:
        async def run() -> None:
            await call

        try:
            asyncio.run(run())
        except RomancyError as error:
            return f"{type(error).__name__}: {error}"
        return "no error"

    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.open())
    used = in_child(lambda: error_of(store.read(unique())))
    reopened = in_child(lambda: error_of(create_store(parse_url(f"sqlite:///{path}")).open()))
    outcome = loop.run_until_complete(store.commit([start()]))
    loop.run_until_complete(store.close())
    after = in_child(lambda: error_of(create_store(parse_url(f"sqlite:///{path}")).open()))
    loop.close()

    assert outcome == [Outcome.ACCEPTED]
    assert used.startswith("UsageError")
    assert "before this process was forked" in used
    assert reopened.startswith("UsageError")
    assert after == "no error"
