"""What the scripts of commits write, where each condition meets a row that lacks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.outbox import OutboxRow
from romancy.storage.records import Delivered, Outcome
from romancy.storage.routing import InterestKind, Place, Spread
from romancy_conformance.contract.building import Actor, append, change, delivery, start, step
from romancy_conformance.contract.routing.scenes import posting, take
from tests.backends.postgres.scripts import Scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from romancy.storage.records import Append, Item
    from romancy.storage.routing import Interest, Posting
    from romancy_postgres._store import PostgresStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

LIFE = 7
EFFECTS: list[dict[str, Any]] = [{}, {"outbox": (OutboxRow(outbox_id="o", topic="t", body=b"{}"),)}]
"""What makes an append with a change one of the first kind, or of the second."""
KINDS = ("a change", "effects")
ROADS = ("by itself", "with an append", "with a first append")
both = pytest.mark.parametrize("effects", EFFECTS, ids=KINDS)


@pytest.fixture
async def scripts(store: PostgresStore, connection: asyncpg.Connection) -> Scripts:
    """Empty tables, but for those of a test's own rows."""
    return Scripts(store, connection)


async def begin(actor: Actor, *names: str, **fields: Any) -> list[Append]:
    return [await actor.begin(name, life=LIFE, **fields) for name in names]


async def committed(actor: Actor, *items: Item) -> list[Outcome]:
    return await actor.store.commit(items, worker=actor.token)


# ── what an append is held against ──────────────────────────────────────────────────────────────────────────────────


async def test_the_row_before_is_that_of_this_life(actor: Actor, scripts: Scripts) -> None:
    """Another life of the id has a row there by another writer, and another instance too."""
    a, b, c, d, other = await begin(actor, "a", "b", "c", "d", "other")
    await scripts.put(
        "log", *({"instance_id": one, "life": life, "seq": 1, "writer": "x"} for one in "abcd" for life in (6, 8))
    )
    wrong: list[Item] = [step(a, 2, after="x"), append(b, 2, after="x", change=change())]
    wrong += [append(c, 2, after="x", **EFFECTS[1]), step(d, 2, after=other.writer)]

    assert await committed(actor, *wrong) == [Outcome.LOST] * 4
    right: list[Item] = [step(a, 2, after=a.writer), append(b, 2, after=b.writer, change=change())]
    right += [append(c, 2, after=c.writer, **EFFECTS[1]), step(d, 2, after=d.writer)]
    assert await committed(actor, *right) == [Outcome.ACCEPTED] * 4

    token = actor.token
    assert await scripts.ask("may_follow", token, "a", LIFE, 2, a.writer) == [(True,)]
    for name, life in (("a", 6), ("a", 9), ("other", LIFE), ("nobody", LIFE)):
        assert await scripts.ask("may_follow", token, name, life, 2, a.writer) == [(False,)]


@both
async def test_what_changes_no_row_is_held_against_none(
    actor: Actor, scripts: Scripts, effects: dict[str, Any]
) -> None:
    """Neither against one that is lost, nor against one that has ended."""
    lost, ended = await begin(actor, "lost", "ended")
    assert await actor.store.deliver([delivery(one, delivery_id="d") for one in ("lost", "ended")])
    await scripts.sql("delete from romancy_instances where instance_id = 'lost'")
    await scripts.sql("update romancy_instances set status = 'completed'")

    for one in (lost, ended):
        assert await committed(actor, append(one, 2, consumed=("d",), **effects)) == [Outcome.ACCEPTED]


@both
async def test_a_change_is_held_against_the_row(actor: Actor, scripts: Scripts, effects: dict[str, Any]) -> None:
    """Of its life, which has not ended, and whose mail an end has seen."""
    reborn, ended, unseen, fine, again = await begin(actor, "reborn", "ended", "unseen", "fine", "again")
    await scripts.sql("update romancy_instances set life = 8 where instance_id = 'reborn'")
    await scripts.sql("update romancy_instances set status = 'failed' where instance_id in ('ended', 'again')")
    await scripts.sql("update romancy_instances set signals = 1 where instance_id in ('unseen', 'fine')")
    end, seen = change(Status.COMPLETED, seen=0), change(Status.COMPLETED, seen=1)

    assert await committed(actor, append(reborn, 2, change=change(), **effects)) == [Outcome.GONE]
    assert await committed(actor, append(ended, 2, change=change(), **effects)) == [Outcome.ENDED]
    assert await committed(actor, append(unseen, 2, change=end, **effects)) == [Outcome.UNSEEN]
    assert await committed(actor, append(again, 2, change=change(reopens=True), **effects)) == [Outcome.ACCEPTED]
    assert await committed(actor, append(fine, 2, change=seen, **effects)) == ["accepted"]


