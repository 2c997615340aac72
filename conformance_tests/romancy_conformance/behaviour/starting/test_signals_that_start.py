"""A signal that starts its instance: both by one commit, and once, however many send it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    InstanceConflictError,
    InstanceEndedError,
    Romancy,
    StorageUnavailableError,
    UsageError,
    WorkflowContext,
    workflow,
)
from romancy.core import WorkflowStarted
from romancy_conformance.behaviour.coded import SECRET, Masking

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Added = EventType("added", str)


@workflow
async def begun_cart(ctx: WorkflowContext, owner: str, size: int) -> list[str]:
    return [owner, *[(await ctx.wait_event(Added)).data for _ in range(size)]]


@workflow
async def begun_otherwise(ctx: WorkflowContext) -> None:
    await ctx.wait_event(Added)


async def test_the_first_starts_and_the_next_are_sent(app: Romancy, open_app: Open) -> None:
    front = await open_app(worker=False)
    cart = begun_cart.options(instance_id="cart").bind("ann", 3)

    first = await front.signal_with_start(cart, Added, "lamp")
    await app.signal_with_start(cart, Added, "desk", id="2")
    await front.signal_with_start(begun_cart.options(instance_id="cart").bind("bob", 9), Added, "desk", id="2")
    with pytest.raises(InstanceConflictError, match="of begun_cart"):
        await front.signal_with_start(begun_otherwise.options(instance_id="cart").bind(), Added, "x")
    await app.signal_with_start(cart, Added, "chair")

    owner, *things = await first.result()
    assert ("ann", {"lamp", "desk", "chair"}) == (owner, set(things))
    with pytest.raises(InstanceEndedError):
        await front.signal_with_start(cart, Added, "late")
    assert first.instance_id == (await front.signal_with_start(cart, Added, "desk", id="2")).instance_id


async def test_of_many_at_once_one_starts_and_one_is_received(app: Romancy, open_app: Open) -> None:
    others = [app, await open_app(), await open_app(worker=False)]
    cart = begun_cart.options(instance_id="cart").bind("ann", 2)

    await asyncio.gather(*(one.signal_with_start(cart, Added, "lamp", id="1") for one in others * 3))
    await others[2].signal_with_start(cart, Added, "desk", id="2")

    owner, *things = await app.handle("cart", begun_cart).result()
    assert ("ann", {"lamp", "desk"}) == (owner, set(things))
    assert 1 == sum(isinstance(event, WorkflowStarted) for event in await app.history("cart"))


async def test_nothing_is_there_when_the_commit_fails(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start and the signal are one commit: when it fails, there is neither, and the call can be repeated."""
    app = await open_app()
    cart = begun_cart.options(instance_id="cart").bind("ann", 1)
    store = app._access.opened()  # pyright: ignore[reportPrivateUsage]

    async def fail(*_: Any, **__: Any) -> None:
        raise StorageUnavailableError("the connection is gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", fail)
        with pytest.raises(StorageUnavailableError):
            await app.signal_with_start(cart, Added, "lamp", id="1")
    assert await app.get_instance("cart") is None

    handle = await app.signal_with_start(cart, Added, "lamp", id="1")
    assert ["ann", "lamp"] == await handle.result()


async def test_an_app_without_a_worker_needs_no_row_for_what_it_starts(open_app: Open) -> None:
    front = await open_app(worker=False)
    for number in range(5):
        await front.signal_with_start(begun_cart.options(instance_id=f"c-{number}").bind("ann", 3), Added, "lamp")

    census = await front._access.opened().services.reading.census()  # pyright: ignore[reportPrivateUsage]
    assert [] == census.workers


async def test_an_app_without_a_worker_leaves_no_row_behind(app: Romancy, storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[begun_cart], worker=False) as front:
        await front.signal_with_start(begun_cart.options(instance_id="c-1").bind("ann", 3), Added, "lamp")

    census = await app._access.opened().services.reading.census()  # pyright: ignore[reportPrivateUsage]
    assert [True] == [peer.works for peer in census.workers]


async def test_what_cannot_be_sent_starts_nothing(open_app: Open) -> None:
    front = await open_app(worker=False)
    unsendable: Any = 7
    with pytest.raises(UsageError, match="data of the signal 'added'"):
        await front.signal_with_start(begun_cart.options(instance_id="cart").bind("ann", 1), Added, unsendable)
    with pytest.raises(UsageError, match="needs an id of yours"):
        await front.signal_with_start(begun_cart.bind("ann", 1), Added, "lamp")
    assert [] == (await front.list_instances()).instances


async def test_behind_a_codec(open_app: Open) -> None:
    app = await open_app(codecs=[Masking()])
    cart = begun_cart.options(instance_id="cart").bind(SECRET, 1)
    assert [SECRET, SECRET] == await (await app.signal_with_start(cart, Added, SECRET)).result()


async def test_an_instance_that_ends_and_begins_anew_meanwhile_gets_the_signal(
    app: Romancy, open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal meets the end, and another caller starts the next life before it is seen that there was an end."""
    front = await open_app(worker=False)
    cart = begun_cart.options(instance_id="cart").bind("ann", 2)
    first = await app.signal_with_start(cart, Added, "lamp")
    store = front._access.opened()  # pyright: ignore[reportPrivateUsage]
    deliver = store.deliver

    async def meets_the_end(batch: Any, /) -> Any:
        monkeypatch.undo()
        await app.signal_with_start(cart, Added, "desk")
        assert await first.result() == ["ann", "lamp", "desk"]
        answers = await deliver(batch)
        await app.signal_with_start(cart, Added, "chair", if_exists="restart_ended")
        return answers

    monkeypatch.setattr(store, "deliver", meets_the_end)
    again = await front.signal_with_start(cart, Added, "late", if_exists="restart_ended")

    owner, *things = await again.result()
    assert ("ann", {"chair", "late"}) == (owner, set(things))
