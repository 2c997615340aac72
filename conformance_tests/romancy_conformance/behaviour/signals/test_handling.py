"""A body handles messages of several kinds, each in a task of its own, while it does something else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    Handle,
    Romancy,
    Status,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Add = EventType("add", str)
Drop = EventType("drop", str)
Done = EventType("done", None)

did: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the record of the test before."""
    did.clear()


@activity
async def handling_price(item: str) -> int:
    return len(item)


@activity
async def handling_slow(item: str) -> None:
    did.append(f"began {item}")
    try:
        await asyncio.sleep(30)
    finally:
        did.append(f"stopped {item}")


@workflow
async def handling_cart(ctx: WorkflowContext) -> list[str]:
    """Records the messages in the order in which their handlers began."""
    seen: list[str] = []
    done = False

    async def add(item: str) -> None:
        seen.append(f"+{item}")

    async def drop(item: str) -> None:
        seen.append(f"-{item}")

    async def end() -> None:
        nonlocal done
        done = True

    async with ctx.handling(Add.by(add), Drop.by(drop), Done.by(end)):
        await ctx.until(lambda: done)
    return seen


@workflow
async def handling_prices(ctx: WorkflowContext, needed: int) -> dict[str, int]:
    """The handlers await activities, one at a time."""
    prices: dict[str, int] = {}
    lock = asyncio.Lock()

    async def add(item: str) -> None:
        async with lock:
            before = dict(prices)
            price = await handling_price(item)
            assert prices == before
            prices[item] = price

    async with ctx.handling(Add.by(add)):
        await ctx.until(lambda: len(prices) >= needed)
    return prices


@workflow
async def handling_rounds(ctx: WorkflowContext, seen: list[str], left: int) -> list[str]:
    """Goes on with a new run after every second message."""
    count = len(seen)

    async def add(item: str) -> None:
        await handling_price(item)
        seen.append(item)

    async with ctx.handling(Add.by(add)):
        await ctx.until(lambda: len(seen) >= count + 2 or len(seen) >= left)
        await ctx.all_handled()
        if len(seen) < left:
            return handling_rounds.recur(seen, left)
    return seen


@workflow
async def handling_waits_for_handlers(ctx: WorkflowContext) -> list[str]:
    seen: list[str] = []

    async def add(item: str) -> None:
        await handling_price(item)
        seen.append(item)

    first = asyncio.Event()

    async def end() -> None:
        first.set()

    async with ctx.handling(Add.by(add), Done.by(end)):
        await first.wait()
    return seen


@workflow
async def handling_fails(ctx: WorkflowContext, catch: bool) -> str:  # noqa: FBT001 - an input
    async def add(item: str) -> None:
        raise ValueError(f"no {item}")

    async def slowly(item: str) -> None:
        await handling_slow(item)

    try:
        async with ctx.handling(Add.by(add), Drop.by(slowly)):
            await ctx.wait_event("never")
    except ValueError as error:
        if not catch:
            raise
        price = await handling_price("lamp")
        return f"{error}, {price}"
    return "no error"


@workflow
async def handling_fails_at_the_end(ctx: WorkflowContext) -> list[str]:
    """Fails when the block has ended, and the handlers are awaited. Records what the others do then."""
    begun = 0
    seen: list[str] = []

    async def slowly(item: str) -> None:
        nonlocal begun
        begun += 1
        try:
            await ctx.wait_event("never")
        finally:
            await handling_price(item)
            seen.append(f"{item} is undone")

    async def fails(item: str) -> None:
        try:
            await slowly(item)
        finally:
            raise KeyError(item)

    async def end() -> None:
        nonlocal begun
        begun += 1
        await ctx.until(lambda: begun == 4)
        await handling_price("lamp")
        raise ValueError("no lamp")

    try:
        async with ctx.handling(Add.by(slowly), Drop.by(fails), Done.by(end)):
            await ctx.until(lambda: begun == 4)
    except ValueError as error:
        seen.append(str(error))
    return seen


@workflow
async def handling_beside_a_task(ctx: WorkflowContext) -> list[str]:
    """A task of the body's own waits for another kind, also after the block."""
    seen: list[str] = []

    async def add(item: str) -> None:
        seen.append(item)

    async def drop() -> str:
        return (await ctx.wait_event(Drop)).data

    dropping = asyncio.create_task(drop())
    async with ctx.handling(Add.by(add)):
        await ctx.until(lambda: seen)
    return [*seen, await dropping]


@workflow
async def handling_of_a_key(ctx: WorkflowContext, needed: int) -> list[str]:
    seen: list[str] = []

    async def add(item: str) -> None:
        seen.append(f"+{item}")

    async def drop(item: str) -> None:
        seen.append(f"-{item}")

    async with ctx.handling(Add.by(add), Drop.by(drop, key="eu")):
        await ctx.until(lambda: len(seen) >= needed)
    return seen


@workflow
async def handling_wrongly(ctx: WorkflowContext, how: str) -> None:
    async def add(item: str) -> None:
        await ctx.all_handled()

    if how == "none":
        ctx.handling()
    elif how == "plain":
        ctx.handling(add)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    elif how == "two":
        ctx.handling(Add.by(add), Add.by(add))
    elif how == "nested":
        async with ctx.handling(Add.by(add)), ctx.handling(Drop.by(add), Add.by(add)):
            pass
    else:
        async with ctx.handling(Add.by(add)):
            await ctx.wait_event("never")


async def send_all(handle: Handle[Any], *messages: str) -> None:
    """Send `+item` and `-item` as messages of two kinds."""
    for message in messages:
        await handle.signal(Add if message[0] == "+" else Drop, message[1:])


