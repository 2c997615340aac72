"""Another transaction holds rows: a call passes over them, or waits and then judges them as they have become."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.outbox import OutboxRow, OutboxState, Settled
from romancy.storage.rebuilding import Rebuilt
from romancy.storage.records import ClaimRequest, Former, Outcome, PruneRequest
from romancy.storage.routing import OUTSIDE, Owner, Spread
from romancy_conformance.contract.building import append, change, delivery, nonce, start, step
from romancy_conformance.contract.routing.scenes import copy, posting, take
from romancy_postgres._columns import index_paths
from romancy_postgres._effects import firsts_at_once, write_at_once
from romancy_postgres._write import write_changes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

LATEST = 2**62
SENT = [OutboxState.PUBLISHED]
NAMES = ("free", "held")
UNCOUNTED = "update romancy_inbox set counted = false, at = 0, number = 9223372036854775807"


class World:
    """What a call finds: two of everything that are alike, of which one is held."""

    def __init__(self, actor: Actor, connection: asyncpg.Connection) -> None:
        self.actor = actor
        self.sql = connection
        self.begun: dict[str, Append] = {}

    @property
    def store(self) -> Store:
        return self.actor.store

    @property
    def database(self) -> Database:
        store: Any = self.store
        database: Database = store.database
        return database

    @property
    def router(self) -> Any:
        return self.store.services.router

    @property
    def outbox(self) -> Any:
        return self.store.services.outbox

    async def ids(self, sql: str) -> list[str]:
        """Ask over a connection of the store: the test's own may still be at the end of its transaction."""
        async with self.database.work.borrow() as link:
            return [str(row[0]) for row in await link.fetch(sql)]

    async def begin(self, state: str = "") -> None:
        """Two instances, in this state."""
        for name in NAMES:
            self.begun[name] = await self.actor.begin(name, life=7)
        if state:
            await self.sql.execute(f"update romancy_instances set {state}")  # noqa: S608 - a part of this file's

    async def claimed(self, **fields: Any) -> list[str]:
        return sorted(one.instance_id for one in await self.actor.claim(**fields))

    async def interested(self) -> None:
        """Interests of both in an address of their own, with a condition."""
        await self.begin()
        for name in NAMES:
            wanted = take(name, {"n": 2}, interest_id="w")
            assert await self.actor.write(append(self.begun[name], 2, interests=(wanted,))) is Outcome.ACCEPTED

    async def post(self, *addresses: str, **fields: Any) -> None:
        batch = [posting(one, message_id=f"m-{one}", **fields) for one in addresses]
        assert set(await self.router.post(batch)) == {"accepted"}

    async def publish(self, state: str = "") -> None:
        rows = tuple(OutboxRow(outbox_id=name, topic="t", body=b"{}", key=name) for name in NAMES)
        assert await self.actor.write(start(outbox=rows, delay=None)) is Outcome.ACCEPTED
        if state:
            await self.sql.execute(f"update romancy_outbox set {state}")  # noqa: S608 - a part of this file's

    async def prune(self, **fields: Any) -> int:
        return int(await self.store.services.upkeep.prune(PruneRequest(**fields)))


@pytest.fixture
async def world(actor: Actor, connection: asyncpg.Connection) -> World:
    """A database with a worker."""
    return World(actor, connection)


# ── passed over ─────────────────────────────────────────────────────────────────────────────────────────────────────


RESTING = "owner = null, wake_at = null, status = "


async def due(world: World) -> Any:
    await world.begin("owner = null, wake_at = 0")
    return "instances", world.claimed, ["free"]


async def uncounted(world: World) -> Any:
    await world.begin()
    assert len(await world.store.deliver([delivery(name) for name in NAMES])) == 2
    await world.sql.execute(UNCOUNTED)

    async def call() -> list[str]:
        await world.claimed(limit=0, sweep=True)
        return await world.ids("select instance_id from romancy_inbox where counted")

    return "instances", call, ["free"]


def resting(state: str) -> Callable[[World], Awaitable[Any]]:
    async def prepared(world: World) -> Any:
        await world.begin(RESTING + state)

        async def call() -> list[str]:
            await world.claimed(limit=0, sweep=True)
            return await world.ids("select instance_id from romancy_instances where wake_at is not null")

        return "instances", call, ["free"]

    return prepared


async def orphaned(world: World) -> Any:
    await world.begin()
    rescuer = await type(world.actor)(world.store, workflows={}).register()
    peer = await rescuer.see(world.actor)

    async def call() -> Any:
        answer = await world.store.takeover(rescuer.token, peer, b"[]", nonce(), limit=100)
        return [*answer.moved], answer.left

    return "instances", call, (["free"], True)


