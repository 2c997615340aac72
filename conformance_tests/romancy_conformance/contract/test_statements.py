"""Cost is a count: how many statements each call sends, which no noise can blur, and that a batch costs what one does.

A tap counts the statements. Statements that only bracket a transaction (`begin`,
`commit`) are not counted, nor is the notification that follows one (`notify`, which is sent separately and shared by
many calls). If an adapter names these otherwise, they are counted. Where the database runs inside the process, a
statement is no round trip: there the test counts transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.records import ClaimRequest, Item, OutboxRow
from romancy_conformance.contract.building import Actor, append, change, delivery, start, step, unique
from romancy_conformance.contract.interleaving import statements
from romancy_conformance.contract.plans import watch_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Delivery
    from romancy_conformance.contract.plans import Watch

    Hire = Callable[..., Awaitable[Actor]]
    Call = Callable[[Actor, int], Awaitable[Awaitable[Any]]]

pytestmark = pytest.mark.anyio

BRACKETS = {"begin", "commit", "notify"}
SIZES = (1, 100)
PROJECTION = b'{"customer":"s:a"}'
INDEX = (("customer", "s:a"),)


async def newcomer(store: Store) -> Actor:
    """A worker with a workflow of its own, which sees nothing of what other calls have left."""
    return await Actor(store, workflows={unique("flow"): "c1"}).register()


async def owned(actor: Actor, count: int, **fields: Any) -> list[Append]:
    """Start so many new instances of the actor in one batch."""
    (name, *_) = actor.workflows
    begun = [start(workflow_name=name, owner=actor.token, status=Status.RUNNING, **fields) for _ in range(count)]
    await written(actor, begun)
    return begun


async def written(actor: Actor, items: Sequence[Item]) -> None:
    """Commit the items, which the store must accept: a refusal would cost more."""
    assert {"accepted"} == set(await actor.store.commit(items, worker=actor.token))


# --- the calls, each prepared for a number of items ----------------------------------------------------------------


async def plain(actor: Actor, count: int) -> Awaitable[Any]:
    return written(actor, [step(one, 2) for one in await owned(actor, count)])


async def changing(actor: Actor, count: int) -> Awaitable[Any]:
    return written(actor, [append(one, 2, change=change()) for one in await owned(actor, count)])


async def publishing(actor: Actor, count: int) -> Awaitable[Any]:
    return written(actor, [append(one, 2, outbox=(outgoing(),)) for one in await owned(actor, count)])


async def sending(actor: Actor, count: int) -> Awaitable[Any]:
    (target,) = await owned(actor, 1)
    return written(actor, [append(one, 2, deliveries=(delivery(target),)) for one in await owned(actor, count)])


async def begetting(actor: Actor, count: int) -> Awaitable[Any]:
    return written(actor, [append(one, 2, starts=(start(),)) for one in await owned(actor, count)])


async def consuming(actor: Actor, count: int) -> Awaitable[Any]:
    pairs = await with_mail(actor, count)
    return written(actor, [append(one, 2, consumed=(mail.delivery_id,)) for one, mail in pairs])


async def renewing(actor: Actor, count: int) -> Awaitable[Any]:
    again = change(run_from=2, input=b"{}", projection=PROJECTION, index=INDEX)
    return written(actor, [append(one, 2, change=again) for one in await owned(actor, count, index=INDEX)])


async def doing_everything(actor: Actor, count: int) -> Awaitable[Any]:
    pairs = await with_mail(actor, count)
    (target,) = await owned(actor, 1)
    items = [
        append(
            one, 2, change=change(seen=1), consumed=(mail.delivery_id,), outbox=(outgoing(),),
            deliveries=(delivery(target),), starts=(start(),),
        )
        for one, mail in pairs
    ]  # fmt: skip
    return written(actor, items)


async def starting(actor: Actor, count: int) -> Awaitable[Any]:
    return written(actor, [start(owner=actor.token) for _ in range(count)])


async def starting_indexed(actor: Actor, count: int) -> Awaitable[Any]:
    return written(actor, [start(owner=actor.token, projection=PROJECTION, index=INDEX) for _ in range(count)])


async def delivering(actor: Actor, count: int) -> Awaitable[Any]:
    return actor.store.deliver([delivery(one) for one in await owned(actor, count)])


async def delivering_once(actor: Actor, count: int) -> Awaitable[Any]:
    return actor.store.deliver([delivery(one, dedupe=unique()) for one in await owned(actor, count)])


async def claiming(actor: Actor, count: int) -> Awaitable[Any]:
    (name,) = actor.workflows
    await written(actor, [start(workflow_name=name) for _ in range(count)])

    async def claim() -> None:
        request = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=1000)
        assert count == len((await actor.store.claim(request)).claimed)

    return claim()


async def collecting(actor: Actor, count: int) -> Awaitable[Any]:
    pairs = await with_mail(actor, count)

    async def collect() -> None:
        request = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=1000)
        assert len(pairs) == len((await actor.store.claim(request)).mail)

    return collect()


async def beating(actor: Actor, count: int) -> Awaitable[Any]:
    await owned(actor, count)
    return actor.store.heartbeat(actor.worker)


async def reading(actor: Actor, count: int) -> Awaitable[Any]:
    (one,) = await owned(actor, 1)
    for seq in range(2, count + 1):
        await written(actor, [step(one, seq)])
    return actor.store.read(one.instance_id)


def outgoing() -> OutboxRow:
    return OutboxRow(outbox_id=unique(), topic="topic", body=b"1")


async def with_mail(actor: Actor, count: int) -> list[tuple[Append, Delivery]]:
    """Start instances with one message each."""
    pairs = [(one, delivery(one)) for one in await owned(actor, count)]
    assert {"accepted"} == set(await actor.store.deliver([mail for _, mail in pairs]))
    return pairs


# --- what they may cost -------------------------------------------------------------------------------------------

APPENDS: dict[Call, int] = {
    plain: 1,
    changing: 2 + 1,
    consuming: 2 + 1,
    publishing: 2 + 1,
    sending: 2 + 1,
    begetting: 2 + 1,
    renewing: 2 + 3,  # the change, the new run's input, its index rows
    doing_everything: 2 + 6,  # one of them locks, in order, the rows that two others write
    starting: 2,
    starting_indexed: 2 + 1,
}
OTHERS: dict[Call, int] = {
    delivering: 3,
    delivering_once: 4,
    claiming: 12,
    collecting: 6,
    beating: 3,
    reading: 5,
}
"""Most statements of a call, whatever the size of its batch."""


BATCHES = [*APPENDS, delivering, delivering_once]


async def test_a_call_sends_a_fixed_number_of_statements_and_a_batch_is_one_transaction(hire: Hire) -> None:
    store = (await hire()).store
    able = store.capabilities
    if not able.processes:
        pytest.skip("capability: what lives in one process alone has nothing to make durable")
    calls = APPENDS | OTHERS
    for call in BATCHES if able.embedded else calls:
        await (await call(await newcomer(store), 1))  # one-time statements are sent now
        counts: list[int] = []
        for size in SIZES:
            names = await statements(store, await call(await newcomer(store), size))
            assert names, f"{call.__name__}: every statement is heard"
            assert call not in BATCHES or names.count("commit") <= 1, (call.__name__, names)
            counted = [name for name in names if name not in BRACKETS]
            counts.append(len(counted))
            if not able.embedded or call is plain:
                assert 1 <= len(counted) <= calls[call], (call.__name__, counted)
        assert able.embedded or counts[0] == counts[-1], f"{call.__name__}: statements for {SIZES} items"


@pytest.fixture
async def watched(empty_url: str) -> AsyncIterator[tuple[Watch, Store]]:
    """A store whose statements are counted, in a database whose dead rows no background task can count meanwhile."""
    watch = watch_for(empty_url)
    with watch.on():
        store = create_store(empty_url)
        await store.open()
        yield watch, store
        await store.close()


async def test_the_work_of_a_batch_grows_as_the_batch_does(watched: tuple[Watch, Store]) -> None:
    """Ten times the items read about ten times the rows; comparing each with each would read a hundred times."""
    watch, store = watched
    for call in BATCHES:
        actor = await newcomer(store)
        await (await call(actor, 1))
        small, large = [await watch.cost(store, await call(actor, size)) for size in (30, 300)]

        assert large.rows <= 25 * max(small.rows, 30), (call.__name__, large.plan)
