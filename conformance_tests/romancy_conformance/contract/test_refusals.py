"""Refusals: of several reasons to refuse a write, every store tells the same one, and calls nobody dead who lives."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy.status import Status
from romancy.storage.records import Delivered, Outcome, PruneRequest, Step
from romancy.storage.steps import as_append, behind
from romancy_conformance.contract.building import append, change, delivery, full_log, next_row, start, step, unique
from romancy_conformance.contract.interleaving import play

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Item
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]
    Scene = tuple[Awaitable[Any], Awaitable[Any], Callable[[Any, Any], Awaitable[None]]]

pytestmark = pytest.mark.anyio

REASONS = {
    "a row is at its place": Outcome.TAKEN,
    "its worker is dead": Outcome.DEAD,
    "the row before is another one": Outcome.LOST,
    "its child's id is taken": Outcome.EXISTS,
    "the instance has another life": Outcome.GONE,
    "the instance has ended": Outcome.ENDED,
    "the instance has unseen mail": Outcome.UNSEEN,
    "a worker owns the instance": Outcome.OWNED,
    "a message is not there": Outcome.GONE,
}
"""The reasons to refuse an append, in the order in which they are told."""
IMPOSSIBLE = {"a row is at its place", "the instance has another life"}
"""A log belongs to a life, so there is no row at the place in another one."""


def several() -> list[tuple[str, ...]]:
    """Each reason alone, every two that are possible together, and as many as are."""
    alone = [(one,) for one in REASONS]
    pairs = [pair for pair in combinations(REASONS, 2) if set(pair) != IMPOSSIBLE]
    most = [tuple(one for one in REASONS if one != left_out) for left_out in sorted(IMPOSSIBLE)]
    return [*alone, *pairs, *most]


async def spoilt(actor: Actor, owner: Actor, reasons: Collection[str]) -> Append:
    """An append by its owner that the store must refuse for these reasons."""
    begun = await owner.begin()
    seq, mail = 2, 0
    if "the instance has unseen mail" in reasons:
        assert await owner.store.deliver([delivery(begun)]) == [Delivered.ACCEPTED]
        mail = 1
    if "the instance has ended" in reasons:
        assert await owner.write(append(begun, seq, change=change(Status.FAILED, seen=mail))) is Outcome.ACCEPTED
        seq += 1
    if "a row is at its place" in reasons:
        assert await owner.write(step(begun, seq)) is Outcome.ACCEPTED
    fields: dict[str, Any] = {}
    starts: list[Append] = []
    if "its child's id is taken" in reasons:
        starts.append(start((await actor.begin()).instance_id))
    if "the row before is another one" in reasons:
        fields["after"] = unique("w")
    if "a message is not there" in reasons:
        fields["consumed"] = ("nothing",)
    ends = "the instance has unseen mail" in reasons
    status, owned = Status.COMPLETED if ends else Status.RUNNING, "a worker owns the instance" in reasons
    item = append(begun, seq, change=change(status, unowned=owned), starts=tuple(starts), **fields)
    if "its worker is dead" in reasons:
        await owner.store.leave(owner.worker)
    return replace(item, life=item.life + 1) if "the instance has another life" in reasons else item


async def in_a_batch(owner: Actor, item: Item) -> Outcome:
    (outcome,) = await owner.store.commit([item], worker=owner.token)
    return outcome


async def in_a_session(owner: Actor, item: Item) -> Outcome:
    async with owner.store.services.sessions.begin() as session:
        return await session.commit(item, worker=owner.token)


async def in_a_joined_session(owner: Actor, item: Item) -> Outcome:
    store = owner.store
    async with (
        store.services.sessions.begin() as outer,
        store.services.sessions.join(outer.native if store.capabilities.sql else outer) as joined,
    ):
        return await joined.commit(item, worker=owner.token)


@pytest.mark.parametrize("commit", [in_a_batch, in_a_session, in_a_joined_session])
async def test_of_several_reasons_the_first_is_told(actor: Actor, hire: Hire, commit: Any) -> None:
    told, expected = {}, {}
    owner = await hire()
    for reasons in several():
        if "its worker is dead" in reasons:
            owner = await hire()
        item = await spoilt(actor, owner, reasons)
        told[reasons] = await commit(owner, item)
        expected[reasons] = REASONS[reasons[0]]
        if "its worker is dead" in reasons:
            owner = await hire()

    assert expected == told


async def test_a_lone_row_is_judged_in_the_same_order(actor: Actor, hire: Hire) -> None:
    for reasons in several():
        if set(reasons) <= set(list(REASONS)[:3]):
            owner = await hire()
            item = await spoilt(actor, owner, reasons)
            lone = Step(item.instance_id, item.life, item.seq, item.writer, item.body, behind(item.after))
            assert await in_a_batch(owner, lone) is REASONS[reasons[0]], reasons
            assert await in_a_batch(owner, as_append(lone)) is REASONS[reasons[0]], reasons


async def test_each_of_many_is_told_its_own_reason(actor: Actor, hire: Hire) -> None:
    """Also where one of the batch is the only one that the store has to look at."""
    owner = await hire()
    combined = [reasons for reasons in several() if "its worker is dead" not in reasons]
    items = [await spoilt(actor, owner, reasons) for reasons in combined]

    outcomes = await owner.store.commit(items, worker=owner.token)

    assert [REASONS[reasons[0]] for reasons in combined] == outcomes


async def test_an_append_that_is_in_is_accepted_again_whatever_has_happened_since(actor: Actor, hire: Hire) -> None:
    owner = await hire()
    begun = await owner.begin()
    mail = delivery(begun)
    await owner.store.deliver([mail])
    child = start()
    item = append(begun, 2, change=change(seen=1), consumed=(mail.delivery_id,), starts=(child,), after=begun.writer)
    assert await owner.write(item) is Outcome.ACCEPTED
    await owner.store.deliver([delivery(begun)])
    assert await owner.write(append(begun, 3, change=change(Status.FAILED, seen=2))) is Outcome.ACCEPTED
    await owner.store.leave(owner.worker)

    for commit in (in_a_batch, in_a_session, in_a_joined_session):
        assert await commit(owner, item) is Outcome.ACCEPTED
    assert len(await full_log(actor.store, begun.instance_id)) == 3


async def test_a_start_that_is_in_is_accepted_again_whatever_has_happened_since(actor: Actor, hire: Hire) -> None:
    owner = await hire()
    begun = await owner.begin()
    await owner.store.leave(owner.worker)

    for commit in (in_a_batch, in_a_session, in_a_joined_session):
        assert await commit(actor, begun) is Outcome.ACCEPTED
        assert await commit(actor, replace(begun, writer=unique("w"))) is Outcome.EXISTS
        assert await commit(actor, replace(begun, life=begun.life + 1)) is Outcome.EXISTS
        assert await commit(actor, replace(begun, instance_id=unique("i"))) is Outcome.DEAD


async def test_a_child_that_is_in_does_not_stop_its_parent(actor: Actor) -> None:
    """An earlier copy of the very start has begun the child."""
    for commit in (in_a_batch, in_a_session, in_a_joined_session):
        for _ in range(2):
            begun, child = await actor.begin(), start()
            assert await actor.write(child) is Outcome.ACCEPTED

            assert await commit(actor, append(begun, 2, change=change(), starts=(child, start()))) is Outcome.ACCEPTED
            assert await commit(actor, append(begun, 3, starts=(start(child.instance_id),))) is Outcome.EXISTS


async def test_a_message_that_is_listed_twice_is_consumed_once(actor: Actor) -> None:
    begun = await actor.begin()
    mail = delivery(begun)
    await actor.store.deliver([mail])

    item = append(begun, 2, change=change(seen=1), consumed=(mail.delivery_id, mail.delivery_id))

    assert await actor.write(item) is Outcome.ACCEPTED


async def test_only_a_change_is_held_against_the_row_of_the_instance(actor: Actor) -> None:
    """An append that names no row before it and changes nothing asks for no instance."""
    begun, target = await actor.begin(), await actor.begin()
    other = replace(begun, life=begun.life + 1)
    effects: list[dict[str, Any]] = [{}, {"starts": (start(),)}, {"deliveries": (delivery(target),)}]

    for seq, fields in enumerate(effects, 2):
        assert await actor.write(next_row(other, seq, **fields)) is Outcome.ACCEPTED, fields
        for nobodys in (other, start()):
            assert await actor.write(next_row(nobodys, 9, change=change(), **fields)) is Outcome.GONE, fields


@pytest.mark.parametrize("repeated", [False, True])
async def test_a_message_is_closed_or_unknown_before_it_is_a_duplicate(actor: Actor, *, repeated: bool) -> None:
    begun, over = await actor.begin(), await actor.begin()
    key = unique("k") if repeated else None
    first, there = delivery(begun, dedupe=key), delivery(over)
    assert await actor.store.deliver([first, there]) == [Delivered.ACCEPTED] * 2
    await actor.write(append(over, 2, change=change(Status.COMPLETED, seen=1)))

    known = [delivery(one, dedupe=key) for one in (over, unique("i"))] if repeated else [there, first]
    answers = await actor.store.deliver(known)

    assert answers == [Delivered.CLOSED, Delivered.UNKNOWN if repeated else Delivered.DUPLICATE]


async def begun_and_ended(actor: Actor) -> Append:
    begun = await actor.begin()
    assert await actor.write(append(begun, 2, change=change(Status.COMPLETED))) is Outcome.ACCEPTED
    return begun


@pytest.mark.parametrize("nested", [False, True], ids=["start", "child"])
async def test_who_meets_an_id_that_is_pruned_meanwhile_is_not_called_dead(
    store: Store, actor: Actor, hire: Hire, *, nested: bool
) -> None:
    """The reason may be gone when the store looks for it. Then it says so, or writes again."""
    other = await hire()

    async def scenario() -> Scene:
        over = await begun_and_ended(other)
        kept: dict[str, Any] = {} if nested else {"owner": actor.token, "status": Status.RUNNING}
        again = start(over.instance_id, **kept)
        item = append(await actor.begin(), 2, change=change(), starts=(again,)) if nested else again

        async def check(outcomes: list[Outcome], _: int) -> None:
            assert outcomes[0] in (Outcome.ACCEPTED, Outcome.EXISTS, Outcome.LOCKED)
            found = await other.store.read(over.instance_id)
            lives = {over.life, again.life} if outcomes[0] is not Outcome.ACCEPTED else {again.life}
            assert found is None or found.instance.life in lives

        prune = other.store.services.upkeep.prune(PruneRequest(instance_ids=(over.instance_id,)))
        return store.commit([item], worker=actor.token), prune, check

    await play(store, scenario)