async def test_handlers_begin_in_the_order_of_the_messages_of_all_kinds(storage_url: str) -> None:
    messages = [f"{'+-'[number % 7 < 3]}{number}" for number in range(40)]
    async with Romancy(storage_url, workflows=[handling_cart], worker=False) as sender:
        handle = await sender.start(handling_cart)
        await send_all(handle, *messages)
        await handle.signal(Done)

    async with Romancy(storage_url, workflows=[handling_cart]) as app:
        assert await app.handle(handle.instance_id, handling_cart).result() == messages


async def test_messages_come_while_the_body_waits(app: Romancy) -> None:
    handle = await app.start(handling_cart)
    for message in ("+a", "-b", "+c"):
        await status_is(app, handle.instance_id, Status.WAITING)
        await send_all(handle, message)
    await handle.signal(Done)

    assert await handle.result() == ["+a", "-b", "+c"]


async def test_handlers_await_activities_and_hold_locks(app: Romancy) -> None:
    handle = await app.start(handling_prices, 4)
    await send_all(handle, "+a", "+bb", "+ccc", "+dddd")

    assert await handle.result() == {"a": 1, "bb": 2, "ccc": 3, "dddd": 4}


async def test_no_message_is_lost_between_runs(app: Romancy) -> None:
    handle = await app.start(handling_rounds, [], 9)
    await send_all(handle, *(f"+{number}" for number in range(9)))

    assert sorted(await handle.result()) == [str(number) for number in range(9)]


async def test_the_end_of_the_block_waits_for_its_handlers(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[handling_waits_for_handlers], worker=False) as sender:
        handle = await sender.start(handling_waits_for_handlers)
        await send_all(handle, "+a", "+b")
        await handle.signal(Done)

    async with Romancy(storage_url, workflows=[handling_waits_for_handlers]) as app:
        assert await app.handle(handle.instance_id, handling_waits_for_handlers).result() == ["a", "b"]


async def test_the_error_of_a_handler_ends_the_block(app: Romancy) -> None:
    handle = await app.start(handling_fails, catch=True)
    await send_all(handle, "+lamp")

    assert await handle.result() == "no lamp, 4"


async def test_the_error_of_a_handler_fails_the_workflow_and_stops_the_others(app: Romancy) -> None:
    handle = await app.start(handling_fails, catch=False)
    await send_all(handle, "-sofa")
    await until_began("sofa")
    await send_all(handle, "+lamp")

    with pytest.raises(WorkflowFailedError, match="no lamp"):
        await handle.result()
    assert did == ["began sofa", "stopped sofa"]


async def test_an_error_at_the_end_of_the_block_stops_the_other_handlers_once(app: Romancy) -> None:
    handle = await app.start(handling_fails_at_the_end)
    await send_all(handle, "+a", "-bb", "+ccc")
    await handle.signal(Done)

    assert sorted(await handle.result()) == ["a is undone", "bb is undone", "ccc is undone", "no lamp"]


async def test_a_message_behind_one_that_nobody_handles_any_more_is_received(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[handling_beside_a_task], worker=False) as sender:
        handle = await sender.start(handling_beside_a_task)
        await send_all(handle, "+a", "+b", "-c")

    async with Romancy(storage_url, workflows=[handling_beside_a_task]) as app:
        assert await app.handle(handle.instance_id, handling_beside_a_task).result() == ["a", "c"]


async def test_events_with_a_key_are_handled_among_signals(app: Romancy) -> None:
    handle = await app.start(handling_of_a_key, 60)
    await status_is(app, handle.instance_id, Status.WAITING)

    async def send_events() -> None:
        for number in range(30):
            await app.send(Drop, str(number), key="eu")

    await asyncio.gather(send_all(handle, *(f"+{number}" for number in range(30))), send_events())

    seen = await handle.result()
    for sign in "+-":
        assert [one for one in seen if one[0] == sign] == [f"{sign}{number}" for number in range(30)]


async def until_began(item: str) -> None:
    """Wait until the slow handler's activity has begun."""
    async with asyncio.timeout(30):
        while f"began {item}" not in did:  # noqa: ASYNC110 - a list of this process
            await asyncio.sleep(0.01)


async def test_a_cancelled_body_stops_its_handlers(app: Romancy) -> None:
    handle = await app.start(handling_fails, catch=False)
    await send_all(handle, "-sofa")
    await until_began("sofa")

    await handle.cancel("enough")

    with pytest.raises(WorkflowCancelledError, match="enough"):
        await handle.result()
    assert did == ["began sofa", "stopped sofa"]


async def test_a_message_that_does_not_fit_is_put_aside(app: Romancy) -> None:
    handle = await app.start(handling_cart)
    await handle.signal("add", 7)
    await send_all(handle, "+a")
    await handle.signal(Done)

    assert await handle.result() == ["+a"]


WRONG = {
    "none": r"ctx.handling\(\) has no handler",
    "plain": "ctx.handling takes handlers",
    "two": "event 'add' has two handlers: <handler handling_wrongly.<locals>.add of 'add'> and ",
    "nested": "event 'add' has two handlers",
    "waits": r"a handler has called ctx.all_handled\(\)",
}


@pytest.mark.parametrize("how", WRONG)
async def test_what_cannot_be_handled_is_refused_by_name(app: Romancy, how: str) -> None:
    handle = await app.start(handling_wrongly, how)
    if how == "waits":
        await send_all(handle, "+a")

    with pytest.raises(WorkflowFailedError, match=WRONG[how]):
        await handle.result()


@pytest.fixture
async def app(open_app: Open) -> Romancy:
    return await open_app()
