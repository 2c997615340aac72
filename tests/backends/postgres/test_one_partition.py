"""With tables hash-partitioned by instance, each call of the hot path reads one partition of each table.

What finds its rows by the instance first stays on one machine where the tables are spread over several. Only the tables
are laid out for this; the statements are those that are sent to every server.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import pytest

from romancy.status import Status
from romancy.storage.outbox import OutboxRow, OutboxState, Settled
from romancy.storage.routing import Owner
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import Actor, append, change, delivery, start, step, unique
from romancy_conformance.contract.plans import watch_for
from romancy_conformance.contract.routing.scenes import posting, take
from romancy_postgres import create_store
from romancy_postgres._connection import ENGINE_SETTINGS, PROMISED
from romancy_postgres._migrations import known_migrations
from romancy_postgres._scripts import texts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import asyncpg

    from romancy.storage.records import Item
    from romancy_conformance.contract.plans import Watch
    from romancy_postgres._store import PostgresStore

    Calls = dict[str, Callable[[], Awaitable[object]]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

PARTS: Final = 4
SPREAD_BY: Final = {
    "instances": "instance_id",
    "log": "instance_id",
    "inbox": "instance_id",
    "index": "instance_id",
    "interests": "owner",
    "outbox": "outbox_id",
    "seen": "unit",
    "messages": "address",
    "addresses": "address",
    "letters": "subscriber",
}
"""The column of each table's key that says where a row lies. An outbox row lies by its own id, the only column of its
key (0069, item 3). The other tables are small, and every machine has them."""
_TABLE: Final = re.compile(r"^create table romancy_(\w+) (\(.*?^\))[^;]*;", re.MULTILINE | re.DOTALL)
_READ: Final = re.compile(r"Scan.* on romancy_(\w+)_p(\d)\b.*\(actual rows=\d+ loops=[1-9]")


def spread(schema: str) -> str:
    """The statements of a schema, with the tables in partitions."""

    def one(found: re.Match[str]) -> str:
        name, columns = found[1], found[2]
        if name not in SPREAD_BY:
            return found[0]
        parts = [
            f"create table romancy_{name}_p{number} partition of romancy_{name} "
            f"for values with (modulus {PARTS}, remainder {number});"
            for number in range(PARTS)
        ]
        return "\n".join([f"create table romancy_{name} {columns} partition by hash ({SPREAD_BY[name]});", *parts])

    return _TABLE.sub(one, schema)


def partitions(plan: str) -> dict[str, set[str]]:
    """The partitions of each table that were read, by an EXPLAIN that has run the statement."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for table, number in _READ.findall(plan):
        found[table].add(number)
    return found


@pytest.fixture
def watch(empty_url: str) -> Watch:
    return watch_for(empty_url)


