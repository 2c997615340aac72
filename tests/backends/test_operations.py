"""What operations send to each database, and that a call which is given up leaves nothing open."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import InternalError
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.outbox import OutboxState
from romancy.storage.query import Position, build_query
from romancy.storage.records import ClaimRequest, Outcome, PruneRequest, Worker
from romancy.storage.routing import OUTSIDE, Owner, Spread
from romancy.storage.sqlkit.statements import ROUNDS, Ask, LockedError, OvertakenError, Running, ask, ask_all
from romancy_conformance.contract.building import Actor, append, change, delivery, start, unique
from romancy_conformance.contract.interleaving import Hold, held_at, leave, listen, run, statements
from romancy_conformance.contract.routing.scenes import Receiver, copy, member, post
from romancy_conformance.contract.routing.scenes import take as wish
from romancy_conformance.contract.test_outbox import MINUTE, Publisher, ended, ids, outgoing, take

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Peer
    from romancy.storage.sqlkit.statements import Interpreter, Operation
    from romancy_mysql._sql import Statement

    Call = Callable[[Store], Awaitable[Any]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def stores(storage_url: str) -> AsyncIterator[tuple[Store, Store]]:
    """Two stores on one database."""
    one, other = create_store(storage_url), create_store(storage_url)
    await one.open()
    await other.open()
    yield one, other
    await one.close()
    await other.close()


@pytest.fixture
async def publisher(stores: tuple[Store, Store]) -> Publisher:
    actor = await Actor(stores[1], workflows={unique("flow"): "c1"}).register()
    return Publisher(actor, await actor.begin())


# ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────────────

_SENT: dict[str, dict[str, str]] = {
    "sqlite": {
        "nothing due": "outbox_look",
        "claim one": "outbox_look outbox_due outbox_give outbox_given outbox_look",
        "settle one": "outbox_record outbox_keys",
        "claim some": "outbox_look outbox_due outbox_park outbox_give outbox_given outbox_look",
        "settle some": "outbox_record outbox_keys outbox_promote",
        "sweep": "outbox_sweep",
        "count": "outbox_counts",
        "remove": "outbox_keys outbox_delete outbox_promote",
        "requeue": "outbox_requeue",
        "purge": "outbox_purge",
        "read": "outbox_read",
        "list": "outbox_entries",
        "no work": "due alive mailboxes next_due",
        "work": "due alive due take alive mailboxes next_due taken short_logs",
        "mail": "due alive mailboxes next_due mail",
        "take over": "declare_dead owned_heads takeover_log takeover_instances still_owned",
        "prune nothing": "prune_old former_runs prune_workers prune_seen",
        "prune": "prune_named prune_interests return_taken prune_log prune_inbox drop_index prune_instances "
        "former_runs prune_workers",
        "first heartbeat": "count_beat living_beat peers",
        "heartbeat": "count_beat living_beat peers",
        "census": "peers",
    },
    "postgres": {
        "nothing due": "outbox_look",
        "claim one": "outbox_look begin outbox_due outbox_claim commit outbox_look",
        "settle one": "outbox_settle",
        "claim some": "outbox_look begin outbox_due outbox_claim commit outbox_look",
        "settle some": "outbox_settle outbox_promote",
        "sweep": "outbox_sweep",
        "count": "outbox_counts",
        "remove": "outbox_remove outbox_promote",
        "requeue": "outbox_requeue",
        "purge": "outbox_purge",
        "read": "outbox_read",
        "list": "outbox_entries",
        "no work": "claim",
        "work": "claim mailboxes",
        "mail": "claim mailboxes mail",
        "take over": "declare_dead free still_owned",
        "prune nothing": "begin prune_old commit prune_runs prune_workers prune_seen",
        "prune": "begin prune_named prune_chosen commit prune_runs prune_workers",
        "first heartbeat": "beat peers",
        "heartbeat": "beat peers",
        "census": "peers",
    },
    # What stands between two bars is one packet.
    "mysql": {
        "nothing due": "outbox_look",
        "claim one": "outbox_look | begin outbox_due | outbox_judge | outbox_give commit outbox_given outbox_look",
        "settle one": "outbox_record outbox_keys",
        "claim some": "outbox_look | begin outbox_due | outbox_judge | "
        "outbox_park outbox_give commit outbox_given outbox_look",
        "settle some": "outbox_record outbox_keys | outbox_next | outbox_unpark",
        "sweep": "outbox_parked",
        "count": "outbox_pending outbox_ended outbox_ended outbox_ended outbox_ended",
        "remove": "outbox_keys outbox_delete | outbox_next | outbox_unpark",
        "requeue": "outbox_requeue",
        "purge": "outbox_purge",
        "read": "outbox_read",
        "list": "outbox_entries",
        "no work": "look_alive read_now next_due read_mailboxes",
        "work": "look_alive read_now next_due read_mailboxes | begin claim_due | "
        "take_claimed count commit read_claimed read_short_logs read_now next_due",
        "mail": "look_alive read_now next_due read_mailboxes | read_mail",
        "take over": "mark_dead marked_dead | begin read_owned | "
        "log_takeover count free_from_dead count commit still_owned",
        "prune nothing": "begin find_old find_old find_old | commit | former_runs | dead_workers | prune_seen",
        "prune": "begin prune_named | prune_interests hold_taken return_taken prune_log prune_inbox prune_uncounted "
        "drop_index prune_instances commit | former_runs | dead_workers",
        "first heartbeat": "register beat_again peers",
        "heartbeat": "beat_again peers",
        "census": "peers",
    },
}  # fmt: skip


_ROUTED: dict[str, dict[str, str]] = {
    "sqlite": {
        "take": "is_open interest_put",
        "copy": "is_open interests discard interest_put",
        "member": "is_open interests interest_put",
        "refused": "is_open interests",
        "interests": "interests",
        "dispatch to nobody": "route_due",
        "dispatch to takers": "route_due route_messages route_interests give_letters give_mail count_given "
        "end_messages "
        "drop_interests number_addresses",
        "dispatch copies": "route_due route_messages route_interests give_letters give_mail count_given end_messages "
        "number_addresses",
        "dispatch both": "route_due route_messages route_interests give_letters give_mail count_given end_messages "
        "drop_interests number_addresses",
        "letters": "letters",
        "acknowledge": "drop_letters",
        "letters back": "return_letters drop_letters",
        "give back": "lives return_mail drop_mail",
        "other life": "lives",
        "unregister": "drop_interests",
        "kept": "kept",
        "kept full": "kept",
        "kept at": "kept_at",
        "sweep": "route_work route_lost route_over route_messages route_interests give_mail count_given "
        "end_messages drop_interests",
        "expire": "expire_messages expire_letters expire_addresses",
        "expire nothing": "expire_messages expire_letters expire_addresses",
    },
    "postgres": {
        "take": "register_interest",
        "copy": "begin route_lock register_interest commit",
        "member": "begin route_lock register_interest commit",
        "refused": "begin route_lock register_interest commit",
        "interests": "interests",
        "dispatch to nobody": "route_due",
        "dispatch to takers": "route_due begin route_messages route_interests route_take route_finish route_count "
        "commit",
        "dispatch copies": "route_due begin route_messages route_interests route_copy route_finish route_count "
        "commit",
        "dispatch both": "route_due begin route_messages route_interests route_take route_copy route_finish "
        "route_count commit",
        "letters": "letters",
        "acknowledge": "drop_letters",
        "letters back": "letters_back",
        "give back": "give_back",
        "other life": "give_back",
        "unregister": "drop_interests",
        "kept": "kept",
        "kept full": "kept",
        "kept at": "kept_at",
        "sweep": "sweep_owners sweep_newest route_due begin route_messages route_interests route_take "
        "route_count commit",
        "expire": "expire expire_addresses",
        "expire nothing": "expire expire_addresses",
    },
    # What stands between two bars is one packet.
    "mysql": {
        "take": "begin lock_addresses judge_interest interest_put commit judged",
        "copy": "kept_ids | begin lock_addresses judge_interest interest_put commit judged",
        "member": "begin lock_addresses judge_interest interest_put commit judged",
        "refused": "kept_ids | begin lock_addresses judge_interest interest_put discard_messages commit "
        "judged",
        "interests": "interests",
        "dispatch to nobody": "route_messages route_interests",
        "dispatch to takers": "route_messages route_interests | begin lock_addresses number_addresses count "
        "end_interests count give_mail mark_mail give_letters end_messages count hold_free "
        "signal_free number_free commit still_uncounted",
        "dispatch copies": "route_messages route_interests | begin lock_addresses number_addresses count "
        "hold_interests give_mail mark_mail give_letters end_messages count hold_free signal_free "
        "number_free commit still_uncounted",
        "dispatch both": "route_messages route_interests | begin lock_addresses number_addresses count "
        "hold_interests end_interests count give_mail mark_mail give_letters end_messages count "
        "hold_free signal_free number_free commit still_uncounted",
        "letters": "letters",
        "acknowledge": "drop_letters",
        "letters back": "begin hold_letters return_letters drop_letters commit",
        "give back": "lives | begin hold_mail return_mail drop_mail drop_uncounted commit",
        "other life": "lives",
        "unregister": "drop_interests",
        "kept": "kept_page",
        "kept full": "kept_page | kept_alike",
        "kept at": "kept_at",
        "sweep": "find_abandoned find_outlived | unswept_messages unswept_interests | route_messages "
        "route_interests | begin end_interests count give_mail mark_mail end_messages count "
        "hold_free signal_free number_free commit still_uncounted | sweep_messages "
        "sweep_interests",
        "expire": "find_expired find_unread find_unused | end_messages end_letters end_addresses",
        "expire nothing": "find_expired find_unread find_unused | end_addresses",
    },
}  # fmt: skip


def dialect(store: Store) -> str:
    """The adapter of a store."""
    return type(store).__module__.partition(".")[0].removeprefix("romancy_")


@pytest.fixture
def packets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what MySQL is sent, packet by packet, if the database is MySQL."""
    from romancy_mysql._database import Database  # noqa: PLC0415 - its driver is an extra

    sent: list[str] = []
    join: Any = Database._packets  # pyright: ignore[reportPrivateUsage] - as the tap does

    def joined(database: Database, given: Iterable[Statement]) -> Any:
        named = list(given)
        sent.append(" ".join(one.name for one in named))
        return join(database, named)

    send = Database.send

    async def counted(database: Database, line: Any, given: Sequence[Statement]) -> Any:
        if len(given) == 1:
            sent.append(given[0].name)
        return await send(database, line, given)

    monkeypatch.setattr(Database, "_packets", joined)
    monkeypatch.setattr(Database, "send", counted)
    return sent


