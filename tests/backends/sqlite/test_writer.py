"""The writer: on which thread it commits, which writes share a commit, and what it does when the file is locked."""

# Which thread commits is not visible from outside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import RomancyError, StorageUnavailableError
from romancy.status import Status
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import append, change, full_log, start, step
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._lone_writer import LoneWriter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor
    from romancy_sqlite import SqliteStore
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._writer import Writer

    Open = Callable[..., Awaitable[SqliteStore]]

pytestmark = pytest.mark.anyio

SHORTEST_FREEZE = 4
"""Seconds, slightly less than a connection waits inside SQLite."""


def writer_of(store: SqliteStore) -> Writer:
    return store.file.writer


def thread_name(_: Tx) -> str:
    return threading.current_thread().name


@pytest.fixture
def fast(store: SqliteStore) -> Writer:
    """The writer of a disk that has been fast so far."""
    writer = writer_of(store)
    wait_for_thread(writer)
    pace(writer, 0.0)
    return writer


def wait_for_thread(writer: Writer) -> None:
    """Wait until the thread holds the file no more: it answers its callers shortly before."""
    with writer._alone:
        pass


def pace(writer: Writer, seconds: float) -> None:
    """Let the writer think that a commit takes so long."""
    writer._pace = None
    writer._measure(seconds, 0)


@pytest.fixture
def rival(store: SqliteStore, path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that has the file open."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    yield connection
    connection.close()


async def test_a_lone_write_on_a_fast_disk_stays_on_the_loops_thread(store: SqliteStore, fast: Writer) -> None:
    assert await store.run_write(thread_name, lone=True) == "MainThread"
    assert (await store.run_write(thread_name)).startswith("romancy-sqlite")


async def test_a_slow_disk_is_left_to_the_thread(store: SqliteStore, fast: Writer) -> None:
    pace(fast, 0.1)

    assert (await store.run_write(thread_name, lone=True)).startswith("romancy-sqlite")
    async with asyncio.timeout(60):  # the thread also measures, and finds the disk fast again
        while await store.run_write(thread_name, lone=True) != "MainThread":
            pass


async def test_one_slow_commit_is_no_slow_disk(store: SqliteStore, fast: Writer) -> None:
    """The machine was busy with something else; two in a row are due to the disk."""
    for _ in range(20):
        fast._measure(0.0002, 0)
    fast._measure(3.0, 0)
    assert await store.run_write(thread_name, weight=0, lone=True) == "MainThread"
    pace(fast, 0.0002)
    fast._measure(3.0, 0)
    fast._measure(3.0, 0)

    assert (await store.run_write(thread_name, weight=0, lone=True)).startswith("romancy-sqlite")


async def test_two_writes_in_one_turn_of_the_loop_share_a_commit_on_the_thread(
    store: SqliteStore, fast: Writer
) -> None:
    names = await asyncio.gather(*(store.run_write(thread_name, lone=True) for _ in range(64)))

    assert all(name.startswith("romancy-sqlite") for name in names)


async def test_only_the_first_of_many_can_be_mistaken_for_one_alone(store: SqliteStore, fast: Writer) -> None:
    """A lone write in the last turn does not wait for others now; those that arrive meanwhile share a commit."""
    assert await store.run_write(thread_name, lone=True) == "MainThread"

    turns = [await asyncio.gather(*(store.run_write(thread_name, lone=True) for _ in range(8))) for _ in range(3)]

    assert ["MainThread" in names[1:] for names in turns] == [False] * 3
    assert ["MainThread" in names for names in turns[1:]] == [False] * 2


async def test_one_after_another_is_alone_each_time_and_lets_others_run(store: SqliteStore, fast: Writer) -> None:
    other_turns = 0

    async def count_turns() -> None:
        nonlocal other_turns
        while True:
            other_turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    names: set[str] = set()
    until = time.perf_counter() + 60
    while other_turns < 10 and time.perf_counter() < until:
        pace(fast, 0.0)
        names.add(await store.run_write(thread_name, weight=0, lone=True))
    counting.cancel()

    assert names == {"MainThread"}
    assert other_turns >= 10


async def test_a_lone_append_is_one_statement_and_no_more(store: SqliteStore, actor: Actor, fast: Writer) -> None:
    begun = await actor.begin()
    await actor.write(step(begun, 2))
    wait_for_thread(fast)
    sent: list[str] = []
    fast._connection.set_trace_callback(sent.append)

    for seq in range(3, 6):
        pace(fast, 0.0)
        assert await actor.write(step(begun, seq)) is Outcome.ACCEPTED

    assert ["insert or ignore into romancy_log"] * 3 == [sql[:33] for sql in sent]


async def test_appends_that_wait_together_share_a_commit(store: SqliteStore, actor: Actor, fast: Writer) -> None:
    begun = [await actor.begin() for _ in range(64)]
    commits: list[str] = []
    fast._connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "commit" else None)

    async def all_step(seq: int) -> list[Outcome]:
        return await asyncio.gather(*(actor.write(step(one, seq)) for one in begun))

    outcomes = [await all_step(seq) for seq in range(2, 12)]

    assert outcomes == [[Outcome.ACCEPTED] * 64] * 10
    assert 10 <= len(commits) <= 20


