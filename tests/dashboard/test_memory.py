"""The memory of a page does not grow with the log or with the table that it looks into.

`make soak` tries a log of 100,000 events and 20,000 instances.
"""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING, Final

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.dashboard import asgi
from romancy.dashboard._rollups import Rollups
from romancy.storage.query import build_query
from romancy.storage.slices import find_in_slices
from tests.dashboard.browsing import Browser
from tests.dashboard.long_log import plant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

LARGE: Final = bool(os.environ.get("ROMANCY_SOAK"))
EVENTS: Final = (24_000, 100_000) if LARGE else (4_000, 9_000)
"""Time travel looks back at up to 10,000 events, other views at 2,000. The logs of the large form are longer."""
OTHERS: Final = ("postgres", "mysql", "mariadb") if LARGE else ()
INSTANCES: Final = (500, 20_000 if LARGE else 3_000)
MORE: Final = 400_000
"""Bytes that the larger one may take beyond the smaller one. All of its log or rows would be several times as many."""
VIEWS: Final = (
    "", "?row={middle}.0", "?view=graph&row={middle}.0", "?view=family&row={middle}.0", "?view=state&at={middle}.0",
    "?view=log&row={middle}.0", "?view=compare&with={name}",
)  # fmt: skip


@workflow
async def order(ctx: WorkflowContext, city: str, total: int) -> None: ...


async def peak(work: Callable[[], Awaitable[object]]) -> int:
    """The bytes that the second of two rounds takes at once."""
    await work()
    tracemalloc.start()
    try:
        await work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.backends("sqlite", *OTHERS)
async def test_a_page_of_a_long_log_takes_no_more_memory(storage_url: str) -> None:
    few, many = EVENTS
    async with Romancy(storage_url, workflows=[], worker=False):
        await plant(storage_url, few, "short")
        await plant(storage_url, many, "long")
    dashboard = asgi(storage_url, auth="local")
    browser, found = Browser(dashboard), dict[str, tuple[int, int]]()

    async def asked(target: str) -> None:
        assert 200 == (await browser.get(target)).status

    for view in VIEWS:
        short = f"/instances/short{view.format(middle=few // 4, name='short')}"
        long = f"/instances/long{view.format(middle=(many if LARGE else few) // 4, name='long')}"
        found[view] = (await peak(lambda short=short: asked(short)), await peak(lambda long=long: asked(long)))  # type: ignore[misc] # of this round
    await dashboard.close()

    assert {} == {view: peaks for view, peaks in found.items() if peaks[1] > peaks[0] + MORE}


@pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")
async def test_searches_and_counts_of_many_take_no_more_memory(storage_url: str) -> None:
    """A search that looks at all and finds nothing, the overview, and a whole count in slices."""
    few, many = INSTANCES
    peaks = list[dict[str, int]]()
    async with Romancy(storage_url, workflows=[order], worker=False) as app:
        store = app._access.opened()  # pyright: ignore[reportPrivateUsage] - what is searched
        browser = Browser(asgi(app, auth="local"))

        async def searched() -> None:
            assert [] == (await find_in_slices(store, build_query({"city": "Wien"}), within=600, first=200)).rows

        async def shown() -> None:
            assert 200 == (await browser.get("/")).status
            assert 200 == (await browser.get("/instances?where=total%3E%3D0")).status

        async def counted() -> None:
            rollups, now = Rollups(between=0.0, first=200), (await store.services.reading.census()).now
            while rollups.newest is None:
                await rollups.go_on(store, now, 0.0)

        for number in (few, many):
            for first in range(0, number, 500):
                some = range(first, min(first + 500, number))
                await app.start_many([order.options(instance_id=f"i-{number}-{one}").bind("Graz", one) for one in some])
            works = {"search": searched, "pages": shown, "count": counted}
            peaks.append({what: await peak(work) for what, work in works.items()})

    assert {} == {what: (few, peaks[1][what]) for what, few in peaks[0].items() if peaks[1][what] > few + MORE}