async def freed(world: World) -> Any:
    """By the statement that frees what a dead worker owns; where it is locked out, each is tried alone."""
    await world.begin()
    rescuer = await type(world.actor)(world.store, workflows={}).register()
    values: tuple[Any, ...] = (world.actor.token, rescuer.token, 10, "writer", b"[]", *(True, []))

    async def call() -> list[str]:
        return [str(row["instance_id"]) for row in await world.database.fetch("free", *values)]

    return "instances", call, ["free"]


async def waiting(world: World) -> Any:
    """What fits nothing is marked as compared, unless others hold the interest."""
    await world.interested()
    await world.post(*NAMES)

    async def call() -> list[str]:
        assert (await world.router.dispatch(NAMES)).delivered == 0
        return await world.ids("select owner from romancy_interests where compared_to >= 0")

    return "interests", call, ["free"]


async def over(world: World) -> Any:
    await world.interested()
    await world.sql.execute("update romancy_instances set status = 'completed', updated_at = 1")

    async def call() -> list[str]:
        await world.router.dispatch()
        return await world.ids("select owner from romancy_interests")

    return "instances", call, ["held"]


async def mail_of_dispatch(world: World) -> Any:
    """Their mail is counted after the commit of the dispatch."""
    await world.begin()
    await world.store.deliver([delivery(name, delivery_id="d") for name in NAMES])
    await world.sql.execute(UNCOUNTED)

    async def call() -> list[str]:
        rows = await world.database.fetch("route_count", [*NAMES], ["d", "d"])
        return [str(row["instance_id"]) for row in rows]

    return "instances", call, ["free"]


async def old_messages(world: World) -> Any:
    await world.post(*NAMES)
    return "messages where address = 'held'", lambda: world.router.expire(LATEST), 1


async def old_letters(world: World) -> Any:
    for name in NAMES:
        await world.router.register(Owner(name, OUTSIDE), copy(name, interest_id="w"))
    await world.post(*NAMES, spread=Spread.EVERY)
    assert (await world.router.dispatch(NAMES)).delivered == 2
    for name in NAMES:
        await world.router.unregister(Owner(name, OUTSIDE), ["w"])
    return "letters where subscriber = 'held'", lambda: world.router.expire(LATEST), 1


async def old_addresses(world: World) -> Any:
    await world.sql.execute("insert into romancy_addresses (address, number) values ('free', 1), ('held', 1)")

    async def call() -> list[str]:
        await world.router.expire(LATEST)
        return await world.ids("select address from romancy_addresses")

    return "addresses where address = 'held'", call, ["held"]


async def to_be_sent(world: World) -> Any:
    await world.publish()

    async def call() -> list[str]:
        answer = await world.outbox.claim("claim", lease=1, limit=10)
        return [one.row.outbox_id for one in answer.entries]

    return "outbox", call, ["free"]


async def parked(world: World) -> Any:
    await world.publish("next_at = null")

    async def call() -> list[str]:
        await world.outbox.sweep()
        return await world.ids("select outbox_id from romancy_outbox where next_at is not null")

    return "outbox", call, ["free"]


async def sent_again(world: World) -> Any:
    await world.publish("state = 'published', ended_at = 1, next_at = null")
    return "outbox", lambda: world.outbox.requeue(SENT), 1


async def sent_long_ago(world: World) -> Any:
    await world.publish("state = 'published', ended_at = 1, next_at = null")
    return "outbox", lambda: world.outbox.purge(SENT, LATEST), 1


async def ended_named(world: World) -> Any:
    await world.begin("status = 'completed'")
    return "instances", lambda: world.prune(instance_ids=NAMES), 1


async def ended_long_ago(world: World) -> Any:
    await world.begin("status = 'completed'")
    return "instances", lambda: world.prune(ended_before=LATEST), 1


async def runs(world: World) -> Any:
    await world.begin("run_from = 2")

    async def call() -> list[str]:
        await world.prune()
        return await world.ids("select instance_id from romancy_log")

    return "instances", call, ["held"]


async def keys(world: World) -> Any:
    await world.begin()
    await world.store.deliver([delivery(name, dedupe=name) for name in NAMES])

    async def call() -> list[str]:
        await world.prune(dedupe_before=LATEST)
        return await world.ids("select unit from romancy_seen")

    return "seen where unit = 'held'", call, ["held"]