async def sent_by(store: Store, call: Awaitable[object], packets: list[str]) -> str:
    """What this call sends, but for the report of changes, which many calls share."""
    if dialect(store) == "mysql":
        packets.clear()
        await call
        return " | ".join(packets)
    unheard = {"sqlite": {"begin", "commit"}, "postgres": {"notify"}}[dialect(store)]
    return " ".join(one.split()[0] for one in await statements(store, call) if one not in unheard)


async def test_an_operation_of_the_outbox_sends_no_more_than_it_needs(
    stores: tuple[Store, Store], publisher: Publisher, packets: list[str]
) -> None:
    outbox, other = stores[0].rooms.outbox, stores[1].rooms.outbox
    sent: dict[str, str] = {}

    async def send(name: str, call: Awaitable[object]) -> None:
        sent[name] = await sent_by(stores[0], call, packets)

    await send("nothing due", outbox.claim("c-0", lease=MINUTE, limit=10))
    await publisher.publish(outgoing())
    await send("claim one", outbox.claim("c-1", lease=MINUTE, limit=10))
    await send("settle one", outbox.settle([ended(one) for one in await other.entries()]))
    await publisher.publish_each(*(outgoing(key) for key in ("k", "k", "k", "j", "j", None)))
    await send("claim some", outbox.claim("c-2", lease=MINUTE, limit=10))
    await send("settle some", outbox.settle([ended(one) for one in await other.entries() if one.claim == "c-2"]))
    await take(stores[1])  # parks the last of a key
    await send("sweep", outbox.sweep())
    await send("count", outbox.counts(most=3))
    await send("remove", outbox.remove([row.outbox_id for row in (await other.read(10))[:1]]))
    await send("requeue", outbox.requeue([OutboxState.PUBLISHED]))
    await send("purge", outbox.purge([OutboxState.PUBLISHED], 1))
    await send("read", outbox.read(10))
    await send("list", outbox.entries())

    assert {name: _SENT[dialect(stores[0])][name] for name in sent} == sent


