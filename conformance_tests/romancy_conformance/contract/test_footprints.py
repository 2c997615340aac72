"""Each call changes the rows that it names, and no other row, however alike the others are.

Three instances have the same lives, ids of messages, keys and interests. Subscribers outside have their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.outbox import OutboxRow, OutboxState, Settled
from romancy.storage.records import Delivered, Former, Outcome, PruneRequest
from romancy.storage.routing import OUTSIDE, Owner, Place, Spread
from romancy_conformance.contract.building import append, change, delivery, joinable, start, step
from romancy_conformance.contract.footprints import footprint, rows_of
from romancy_conformance.contract.routing.scenes import copy, drained, posting, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.outbox import Outbox
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy.storage.router import Router
    from romancy.storage.routing import Posting
    from romancy_conformance.contract.building import Actor

pytestmark = [pytest.mark.anyio, pytest.mark.dealt]

LIFE = 7
NAMES = ("mine", "next", "ended")


def event(message_id: str, *addresses: str, dedupe: str | None = None) -> Posting:
    """A message for one wait at the first of these addresses, and for all at the others."""
    places = tuple(Place(one, Spread.EVERY if number else Spread.ONE) for number, one in enumerate(addresses))
    return posting("", places=places, message_id=message_id, dedupe=dedupe)


def outgoing(outbox_id: str, by: str | None = None) -> OutboxRow:
    return OutboxRow(outbox_id=outbox_id, topic="t", body=b"{}", key="key", instance_id=by)


class World:
    """What there is before a call."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.begun: dict[str, Append] = {}
        self.letters: dict[str, str] = {}
        """The id of the first letter of each subscriber."""

    @property
    def store(self) -> Store:
        return self.actor.store

    @property
    def router(self) -> Router:
        return self.store.services.router

    @property
    def outbox(self) -> Outbox:
        return self.store.services.outbox

    async def fill(self) -> None:
        """Make the instances, their mail and their interests, and what is kept at addresses."""
        for name in NAMES:
            self.begun[name] = await self.actor.begin(name, life=LIFE, index=(("p", "1"), ("q", "2")))
        mail = [delivery(name, delivery_id=f"d-{number}", dedupe=f"k-{number}") for name in NAMES for number in (1, 2)]
        assert set(await self.store.deliver(mail)) == {Delivered.ACCEPTED}
        await written(self, *(self.next(name, 2, **self._interested(name)) for name in NAMES))
        for name in NAMES:
            for number in (1, 2):
                await self.router.register(Owner(name, OUTSIDE), take(f"{name}/d", interest_id=f"w-{number}"))
        letters = [event(f"l-{name}-{number}", f"{name}/d") for name in NAMES for number in (1, 2)]
        assert set(await self.router.post(letters)) == {"accepted"}
        assert await drained(self.store, *(f"{name}/d" for name in NAMES)) == len(letters)
        for name in NAMES:
            self.letters[name] = (await self.router.letters(name))[0].letter_id
            for number in (1, 2):
                await self.router.register(Owner(name, OUTSIDE), copy("e", interest_id=f"w-{number}"))
        await written(self, self.next("ended", 3, change=change(Status.COMPLETED, seen=2)))
        kept = [event(f"m-{number}", "x", "y", dedupe=f"k-{number}") for number in (1, 2)]
        assert set(await self.router.post(kept)) == {"accepted"}

    def _interested(self, name: str) -> dict[str, Any]:
        wanted = (take(f"{name}/a", interest_id="w-1"), take("b", interest_id="w-2"), copy("c", interest_id="w-3"))
        return {"interests": wanted, "outbox": (outgoing(f"o-{name}", name),)}

    def next(self, name: str, seq: int, **fields: Any) -> Append:
        return append(self.begun[name], seq, **fields)


@pytest.fixture
async def world(actor: Actor) -> World:
    """Three instances that are alike."""
    found = World(actor)
    await found.fill()
    return found


def carried(world: World) -> dict[str, Any]:
    """What an append can carry, for others than itself."""
    return {
        "deliveries": (delivery(world.begun["next"], delivery_id="d-9", dedupe="k-9"),),
        "postings": (event("m-9", "x", "z", dedupe="k-1"),),
        "starts": (start("child", life=LIFE, index=(("p", "1"),), delay=None),),
        "outbox": (outgoing("o-9"),),
    }