PASSED_OVER = [
    due, freed, uncounted, orphaned, waiting, over, mail_of_dispatch, old_messages, old_letters, old_addresses,
    to_be_sent, parked, sent_again, sent_long_ago, ended_named, ended_long_ago, runs, keys,
]  # fmt: skip
ASLEEP = ("'waiting', signals = 1", "'running'", "'stuck'")
_KEY = {"instances": "instance_id", "interests": "owner", "outbox": "outbox_id", "workers": "token"}


@pytest.mark.parametrize(
    "prepared",
    [*(pytest.param(one, id=one.__name__) for one in PASSED_OVER)]
    + [pytest.param(resting(one), id=one) for one in ASLEEP],
)
async def test_a_call_passes_over_what_others_hold(world: World, prepared: Callable[[World], Awaitable[Any]]) -> None:
    rows, call, answer = await prepared(world)
    if " " not in rows:
        rows = f"{rows} where {_KEY[rows]} = 'held'"
    async with world.sql.transaction():
        assert await world.sql.fetch(f"select from romancy_{rows} for update")

        assert await call() == answer


# ── waited for ──────────────────────────────────────────────────────────────────────────────────────────────────────


ENDS = "update romancy_instances set status = 'completed' where instance_id = 'held'"
GROWS = "update romancy_instances set signals = signals + 1 where instance_id = 'held'"
INBOX = "select delivery_id from romancy_inbox"


def sent() -> tuple[OutboxRow, ...]:
    return (OutboxRow(outbox_id="o", topic="t", body=b"{}"),)


def ending(**fields: Any) -> Callable[[World], Awaitable[Any]]:
    """An end that did not see the last message."""

    async def prepared(world: World) -> Any:
        await world.begin()
        item = append(world.begun["held"], 2, change=change(Status.COMPLETED, seen=0), **fields)
        return GROWS, lambda: world.store.commit([item], worker=world.actor.token), [Outcome.UNSEEN]

    return prepared


def taking(**fields: Any) -> Callable[[World], Awaitable[Any]]:
    """An append that consumes a message, which is given back meanwhile."""

    async def prepared(world: World) -> Any:
        await world.begin()
        await world.store.deliver([delivery("held", delivery_id="d")])
        item = append(world.begun["held"], 2, change=change(seen=1), consumed=("d",), **fields)
        gone = "delete from romancy_inbox"
        return gone, lambda: world.store.commit([item], worker=world.actor.token), [Outcome.GONE]

    return prepared


def sending(*, first: bool) -> Callable[[World], Awaitable[Any]]:
    """An append that sends to an instance that ends meanwhile."""

    async def prepared(world: World) -> Any:
        await world.begin()
        mail = (delivery("held"),)
        item = start(deliveries=mail) if first else append(world.begun["free"], 2, deliveries=mail)

        async def call() -> list[str]:
            assert await world.store.commit([item], worker=world.actor.token) == [Outcome.ACCEPTED]
            return await world.ids(INBOX)

        return ENDS, call, []

    return prepared


async def message(world: World) -> Any:
    await world.begin()
    return ENDS, lambda: world.store.deliver([delivery("held")]), ["closed"]


def in_session(sql: str, query: str, answer: list[str]) -> Callable[[World], Awaitable[Any]]:
    """A session that sends to an instance."""

    async def prepared(world: World) -> Any:
        await world.begin()
        item = append(world.begun["free"], 2, deliveries=(delivery("held", delivery_id="d"),))

        async def call() -> list[str]:
            async with world.store.services.sessions.begin() as session:
                assert await session.commit(item, worker=world.actor.token) is Outcome.ACCEPTED
            return await world.ids(query)

        return sql, call, answer

    return prepared


def dispatch(kind: Any, spread: Spread, sql: str) -> Callable[[World], Awaitable[Any]]:
    """A dispatch of a message to an interest, of which one goes meanwhile."""

    async def prepared(world: World) -> Any:
        await world.begin()
        assert await world.actor.write(append(world.begun["held"], 2, interests=(kind("held"),))) is Outcome.ACCEPTED
        await world.post("held", spread=spread)

        async def call() -> list[str]:
            await world.router.dispatch(["held"])
            return await world.ids(INBOX)

        return sql, call, []

    return prepared


async def sweeping(world: World) -> Any:
    """Mail that was counted meanwhile is not counted again."""
    await world.begin()
    await world.store.deliver([delivery("held")])
    await world.sql.execute(UNCOUNTED)

    async def call() -> list[str]:
        await world.claimed(limit=0, sweep=True)
        return await world.ids("select signals from romancy_instances where instance_id = 'held'")

    return "update romancy_inbox set counted = true, number = 1", call, ["1"]