@pytest.fixture
async def laid_out(
    empty_url: str, watch: Watch, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[PostgresStore]:
    """A watched store whose tables are in partitions. Only a plan for known values tells where an array lies."""
    for settings in (ENGINE_SETTINGS, PROMISED):
        monkeypatch.setitem(settings, "plan_cache_mode", "force_custom_plan")
    scripts = texts()
    await connection.execute(scripts["schema_table"])
    for one in known_migrations():
        await connection.execute(spread(one.sql))
        await connection.execute(scripts["schema_record"], one.version, one.name, one.additive)
    with watch.on():
        store = create_store(parse_url(empty_url))
        await store.open()
        yield store
        await store.close()


def write(store: PostgresStore, actor: Actor, item: Item) -> Callable[[], Awaitable[object]]:
    """A call that commits this item."""

    async def call() -> None:
        assert await store.commit([item], worker=actor.token) == ["accepted"]

    return call


async def hot_path(store: PostgresStore, actor: Actor) -> Calls:
    """What an instance asks of a database from its start to its end, and what is sent to it."""
    one, full, ending, told = [await actor.begin() for _ in range(4)]
    mail, key, name = delivery(full, dedupe=unique()), unique("k/"), next(iter(actor.workflows))
    assert await store.deliver([mail]) == ["accepted"]
    sent = OutboxRow(outbox_id=unique("o"), topic="t", body=b"1", instance_id=one.instance_id, key=key)
    waits = take(key)
    told_it = delivery(told, dedupe=unique())
    items: dict[str, Item] = {
        "start": start(workflow_name=name, owner=actor.token, status=Status.RUNNING, index=(("customer", "s:c"),)),
        "step": step(one, 2),
        "step behind another": step(told, 2, after=told.writer),
        "change": append(one, 3, change=change(Status.WAITING, release=True)),
        "consume": append(full, 2, change=change(seen=1), consumed=(mail.delivery_id,)),
        "send": append(one, 4, outbox=(sent,)),
        "wait": append(full, 3, interests=(waits,)),
        "wait no more": append(full, 4, uninterested=(waits.interest_id,)),
        "post": append(full, 5, postings=(posting(key, dedupe=unique()),)),
        "new run": append(full, 6, change=change(seen=1, run_from=6, input=b"2", index=(("customer", "s:d"),))),
        "end": append(ending, 2, change=change(Status.COMPLETED)),
    }
    settled = Settled(outbox_id=sent.outbox_id, claim="relay", state=OutboxState.PUBLISHED)
    return {
        **{what: write(store, actor, item) for what, item in items.items()},
        "deliver": lambda: store.deliver([told_it]),
        "deliver again": lambda: store.deliver([told_it]),
        "read": lambda: store.read(full.instance_id),
        "beat": lambda: store.heartbeat(actor.worker),
        "settle": lambda: store.services.outbox.settle([settled]),
    }


CROSSING: Final = {
    "send and tell": ({"instances", "inbox"}, "a message to an instance is of the commit that sends it"),
    "start children": ({"instances"}, "a child is of the commit that starts it"),
    "claim": ({"instances", "inbox", "log"}, "what is due is found by workflow and time, and comes with logs and mail"),
    "take over": ({"instances"}, "what a dead worker owned is found by the owner"),
    "beat beside a dead one": ({"instances"}, "whether a dead worker still owns something is found by the owner"),
    "dispatch": ({"interests"}, "an interest lies with its owner: its key lacks the address (0069, item 2)"),
    "claim of a relay": ({"outbox"}, "what is to be sent is found by time"),
}
"""The calls that read several partitions of these tables, and why. The list may only become shorter."""
_MANY: Final = 30


async def crossing_path(store: PostgresStore, actor: Actor) -> Calls:
    """The calls that concern several instances, or that do not know which."""
    one, *others = [await actor.begin() for _ in range(_MANY)]
    name, key = next(iter(actor.workflows)), unique("k/")
    await store.services.router.register(Owner(one.instance_id, one.life), take(key))
    await store.services.router.post([posting(key)])
    tells = append(one, 2, deliveries=tuple([delivery(other, dedupe=unique()) for other in others]))
    bears = append(one, 3, starts=tuple([start(workflow_name=name) for _ in others]))
    dead = await Actor(store, workflows=actor.workflows).register()
    await dead.begin()

    return {
        "send and tell": write(store, actor, tells),
        "start children": write(store, actor, bears),
        "claim": actor.claim,
        "take over": lambda: actor.take_over(dead),
        "beat beside a dead one": lambda: store.heartbeat(actor.worker),
        "dispatch": lambda: store.services.router.dispatch([key]),
        "claim of a relay": lambda: store.services.outbox.claim("relay", lease=1_000_000, limit=1),
    }


async def several(store: PostgresStore, watch: Watch, calls: Calls) -> dict[str, set[str]]:
    """The tables of which each call reads several partitions."""
    found: dict[str, set[str]] = {}
    for what, call in calls.items():
        cost = await watch.cost(store, call())
        assert "actual rows" in cost.plan
        found[what] = {table for table, parts in partitions(cost.plan).items() if len(parts) > 1}
    return found


async def test_each_call_of_the_hot_path_reads_one_partition_of_each_table(
    laid_out: PostgresStore, watch: Watch
) -> None:
    actor = await Actor(laid_out, workflows={unique("flow"): "c1"}).register()

    hot = await several(laid_out, watch, await hot_path(laid_out, actor))
    crossing = await several(laid_out, watch, await crossing_path(laid_out, actor))

    assert {what: tables for what, tables in hot.items() if tables} == {}
    assert crossing == {what: tables for what, (tables, _) in CROSSING.items()}
