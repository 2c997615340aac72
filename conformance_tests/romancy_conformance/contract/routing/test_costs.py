"""Routing costs a fixed number of statements, work in proportion, and nothing at all where it is not used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.records import ClaimRequest, Item
from romancy.storage.routing import Owner, Spread
from romancy_conformance.contract.building import Actor, append, change, start, step, unique
from romancy_conformance.contract.interleaving import Hold, leave, listen, run, statements
from romancy_conformance.contract.plans import watch_for
from romancy_conformance.contract.routing.scenes import copy, posting, take

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from romancy.storage.records import Append
    from romancy.storage.routing import Posting
    from romancy_conformance.contract.plans import Watch

    Call = Callable[[Actor, int], Awaitable[Awaitable[Any]]]

pytestmark = [pytest.mark.anyio, pytest.mark.dealt]

BRACKETS = {"begin", "commit", "notify"}
SIZES = (1, 100)


async def owned(actor: Actor, count: int) -> list[Append]:
    """Start so many instances of this worker."""
    (name,) = actor.workflows
    begun = [start(workflow_name=name, owner=actor.token, status=Status.RUNNING) for _ in range(count)]
    await written(actor, begun)
    return begun


async def written(actor: Actor, items: Sequence[Item]) -> None:
    assert set(await actor.store.commit(items, worker=actor.token)) == {"accepted"}


async def posted(actor: Actor, messages: list[Posting]) -> None:
    assert set(await actor.store.services.router.post(messages)) == {"accepted"}


async def dispatched(actor: Actor, addresses: list[str], expected: int) -> None:
    done = await actor.store.services.router.dispatch(addresses)
    assert (done.delivered, done.more) == (expected, False)


async def waiting(actor: Actor, addresses: list[str]) -> list[Append]:
    """Start an instance for each address, which waits for a message there."""
    begun = await owned(actor, len(addresses))
    pairs = zip(begun, addresses, strict=True)
    await written(actor, [append(one, 2, interests=(take(address, interest_id="i"),)) for one, address in pairs])
    return begun


def addresses(count: int) -> list[str]:
    return [unique("k") for _ in range(count)]


# --- the calls, each prepared for a number of items ----------------------------------------------------------------


async def registering(actor: Actor, count: int) -> Awaitable[Any]:
    begun = await owned(actor, count)
    return written(actor, [append(one, 2, interests=(take(unique("k")),), change=change()) for one in begun])


async def dropping(actor: Actor, count: int) -> Awaitable[Any]:
    begun = await waiting(actor, addresses(count))
    return written(actor, [append(one, 3, uninterested=("i",), change=change()) for one in begun])


async def posting_with_appends(actor: Actor, count: int) -> Awaitable[Any]:
    items = [append(one, 2, postings=(posting(unique("k")),)) for one in await owned(actor, count)]
    return written(actor, items)


async def posting_(actor: Actor, count: int) -> Awaitable[Any]:
    return posted(actor, [posting(one) for one in addresses(count)])


async def posting_once(actor: Actor, count: int) -> Awaitable[Any]:
    return posted(actor, [posting(one, dedupe=unique("d")) for one in addresses(count)])


async def giving_to_takers(actor: Actor, count: int) -> Awaitable[Any]:
    """So many messages for so many addresses."""
    places = addresses(count)
    await waiting(actor, places)
    await posted(actor, [posting(one) for one in places])
    return dispatched(actor, places, count)


async def copying(actor: Actor, count: int) -> Awaitable[Any]:
    """One message to so many listeners."""
    address = unique("e")
    await written(actor, [append(one, 2, interests=(copy(address),)) for one in await owned(actor, count)])
    await posted(actor, [posting(address, Spread.EVERY)])
    return dispatched(actor, [address], count)


async def finding_nobody(actor: Actor, count: int) -> Awaitable[Any]:
    """So many messages that are kept."""
    places = addresses(count)
    await posted(actor, [posting(one) for one in places])
    return dispatched(actor, places, 0)


async def giving_back(actor: Actor, count: int) -> Awaitable[Any]:
    address = unique("k")
    (one,) = await owned(actor, 1)
    await written(actor, [append(one, 2, interests=tuple(take(address) for _ in range(count)))])
    messages = [posting(address) for _ in range(count)]
    await posted(actor, messages)
    await dispatched(actor, [address], count)
    return actor.store.services.router.give_back(
        Owner(one.instance_id, one.life), [message.message_id for message in messages]
    )  # fmt: skip


CALLS: dict[Call, int] = {
    registering: 2 + 2,
    dropping: 2 + 2,
    posting_with_appends: 2 + 2,
    posting_: 3,
    posting_once: 4,
    giving_to_takers: 16,
    copying: 16,
    finding_nobody: 6,
    giving_back: 5,
}
"""Most statements of a call, whatever the size of its batch."""


async def test_routing_sends_a_fixed_number_of_statements(actor: Actor) -> None:
    if actor.store.capabilities.embedded:
        pytest.skip("capability: inside the process a statement is no round trip; its transactions are counted below")
    for call, most in CALLS.items():
        await (await call(actor, 1))  # one-time statements are sent now
        counts: list[int] = []
        for size in SIZES:
            counted = [name for name in await statements(actor.store, await call(actor, size)) if name not in BRACKETS]
            assert counted, f"every statement of {call.__name__} is heard"
            assert len(counted) <= most, (call.__name__, counted)
            counts.append(len(counted))

        assert counts[0] == counts[-1], f"statements of {call.__name__} for {SIZES} items"


async def test_what_is_routed_together_is_one_transaction(actor: Actor) -> None:
    """A dispatch may count, in transactions of its own, what it has delivered."""
    if not actor.store.capabilities.processes:
        pytest.skip("capability: what lives in one process alone has nothing to make durable")
    for call in CALLS:
        names = await statements(actor.store, await call(actor, 100))

        assert names.count("commit") <= (2 if call in (giving_to_takers, copying) else 1), (call.__name__, names)


@pytest.fixture
async def watched(empty_url: str) -> AsyncIterator[tuple[Watch, Actor]]:
    """A worker whose statements are counted, in a database whose dead rows no background task can count meanwhile."""
    watch = watch_for(empty_url)
    with watch.on():
        store = create_store(empty_url)
        await store.open()
        yield watch, await Actor(store, workflows={unique("flow"): "c1"}).register()
        await store.close()


@pytest.mark.parametrize("call", [giving_to_takers, copying, giving_back, finding_nobody], ids=lambda one: one.__name__)
async def test_the_work_grows_as_the_batch_does(watched: tuple[Watch, Actor], call: Call) -> None:
    watch, actor = watched
    await (await call(actor, 1))
    small, large = [await watch.cost(actor.store, await call(actor, size)) for size in (30, 300)]

    assert large.rows <= 25 * max(small.rows, 30), large.plan


async def test_who_uses_no_routing_pays_nothing_for_it(watched: tuple[Watch, Actor]) -> None:
    """A step, a delivery and a claim read no more rows beside many messages and interests than without them."""
    watch, actor = watched

    async def cost() -> int:
        worker = await Actor(actor.store, workflows={unique("flow"): "c1"}).register()
        begun = await owned(worker, 5)
        rest = [start(workflow_name=next(iter(worker.workflows))) for _ in range(5)]
        await written(worker, rest)

        async def work() -> None:
            await written(worker, [step(one, 2) for one in begun])
            await written(worker, [append(one, 3, change=change()) for one in begun])
            request = ClaimRequest(worker=worker.token, codes=worker.workflows, limit=10)
            assert len((await actor.store.claim(request)).claimed) == 5

        return (await watch.cost(actor.store, work())).rows

    await cost()
    before = await cost()
    await (await giving_to_takers(actor, 200))
    await waiting(actor, addresses(200))
    await posted(actor, [posting(one) for one in addresses(200)])

    assert await cost() <= before + 20


async def test_a_dispatch_reads_little_beside_much(watched: tuple[Watch, Actor]) -> None:
    """Messages and interests at other addresses are not read."""
    watch, actor = watched
    await (await giving_to_takers(actor, 5))
    before = (await watch.cost(actor.store, await giving_to_takers(actor, 5))).rows
    for _ in range(3):
        await waiting(actor, addresses(200))
        await posted(actor, [posting(one) for one in addresses(200)])
    await posted(actor, [posting("crowded") for _ in range(300)])

    assert (await watch.cost(actor.store, await giving_to_takers(actor, 5))).rows <= before + 100


@pytest.mark.long
async def test_a_sweep_counts_what_a_dispatch_did_not(actor: Actor) -> None:
    """A crash between a dispatch's commit and its count leaves an owner that does not know of its mail."""
    names = await statements(actor.store, await giving_to_takers(actor, 1))
    last = len(names) - 1 - names[::-1].index("commit")
    first = names.index("commit")
    if first == last:
        return  # it counts in the transaction in which it delivers
    places = addresses(1)
    (begun,) = await waiting(actor, places)
    await posted(actor, [posting(one) for one in places])
    await _cut_off(actor, places, first + 1)
    assert (await signals(actor, begun)) == 0

    async with asyncio.timeout(60):
        while not await signals(actor, begun):
            await actor.claim(0, sweep=True)
            await actor.store.wait_for_work(0.2)


async def signals(actor: Actor, begun: Append) -> int:
    history = await actor.store.read(begun.instance_id, limit=0)
    assert history is not None
    return history.instance.signals


async def _cut_off(actor: Actor, places: list[str], number: int) -> None:
    """Cancel a dispatch before this statement of it, counted from 0."""
    hold = Hold(number + 1)
    listen(actor.store, hold)
    calling = run(actor.store, actor.store.services.router.dispatch(places))
    await hold.reached.wait()
    calling.cancel()
    await asyncio.wait({calling})
    leave(actor.store)