async def freeing(world: World) -> Any:
    """The place in the log is taken by another entry meanwhile."""
    _, call, answer = await freed(world)
    return A_ROW, call, answer


async def promoting(world: World) -> Any:
    """The next of a key ends meanwhile."""
    await world.publish("next_at = null")

    async def call() -> list[str]:
        await world.database.fetch("outbox_promote", ["held"])
        return await world.ids("select outbox_id from romancy_outbox where next_at is not null")

    return "update romancy_outbox set state = 'published'", call, []


async def giving_back(world: World) -> Any:
    await world.begin()
    await world.post("held")
    assert await world.actor.write(append(world.begun["held"], 2, interests=(take("held"),))) is Outcome.ACCEPTED
    assert (await world.router.dispatch(["held"])).delivered == 1
    call = lambda: world.router.give_back(Owner("held", 7), ["m-held"])  # noqa: E731 - one of many
    return "update romancy_instances set life = 8", call, 0


async def replacing(world: World) -> Any:
    await world.begin("status = 'completed'")
    item = start("held", replaces=Former(7, frozenset(TERMINAL_STATUSES)))
    return "update romancy_instances set status = 'running'", lambda: world.store.commit([item]), [Outcome.EXISTS]


async def dying(world: World) -> Any:
    rescuer = await type(world.actor)(world.store, workflows={}).register()
    peer = await rescuer.see(world.actor)

    async def call() -> bool:
        return (await world.store.takeover(rescuer.token, peer, b"[]", nonce(), limit=100)).refused

    return "update romancy_workers set beat = beat + 1", call, True


async def rebuilding(world: World) -> Any:
    await world.begin()
    found = await world.store.read("held", limit=0)
    assert found is not None
    service = world.store.services.rebuilding
    lost = Rebuilt(row=found.instance, projection=None, index=())
    return "update romancy_instances set run_from = 5", lambda: service.rebuild([lost]), 0


A_ROW = "insert into romancy_log (instance_id, life, seq, writer, body, at) values ('held', 7, 2, 'w', '', 1)"
A_CHILD = (
    "insert into romancy_instances (instance_id, life, workflow_name, code, input, index_paths, status, created_at, "
    "updated_at) values ('child', 7, 'flow', 'c1', '', '', 'pending', 1, 1)"
)
NEW_INDEX = (("n", "1"),)


async def steps(world: World) -> Any:
    """A place is taken meanwhile."""
    await world.begin()
    items = [step(world.begun[name], 2) for name in NAMES]
    return A_ROW, lambda: world.store.commit(items, worker=world.actor.token), [Outcome.ACCEPTED, Outcome.TAKEN]


def parent(*, first: bool) -> Callable[[World], Awaitable[Any]]:
    """Its child's id is taken meanwhile."""

    async def prepared(world: World) -> Any:
        await world.begin()
        children = (start("child", delay=None),)
        item = start(starts=children) if first else append(world.begun["held"], 2, starts=children)
        return A_CHILD, lambda: world.store.commit([item], worker=world.actor.token), [Outcome.EXISTS]

    return prepared


def declaring(*, several: bool) -> Callable[[World], Awaitable[Any]]:
    """A new run with paths that become known meanwhile."""

    async def prepared(world: World) -> Any:
        await world.begin()
        run = change(run_from=2, input=b"2", index=NEW_INDEX)
        mail = (delivery("child"),) if several else ()
        item = append(world.begun["held"], 2, change=run, starts=(start("child", delay=None),), deliveries=mail)
        workflow, paths = next(iter(world.actor.workflows)), index_paths(NEW_INDEX)
        known = (
            f"insert into romancy_index_sets (workflow_name, paths, members) values ('{workflow}', '{paths}', '{{n}}')"  # noqa: S608 - names of ours
        )
        return known, lambda: world.store.commit([item], worker=world.actor.token), [Outcome.ACCEPTED]

    return prepared


WAITED_FOR: dict[str, Callable[[World], Awaitable[Any]]] = {
    "steps": steps,
    "a child": parent(first=False),
    "a child of a first append": parent(first=True),
    "paths": declaring(several=False),
    "paths of several statements": declaring(several=True),
    "an end": ending(),
    "an end that sends": ending(outbox=sent()),
    "an append that takes": taking(),
    "an append that takes and sends": taking(outbox=sent()),
    "a message of an append": sending(first=False),
    "a message of a first append": sending(first=True),
    "a message": message,
    "a message of a session": in_session("delete from romancy_instances where instance_id = 'held'", INBOX, []),
    "a count": in_session(GROWS, "select number from romancy_inbox", ["2"]),
    "a take of an interest": dispatch(take, Spread.ONE, "delete from romancy_interests"),
    "a take of a message": dispatch(take, Spread.ONE, "delete from romancy_messages"),
    "a copy": dispatch(copy, Spread.EVERY, "delete from romancy_interests"),
    "a sweep that counts": sweeping,
    "an instance that is freed": freeing,
    "the next of a key": promoting,
    "what is given back": giving_back,
    "a life that replaces another": replacing,
    "a worker that is declared dead": dying,
    "a row that is rebuilt": rebuilding,
}


