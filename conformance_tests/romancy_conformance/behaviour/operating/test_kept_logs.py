"""Log lines that an app keeps: each once, of bodies and activities, whoever goes on with the instance."""

# The option for a store around the app's own is of the test kit alone.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from romancy import (
    InstanceNotFoundError,
    KeepLogs,
    LogLine,
    QueryError,
    Romancy,
    Status,
)
from romancy.errors import StorageUnavailableError
from romancy.storage.backends import create_store
from romancy.storage.services import MissingServiceError, Service, Services
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.logging_flows import GO, chatty, interrupted, retries, told
from romancy_conformance.behaviour.waiting import status_is
from romancy_conformance.changing import changed
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from romancy.storage.journal import NewLine
    from romancy.storage.protocol import Store

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

SOON = 30.0


@pytest.fixture(autouse=True)
def _wanted(storage_url: str) -> None:
    services_with(Service.JOURNAL, create_store(storage_url))


async def all_of(lines: AsyncIterator[LogLine]) -> list[LogLine]:
    async with asyncio.timeout(SOON):
        return [line async for line in lines]


RUN = [
    "it begins for ann",
    "an attempt for ann",
    "plain logging for ann",
    "between",
    "a thread for ann",
    "plain logging of a thread",
    "it waits",
    "it goes on",
]


async def test_each_line_is_kept_once_whoever_goes_on(open_app: Open, storage_url: str) -> None:
    reader = await open_app(worker=False)  # keeps a database in memory
    async with Romancy(storage_url, workflows=[told], keep_logs="INFO") as first:
        await first.start(told.options(instance_id="a"), "ann")
        await status_is(first, "a", Status.WAITING)
    assert RUN[:-1] == [line.message for line in await all_of(reader.logs_of("a"))]

    app = await open_app(keep_logs="INFO")
    handle = app.handle("a")
    following = asyncio.ensure_future(all_of(handle.logs(follow=True)))
    for _ in range(2):
        await app.signal("a", GO, "go")
    assert "ann" == await handle.result(timeout=SOON)

    lines = await following
    assert [*RUN, *RUN] == [line.message for line in lines]
    assert [1] * 8 + [2] * 8 == [line.run for line in lines]
    assert len(lines) == len({line.cursor for line in lines})
    assert RUN == [line.message for line in await all_of(reader.logs_of("a", after=lines[7].cursor))]


async def test_a_line_says_where_it_is_from(open_app: Open) -> None:
    app = await open_app(keep_logs=KeepLogs("INFO"), worker_id="w1")
    handle = await app.start(retries.options(instance_id="r"))
    await handle.result(timeout=SOON)

    first, second = await all_of(handle.logs(follow=True))
    assert ("ERROR", "attempt 1 fails", 1) == (first.level, first.message, first.attempt)
    assert "ValueError: no card" in str(first.error)
    assert "fails_once" in str(first.error)
    assert ("INFO", "attempt 2", 2, None) == (second.level, second.message, second.attempt, second.error)
    assert {("w1", "romancy.activity", "fails_once:1", 1)} == {
        (one.worker_id, one.logger, one.activity_id, one.run) for one in (first, second)
    }
    assert first.at <= second.at
    assert [first] == await all_of(handle.logs(level="WARNING"))


async def test_nothing_is_kept_unless_the_app_says_so(app: Romancy) -> None:
    handle = await app.start(retries.options(instance_id="n"))
    await handle.result(timeout=SOON)

    assert [] == await all_of(handle.logs(follow=True))
    assert all(type(one).__module__ != "romancy.engine.line_keeper" for one in logging.getLogger().handlers)


async def test_of_ten_thousand_lines_the_newest_stay(open_app: Open) -> None:
    app = await open_app(keep_logs=KeepLogs(lines=300))
    handle = await app.start(chatty.options(instance_id="c"), 10_000)
    await handle.result(timeout=SOON)

    lines = await all_of(handle.logs(follow=True))
    while lines[-1].message != "line 9999":
        lines = await all_of(handle.logs())
    assert [f"line {number}" for number in range(9_700, 10_000)] == [line.message for line in lines[-300:]]
    assert [f"line {number}" for number in range(9_700, 10_000)] == [
        line.message for line in await all_of(handle.logs())
    ]


