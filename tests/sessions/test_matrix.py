"""Each library, on each database: Romancy's writes in its transaction commit or vanish with the author's own rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import InstanceConflictError, InstanceNotFoundError, Romancy, Status
from romancy_conformance.behaviour.waiting import status_is
from romancy_conformance.servers import Kind
from tests.sessions.libraries import LIBRARIES, ONLY, kind_of, opened
from tests.sessions.publishing import published
from tests.sessions.workflows import PAID, greet, wait_for_payment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sessions.libraries import Caller

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", *Kind)]


@pytest.fixture
async def app(storage_url: str) -> AsyncIterator[Romancy]:
    async with Romancy(storage_url, workflows=[greet, wait_for_payment]) as app:
        yield app


@pytest.fixture(params=LIBRARIES)
async def caller(request: pytest.FixtureRequest, app: Romancy, storage_url: str) -> AsyncIterator[Caller]:
    if ONLY.get(request.param, kind_of(storage_url)) != kind_of(storage_url):
        pytest.skip("capability: a library of another database")
    async with opened(request.param, storage_url) as caller:
        yield caller


async def test_what_is_committed_happens(app: Romancy, caller: Caller, storage_url: str) -> None:
    waiting = await app.start(wait_for_payment)
    await caller.write("ann")
    handles = await app.start_many([greet.bind("ann"), greet.bind("bob")], session=caller.session)
    await waiting.signal(PAID, 12, session=caller.session)
    await app.publish("greeted", "ann", session=caller.session)
    for handle in handles:
        with pytest.raises(InstanceNotFoundError):
            await handle.status()
    await caller.commit()

    assert [await handle.result(timeout=60) for handle in handles] == ["hello ann", "hello bob"]
    assert await waiting.result(timeout=60) == 12
    assert await published(storage_url) == ["ann"]
    assert await caller.names() == ["ann"]


async def test_what_is_rolled_back_never_was(app: Romancy, caller: Caller, storage_url: str) -> None:
    waiting = await app.start(wait_for_payment)
    await caller.write("ann")
    handle = await app.start(greet, "ann", session=caller.session)
    await waiting.signal(PAID, 1, session=caller.session)
    await app.publish("greeted", "ann", session=caller.session)
    await caller.roll_back()

    assert await app.get_instance(handle.instance_id) is None
    assert await published(storage_url) == []
    assert await caller.names() == []
    await caller.roll_back()
    await waiting.signal(PAID, 2)
    assert await waiting.result(timeout=60) == 2


async def test_a_refused_call_leaves_the_transaction_good(app: Romancy, caller: Caller) -> None:
    named = greet.options(instance_id="ann")
    await app.run(named, "ann")
    await caller.write("ann")
    same = await app.start(named, "ann", session=caller.session)
    with pytest.raises(InstanceConflictError, match="another input"):
        await app.start(named, "bob", session=caller.session)
    with pytest.raises(InstanceNotFoundError):
        await app.signal("nobody", PAID, 1, session=caller.session)
    other = await app.start(greet, "cid", session=caller.session)
    await caller.commit()

    assert await same.result(timeout=60) == "hello ann"
    assert await other.result(timeout=60) == "hello cid"
    assert await caller.names() == ["ann"]


@pytest.mark.long
async def test_an_event_and_a_new_instance_with_its_signal(app: Romancy, caller: Caller) -> None:
    by_type = await app.start(wait_for_payment)
    await status_is(app, by_type.instance_id, Status.WAITING)
    handle = await app.start(wait_for_payment, session=caller.session)
    await handle.signal(PAID, 7, session=caller.session)
    await app.send(PAID, 8, session=caller.session)
    await caller.commit()

    assert await handle.result(timeout=60) == 7
    assert await by_type.result(timeout=60) == 8