@pytest.mark.parametrize("what", WAITED_FOR)
async def test_a_call_waits_and_then_judges(world: World, what: str) -> None:
    sql, call, answer = await WAITED_FOR[what](world)

    assert (await beside(world, sql, call))[0] == answer


async def test_a_message_for_the_outside_ends_after_the_wait_for_it(world: World) -> None:
    await world.publish()
    await world.outbox.claim("claim", lease=60_000_000, limit=10)
    batch = [Settled(outbox_id=one, claim="claim", state=OutboxState.PUBLISHED) for one in NAMES]

    _, released = await beside(world, "update romancy_outbox set topic = 'u'", lambda: world.outbox.settle(batch))

    assert await world.sql.fetchval("select min(ended_at) from romancy_outbox") >= released


LOCKING: dict[str, tuple[str, tuple[Any, ...]]] = {
    "deliver": ("instances", (["held"], ["d"], [b"1"], [None])),
    "post": ("instances", (["held"], ["d"], [b"1"], [None])),
    "sweep_ended": ("instances", (["held"],)),
    "outbox_settle": ("outbox", (["held"], ["c"], ["published"], [0], [True], [None])),
    "outbox_remove": ("outbox", (["held"],)),
    "declare_dead": ("workers", ("held", "nobody", 1)),
}
"""Scripts that lock rows first, the table of these, and values that name one of them."""


@pytest.mark.parametrize("script", LOCKING)
async def test_a_script_locks_what_it_names(world: World, script: str) -> None:
    table, values = LOCKING[script]
    await world.begin("status = 'completed'")
    await world.publish()
    await world.sql.execute("update romancy_workers set token = 'free'")
    free = f"select from romancy_{table} where {_KEY[table]} = 'free' for update skip locked"

    async def locks(link: Link) -> int:
        await link.fetch(script, *values)
        return len(await world.sql.fetch(free))

    assert await world.database.transaction(locks) == 1


@pytest.mark.parametrize("kind", ["a change", "effects", "a first append"])
async def test_an_append_locks_what_it_names(world: World, kind: str) -> None:
    """And tells nobody of an instance that is not due."""
    await world.begin()
    free = "select from romancy_instances where instance_id = 'free' for update skip locked"

    async def locks(link: Link) -> int:
        if kind == "a first append":
            await link.fetch("append_first", *firsts_at_once([start("new", delay=None, outbox=sent())]))
        else:
            items = [append(world.begun["held"], 2, change=change(), outbox=sent() if kind == "effects" else ())]
            write = write_at_once if kind == "effects" else write_changes
            assert "held" not in (await write(link, items, world.actor.token)).stirred
        return len(await world.sql.fetch(free))

    assert await world.database.transaction(locks) == 1


async def test_a_due_instance_that_was_passed_over_counts(world: World) -> None:
    """Nobody announces that its row is free again. Code that the worker leaves to others does not count."""
    await world.begin("owner = null, wake_at = 5")
    hold = "select from romancy_instances where instance_id = 'held' for update"
    request = ClaimRequest(worker=world.actor.token, codes=world.actor.workflows, limit=9, leave=("c9",), grace=2**52)

    async with world.sql.transaction():
        await world.sql.fetch(hold)
        work = await world.store.claim(request)

    assert ([one.instance_id for one in work.claimed], work.next_due) == (["free"], 5)


async def beside(world: World, sql: str, call: Callable[[], Awaitable[Any]]) -> tuple[Any, int]:
    """Make a call while a transaction has run a statement, which ends once the call waits for it. Also say when."""
    blocks = "select exists (select from pg_stat_activity where pg_backend_pid() = any (pg_blocking_pids(pid)))"
    async with world.sql.transaction():
        await world.sql.execute(sql)
        calling = asyncio.ensure_future(call())
        while not calling.done() and not await world.sql.fetchval(blocks):
            await world.sql.execute("select pg_stat_clear_snapshot()")
        released = await world.sql.fetchval("select romancy_now()")
    return await calling, released