async def test_a_commit_sets_savepoints_only_after_a_refusal(store: SqliteStore, actor: Actor, fast: Writer) -> None:
    begun = [await actor.begin() for _ in range(3)]
    savepoints: list[str] = []
    fast._connection.set_trace_callback(lambda sql: savepoints.append(sql) if "romancy_item" in sql else None)

    def endings(seq: int, *seen: int) -> list[Append]:
        ends = [change(Status.COMPLETED, seen=number) for number in seen]
        return [append(one, seq, change=end) for one, end in zip(begun, ends, strict=True)]

    running = [append(one, 2, change=change()) for one in begun]
    assert [Outcome.ACCEPTED] * 3 == await store.commit(running, worker=actor.token)
    assert [] == savepoints
    assert [Outcome.ACCEPTED, Outcome.UNSEEN, Outcome.ACCEPTED] == await store.commit(
        endings(3, 0, 7, 0), worker=actor.token
    )
    assert 3 * ["savepoint romancy_item"] == [sql for sql in savepoints if sql.startswith("savepoint")]
    assert [3, 2, 3] == [len(await full_log(store, one.instance_id)) for one in begun]


async def test_a_lone_write_does_not_wait_for_another_program(
    store: SqliteStore, fast: Writer, rival: sqlite3.Connection
) -> None:
    """A8: the loop's thread never waits for a lock; the other thread does."""
    rival.execute("begin immediate")
    asked = time.perf_counter()

    waiting = asyncio.create_task(store.commit([start()]))
    for _ in range(500):
        await asyncio.sleep(0)
    stood_still = time.perf_counter() - asked
    assert not waiting.done()
    rival.execute("rollback")

    assert await waiting == [Outcome.ACCEPTED]
    assert stood_still < SHORTEST_FREEZE


async def test_a_lone_write_does_not_wait_for_a_session_of_its_own_process(
    store: SqliteStore, actor: Actor, fast: Writer
) -> None:
    """A8: the holder of the session needs the event loop to continue and end it."""
    begun = [await actor.begin() for _ in range(2)]

    async with store.services.sessions.begin() as session:
        pace(fast, 0.0)
        waiting = asyncio.create_task(actor.write(step(begun[0], 2)))
        for _ in range(500):
            await asyncio.sleep(0)
        assert not waiting.done()
        assert await session.commit(step(begun[1], 2), worker=actor.token) is Outcome.ACCEPTED

    assert await waiting is Outcome.ACCEPTED


async def test_a_write_that_waits_too_long_fails_and_names_lock_timeout(open_store: Open, path: Path) -> None:
    store = await open_store(lock_timeout=0.2)
    rival = sqlite3.connect(path, isolation_level=None)
    rival.execute("begin immediate")

    with pytest.raises(StorageUnavailableError, match="raise lock_timeout in the storage URL") as caught:
        await store.commit([start()])
    rival.execute("rollback")
    rival.close()

    assert "database is locked" not in str(caught.value)
    assert await store.commit([start()]) == [Outcome.ACCEPTED]


async def test_closing_does_not_wait_for_another_program(store: SqliteStore, rival: sqlite3.Connection) -> None:
    rival.execute("begin immediate")
    waiting = asyncio.create_task(store.commit([start(), start()]))
    await asyncio.sleep(0)

    await asyncio.wait_for(store.close(), 60)

    with pytest.raises(StorageUnavailableError, match="closed during the call"):
        await waiting


