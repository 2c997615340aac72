"""A process hears of another one's commit at once, without looking often, and without giving a lock away."""

# Which descriptors an ear has is not visible from outside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import os
import select
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from romancy_conformance.contract.building import settle, start, step
from romancy_sqlite import _ear, _watch
from romancy_sqlite._ear import Ear, announce
from romancy_sqlite._writer import Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from romancy_conformance.contract.building import Actor
    from romancy_sqlite import SqliteStore

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")]

HOUR = 3600.0

_PROGRAM = """
import asyncio, sqlite3, sys
from romancy.storage.backends import create_store
from romancy.storage.joining import Joined
from romancy_conformance.contract.building import start
from romancy_sqlite import _watch
_watch._SHORTEST_PAUSE = _watch._LONGEST_PAUSE = 3600.0

async def commit(store):
    await store.commit([start()])

async def together(store):
    await store.commit([start(), start()])

async def session(store):
    async with store.services.sessions.begin() as session:
        await session.commit(start())

async def joined(store):
    connection = sqlite3.connect(sys.argv[1].removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("begin immediate")
    ends = []
    async def run(work):
        return work()
    async with store.services.sessions.join(Joined(connection, run, ends.append)) as session:
        await session.commit(start())
    connection.execute("commit")
    ends[0]()
    connection.close()

async def answer(store):
    assert await store.wait_for_work(200) is None
    await store.commit([start()])

async def main():
    store = create_store(sys.argv[1])
    await store.open()
    while await store.wait_for_work(0.05) != frozenset():
        pass
    print("ready", flush=True)
    await globals()[sys.argv[2]](store)
    print("done", flush=True)
    sys.stdin.read()  # what is heard is not the end of this process
    await store.close()
asyncio.run(main())
"""


@pytest.fixture
def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at intervals of an hour, so that what is heard soon was announced."""
    monkeypatch.setattr(_watch, "_SHORTEST_PAUSE", HOUR)
    monkeypatch.setattr(_watch, "_LONGEST_PAUSE", HOUR)


class OtherProcess:
    """A process with the file open, which does one thing and stays."""

    def __init__(self, path: Path, does: str) -> None:
        command = [sys.executable, "-c", _PROGRAM, f"sqlite:///{path}", does]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    async def says(self, word: str) -> None:
        """Wait until it says this."""
        assert self._process.stdout is not None
        assert (await asyncio.to_thread(self._process.stdout.readline)).strip() == word

    def end(self) -> None:
        """Let it end."""
        self._process.communicate("")


@pytest.mark.parametrize("way", ["commit", "together", "session", "joined"])
@pytest.mark.usefixtures("no_looks")
async def test_every_way_to_commit_is_heard(store: SqliteStore, path: Path, way: str) -> None:
    await settle(store)
    waiting = asyncio.create_task(store.wait_for_work(250))

    other = OtherProcess(path, way)
    try:
        assert await asyncio.wait_for(waiting, 240) is None
    finally:
        other.end()


@pytest.mark.usefixtures("no_looks")
async def test_two_processes_answer_each_other(store: SqliteStore, path: Path) -> None:
    other = OtherProcess(path, "answer")
    try:
        await other.says("ready")
        await settle(store)
        await store.commit([start()])
        while await store.wait_for_work(240) is not None:
            pass  # of its own commit
        await other.says("done")
    finally:
        other.end()


@pytest.mark.usefixtures("no_looks")
async def test_a_file_behind_a_symbolic_link(
    store: SqliteStore, path: Path, open_store: Callable[..., Awaitable[SqliteStore]], tmp_path: Path
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with sqlite3.connect(path) as other:
        linked = await open_store(link)
        await settle(linked)
        other.execute("create table of_others (name)")
    other.close()
    announce(store.file.log)

    assert await linked.wait_for_work(240) is None


async def heard_by(log: str, work: Awaitable[Any]) -> bool:
    """Whether anybody announced anything during the work."""
    end = _ear._watched(log)
    assert end is not None
    try:
        await work
        return bool(select.select([end], [], [], 0)[0])
    finally:
        os.close(end)


async def test_what_is_news_to_nobody_is_not_announced(store: SqliteStore, actor: Actor) -> None:
    begun = await actor.begin()
    log = store.file.log

    assert not await heard_by(log, actor.write(step(begun, 2)))
    assert not await heard_by(log, store.read(begun.instance_id))
    assert await heard_by(log, store.commit([start()]))


async def test_an_announcement_gives_no_lock_away(store: SqliteStore, path: Path) -> None:
    """To close a file that SQLite has locked would drop the locks of the process."""
    tries = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('begin immediate')"
    async with store.services.sessions.begin() as session:
        await session.execute("create table of_users (name)")
        announce(store.file.log)

        tried = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", tries], capture_output=True, text=True)

    assert "database is locked" in tried.stderr


async def test_a_closed_store_keeps_no_descriptor(open_store: Callable[..., Awaitable[SqliteStore]]) -> None:
    store = await open_store()
    await store.close()
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208

    for _ in range(3):
        await store.open()
        await store.commit([start()])
        await store.close()

    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_without_it_the_store_looks_at_intervals(
    monkeypatch: pytest.MonkeyPatch, open_store: Callable[..., Awaitable[SqliteStore]], path: Path
) -> None:
    def refused(log: str) -> None:
        """The system has no more of them."""

    monkeypatch.setattr(_ear, "_watched", refused)
    store = await open_store()
    await settle(store)

    other = OtherProcess(path, "commit")
    try:
        assert await store.wait_for_work(240) is None
    finally:
        other.end()


async def test_an_event_loop_that_cannot_wait_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_reader", refuse)
    monkeypatch.setattr(loop, "remove_reader", refuse)
    log = tmp_path / "log"
    log.touch()
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208

    Ear(str(log), lambda: True).close()

    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208

    announce(str(tmp_path / "log"))

    assert _ear._watched(str(tmp_path / "log")) is None
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


class _Hand:
    """An event loop whose time is turned by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._readers: dict[int, Callable[[], None]] = {}
        self._timers: list[_Timer] = []

    def time(self) -> float:
        return self.now

    def add_reader(self, end: int, call: Callable[[], None]) -> None:
        self._readers[end] = call

    def remove_reader(self, end: int) -> None:
        self._readers.pop(end, None)

    def call_later(self, seconds: float, call: Callable[[], None]) -> _Timer:
        timer = _Timer(self.now + seconds, call)
        self._timers.append(timer)
        return timer

    def turn(self, seconds: float) -> None:
        """Let so much time pass, and call what is due."""
        self.now += seconds
        due = [timer for timer in self._timers if timer.due <= self.now]
        self._timers = [timer for timer in self._timers if timer.due > self.now]
        for timer in due:
            if timer.call is not None:
                timer.call()
        for end in select.select(list(self._readers), [], [], 0)[0]:
            self._readers[end]()