@both
async def test_mail_that_is_taken_must_be_there(actor: Actor, scripts: Scripts, effects: dict[str, Any]) -> None:
    """In this inbox, under this id."""
    mine, _ = await begin(actor, "mine", "other")
    assert set(await actor.store.deliver([delivery(one, delivery_id=f"{one} d") for one in ("mine", "other")]))

    for missing in ("other d", "nothing"):
        item = append(mine, 2, change=change(seen=1), consumed=("mine d", missing), **effects)
        assert await committed(actor, item) == [Outcome.GONE]
    assert await scripts.rows("inbox", "delivery_id") == [("mine d",), ("other d",)]


# ── what it changes ─────────────────────────────────────────────────────────────────────────────────────────────────


async def row_of(scripts: Scripts, name: str, columns: str) -> tuple[Any, ...]:
    (found,) = [row[1:] for row in await scripts.rows("instances", f"instance_id, {columns}") if row[0] == name]
    return found


WAKES: dict[str, tuple[dict[str, Any], int | None]] = {
    "kept": ({"status": Status.WAITING, "seen": 1, "wake_at": 5}, None),
    "released": ({"status": Status.WAITING, "seen": 1, "wake_at": 5, "release": True}, 5),
    "stuck": ({"status": Status.STUCK, "seen": 0, "wake_at": 5, "release": True}, None),
    "ended": ({"status": Status.CANCELLED, "seen": 1, "release": True}, None),
    "unseen": ({"status": Status.WAITING, "seen": 0, "wake_at": 5, "release": True}, 0),
}
"""A change of an instance with one message, and when it is due: 0 for now."""


@both
async def test_when_an_instance_is_due(actor: Actor, scripts: Scripts, effects: dict[str, Any]) -> None:
    for name, (fields, wakes) in WAKES.items():
        (begun,) = await begin(actor, name)
        await scripts.sql(f"update romancy_instances set signals = 1 where instance_id = '{name}'")  # noqa: S608 - a name of ours
        assert await committed(actor, append(begun, 2, change=change(**fields), **effects)) == [Outcome.ACCEPTED]
        (at,) = await row_of(scripts, name, "wake_at")
        assert at is None if wakes is None else at == wakes if wakes else at > 5, name
        await scripts.sql("delete from romancy_outbox")


@both
async def test_which_code_refuses_an_instance(actor: Actor, scripts: Scripts, effects: dict[str, Any]) -> None:
    (begun,) = await begin(actor, "a")
    found: list[list[str]] = []
    codes: list[dict[str, Any]] = [{"refused_by": "c1"}, {"refused_by": "c2"}, {}, {"forgive": True}]
    for seq, more in enumerate(codes, 2):
        item = append(begun, seq, change=change(Status.STUCK, **more), **effects)
        assert await committed(actor, item) == [Outcome.ACCEPTED]
        ((refused,),) = [await row_of(scripts, "a", "refused")]
        found.append(refused)

    assert found == [["c1"], ["c1", "c2"], ["c1", "c2"], []]


@both
async def test_of_a_place_that_is_taken_nothing_is_written(
    actor: Actor, scripts: Scripts, effects: dict[str, Any]
) -> None:
    """What it would change, take and declare stays, beside an append that is accepted."""
    late, fine = await begin(actor, "late", "fine")
    mail = [delivery(name, delivery_id="d") for name in ("late", "fine")]
    assert await actor.store.deliver(mail) == [Delivered.ACCEPTED] * 2
    assert await committed(actor, step(late, 2)) == [Outcome.ACCEPTED]
    run: dict[str, Any] = {"run_from": 2, "index": (("new", "1"),)} if effects else {}
    given: dict[str, Any] = {"change": change(seen=1, **run), "consumed": ("d",)}
    outcomes = await committed(actor, append(late, 2, **given, **effects), append(fine, 2, change=change(seen=1)))

    assert outcomes == [Outcome.TAKEN, Outcome.ACCEPTED]
    assert await row_of(scripts, "late", "seen, run_from, last_seq") == (0, 1, 1)
    assert await scripts.rows("inbox", "instance_id") == [("fine",), ("late",)]
    assert [one for (one,) in await scripts.rows("index_sets", "paths") if "new" in one] == []


