"""Replaying what tests leave in their databases: every difference is found, and nothing else is reported."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
import msgspec
import pytest

from romancy import Romancy, Status, WorkflowContext, WorkflowFailedError, workflow
from romancy.core import TimerStarted, decode_commit, encode_commit
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.waiting import status_is
from romancy_conformance.replaying import Noted, Replayer, noting, replayed
from romancy_sqlite import MemoryStore
from tests.conformance import planted_workflows as planted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from romancy import Workflow
    from romancy_sqlite._connection import Tx


@pytest.fixture
def replayer() -> Iterator[Replayer]:
    """Another process."""
    replayer = Replayer()
    yield replayer
    replayer.close()


@contextmanager
def played(*calls: tuple[Workflow[..., Any], tuple[Any, ...]]) -> Generator[tuple[Noted, MemoryStore, str]]:
    """Run these in a database in memory, which exists during the block."""
    url = f"memory://{uuid4().hex}"
    store = create_store(url)
    assert isinstance(store, MemoryStore)

    async def play() -> None:
        async with Romancy(url, workflows={each.name: each for each, _ in calls}.values()) as app:
            for each, arguments in calls:
                handle = await app.start(each, *arguments)
                if each is planted.planted_waits:
                    await status_is(app, handle.instance_id, Status.WAITING)
                else:
                    try:
                        await handle.result(timeout=60)
                    except WorkflowFailedError:
                        continue

    with noting() as noted:
        anyio.run(play)
    yield noted, store, url


def write(store: MemoryStore, work: Callable[[Tx], object]) -> None:
    """Change its tables behind Romancy's back."""

    async def written() -> None:
        await store.open()
        await store.run_write(work)
        await store.close()

    anyio.run(written)


def armed_later(tx: Tx) -> None:
    """Let each log say that its timers were armed seven seconds later."""
    for instance_id, seq, body in tx.compose("select instance_id, seq, body from romancy_log", ()):
        commit = [
            msgspec.structs.replace(event, when=event.when + 7, due=event.due + 7_000_000)
            if isinstance(event, TimerStarted)
            else event
            for event in decode_commit(body)
        ]
        place = (encode_commit(commit), instance_id, seq)
        tx.run_text("update romancy_log set body = ? where instance_id = ? and seq = ?", place)


def test_a_replay_without_a_difference_is_not_reported(replayer: Replayer) -> None:
    calls = [(planted.planted_same, ("a",)), (planted.planted_same, ("b",))]
    with played(*calls, (planted.planted_waits, ()), (planted.planted_fails, ())) as (noted, _, url):
        replays = replayed(url, noted, replayer, swept=True)

    assert [] == replays.wrong
    assert {"elsewhere": 4} == +replays.counts


@pytest.mark.parametrize(
    ("diverges", "words"),
    [
        (planted.planted_order, "the code no longer fits the log"),
        (planted.planted_memory, "the code no longer fits the log"),
    ],
    ids=["by the hash seed", "by what its process has imported"],
)
def test_what_differs_elsewhere_is_found(replayer: Replayer, diverges: Workflow[..., Any], words: str) -> None:
    with played((diverges, ()), (planted.planted_same, ("a",))) as (noted, _, url):
        replays = replayed(url, noted, replayer)

    (problem,) = replays.wrong
    assert problem.startswith(diverges.name)
    assert words in problem
    assert {"elsewhere": 2} == +replays.counts


def test_a_timer_that_was_armed_at_another_time_than_its_replay_arms_it_is_found(replayer: Replayer) -> None:
    with played((planted.planted_waits, ())) as (noted, store, url):
        write(store, armed_later)
        replays = replayed(url, noted, replayer)

    (problem,) = replays.wrong
    assert "timer" in problem


def test_a_row_that_says_something_else_than_its_log_is_found(replayer: Replayer) -> None:
    with played((planted.planted_same, ("a",))) as (noted, store, url):
        write(store, lambda tx: tx.run_text("update romancy_instances set status = ?", (Status.FAILED.value,)))
        replays = replayed(url, noted, replayer)

    (problem,) = replays.wrong
    assert "ended as failed, and its replay as completed" in problem


@pytest.mark.long
@pytest.mark.parametrize(
    ("difficult", "why"),
    [
        (planted.planted_hang, "its replay takes too long"),
        (planted.planted_death, "not elsewhere but here, the other process has died"),
    ],
    ids=["that hangs", "that dies"],
)
def test_a_replay_elsewhere_that_does_not_end_is_counted(difficult: Workflow[..., Any], why: str) -> None:
    replayer = Replayer(patience=10)
    try:
        with played((difficult, ())) as (noted, _, url):
            replays = replayed(url, noted, replayer)
    finally:
        replayer.close()

    assert ([], {why: 1}) == (replays.wrong, +replays.counts)


def test_what_is_declared_inside_of_a_test_is_replayed_here(replayer: Replayer) -> None:
    seen: list[str] = []

    @workflow
    async def planted_inside(ctx: WorkflowContext) -> int:
        seen.append("run")
        return len(seen)

    with played((planted_inside, ())) as (noted, _, url):
        replays = replayed(url, noted, replayer)

    (problem,) = replays.wrong
    assert "planted_inside" in problem
    assert {"not elsewhere but here, declared inside of a test": 1} == +replays.counts


def test_a_database_that_is_gone_is_counted(replayer: Replayer, tmp_path: Path) -> None:
    replays = replayed(f"sqlite:///{tmp_path}/nowhere/romancy.db", Noted(), replayer)

    assert [] == replays.wrong
    assert sum(count for why, count in replays.counts.items() if "cannot be read any more" in why) == 1


TESTS = """
import pytest
from romancy import Romancy
from romancy_conformance.replaying.plugin import replay_afterwards
from tests.conformance.planted_workflows import planted_memory, planted_same

pytestmark = pytest.mark.anyio

@pytest.fixture(autouse=True)
def histories(request):
    yield from replay_afterwards(request)

async def play(url, which, *arguments):
    async with Romancy(url, workflows=[which]) as app:
        await app.run(which, *arguments)

async def test_same(storage_url):
    await play(storage_url, planted_same, "a")

async def test_other(storage_url):
    await play(storage_url, planted_memory)

@pytest.mark.unreplayable("on purpose")
async def test_marked(storage_url):
    await play(storage_url, planted_memory)

def test_without_a_database():
    pass
"""


@pytest.mark.long
def test_a_test_whose_history_differs_fails_when_it_has_passed(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")
    plugin = ("-p", "romancy_conformance.servers.plugin")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "ROMANCY_TEST_BACKENDS": "sqlite", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
        capture_output=True,
        text=True,
    )

    lines = done.stdout.splitlines()
    assert "4 passed, 1 error" in lines[-1], done.stdout
    assert "replayed in another process: 2" in lines
    assert "1 tests left out, on purpose" in lines