async def test_a_heartbeat_sends_no_more_than_it_needs(stores: tuple[Store, Store], packets: list[str]) -> None:
    store, sent = stores[0], dict[str, str]()
    worker = Worker(token=unique("t"), worker_id="w", lease=MINUTE, codes=("a 1", "b 2"))

    sent["first heartbeat"] = await sent_by(store, store.heartbeat(worker), packets)
    sent["heartbeat"] = await sent_by(store, store.heartbeat(worker), packets)
    sent["census"] = await sent_by(store, store.rooms.reading.census(), packets)

    assert {name: _SENT[dialect(store)][name] for name in sent} == sent


async def test_a_claim_sends_no_more_than_it_needs(stores: tuple[Store, Store], packets: list[str]) -> None:
    store, sent = stores[0], dict[str, str]()
    name = unique("flow")
    actor = await Actor(stores[1], workflows={name: "c1"}).register()
    request = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=10)
    begun = [start(workflow_name=name) for _ in range(2)]

    sent["no work"] = await sent_by(store, store.claim(request), packets)
    await actor.store.commit(begun)
    sent["work"] = await sent_by(store, store.claim(request), packets)
    await actor.store.deliver([delivery(one) for one in begun])
    sent["mail"] = await sent_by(store, store.claim(request), packets)

    assert {name: _SENT[dialect(store)][name] for name in sent} == sent