async def test_a_run_without_paths_keeps_them(actor: Actor, scripts: Scripts) -> None:
    (begun,) = await begin(actor, "a", index=(("p", "1"),))
    item = append(begun, 2, change=change(run_from=2, input=b"2"), starts=(start("child", delay=None),))

    assert await committed(actor, item) == [Outcome.ACCEPTED]
    assert await scripts.rows("index", "instance_id") == [("a",)]


# ── what it sends ───────────────────────────────────────────────────────────────────────────────────────────────────


async def send(actor: Actor, road: str, mail: Sequence[Any] = (), posts: Sequence[Posting] = ()) -> None:
    """Send messages this way."""
    if road == "by itself":
        if mail:
            await actor.store.deliver(mail)
        if posts:
            await actor.store.services.router.post(posts)
        return
    carried: dict[str, Any] = {"deliveries": tuple(mail), "postings": tuple(posts)}
    if road == "in a session":
        async with actor.store.services.sessions.begin() as session:
            item = append(await actor.begin(), 2, **carried)
            assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED
        return
    item = start(delay=None, **carried) if "first" in road else append(await actor.begin(), 2, **carried)
    assert await committed(actor, item) == [Outcome.ACCEPTED]


def event(message_id: str, *addresses: str, dedupe: str | None = None) -> Posting:
    places = tuple(Place(one, Spread.EVERY if number else Spread.ONE) for number, one in enumerate(addresses))
    return posting("", places=places, message_id=message_id, dedupe=dedupe)


@pytest.mark.parametrize("road", ROADS)
async def test_messages_for_addresses(actor: Actor, scripts: Scripts, road: str) -> None:
    """Kept at all their places or at none. What is not kept uses no key; of one key the first is kept."""
    await actor.store.services.router.post([event("there", "a", "b"), event("used", "t", dedupe="used")])
    await scripts.sql("delete from romancy_messages where message_id = 'used'")

    await send(
        actor,
        road,
        posts=[
            event("z", "c", "topic", dedupe="key"),
            event("y", "d", "topic", dedupe="key"),
            event("there", "a", "e", dedupe="free"),
            event("v", "i", "e", dedupe="free"),
            event("there", "b", "j"),
            event("x", "f", "t", dedupe="used"),
            event("w", "g", "e", dedupe="other"),
        ],
    )
    await send(actor, road, posts=[event("there", "h")])

    assert await scripts.rows("messages", "message_id, address") == [
        ("there", "a"), ("there", "b"), ("there", "h"), ("v", "e"), ("v", "i"), ("w", "e"), ("w", "g"), ("z", "c"),
        ("z", "topic"),
    ]  # fmt: skip


@pytest.mark.parametrize("road", [*ROADS, "in a session"])
async def test_the_first_of_each_key(actor: Actor, scripts: Scripts, road: str) -> None:
    """Of many."""
    await begin(actor, "a")
    keys = [f"{number:02}" for number in range(30, 0, -1)]
    both = [(f"{one} {key}", key) for key in keys for one in ("b", "a")]
    posts = [event(one, key, dedupe=key) for one, key in both]

    await send(actor, road, [delivery("a", delivery_id=one, dedupe=key) for one, key in both], posts)

    assert await scripts.rows("messages", "message_id") == sorted((f"b {key}",) for key in keys)
    assert await scripts.rows("inbox", "delivery_id") == sorted((f"b {key}",) for key in keys)


@pytest.mark.parametrize("script", ["deliver", "post"])
async def test_each_message_gets_its_own_answer(actor: Actor, scripts: Scripts, script: str) -> None:
    names = [f"{number:02}" for number in range(40)]
    await begin(actor, *names[::3])
    mixed = sorted(names, key=lambda name: name[::-1])

    scripts.by_index = False
    found = await scripts.ask(script, mixed, mixed, [b"1"] * 40, [None] * 40)

    assert [there is not None for there, _ in found] == [int(name) % 3 == 0 for name in mixed]


