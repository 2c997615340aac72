"""Rollups on every database: exact numbers beyond the limit of present counts, while an overview is open."""

# What the pages cost is seen at the store.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.requests import Request

from romancy import Romancy, Status, WorkflowContext, workflow
from romancy._lists import Lists
from romancy.dashboard import Visitor, asgi
from romancy.dashboard._live import OpenPages
from romancy.dashboard._overview_page import EVERY, Overview, _overview, overview_question
from romancy.dashboard._reader import Reader
from romancy.dashboard._rollups import Rollups
from romancy.errors import StorageError
from romancy.serialization import NO_CODECS
from romancy.storage.passing import changed_by
from romancy.storage.services import Services
from tests.dashboard.browsing import Browser
from tests.dashboard.counting import CountingStore
from tests.dashboard.listening import Page

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

HOUR = 3_600_000_000


@workflow
async def ship(ctx: WorkflowContext) -> None: ...


@workflow
async def pay(ctx: WorkflowContext) -> None: ...


@pytest.fixture
async def app(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Romancy]:
    """Seven instances, of which a moment counts two."""
    monkeypatch.setattr("romancy.dashboard._overview_page.MOST", 2)
    monkeypatch.setattr("romancy.dashboard._overview_page.OLDEST", 2)
    async with Romancy(storage_url, workflows=[ship, pay], worker=False) as app:
        for number in range(7):
            await app.start((pay if number % 3 == 0 else ship).options(instance_id=f"i-{number}", delay=3600))
        await app.cancel("i-5", reason="test")
        yield app


def reader_of(store: Any, app: Romancy) -> Reader:
    return Reader(app, store, Lists(store), NO_CODECS, app)


async def now_of(app: Romancy) -> int:
    return (await app._access.opened().services.reading.census()).now


async def counted(rollups: Rollups, app: Romancy, store: Any = None, looks: int = 20) -> int:
    """Look until a count is complete, and return how many looks it took."""
    before = rollups.newest
    for look in range(1, looks + 1):
        await rollups.go_on(store or app._access.opened(), await now_of(app), 0.0, clock=lambda: 0.0)
        if rollups.newest is not before:
            return look
    raise AssertionError("it does not end")


async def seen_by(rollups: Rollups, app: Romancy) -> Overview:
    store = app._access.opened()
    return await _overview(reader_of(store, app), "24h", rollups, await store.services.reading.census())


def eager() -> Rollups:
    return Rollups(between=0.0, rest=0.0, first=2)


