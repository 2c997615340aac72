"""Requests and events that no worker has taken, and events that fit no wait: told by the app, on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, Status, TerminalError, WorkflowContext, WorkflowFailedError, activity, workflow
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import sleeps, waits
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

NOBODY = "no worker has taken it: none is alive"
broken = {"yes": False}


@activity
async def declined() -> None:
    raise TerminalError("declined")


calls_declined = calling(declined)


@workflow
async def untaken_change(ctx: WorkflowContext) -> None:
    if broken["yes"]:
        await ctx.sleep(1)
    await ctx.wait_event("paid")


ALL = (waits, calls_declined, sleeps, untaken_change)


@pytest.fixture
async def client(storage_url: str) -> AsyncGenerator[Romancy]:
    """An app that runs nothing. It keeps a database in memory alive."""
    async with Romancy(storage_url, workflows=ALL, worker=False) as app:
        yield app


async def waiting(storage_url: str, call: Any, instance_id: str) -> None:
    """Start it, and stop its worker when it waits."""
    async with Romancy(storage_url, workflows=ALL) as app:
        handle = await app.start_many([call])
        await status_is(app, handle[0].instance_id, Status.WAITING)
        assert handle[0].instance_id == instance_id


async def told(app: Romancy, instance_id: str) -> str:
    return " ".join(await app.explain(instance_id))


async def test_a_cancel_that_no_worker_has_taken_is_told(storage_url: str, client: Romancy) -> None:
    await waiting(storage_url, sleeps.options(instance_id="c-1").bind(), "c-1")

    assert await client.cancel("c-1", reason="the customer called")
    reasons = await client.explain("c-1")
    found = await client.get_instance("c-1", waits=True)

    assert reasons[0].startswith("A cancel was requested ")
    assert "(the customer called); " + NOBODY in reasons[0]
    assert found is not None
    assert found.untaken is not None
    assert [("cancel", "the customer called")] == [(one.kind, one.name) for one in found.untaken]


async def test_a_cancel_that_was_taken_is_told_no_longer(storage_url: str, client: Romancy) -> None:
    async with Romancy(storage_url, workflows=ALL) as app:
        handle = await app.start(sleeps.options(instance_id="c-2"))
        await status_is(app, handle.instance_id, Status.WAITING)
        await handle.cancel()
        await status_is(app, handle.instance_id, Status.CANCELLED)

        found = await app.get_instance("c-2", waits=True)
        assert found is not None
        assert () == found.untaken
        assert "requested" not in await told(app, "c-2")


async def test_a_start_that_is_cancelled_before_a_worker_began_it(storage_url: str, client: Romancy) -> None:
    await client.start(waits.options(instance_id="c-3"), "paid")
    assert await client.cancel("c-3")
    await client.signal("c-3", "paid")

    said = await told(client, "c-3")

    assert NOBODY in said
    assert "A cancel was requested" in said
    assert "The event 'paid' was sent to it" in said


async def test_a_retry_that_no_worker_has_taken_is_told(storage_url: str, client: Romancy) -> None:
    async with Romancy(storage_url, workflows=ALL) as app:
        handle = await app.start(calls_declined.options(instance_id="r-1"))
        with pytest.raises(WorkflowFailedError):
            await handle.result(timeout=60)

    await client.retry("r-1")
    said = await told(client, "r-1")

    assert "A retry was requested " in said
    assert NOBODY in said


async def test_a_resume_that_no_worker_has_taken_is_told(
    storage_url: str, client: Romancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiting(storage_url, untaken_change.options(instance_id="s-1").bind(), "s-1")
    monkeypatch.setitem(broken, "yes", value=True)
    await client.signal("s-1", "paid")
    async with Romancy(storage_url, workflows=ALL) as app:
        await status_is(app, "s-1", Status.STUCK)
    await client.resume("s-1")
    said = await told(client, "s-1")

    assert "A resume was requested " in said
    assert NOBODY in said


async def test_an_event_that_no_worker_has_taken_is_told(storage_url: str, client: Romancy) -> None:
    await waiting(storage_url, waits.options(instance_id="e-1").bind("paid"), "e-1")

    await client.signal("e-1", "paid", {"secret": "4711"})
    said = await told(client, "e-1")

    assert "The event 'paid' was sent to it " in said
    assert NOBODY in said
    assert "4711" not in said


@pytest.mark.parametrize(
    ("wanted", "name", "key", "expected"),
    [
        (None, "payed", None, "It waits for 'paid'; it has been sent 'payed' ("),
        ("k-1", "paid", "k-2", "It waits for 'paid' with the key 'k-1'; it has been sent 'paid' with the key 'k-2' ("),
    ],
)
async def test_an_event_that_fits_no_wait_is_told(
    storage_url: str, client: Romancy, wanted: str | None, name: str, key: str | None, expected: str
) -> None:
    async with Romancy(storage_url, workflows=ALL) as app:
        handle = await app.start(waits.options(instance_id="m-1"), "paid", wanted)
        await status_is(app, handle.instance_id, Status.WAITING)
        await handle.signal(name, "Ann", key=key)

        async def seen() -> bool:
            found = await app.get_instance("m-1", waits=True)
            return found is not None and bool(found.untaken)

        await until(seen)
        found = await app.get_instance("m-1", waits=True)
        said = await told(app, "m-1")
        assert found is not None
        assert [("signal", name, key)] == [(one.kind, one.name, one.key) for one in found.untaken or ()]
        assert expected in said

        await handle.signal("paid", "Bob", key=wanted)
        assert "Bob" == await handle.result(timeout=60)


async def test_a_sleeping_instance_tells_what_it_keeps(storage_url: str, client: Romancy) -> None:
    async with Romancy(storage_url, workflows=ALL) as app:
        handle = await app.start(sleeps.options(instance_id="k-1"))
        await status_is(app, handle.instance_id, Status.WAITING)
        for _ in range(3):
            await handle.signal("later")

        async def kept() -> bool:
            return "It waits for no event; it has been sent 'later' (3 times)" in await told(app, "k-1")

        await until(kept)