async def test_a_first_append_that_is_refused_wants_nothing(actor: Actor, scripts: Scripts) -> None:
    """Beside one that is accepted."""
    await begin(actor, "there")
    items = [start(name, life=8, delay=None, interests=(take("here", None, "i"),)) for name in ("there", "new")]

    assert await committed(actor, *items) == [Outcome.EXISTS, Outcome.ACCEPTED]
    assert await scripts.rows("interests", "owner") == [("new",)]


@pytest.mark.parametrize("road", [*ROADS, "in a session"])
async def test_messages_for_inboxes(actor: Actor, scripts: Scripts, road: str) -> None:
    """Of one key the first arrives. One that has ended gets none, and one that is stuck is not woken."""
    await begin(actor, "a", "b", "ended", "stuck")
    await actor.store.deliver([delivery("a", delivery_id="old", dedupe="used"), delivery("b", delivery_id="there")])
    await scripts.sql("delete from romancy_inbox where delivery_id = 'old'")
    await scripts.sql("update romancy_instances set owner = null, wake_at = null, status = 'waiting'")
    await scripts.sql("update romancy_instances set status = instance_id where instance_id = 'stuck'")
    await scripts.sql("update romancy_instances set status = 'completed' where instance_id = 'ended'")
    keyed = [
        ("a", "z", "k"),
        ("a", "y", "k"),
        ("b", "z", "k"),
        ("a", "x", "used"),
        ("a", "there", "l"),
        ("b", "there", "m"),
    ]

    await send(actor, road, [delivery(to, delivery_id=one, dedupe=key) for to, one, key in keyed])
    await send(
        actor,
        road,
        [delivery("b", delivery_id="late", dedupe="m"), delivery("ended"), delivery("stuck", delivery_id="s")],
    )

    assert await scripts.rows("inbox", "instance_id, delivery_id") == [
        ("a", "there"), ("a", "z"), ("b", "late"), ("b", "there"), ("b", "z"), ("stuck", "s"),
    ]  # fmt: skip
    assert [one for one, wakes in await scripts.rows("instances", "instance_id, wake_at is not null") if wakes] == [
        "a",
        "b",
    ]


@pytest.mark.parametrize("road", [*ROADS[1:], "by several statements"])
async def test_what_is_there_already(actor: Actor, scripts: Scripts, road: str) -> None:
    """A message for the outside that was sent before its instance was removed stays the first one."""
    await scripts.put("outbox", {"outbox_id": "o", "body": b"old"})
    carried: dict[str, Any] = {"outbox": (OutboxRow(outbox_id="o", topic="t", body=b"new"),)}
    if "several" in road:
        carried |= {"starts": (start("child", delay=None),), "deliveries": (delivery("child"),)}

    item = start(delay=None, **carried) if "first" in road else append(await actor.begin(), 2, **carried)

    assert await committed(actor, item) == [Outcome.ACCEPTED]
    assert await scripts.rows("outbox", "body") == [(b"old",)]


AGAIN: dict[str, tuple[Interest, bool, int]] = {
    "the same": (take("here", {"n": 1}, "i"), True, 5),
    "other conditions": (take("here", {"n": 2}, "i"), True, -1),
    "another address": (take("there", {"n": 1}, "i"), False, -1),
    "another kind": (take("here", {"n": 1}, "i"), False, -1),
}
"""What an interest becomes; whether it keeps its place in the queue, and its marks."""


@pytest.mark.parametrize("what", AGAIN)
async def test_an_interest_that_is_registered_again(actor: Actor, scripts: Scripts, what: str) -> None:
    wanted, keeps, compared = AGAIN[what]
    (begun,) = await begin(actor, "a")
    assert await committed(actor, append(begun, 2, interests=(take("here", {"n": 1}, "i"),))) == [Outcome.ACCEPTED]
    kind = InterestKind.MEMBER if what == "another kind" else InterestKind.TAKE
    await scripts.sql(f"update romancy_interests set at = 1, compared_to = 5, kind = '{kind.value}'")  # noqa: S608 - of ours

    assert await committed(actor, append(begun, 3, interests=(wanted,))) == [Outcome.ACCEPTED]

    assert await scripts.rows("interests", "address, kind, where_, at = 1, compared_to") == [
        (wanted.address, "take", wanted.where, keeps, compared),
    ]  # fmt: skip