async def test_each_look_is_one_call(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven instances in slices of two take four looks."""
    monkeypatch.setattr("romancy.dashboard._rollups._LARGEST", 2)
    store, rollups = changed_by(app._access.opened(), CountingStore), eager()

    looks = await counted(rollups, app, store)

    assert (4, ["tally_slice"] * 4) == (looks, store.calls)
    assert rollups.newest is not None
    assert 7 == rollups.newest.total
    assert {("pay", Status.PENDING): 3, ("ship", Status.PENDING): 4} == rollups.newest.workflows


async def test_an_open_page_costs_at_most_a_query_a_second(app: Romancy) -> None:
    """There is a look in ten seconds. Stuck and failed instances would add two searches to it.

    Until all are counted, the look counts the newest ones too.
    """
    store, rollups = changed_by(app._access.opened(), CountingStore), eager()
    request = Request({"type": "http", "query_string": b"", "headers": []})
    _, question = overview_question(request, reader_of(store, app), rollups)

    await question()

    assert 1 == store.calls.count("tally_slice")
    assert len(store.calls) + 2 - store.calls.count("find") <= EVERY + store.calls.count("newest")
    assert {
        "census", "tally", "newest", "tally_slice", "open_work", "trend", "loads", "kept", "counts",
    } == set(store.calls)  # fmt: skip


async def test_an_open_page_counts_all_and_then_shows_it(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy.dashboard._application.EVERY", 0.01)
    monkeypatch.setattr("romancy.dashboard._live._SHARE", 0.0)
    dashboard = asgi(app, read_only=True, auth=lambda _: Visitor("ann", payloads=False))
    dashboard._live, dashboard._rollups = OpenPages(every=0.01), eager()
    browser = Browser(dashboard)
    before = browser.text(await browser.get("/"))

    page = Page(dashboard, "/changes/overview")
    await page.answer.say(b"event: changed")
    await page.leave()
    after = browser.text(await browser.get("/"))
    other = Browser(asgi(app, auth="local"))

    assert "pending 2+" in before
    assert "Counting the others, while this page is open." in before
    assert "among the newest 2 instances" in before
    assert "pending 7 *" in after
    assert "* All 7 instances were counted from" in after
    assert "among all 7 instances" in after
    assert "ship 4 – 4 pending" in after
    assert "pending 2+" in other.text(await other.get("/")), "each dashboard counts for itself"


async def test_without_an_open_page_nothing_is_counted(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    store = changed_by(app._access.opened(), CountingStore)
    monkeypatch.setattr(app._access, "opened", lambda: store)

    assert 200 == (await Browser(asgi(app, auth="local")).get("/")).status

    assert "tally" in store.calls
    assert "tally_slice" not in store.calls


async def test_few_instances_need_no_rollup(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy.dashboard._overview_page.MOST", 8)
    rollups = eager()
    await counted(rollups, app)

    seen = await seen_by(rollups, app)

    assert not seen.many
    assert seen.rollup is None
    assert [7] == [tile.number for tile in seen.tiles if tile.number]
    assert not any(tile.rolled for tile in seen.tiles)


async def test_what_changes_meanwhile_is_counted_once_at_most(app: Romancy) -> None:
    """One ends after its slice and one before it, one goes away before its slice, and one comes."""
    rollups = Rollups(between=0.0, rest=0.0, first=2)
    await rollups.go_on(app._access.opened(), await now_of(app), 0.0, clock=lambda: 0.0)
    for instance_id in ("i-6", "i-1", "i-0"):
        await app.terminate(instance_id, reason="test")
    await app.purge("i-0")
    await app.start(ship.options(instance_id="late", delay=3600))

    await counted(rollups, app)

    assert rollups.newest is not None
    found = rollups.newest.workflows
    assert (6, 2) == (rollups.newest.total, found["pay", Status.PENDING])
    assert 3 == found["ship", Status.PENDING], "the one that ended before its slice has ended, and the late one is new"
    assert 1 == sum(number for (_, status), number in found.items() if status is not Status.PENDING)


async def test_a_slice_that_fails_is_counted_again(app: Romancy) -> None:
    rollups, store = eager(), app._access.opened()

    class Away:
        async def tally_slice(self, **_: object) -> None:
            raise StorageError("away")

    away: Any = SimpleNamespace(services=Services(figures=cast("Any", Away())))
    await rollups.go_on(store, await now_of(app), 0.0, clock=lambda: 0.0)
    with pytest.raises(StorageError, match="away"):
        await rollups.go_on(away, await now_of(app), 0.0, clock=lambda: 0.0)
    await counted(rollups, app)

    assert rollups.newest is not None
    assert 7 == rollups.newest.total


async def test_slices_wait_for_each_other_and_counts_rest(app: Romancy) -> None:
    store, rollups = changed_by(app._access.opened(), CountingStore), Rollups(between=9.0, rest=60.0, first=7)
    now = await now_of(app)
    made = list[int]()
    for at in (0.0, 8.0, 10.0, 69.0, 71.0, 79.0, 500.0):
        await rollups.go_on(store, now, at, clock=lambda at=at: at)  # type: ignore[misc] # the clock stands
        made.append(len(store.calls))

    assert [1, 1, 2, 2, 3, 3, 4] == made


async def test_old_counts_and_those_of_a_closed_dashboard_are_not_shown(app: Romancy) -> None:
    dashboard = asgi(app, auth="local")
    dashboard._rollups = rollups = eager()
    await counted(rollups, app)
    now = await now_of(app)

    assert rollups.newest is rollups.known(now + HOUR // 2) is not None
    assert rollups.known(now + 2 * HOUR) is None
    await dashboard.close()
    assert rollups.known(now) is None


async def test_columns_that_are_not_whole_are_completed(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count is as if it were made some hours later, when the column of the starts is over."""
    monkeypatch.setattr("romancy.dashboard._rollups._LARGEST", 2)
    rollups, later = eager(), await now_of(app) + 5 * HOUR
    pale = await seen_by(eager(), app)
    while rollups.newest is None:
        await rollups.go_on(app._access.opened(), later, 0.0, clock=lambda: 0.0)

    day = (await seen_by(rollups, app)).over

    assert pale.over.partial
    assert not day.partial
    assert 4 == sum(one.total for one in day.workflows["ship"])
    assert (7, [(Status.PENDING, 7)]) == (day.columns[-1].total, day.columns[-1].parts)


async def test_old_times_are_kept_in_wide_spans(app: Romancy) -> None:
    rollups = eager()
    now = await now_of(app) + 400 * 24 * HOUR
    while rollups.newest is None:
        await rollups.go_on(app._access.opened(), now, 0.0, clock=lambda: 0.0)

    assert {("pay", Status.PENDING): 3, ("ship", Status.PENDING): 4} == rollups.newest.workflows
    assert 2 == len(rollups.newest.spans)
