"""Plans of the routing: with many messages, interests and letters, each call reads the rows that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from romancy.storage.records import PruneRequest
from romancy.storage.routing import OUTSIDE, Owner, Place, Posting, Spread
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import Actor, append, unique
from romancy_conformance.contract.plans import watch_for
from romancy_conformance.contract.routing.scenes import copy, member, message_id, take
from romancy_postgres import _sweep, create_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import asyncpg

    from romancy_conformance.contract.plans import Watch
    from romancy_postgres._store import PostgresStore

    Calls = dict[str, Callable[[], Awaitable[object]]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

COUNT: Final = 20_000
"""Rows of each kind, as `_FILL` makes them."""
ENOUGH: Final = 700
"""Rows that a call may read: up to 500 entries of an index tell how many messages could find a taker."""
SWEEP: Final = 3000
"""Rows for a sweep in pages of fifty. It reads some pages, and goes on with the next ones in the next sweep."""
_FILL: Final = """
insert into romancy_instances
    (life, created_at, updated_at, instance_id, workflow_name, status, code, index_paths, input)
select 1, g, g, 'i' || g, 'flow', case when g % 2 = 0 then 'waiting' else 'completed' end, 'c1', '', '\\x'
from generate_series(1, 20000) g;
insert into romancy_messages (at, message_id, address, spread, body)
select g, 'm' || lpad(g::text, 9, '0'), 'k/nobody/' || g, 'one', 'x' from generate_series(1, 20000) g;
insert into romancy_messages (at, message_id, address, spread, body)
select g, 'n' || lpad(g::text, 9, '0'), 'c/backlog', 'channel', 'x' from generate_series(1, 20000) g;
insert into romancy_interests (at, life, owner, interest_id, address, kind)
select g, 1, 'i' || g, 'w', 'k/waiting/' || g, 'take' from generate_series(2, 20000, 2) g;
insert into romancy_interests (at, life, owner, interest_id, address, kind)
select g, 1, 'i' || g, 'q', 'c/queue', 'take' from generate_series(2, 20000, 2) g;
insert into romancy_inbox (at, counted, instance_id, delivery_id, body, address, interest, spread)
select g, true, 'i' || g, 't' || g, 'x', 'k/taken', 'w', 'one' from generate_series(2, 20000, 2) g;
insert into romancy_addresses (number, address) select g, 'c/old/' || g from generate_series(1, 20000) g;
insert into romancy_letters (at, subscriber, letter_id, address, body)
select g, 's' || g % 2, 'l' || g, 'c/mail', 'x' from generate_series(1, 20000) g;
insert into romancy_seen (at, life, unit, dedupe)
select g, 0, 'e/old/' || g % 100, 'k' || g from generate_series(1, 20000) g;
"""


@pytest.fixture
def watch(storage_url: str) -> Watch:
    return watch_for(storage_url)


@pytest.fixture
async def full(storage_url: str, watch: Watch, connection: asyncpg.Connection) -> AsyncGenerator[PostgresStore]:
    """A watched store in which much is kept and wanted, and nothing can be dispatched."""
    with watch.on():
        store = create_store(parse_url(storage_url))
        await store.open()
        await watch.leave_uncounted()
        await connection.execute(_FILL)
        yield store
        await store.close()


def to(*places: Place) -> Posting:
    return Posting(message_id=message_id(), places=places, body=b"1", dedupe=unique())


async def duties(store: PostgresStore, actor: Actor) -> Calls:
    """The calls that concern a message or two, an interest or two."""
    router = store.services.router
    one, another = await actor.begin(), await actor.begin()
    owner, outside = Owner(one.instance_id, one.life), Owner(unique(), OUTSIDE)
    key, kind = unique("k/"), unique("e/")
    await router.post([to(Place(key, Spread.ONE), Place(kind, Spread.EVERY)) for _ in range(2)])
    await router.register(outside, copy(kind))
    await router.register(outside, member("c/backlog"))
    await router.register(owner, take(key, {"a": 1}))
    ended = await actor.begin()

    async def take_from_a_backlog() -> None:
        await router.register(owner, take("c/backlog"))
        assert (await router.dispatch(["c/backlog"])).delivered == 1

    async def give_to_the_first_of_a_queue() -> None:
        await router.post([to(Place("c/queue", Spread.CHANNEL))])
        assert (await router.dispatch(["c/queue"])).delivered == 1

    async def append_all() -> None:
        posted, wanted = to(Place(key, Spread.ONE)), take(unique(), interest_id="x")
        routes = append(another, 2, interests=(wanted,), postings=(posted,))
        assert await store.commit([routes], worker=actor.token) == ["accepted"]
        gone = append(another, 3, uninterested=("x", "y"))
        assert await store.commit([gone], worker=actor.token) == ["accepted"]

    return {
        "post": lambda: router.post([to(Place(key, Spread.ONE), Place(kind, Spread.EVERY))]),
        "dispatch where nobody waits": lambda: router.dispatch(["k/nobody/77"]),
        "dispatch where nothing is": lambda: router.dispatch(["k/waiting/78"]),
        "dispatch": lambda: router.dispatch([key, kind]),
        "take from a backlog": take_from_a_backlog,
        "give to the first of a queue": give_to_the_first_of_a_queue,
        "append": append_all,
        "take": lambda: router.register(owner, take(unique())),
        "copy": lambda: router.register(owner, copy(unique())),
        "member": lambda: router.register(owner, member(unique())),
        "unregister": lambda: router.unregister(owner, ["w", "x"]),
        "interests": lambda: router.interests("k/waiting/78"),
        "give back": lambda: router.give_back(Owner("i78", 1), ["t78"]),
        "letters": lambda: router.letters("s1", limit=20),
        "acknowledge": lambda: router.acknowledge("s1", ["l1", "l3"]),
        "kept": lambda: router.kept(limit=20),
        "kept at": lambda: router.kept(address="k/nobody/77"),
        "prune": lambda: store.services.upkeep.prune(PruneRequest(instance_ids=("i77", ended.instance_id))),
    }


async def excesses(store: PostgresStore, watch: Watch) -> dict[str, str]:
    """The calls that read more rows than they need, with their plans."""
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    found: dict[str, str] = {}
    for what, call in (await duties(store, actor)).items():
        cost = await watch.cost(store, call())
        if cost.rows > ENOUGH:
            found[what] = f"{cost.rows} rows\n{cost.plan}"
    for what in ("first", "second"):
        cost = await watch.cost(store, store.services.router.dispatch())
        if cost.rows > SWEEP:
            found[f"{what} sweep"] = f"{cost.rows} rows\n{cost.plan}"
    return found


async def test_no_call_reads_more_than_it_needs(
    full: PostgresStore, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after the database has statistics. The interests in a queue show that the test can fail."""
    for size in ("_NEWEST", "_PAGE", "_OWNERS"):
        monkeypatch.setattr(_sweep, size, 50)
    found = {f"as filled, {what}": cost for what, cost in (await excesses(full, watch)).items()}
    await watch.analyze(full)
    found |= {f"analyzed, {what}": cost for what, cost in (await excesses(full, watch)).items()}
    all_of_them = await watch.cost(full, full.services.router.interests("c/queue"))

    assert not found, "\n\n".join(f"{what}: {cost}" for what, cost in found.items())
    assert all_of_them.rows >= COUNT // 2, all_of_them.plan
