"""Events sent in transactions: the caller's own, and those of activities. A rollback sends nothing."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import (
    EventType,
    RetryPolicy,
    Romancy,
    Status,
    UsageError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.coded import SECRET, Masking
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy_conformance.behaviour.callers import Caller
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Told = EventType("told", str)
apps: list[Romancy] = []


@workflow
async def hears_all(ctx: WorkflowContext, count: int) -> list[str]:
    await ctx.subscribe(Told)
    return [(await ctx.wait_event(Told)).data for _ in range(count)]


@activity(retry=RetryPolicy.fixed(2, 0.0))
async def says(key: str) -> None:
    """Send in the session and with the completion; the first attempt comes to nothing."""
    context = activity_context()
    session = await context.session()
    await apps[0].send(Told, f"session {context.attempt}", key=key, session=session)
    await context.send(Told, f"completion {context.attempt}", key=key)
    if context.attempt == 1:
        raise ConnectionError("the attempt leaves nothing")


@activity
async def waits_for_itself(key: str) -> str:
    await activity_context().session()
    try:
        await apps[0].send(Told, "never", key=key)
    except UsageError as error:
        return str(error)
    return "sent"


@activity
def plain(key: str) -> str:
    try:
        _ = activity_context().send(Told, "never", key=key)
    except UsageError as error:
        return str(error)
    return "sent"


calls_says = calling(says)


@workflow
async def cannot(ctx: WorkflowContext, key: str) -> list[str]:
    return [await waits_for_itself(key), await plain(key)]


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear what the test before left."""
    apps.clear()


@pytest.fixture
async def caller(app: Romancy, storage_url: str) -> AsyncIterator[Caller]:
    """A user's connection to the app's database."""
    opener = caller_for(storage_url)
    if opener is None:
        pytest.skip("capability: this database has no connections but the store's own")
    caller = await opener()
    yield caller
    await caller.close()


async def test_the_callers_commit_sends(app: Romancy, caller: Caller) -> None:
    waiting = await app.start(waits, "told", "k")
    await status_is(app, waiting.instance_id, Status.WAITING)
    await caller.begin()
    await app.send(Told, "never", key="k", session=caller.connection)
    await caller.roll_back()
    await caller.begin()
    sent = await app.send(Told, "yes", key="k", id="1", session=caller.connection)
    again = await app.send(Told, "no", key="k", id="1", session=caller.connection)
    await caller.commit()

    assert (sent.duplicate, again.duplicate) == (False, True)
    assert await waiting.result(timeout=60) == "yes"


async def test_an_id_that_was_rolled_back_is_not_remembered(app: Romancy, caller: Caller) -> None:
    await caller.begin()
    await app.send(Told, "never", key="k", source="/shop", id="1", session=caller.connection)
    await caller.roll_back()
    first = await app.send(Told, "yes", key="k", source="/shop", id="1")
    await caller.begin()
    second = await app.send(Told, "no", key="k", source="/shop", id="1", session=caller.connection)
    await caller.commit()

    assert (first.duplicate, second.duplicate) == (False, True)
    await app.send(Told, "next", key="k")
    assert [await app.run(waits, "told", "k") for _ in range(2)] == ["yes", "next"]


async def test_a_transaction_that_sends_keeps_no_others_waiting(app: Romancy, caller: Caller) -> None:
    """Its event is not there before its commit; events of others for the same key are."""
    if app._access.store is not None and app._access.store.capabilities.sessions_exclude:
        pytest.skip("capability: while a transaction writes, nobody else does")
    waiting = [await app.start(waits, "told", "k") for _ in range(2)]
    await caller.begin()
    await app.send(Told, "mine", key="k", session=caller.connection)
    await app.send(Told, "theirs", key="k")
    done, pending = await asyncio.wait(
        [asyncio.ensure_future(one.result(timeout=60)) for one in waiting], return_when=asyncio.FIRST_COMPLETED
    )
    assert [task.result() for task in done] == ["theirs"]
    await caller.commit()

    assert [await task for task in pending] == ["mine"]


async def test_an_attempt_that_fails_sends_nothing(app: Romancy) -> None:
    apps.append(app)
    await app.run(calls_says, "k")

    heard = {await app.run(waits, "told", "k"), await app.run(waits, "told", "k")}
    assert heard == {"session 2", "completion 2"}


async def test_calls_that_cannot_send(app: Romancy) -> None:
    apps.append(app)
    said = await app.run(cannot, "k")

    if app._access.store is not None and app._access.store.capabilities.sessions_exclude:
        assert "would wait for that session" in said[0]
    else:
        assert said[0] == "sent"
    assert "cannot await send()" in said[1]


async def test_a_codec_that_binds_seals_what_is_posted(open_app: Open) -> None:
    app = await open_app(codecs=[Masking()])
    by_key, all_of_them = await app.start(waits, "told", "k"), await app.start(hears_all, 2)
    for handle in (by_key, all_of_them):
        await status_is(app, handle.instance_id, Status.WAITING)
    await app.send(Told, SECRET, key="k")
    await app.send(Told, "two", key="later")

    assert await by_key.result(timeout=60) == SECRET
    assert await all_of_them.result(timeout=60) == [SECRET, "two"]
    assert await app.run(waits, "told", "later") == "two"
