"""What operations send to each database."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy.storage.outbox import OutboxState
from romancy.storage.query import Position, build_query
from romancy.storage.rebuilding import Rebuilt
from romancy.storage.records import ClaimRequest, PruneRequest, Worker
from romancy.storage.routing import OUTSIDE, Interest, InterestKind, Owner, Spread
from romancy_conformance.contract.building import Actor, delivery, start, unique
from romancy_conformance.contract.publishing import MINUTE, Publisher, ended, outgoing, take
from romancy_conformance.contract.routing.scenes import Receiver, copy, member, post
from romancy_conformance.contract.routing.scenes import take as wish
from tests.backends.operations.scenes import dialect, ended_instances, sent_by, victim_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store

    Call = Callable[[Store], Awaitable[Any]]


pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]


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
        "work": "due alive due take mailboxes next_due taken short_logs",
        "mail": "due alive mailboxes next_due mail",
        "take over": "declare_dead owned_heads takeover_log takeover_instances still_owned",
        "prune nothing": "prune_old former_runs prune_workers prune_seen",
        "prune": "prune_named prune_interests return_taken prune_log prune_journal prune_inbox forget_instances "
        "drop_index prune_instances former_runs prune_workers",
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
        "prune": "begin prune_named | prune_interests hold_taken return_taken prune_log prune_journal prune_inbox "
        "prune_uncounted forget_instances drop_index prune_instances commit | former_runs | dead_workers",
        "first heartbeat": "register beat_again peers",
        "heartbeat": "beat_again peers",
        "census": "peers",
    },
}  # fmt: skip


_ROUTED: dict[str, dict[str, str]] = {
    "sqlite": {
        "take": "is_open add_interest",
        "copy": "is_open interests discard add_interest",
        "member": "is_open interests add_interest",
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
        "expire": "expire_messages expire_letters expire_addresses expire_notes",
        "expire nothing": "expire_messages expire_letters expire_addresses expire_notes",
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
        "expire": "expire expire_addresses expire_notes",
        "expire nothing": "expire expire_addresses expire_notes",
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
        "give back": "lives | begin hold_mail return_mail unmark_mail drop_mail commit",
        "other life": "lives",
        "unregister": "drop_interests",
        "kept": "kept_page",
        "kept full": "kept_page | kept_alike",
        "kept at": "kept_at",
        "sweep": "find_abandoned find_outlived | unswept_messages unswept_interests | route_messages "
        "route_interests | begin end_interests count give_mail mark_mail end_messages count "
        "hold_free signal_free number_free commit still_uncounted | sweep_messages "
        "sweep_interests",
        "expire": "find_expired find_unread find_unused find_notes | end_messages end_letters end_addresses",
        "expire nothing": "find_expired find_unread find_unused find_notes | end_addresses",
    },
}  # fmt: skip


async def test_an_operation_of_the_outbox_sends_no_more_than_it_needs(
    stores: tuple[Store, Store], publisher: Publisher, packets: list[str]
) -> None:
    outbox, other = stores[0].services.outbox, stores[1].services.outbox
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
    sent["census"] = await sent_by(store, store.services.reading.census(), packets)

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
    survivor, peer, ids = await victim_of(stores[0])

    moved = list[str]()

    async def take_over() -> None:
        moved.extend((await stores[0].takeover(survivor.token, peer, b"[]", unique("w"))).moved)

    assert _SENT[dialect(stores[0])]["take over"] == await sent_by(stores[0], take_over(), packets)
    assert ids == sorted(moved)


_REBUILT: dict[str, dict[str, str]] = {
    "sqlite": {
        "stored": "some_lives some_rows some_index last_lives",
        "log": "log_of_life",
        "rebuild": "hold_runs restore_instance renew_projections add_index_sets drop_index add_index add_interest",
        "without index": "hold_runs renew_projections add_index_sets drop_index add_index",
        "nothing": "hold_runs",
    },
    "postgres": {
        "stored": "lives_with_rows",
        "log": "log_of_life",
        "rebuild": "begin hold_runs restore_instances renew_runs index_renewed interests_change commit",
        "without index": "begin hold_runs renew_runs index_renewed commit",
        "nothing": "begin hold_runs commit",
    },
    "mysql": {
        "stored": "some_lives | one_moment begin_moment some_rows some_index last_life last_life end_moment",
        "log": "log_of_life",
        "rebuild": "begin hold_runs restore_instance | "
        "add_index_sets drop_index renew_projections add_index add_interests commit",
        "without index": "begin hold_runs | add_index_sets drop_index renew_projections commit",
        "nothing": "begin hold_runs | commit",
    },
}


async def test_rebuilding_sends_no_more_than_it_needs(stores: tuple[Store, Store], packets: list[str]) -> None:
    store, sent = stores[0], dict[str, str]()
    rebuilding = store.services.rebuilding
    begun = [start(name, life=1) for name in ("a", "b")]
    await stores[1].commit(begun)
    rows = [one.row for one in await rebuilding.stored(after="", limit=2) if one.row is not None]
    kept = Rebuilt(row=rows[0], projection=b"{}", index=())
    wish = Interest(interest_id="i", address="a", kind=InterestKind.TAKE)
    gone = replace(kept, row=rows[1], lost=True, index=(("n", "1"),), interests=(wish,))
    async with stores[1].services.sessions.begin() as session:
        await session.execute("delete from romancy_instances where instance_id = 'b'")
        await session.commit(start())

    sent["stored"] = await sent_by(store, rebuilding.stored(after="", limit=2), packets)
    sent["log"] = await sent_by(store, rebuilding.log("a", 1, after=0, limit=9), packets)
    sent["rebuild"] = await sent_by(store, rebuilding.rebuild([kept, gone]), packets)
    sent["without index"] = await sent_by(store, rebuilding.rebuild([kept]), packets)
    other = replace(kept, row=replace(kept.row, run_from=9))
    sent["nothing"] = await sent_by(store, rebuilding.rebuild([other]), packets)

    assert _REBUILT[dialect(store)] == sent


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
        async with other.services.sessions.begin() as session:
            await session.execute(sql, begun[1].instance_id, begun[1].life, 2, "nobody", b"")
            assert _BESIDE_A_LOCK[dialect(store)] == await sent_by(store, take_over(), packets)
            raise _UndoneError

    assert sorted(moved) == sorted(one.instance_id for one in begun[::2])
    assert (await other.takeover(survivor.token, peer, b"[]", unique("w"))).moved == (begun[1].instance_id,)


async def test_pruning_sends_no_more_than_it_needs(stores: tuple[Store, Store], packets: list[str]) -> None:
    store, sent = stores[0], dict[str, str]()
    over = await ended_instances(store)

    nothing = PruneRequest(ended_before=1, dedupe_before=1)
    sent["prune nothing"] = await sent_by(store, store.services.upkeep.prune(nothing), packets)
    sent["prune"] = await sent_by(store, store.services.upkeep.prune(PruneRequest(instance_ids=over)), packets)

    assert {name: _SENT[dialect(store)][name] for name in sent} == sent
    assert {None} == {await store.read(one, limit=0) for one in over}


async def test_an_operation_of_the_router_sends_no_more_than_it_needs(
    stores: tuple[Store, Store], packets: list[str]
) -> None:
    router, there = stores[0].services.router, stores[1].services.router
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
        "tally", "newest", "open_work", "trend", "tally_slice", "loads", "taken_ids", "last_commits", "lying",
        "place_behind", "undeclared",
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
    services, sent = stores[0].services, dict[str, str]()
    (row,) = (await stores[1].services.reading.find(build_query(limit=1))).rows
    place = Position(row.created_at, row.instance_id)

    async def send(name: str, call: Awaitable[object]) -> None:
        sent[name] = await sent_by(stores[0], call, packets)

    await send("tally", services.figures.tally(most=3))
    await send("newest", services.figures.newest(3, since=0, width=MINUTE))
    await send("open_work", services.figures.open_work(most=3, now=0))
    await send("trend", services.figures.trend(since=0, width=MINUTE, most=3))
    await send("tally_slice", services.figures.tally_slice(after=place, count=3, width=MINUTE))
    await send("loads", services.figures.loads(["one", "two"], most=3))
    await send("taken_ids", services.lookups.taken_ids([row.instance_id]))
    await send("last_commits", services.lookups.last_commits([row, row]))
    await send("lying", services.lookups.lying(limit=3))
    await send("place_behind", services.lookups.place_behind(place, 3))
    await send("undeclared", services.lookups.undeclared("a"))
    await send("find", services.reading.find(build_query(status="failed")))
    await send("find by name", services.reading.find(build_query({"a": 1}, workflow_name=row.workflow_name)))
    await send("find nowhere", services.reading.find(build_query(workflow_name=unique("none"))))
    await send("find by end", services.reading.find(build_query(ended_since=row.created_at)))
    await send("find none of no ids", services.reading.find(build_query(ids=[])))
    await send("count", services.reading.count(build_query({"a": 1}, workflow_name=row.workflow_name)))

    assert _READ[dialect(stores[0])] == sent