async def test_work_that_fails_does_not_take_its_neighbours_along(store: SqliteStore, fast: Writer) -> None:
    def fail(_: Tx) -> None:
        raise LookupError("mine")

    items = [start() for _ in range(6)]
    calls: list[Any] = [store.commit([item]) for item in items]
    calls[3:3] = [store.run_write(fail, lone=True)]

    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(answers.pop(3), LookupError)
    assert answers == [[Outcome.ACCEPTED]] * 6
    assert all([await store.read(item.instance_id) is not None for item in items])


async def test_work_that_fails_on_the_loops_thread_fails_as_it_would_elsewhere(
    store: SqliteStore, fast: Writer
) -> None:
    def fail(_: Tx) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await store.run_write(fail, lone=True)

    assert await store.commit([start()]) == [Outcome.ACCEPTED]


@pytest.mark.parametrize("items", [1, 5], ids=["on the loop's thread", "on the writer's"])
async def test_a_full_disk_is_waited_out(store: SqliteStore, actor: Actor, fast: Writer, items: int) -> None:
    """F24: it is refused with a clear error, leaves nothing half done, and works again when there is room."""
    begun = [await actor.begin() for _ in range(items)]
    pages = fast._connection.execute("pragma page_count").fetchone()[0]
    fast._connection.execute(f"pragma max_page_count = {pages}")
    large = [step(one, 2, b'["' + b"x" * 200_000 + b'"]') for one in begun]

    with pytest.raises(StorageUnavailableError, match="disk that holds it is full; free some space"):
        await store.commit(large, worker=actor.token)
    lengths = [len(await full_log(store, one.instance_id)) for one in begun]
    fast._connection.execute("pragma max_page_count = 1073741823")

    assert lengths == [1] * items
    assert await store.commit(large, worker=actor.token) == [Outcome.ACCEPTED] * items


async def test_the_write_ahead_log_does_not_grow_for_ever(store: SqliteStore, actor: Actor, path: Path) -> None:
    begun = [await actor.begin() for _ in range(50)]
    for seq in range(2, 202):
        await store.commit([step(one, seq, b"x" * 300) for one in begun], worker=actor.token)

    assert restarts_of(path.with_name("romancy.db-wal")) == 10  # every 20 commits, whatever pages they fill
    assert size_of(path) > 3_000_000


def size_of(file: Path) -> int:
    return file.stat().st_size


def restarts_of(log: Path) -> int:
    """How often a write-ahead log was begun again from its first page: its header counts it."""
    with log.open("rb") as stream:
        return int.from_bytes(stream.read(16)[12:])


async def test_cancelled_work_that_was_waiting_is_not_done(store: SqliteStore) -> None:
    item = start()
    async with store.services.sessions.begin() as session:
        waiting = asyncio.create_task(store.commit([item, start()]))
        await asyncio.sleep(0)
        waiting.cancel()
        await session.commit(start())

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await store.commit([start()]) == [Outcome.ACCEPTED]
    assert await store.read(item.instance_id) is None


async def test_a_file_damaged_under_way_is_reported_as_such(store: SqliteStore, path: Path) -> None:
    await store.commit([start() for _ in range(50)])
    connection = store.file._idle
    scribble(path)
    for reader in connection:
        reader.close()
    connection.clear()

    with pytest.raises(RomancyError, match=r"the file is damaged|not an SQLite database"):
        await store.read("anything")


def scribble(path: Path) -> None:
    """Overwrite everything after the first page's header in the database and its log."""
    for file in (path, path.with_name(path.name + "-wal")):
        with file.open("r+b") as stream:
            stream.seek(100)
            stream.write(b"\xff" * (file.stat().st_size - 100))


async def test_calls_of_one_worker_that_wait_together_are_not_alone() -> None:
    """Whoever waits for the end of a turn is no former call that has ended, although the worker is the same."""
    lone = LoneWriter()

    assert await asyncio.gather(*(lone.alone("a worker") for _ in range(3))) == [False] * 3
    assert await lone.alone("a worker")
    assert [lone.expects_nobody("a worker") for _ in range(3)] == [True] * 3