async def test_a_takeover_sends_no_more_than_it_needs(stores: tuple[Store, Store], packets: list[str]) -> None:
    survivor, peer, ids = await _victim(stores[0])

    moved = list[str]()

    async def take_over() -> None:
        moved.extend((await stores[0].takeover(survivor.token, peer, b"[]", unique("w"))).moved)

    assert _SENT[dialect(stores[0])]["take over"] == await sent_by(stores[0], take_over(), packets)
    assert ids == sorted(moved)


class _UndoneError(Exception):
    """The transaction is undone."""


_BESIDE_A_LOCK: dict[str, str] = {
    "postgres": "declare_dead free free_apart free free free",
    "mysql": "mark_dead marked_dead | begin read_owned | "
    "log_takeover count free_from_dead count commit still_owned | read_owned see_uncommitted read_owned | "
    "free_instances | begin read_owned | log_takeover count free_from_dead count commit",
}


@pytest.mark.backends("postgres", "mysql", "mariadb")
async def test_a_takeover_beside_a_lock_leaves_out_what_is_held(
    stores: tuple[Store, Store], packets: list[str]
) -> None:
    """It does not wait for the chunk a second time."""
    store, other = stores
    survivor, victim = [await Actor(one, workflows={unique("flow"): "c1"}).register() for one in stores]
    begun = [await victim.begin() for _ in range(3)]
    peer = await survivor.see(victim)
    moved = list[str]()

    async def take_over() -> None:
        answer = await store.takeover(survivor.token, peer, b"[]", unique("w"))
        assert answer.left
        moved.extend(answer.moved)

    mark = other.capabilities.placeholder
    marks = ", ".join(mark.replace("1", str(number)) for number in range(1, 6))
    sql = f"insert into romancy_log (instance_id, life, seq, writer, body, at) values ({marks}, 1)"  # noqa: S608
    with suppress(_UndoneError):
        async with other.rooms.sessions.begin() as session:
            await session.execute(sql, begun[1].instance_id, begun[1].life, 2, "nobody", b"")
            assert _BESIDE_A_LOCK[dialect(store)] == await sent_by(store, take_over(), packets)
            raise _UndoneError

    assert sorted(moved) == sorted(one.instance_id for one in begun[::2])
    assert (await other.takeover(survivor.token, peer, b"[]", unique("w"))).moved == (begun[1].instance_id,)


async def test_pruning_sends_no_more_than_it_needs(stores: tuple[Store, Store], packets: list[str]) -> None:
    store, sent = stores[0], dict[str, str]()
    over = await _over(store)

    nothing = PruneRequest(ended_before=1, dedupe_before=1)
    sent["prune nothing"] = await sent_by(store, store.rooms.upkeep.prune(nothing), packets)
    sent["prune"] = await sent_by(store, store.rooms.upkeep.prune(PruneRequest(instance_ids=over)), packets)

    assert {name: _SENT[dialect(store)][name] for name in sent} == sent
    assert {None} == {await store.read(one, limit=0) for one in over}