SENT = {
    "+ inbox next d-9", "+ seen next 7 k-9", "+ messages m-9 x", "+ messages m-9 z", "+ seen z 0 k-1",
    "+ instances child", "+ log child 1", "+ index child 1", "+ outbox o-9", "~ instances next",
}  # fmt: skip
COUNTED = "~ instances next"
"""A joined session leaves it to what comes after the caller's commit."""
DROPPED = "+ messages m-9 z"
"""A message for all at an address where nobody listens. What comes after the caller's commit may have dropped it."""
APPENDED = {
    *SENT, "+ log mine 3", "~ instances mine", "- inbox mine d-1", "- interests mine 7 w-1", "~ interests mine 7 w-2",
    "+ interests mine 7 w-4",
}  # fmt: skip
RENEWED = {"- index mine 1", "- index mine 2", "+ index mine 9"}


def effects(world: World, **fields: Any) -> Append:
    return world.next(
        "mine", 3, after=None, consumed=("d-1",), uninterested=("w-1",),
        interests=(take("b-2", interest_id="w-2"), copy("c", interest_id="w-3"), take("n", interest_id="w-4")),
        **{"change": change(Status.WAITING, seen=2), **carried(world), **fields},
    )  # fmt: skip


async def written(world: World, *items: Any) -> None:
    assert set(await world.store.commit(items, worker=world.actor.token)) == {Outcome.ACCEPTED}


async def in_session(world: World, item: Any) -> None:
    async with world.store.services.sessions.begin() as session:
        assert await session.commit(item, worker=world.actor.token) is Outcome.ACCEPTED


async def joined(world: World) -> None:
    async with world.store.services.sessions.begin() as outer:
        async with world.store.services.sessions.join(joinable(world.actor, outer)) as inner:
            sent = carried(world)
            assert await inner.send(sent["deliveries"], sent["outbox"], sent["postings"]) == ["accepted"] * 2
        assert await outer.commit(step(world.begun["mine"], 3), worker=world.actor.token) is Outcome.ACCEPTED


def renewed(world: World) -> Append:
    return effects(world, change=change(seen=2, run_from=3, input=b"9", index=(("p", "9"),)))


APPENDS: dict[str, tuple[Callable[[World], Awaitable[Any]], set[str]]] = {
    "a step": (lambda w: written(w, step(w.begun["mine"], 3)), {"+ log mine 3"}),
    "a change": (
        lambda w: written(w, w.next("mine", 3, change=change(seen=1), consumed=("d-1",))),
        {"+ log mine 3", "~ instances mine", "- inbox mine d-1"},
    ),
    "effects": (lambda w: written(w, effects(w)), APPENDED),
    "effects in a session": (lambda w: in_session(w, effects(w)), APPENDED),
    "effects of several statements": (
        lambda w: written(w, effects(w, deliveries=(*carried(w)["deliveries"], delivery("child", delivery_id="d-1")))),
        {*APPENDED, "+ inbox child d-1"},
    ),
    "effects of two": (
        lambda w: written(w, effects(w, deliveries=()), w.next("next", 3, uninterested=("w-1",))),
        (APPENDED - {"+ inbox next d-9", "+ seen next 7 k-9", "~ instances next"})
        | {"+ log next 3", "- interests next 7 w-1"},
    ),
    "a run": (lambda w: written(w, renewed(w)), APPENDED | RENEWED),
    "a run in a session": (lambda w: in_session(w, renewed(w)), APPENDED | RENEWED),
    "a first append": (
        lambda w: written(w, start("new", life=LIFE, interests=(take("b", interest_id="w-1"),), **carried(w))),
        {*SENT, "+ instances new", "+ log new 1", "+ interests new 7 w-1"},
    ),
    "a first append in a session": (
        lambda w: in_session(w, start("new", life=LIFE, interests=(take("b", interest_id="w-1"),), **carried(w))),
        {*SENT, "+ instances new", "+ log new 1", "+ interests new 7 w-1"},
    ),
    "what a joined session sends": (
        joined,
        {"+ log mine 3"} | (SENT - {"+ instances child", "+ log child 1", "+ index child 1", COUNTED}),
    ),
}


async def differs(world: World, call: Callable[[World], Awaitable[Any]]) -> set[str]:
    before = await rows_of(world.store)
    await call(world)
    return footprint(before, await rows_of(world.store))


@pytest.mark.parametrize("what", APPENDS)
async def test_an_append(world: World, what: str) -> None:
    call, changes = APPENDS[what]

    found = await differs(world, call)

    if call is joined:
        assert changes - {DROPPED} <= found <= changes | {COUNTED}
    else:
        assert found == changes


async def replaced(world: World) -> None:
    former = Former(LIFE, frozenset(TERMINAL_STATUSES))
    await written(world, start("ended", life=8, replaces=former, delay=None))