class _Timer:
    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due = due
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class _Heard:
    """An ear on a file, in an event loop that is turned by hand, and when it looked."""

    def __init__(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = _Hand()
        self.log = str(log)
        self.times: list[float] = []
        self.can_look = True
        log.touch()
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "get_running_loop", lambda: self.loop)
            self.ear = Ear(self.log, self._look)

    def _look(self) -> bool:
        self.times.append(self.loop.now)
        return self.can_look

    def pass_time(self, seconds: float, *, announcing: bool = False, step: float = 0.0005) -> int:
        """Let time pass in small steps. Return how often it looked meanwhile."""
        before, end = len(self.times), self.loop.now + seconds
        while self.loop.now < end:
            if announcing:
                announce(self.log)
            self.loop.turn(step)
        return len(self.times) - before


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = _Heard(tmp_path / "log", monkeypatch)
    yield made
    made.ear.close()


async def test_a_lone_announcement_is_one_look(heard: _Heard) -> None:
    assert heard.pass_time(1.0) == 0
    announce(heard.log)
    heard.loop.turn(0.0)
    assert heard.times == [heard.loop.now]
    assert heard.pass_time(10.0) == 0


async def test_two_that_answer_each_other_hear_each_other_at_once(heard: _Heard) -> None:
    for _ in range(100):
        announce(heard.log)
        heard.loop.turn(0.0)
        assert heard.times[-1] == heard.loop.now
        heard.pass_time(0.004)


async def test_a_stream_of_announcements_is_heard_fifty_times_a_second(heard: _Heard) -> None:
    heard.pass_time(1.0, announcing=True)

    assert 40 <= heard.pass_time(1.0, announcing=True) <= 51

    heard.pass_time(0.2)
    announce(heard.log)
    heard.loop.turn(0.0)
    heard.pass_time(0.0015)  # after a silence, the pause is short again
    announce(heard.log)
    heard.loop.turn(0.0)
    assert heard.times[-1] == heard.loop.now


async def test_what_could_not_be_looked_at_is_looked_at_again(heard: _Heard) -> None:
    heard.can_look = False
    announce(heard.log)
    heard.pass_time(0.1)
    looked = len(heard.times)
    assert 2 <= looked <= 110

    heard.can_look = True
    heard.pass_time(0.1)
    assert len(heard.times) == looked + 1


async def test_a_closed_ear_hears_nothing(heard: _Heard) -> None:
    heard.can_look = False
    announce(heard.log)
    heard.loop.turn(0.0)
    heard.ear.close()
    before = len(heard.times)

    assert heard.pass_time(1.0, announcing=True) == 0
    assert len(heard.times) == before


@pytest.mark.usefixtures("no_looks")
async def test_a_look_while_this_process_writes_is_made_up_for(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle(store)
    writer: Writer = store.file.writer
    waiting = asyncio.create_task(store.wait_for_work(250))
    refusals = asyncio.Event()
    looks = Writer.changed_by_others

    def counted(self: Writer) -> bool | None:
        changed = looks(self)
        if changed is None:
            refusals.set()
        return changed

    monkeypatch.setattr(Writer, "changed_by_others", counted)
    with writer._alone:
        other = OtherProcess(path, "commit")
        try:
            await asyncio.wait_for(refusals.wait(), 240)
        finally:
            other.end()
        assert not waiting.done()

    assert await asyncio.wait_for(waiting, 240) is None