async def _over(store: Store) -> tuple[str, ...]:
    """Instances that have ended."""
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    begun = [await actor.begin() for _ in range(2)]
    for one in begun:
        assert Outcome.ACCEPTED is await actor.write(append(one, 2, change=change(Status.COMPLETED)))
    return tuple(one.instance_id for one in begun)


async def _victim(store: Store) -> tuple[Actor, Peer, list[str]]:
    """A worker, another one as it sees it, and what the other one owns."""
    survivor, victim = [await Actor(store, workflows={unique("flow"): "c1"}).register() for _ in range(2)]
    begun = [await victim.begin() for _ in range(3)]
    return survivor, await survivor.see(victim), sorted(one.instance_id for one in begun)


async def test_an_operation_of_the_router_sends_no_more_than_it_needs(
    stores: tuple[Store, Store], packets: list[str]
) -> None:
    router, there = stores[0].rooms.router, stores[1].rooms.router
    actor = await Actor(stores[1], workflows={unique("flow"): "c1"}).register()
    one, another = Receiver(actor, await actor.begin()), Receiver(actor, await actor.begin())
    outside = Owner(unique("s"), OUTSIDE)
    key, kind, channel = unique("k"), unique("e"), unique("c")
    sent: dict[str, str] = {}

    async def send(name: str, call: Awaitable[object]) -> None:
        sent[name] = await sent_by(stores[0], call, packets)

    await send("take", router.register(one.owner, wish(key, interest_id="t")))
    await send("copy", router.register(one.owner, copy(kind, interest_id="c")))
    await send("member", router.register(one.owner, member(channel, interest_id="m")))
    for owner in (another.owner, outside):
        await there.register(owner, copy(kind, interest_id="c"))
    await there.register(outside, wish(key, interest_id="t"))
    await post(stores[1], channel, Spread.CHANNEL, 2)
    await send("refused", router.register(one.owner, copy(channel)))
    await send("interests", router.interests(key))
    await send("dispatch to nobody", router.dispatch([channel]))
    await post(stores[1], key, count=3)
    await send("dispatch to takers", router.dispatch([key]))
    await post(stores[1], kind, Spread.EVERY, 2)
    await send("dispatch copies", router.dispatch([kind]))
    for owner in (outside, another.owner):
        await there.register(owner, wish(key, interest_id="t"))
    await post(stores[1], kind, Spread.EVERY)
    await send("dispatch both", router.dispatch([kind, key]))
    letters = [letter.letter_id for letter in await there.letters(outside.name)]
    await send("letters", router.letters(outside.name))
    await send("acknowledge", router.acknowledge(outside.name, letters[-1:]))
    await send("letters back", router.give_back(outside, letters[:2]))
    mail = [row.delivery_id for row in await one.inbox()]
    await send("give back", router.give_back(one.owner, mail))
    await send("other life", router.give_back(Owner(one.instance_id, one.owner.life + 1), mail))
    await send("unregister", router.unregister(one.owner, ["c", "x"]))
    await send("kept", router.kept())
    await send("kept full", router.kept(limit=1))
    await send("kept at", router.kept(address=key))
    await send("sweep", router.dispatch())
    for owner in (one.owner, another.owner, outside):
        await there.unregister(owner, ["t", "c", "m"])
    await send("expire", router.expire(2**60))
    await send("expire nothing", router.expire(2**60))

    assert {name: _ROUTED[dialect(stores[0])][name] for name in sent} == sent


_ONE_STATEMENT = {
    name: name
    for name in (
        "tally", "open_work", "trend", "tally_slice", "loads", "taken_ids", "last_commits", "lying", "place_behind",
        "undeclared",
    )
}  # fmt: skip
_COMPOSED = {
    "find": "select",
    "find by name": "workflow_names other_sets select",
    "find nowhere": "workflow_names",
    "find by end": "select place_behind select",
    "find none of no ids": "",
    "count": "workflow_names other_sets select",
}
_SCANNED = "about_how_many | one_moment begin_moment find find find end_moment"
_READ: dict[str, dict[str, str]] = {
    "sqlite": _ONE_STATEMENT | _COMPOSED,
    "postgres": _ONE_STATEMENT | _COMPOSED,
    "mysql": {
        **_ONE_STATEMENT,
        "loads": "load load",
        "undeclared": "index_sets",
        "find": "find",
        "find by name": "index_sets | about_how_many | find",
        "find nowhere": "index_sets",
        "find by end": f"{_SCANNED} | place_behind | {_SCANNED}",
        "find none of no ids": "",
        "count": "index_sets | count",
    },
}