async def claimed(world: World) -> None:
    """Of messages with one key, the oldest is claimed, and the others are parked."""
    answer = await world.outbox.claim("claim", lease=60_000_000, limit=10)
    assert [one.row.outbox_id for one in answer.entries] == ["o-ended"]


async def settled(world: World) -> None:
    """The oldest is sent, and the next of its key is due. Another one was not claimed."""
    outcomes = {"o-ended": OutboxState.PUBLISHED, "o-next": OutboxState.FAILED}
    batch = [Settled(outbox_id=one, claim="claim", state=state) for one, state in outcomes.items()]
    assert await world.outbox.settle(batch) == 1


LEFT = {
    "- inbox ended d-1", "- inbox ended d-2", "- seen ended 7 k-1", "- seen ended 7 k-2", "- index ended 1",
    "- index ended 2", "- interests ended 7 w-1", "- interests ended 7 w-2", "- interests ended 7 w-3",
    "- log ended 2", "- log ended 3",
}  # fmt: skip
OTHERS: dict[str, tuple[Callable[[World], Awaitable[Any]], set[str]]] = {
    "a message": (
        lambda w: w.store.deliver(carried(w)["deliveries"]),
        {"+ inbox next d-9", "+ seen next 7 k-9", "~ instances next"},
    ),
    "a posting": (
        lambda w: w.router.post(carried(w)["postings"]),
        {"+ messages m-9 x", "+ messages m-9 z", "+ seen z 0 k-1"},
    ),
    "an interest of a subscriber": (
        lambda w: w.router.unregister(Owner("mine", OUTSIDE), ["w-1"]),
        {"- interests mine 0 w-1"},
    ),
    "an interest of an instance": (
        lambda w: w.router.unregister(Owner("mine", LIFE), ["w-1"]),
        {"- interests mine 7 w-1"},
    ),
    "a letter that is read": (
        lambda w: w.router.acknowledge("mine", [w.letters["mine"], w.letters["next"]]),
        {"- letters mine l-mine-1"},
    ),
    "a letter that goes back": (
        lambda w: w.router.give_back(Owner("ended", OUTSIDE), [w.letters["ended"], w.letters["next"]]),
        {"- letters ended l-ended-1", "+ messages l-ended-1 ended/d"},
    ),
    "a purge": (
        lambda w: w.store.services.upkeep.prune(PruneRequest(instance_ids=("ended", "next"))),
        {*LEFT, "- instances ended", "- log ended 1"},
    ),
    "a claim of the outbox": (claimed, {"~ outbox o-ended", "~ outbox o-mine", "~ outbox o-next"}),
    "what the relay settles": (settled, {"~ outbox o-ended", "~ outbox o-mine"}),
    "what leaves the outbox": (lambda w: w.outbox.remove(["o-mine"]), {"- outbox o-mine", "~ outbox o-next"}),
}


async def test_other_calls(world: World) -> None:
    """One after the other."""
    for what, (call, changes) in OTHERS.items():
        assert await differs(world, call) == changes, what


async def test_a_life_that_replaces_another(world: World) -> None:
    assert await differs(world, replaced) == {*LEFT, "~ instances ended", "~ log ended 1"}


async def test_a_message_that_is_taken_and_given_back(world: World) -> None:
    owner = Owner("mine", LIFE)
    await world.router.post([event("t", "mine/a"), event("u", "next/a")])

    taken = await differs(world, lambda w: w.router.dispatch(["mine/a"]))
    back = await differs(world, lambda w: w.router.give_back(owner, ["t", "u"]))

    assert taken == {"+ inbox mine t", "- interests mine 7 w-1", "- messages t mine/a", "~ instances mine"}
    assert back == {"- inbox mine t", "+ messages t mine/a"}


async def test_a_letter_that_is_taken(world: World) -> None:
    for name in ("mine", "next"):
        await world.router.register(Owner(name, OUTSIDE), take(f"{name}/f", interest_id="w-2"))
    await world.router.post([event("t", "mine/f"), event("u", "next/f")])

    taken = await differs(world, lambda w: w.router.dispatch(["mine/f"]))

    assert taken == {"+ letters mine t", "- interests mine 0 w-2", "- messages t mine/f"}


async def test_copies(world: World) -> None:
    """An instance that has ended gets none."""
    await world.router.post([posting(one, Spread.EVERY, message_id="t") for one in ("c", "e")])

    copied = await differs(world, lambda w: w.router.dispatch(["c"]))

    assert copied == {
        "+ inbox mine copy",
        "+ inbox next copy",
        "~ instances mine",
        "~ instances next",
        "- messages t c",
    }