async def test_pages_have_all_lines_in_their_order(open_app: Open) -> None:
    app = await open_app(keep_logs="INFO")
    handle = await app.start(chatty.options(instance_id="p"), 50)
    await handle.result(timeout=SOON)
    await all_of(handle.logs(follow=True))

    seen: list[str] = []
    cursor = None
    while (page := await app.log_page("p", after=cursor, limit=7)).next_cursor is not None:
        seen += [line.message for line in page.lines]
        cursor = page.next_cursor
    assert [f"line {number}" for number in range(50)] == seen
    assert [] == page.lines
    assert [] == (await app.log_page("p", level="ERROR")).lines
    with pytest.raises(QueryError, match="the cursor is malformed"):
        await app.log_page("p", after="7")
    with pytest.raises(InstanceNotFoundError):
        await all_of(app.logs_of("nobody"))


async def test_a_purge_removes_the_lines_and_the_id_begins_anew(open_app: Open) -> None:
    app = await open_app(keep_logs="INFO")
    for count in (3, 2):
        handle = await app.start(chatty.options(instance_id="again"), count)
        await handle.result(timeout=SOON)
        lines = await all_of(handle.logs(follow=True))
        assert [f"line {number}" for number in range(count)] == [line.message for line in lines]
        assert await app.purge("again")
        with pytest.raises(InstanceNotFoundError):
            await all_of(app.logs_of("again"))


async def test_what_is_logged_while_it_is_cancelled_is_kept(open_app: Open) -> None:
    app = await open_app(keep_logs="INFO")
    handle = await app.start(interrupted.options(instance_id="x"))
    await status_is(app, "x", Status.WAITING)
    await handle.cancel()

    assert ["it is cleaned up"] == [line.message for line in await all_of(handle.logs(follow=True))]


async def test_lines_are_sealed_as_payloads_are(open_app: Open) -> None:
    app = await open_app(keep_logs="INFO", codecs=[Masking()])
    handle = await app.start(chatty.options(instance_id="s"), 2)
    await handle.result(timeout=SOON)
    stranger = await open_app(worker=False)

    assert ["line 0", "line 1"] == [line.message for line in await all_of(handle.logs(follow=True))]
    sealed = await all_of(stranger.logs_of("s"))
    assert ["(sealed: it takes the codecs of the app to read this line)"] * 2 == [line.message for line in sealed]


@pytest.mark.long
async def test_after_a_kill_what_was_written_is_there_once(open_app: Open, storage_url: str) -> None:
    if storage_url.startswith("memory"):
        pytest.skip("capability: one process alone has this database")
    reader = await open_app(worker=False)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "romancy_conformance.behaviour.logging_flows",
        storage_url,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await status_is(reader, "k", Status.WAITING)
        while [RUN[-2]] != [line.message for line in (await all_of(reader.logs_of("k")))[-1:]]:  # noqa: ASYNC110 - no news of lines
            await asyncio.sleep(0.05)
    finally:
        process.kill()
        await process.wait()
    app = await open_app(keep_logs="INFO")
    for _ in range(2):
        await app.signal("k", GO, "go")
    await app.handle("k").result(timeout=SOON)

    assert [*RUN, *RUN] == [line.message for line in await all_of(app.logs_of("k", follow=True))]


async def test_no_step_waits_for_lines_and_they_come_after_an_outage(storage_url: str) -> None:
    back, tried, written = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def failing(store: Store) -> Store:
        journal = store.services.journal

        async def put(lines: Sequence[NewLine], /, *, keep: int, again: bool = False) -> list[NewLine]:
            tried.set()
            if not back.is_set():
                raise StorageUnavailableError("the journal is away")
            absent = await journal.put(lines, keep=keep, again=again)
            written.set()
            return absent

        return changed(store, services=store.services.wrapped(journal=lambda one: changed(one, put=put)))

    app = Romancy(storage_url, workflows=[chatty], keep_logs="INFO")
    app._settings = replace(app._settings, around=failing)
    async with app:
        handle = await app.start(chatty.options(instance_id="o"), 3)
        assert 3 == await handle.result(timeout=SOON)
        async with asyncio.timeout(SOON):
            await tried.wait()
        assert [] == await all_of(handle.logs())
        back.set()
        assert 3 == await (await app.start(chatty, 3)).result(timeout=SOON)
        async with asyncio.timeout(SOON):
            await written.wait()
        assert ["line 0", "line 1", "line 2"] == [line.message for line in await all_of(handle.logs())]


async def test_an_adapter_that_keeps_no_lines_says_so_by_name(storage_url: str) -> None:
    app = Romancy(storage_url, workflows=[told], keep_logs="INFO")
    app._settings = replace(app._settings, around=_without_journal)

    with pytest.raises(MissingServiceError, match=r"no service 'journal' .*streams and `keep_logs=` do not work"):
        await app.__aenter__()
    assert not app.is_open


def _without_journal(store: Store) -> Store:
    services = {name.value: getattr(store.services, name.value) for name in store.services.offered}
    del services["journal"]
    return changed(store, services=Services(**services))