async def test_a_cold_read_sends_no_more_than_it_needs(
    stores: tuple[Store, Store], publisher: Publisher, packets: list[str]
) -> None:
    rooms, sent = stores[0].rooms, dict[str, str]()
    (row,) = (await stores[1].rooms.reading.find(build_query(limit=1))).rows
    place = Position(row.created_at, row.instance_id)

    async def send(name: str, call: Awaitable[object]) -> None:
        sent[name] = await sent_by(stores[0], call, packets)

    await send("tally", rooms.figures.tally(most=3, newest=3))
    await send("open_work", rooms.figures.open_work(most=3))
    await send("trend", rooms.figures.trend(since=0, width=MINUTE, most=3, newest=3))
    await send("tally_slice", rooms.figures.tally_slice(after=place, count=3, width=MINUTE))
    await send("loads", rooms.figures.loads(["one", "two"], most=3))
    await send("taken_ids", rooms.lookups.taken_ids([row.instance_id]))
    await send("last_commits", rooms.lookups.last_commits([row, row]))
    await send("lying", rooms.lookups.lying(limit=3))
    await send("place_behind", rooms.lookups.place_behind(place, 3))
    await send("undeclared", rooms.lookups.undeclared("a"))
    await send("find", rooms.reading.find(build_query(status="failed")))
    await send("find by name", rooms.reading.find(build_query({"a": 1}, workflow_name=row.workflow_name)))
    await send("find nowhere", rooms.reading.find(build_query(workflow_name=unique("none"))))
    await send("find by end", rooms.reading.find(build_query(ended_since=row.created_at)))
    await send("find none of no ids", rooms.reading.find(build_query(ids=[])))
    await send("count", rooms.reading.count(build_query({"a": 1}, workflow_name=row.workflow_name)))

    assert _READ[dialect(stores[0])] == sent


# ── cancelling ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Begun:
    """The operations that are begun, and whether all of them are over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.operations: list[Any] = []
        self._open = 0
        self._over = asyncio.Event()
        loop = asyncio.get_running_loop()
        kind: Any = Running
        init, close = kind.__init__, kind.close

        def begun(running: Running[Any], operation: Any, *own: Any) -> None:
            self.operations.append(operation)
            loop.call_soon_threadsafe(self._count, 1)
            init(running, operation, *own)

        def closed(running: Running[Any]) -> None:
            close(running)
            loop.call_soon_threadsafe(self._count, -1)

        monkeypatch.setattr(Running, "__init__", begun)
        monkeypatch.setattr(Running, "close", closed)

    def _count(self, more: int) -> None:
        self._open += more
        if self._open:
            self._over.clear()
        else:
            self._over.set()

    async def over(self) -> None:
        """Wait until each operation that was begun is closed."""
        async with asyncio.timeout(60):
            await self._over.wait()
        assert {inspect.GEN_CLOSED} == {inspect.getgeneratorstate(one) for one in self.operations}
        self.operations.clear()


class HoldOwn(Hold):
    """Holds a statement of the call, and not the report of changes that follows it."""

    async def __call__(self, statement: str, /) -> None:
        if statement != "notify":
            await super().__call__(statement)


async def given_up_at(store: Store, number: int, call: Awaitable[object], begun: Begun) -> bool:
    """Cancel the call before its statement of this number. False if it has fewer.

    On SQLite, a small call runs without an await: what is held at its COMMIT may be over before it is cancelled.
    """
    hold = HoldOwn(number)
    listen(store, hold)
    running = run(store, call)
    held = await held_at(hold, running)
    if held:
        running.cancel()
    await asyncio.wait({running})
    if begun.operations:
        await begun.over()
    leave(store)
    assert held == running.cancelled() or (held and dialect(store) == "sqlite")
    return held


async def _claim(publisher: Publisher, store: Store) -> Call:
    await publisher.publish_each(outgoing("k"), outgoing("k"), outgoing())
    return lambda held: held.rooms.outbox.claim(unique("c"), lease=MINUTE, limit=10)


async def _settle(publisher: Publisher, store: Store) -> Call:
    await publisher.publish_each(outgoing("k"), outgoing("k"), outgoing())
    settled = [ended(one) for one in await take(store)]
    return lambda held: held.rooms.outbox.settle(settled)


async def _remove(publisher: Publisher, store: Store) -> Call:
    sent = await publisher.publish_each(outgoing("k"), outgoing("k"), outgoing())
    await take(store)
    return lambda held: held.rooms.outbox.remove([sent[0], sent[2]])


async def _sweep(publisher: Publisher, store: Store) -> Call:
    await publisher.publish_each(outgoing("k"), outgoing("k"), outgoing())
    await take(store)
    return lambda held: held.rooms.outbox.sweep()


async def _requeue(publisher: Publisher, store: Store) -> Call:
    await publisher.publish_each(outgoing("k"), outgoing("k"), outgoing())
    await store.rooms.outbox.settle([ended(one, OutboxState.FAILED) for one in await take(store)])
    return lambda held: held.rooms.outbox.requeue([OutboxState.FAILED])


async def _heartbeat(publisher: Publisher, store: Store) -> Call:
    worker = Worker(token=unique("t"), worker_id="w", lease=MINUTE, codes=("a 1", "b 2"))
    return lambda held: held.heartbeat(worker)


async def _take_over(publisher: Publisher, store: Store) -> Call:
    survivor, peer, _ = await _victim(store)
    return lambda held: held.takeover(survivor.token, peer, b"[]", unique("w"))


async def _prune(publisher: Publisher, store: Store) -> Call:
    over = await _over(store)
    return lambda held: held.rooms.upkeep.prune(PruneRequest(instance_ids=over))


async def _register(publisher: Publisher, store: Store) -> Call:
    address = unique("c")
    await post(store, address, Spread.CHANNEL, 2)
    owner = Owner(unique("s"), OUTSIDE)
    return lambda held: held.rooms.router.register(owner, copy(address, interest_id="i"))


async def receiver(store: Store) -> Receiver:
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    return Receiver(actor, await actor.begin())


async def _dispatch(publisher: Publisher, store: Store) -> Call:
    key, kind = unique("k"), unique("e")
    one = await receiver(store)
    await one.want(wish(key), copy(kind))
    await store.rooms.router.register(Owner(unique("s"), OUTSIDE), copy(kind))
    await post(store, key)
    await post(store, kind, Spread.EVERY)
    return lambda held: held.rooms.router.dispatch([key, kind])


async def _give_back(publisher: Publisher, store: Store) -> Call:
    key = unique("k")
    one = await receiver(store)
    await one.want(wish(key), wish(key))
    messages = await post(store, key, count=2)
    assert (await store.rooms.router.dispatch([key])).delivered == len(messages)
    return lambda held: held.rooms.router.give_back(one.owner, [message.message_id for message in messages])


async def _expire(publisher: Publisher, store: Store) -> Call:
    await post(store, unique("k"), count=2)
    return lambda held: held.rooms.router.expire(2**60)


async def _find(publisher: Publisher, store: Store) -> Call:
    (row,) = (await store.rooms.reading.find(build_query(limit=1))).rows
    query = build_query({"a": 1}, workflow_name=row.workflow_name)
    return lambda held: held.rooms.reading.find(query)


@pytest.mark.parametrize(
    "prepare",
    [
        _claim,
        _settle,
        _remove,
        _sweep,
        _requeue,
        _heartbeat,
        _register,
        _dispatch,
        _give_back,
        _expire,
        _take_over,
        _prune,
        _find,
    ],
)
async def test_a_call_cancelled_at_any_statement_closes_its_operation_and_its_transaction(
    stores: tuple[Store, Store],
    publisher: Publisher,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Publisher, Store], Awaitable[Call]],
) -> None:
    held, store = stores
    number, statement_was_held = 0, True
    while statement_was_held:
        number += 1
        call = await prepare(publisher, store)
        with monkeypatch.context() as patch:
            statement_was_held = await given_up_at(held, number, call(held), Begun(patch))
        async with asyncio.timeout(20):  # nothing is locked, and nothing is lost
            await call(store)
            await all_sent(store)
    assert number > 1


async def all_sent(store: Store) -> None:
    """End every message, also those of claims that nobody knows of."""
    while entries := await store.rooms.outbox.entries([OutboxState.PENDING]):
        await store.rooms.outbox.settle([ended(one) for one in entries if one.claim is not None])
        await store.rooms.outbox.sweep()
        await take(store)


# ── repeating ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.backends("postgres", "mysql", "mariadb")
async def test_a_transaction_that_is_repeated_begins_its_operation_anew(
    stores: tuple[Store, Store], publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first attempt ends with an error that a retry can solve. SQLite has one writer, and none of these errors."""
    store = stores[0]
    sent = await publisher.publish(outgoing(), outgoing())
    begun = Begun(monkeypatch)
    fails_once(store, "outbox_due", monkeypatch)

    given = await store.rooms.outbox.claim("c", lease=MINUTE, limit=10)

    assert ids(given.entries) == sent
    parts = 1 if dialect(store) == "mysql" else 0  # the second attempt claims in parts, by an operation of the dialect
    assert len(begun.operations) == 3 + parts  # a look, and two attempts
    await begun.over()


async def test_an_operation_that_touches_too_few_rows_begins_anew_and_is_undone(
    stores: tuple[Store, Store], publisher: Publisher
) -> None:
    store = stores[0]
    outbox: Any = store.rooms.outbox
    interpreter: Interpreter = outbox._interpreter
    sent = await publisher.publish_each(outgoing(), outgoing())
    await store.rooms.outbox.settle([ended(one, OutboxState.FAILED) for one in await take(store)])
    begun = list[int]()

    def requeue(expected: int) -> Operation[int]:
        begun.append(expected)
        both = {"states": [OutboxState.FAILED.value], "every": True, "ids": [], "limit": 10}
        (answer,) = yield from ask_all(Ask("outbox_requeue", both, expected))
        return answer.touched

    error = InternalError if dialect(store) == "sqlite" else OvertakenError
    with pytest.raises(error):
        await interpreter.together(partial(requeue, len(sent) + 1))
    undone = await store.rooms.outbox.entries([OutboxState.FAILED])
    done = await interpreter.together(partial(requeue, len(sent)))

    assert begun == [len(sent) + 1] * (1 if dialect(store) == "sqlite" else ROUNDS) + [len(sent)]
    assert len(undone) == done == len(sent)


@pytest.mark.backends("postgres", "mysql", "mariadb")
async def test_an_operation_that_must_not_wait_says_that_a_row_is_locked(
    stores: tuple[Store, Store], publisher: Publisher
) -> None:
    store, other = stores
    outbox: Any = store.rooms.outbox
    interpreter: Interpreter = outbox._interpreter
    await publisher.publish(outgoing())
    (entry,) = await take(store)
    row = (entry.row.outbox_id, entry.claim, OutboxState.PUBLISHED.value, 0, False, None)
    settle = partial(ask, "outbox_settle", settled=[row])

    async with other.rooms.sessions.begin() as session:
        await session.execute("update romancy_outbox set attempts = attempts")
        for carry_out in (interpreter.in_turn, interpreter.together):
            with pytest.raises(LockedError):
                await carry_out(settle, lock_waits=0)
    await interpreter.together(settle, lock_waits=0)

    (entry,) = await store.rooms.outbox.entries()
    assert entry.state is OutboxState.PUBLISHED


def fails_once(store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first statement of this name meets a deadlock."""
    failures = [name]
    if dialect(store) == "postgres":
        import asyncpg  # noqa: PLC0415 - an extra

        from romancy_postgres._connection import Link  # noqa: PLC0415 - an extra

        fetch = Link.fetch

        async def fetched(link: Link, statement: str, *arguments: object) -> Any:
            if statement in failures:
                failures.remove(statement)
                raise asyncpg.DeadlockDetectedError
            return await fetch(link, statement, *arguments)

        monkeypatch.setattr(Link, "fetch", fetched)
        return
    from romancy_mysql._database import Database  # noqa: PLC0415 - an extra
    from romancy_mysql._errors import TransientError  # noqa: PLC0415 - an extra

    send = Database.send

    async def sending(database: Database, line: Any, given: Sequence[Statement]) -> Any:
        if failures and any(one.name in failures for one in given):
            failures.clear()
            raise TransientError(name)
        return await send(database, line, given)

    monkeypatch.setattr(Database, "send", sending)
