"""One item among many: whatever refuses it when it comes alone refuses it in a batch, and nothing of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from romancy.errors import UsageError
from romancy.status import Status
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import append, change, created, delivery, full_log, start, step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.records import Append, Item
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]
    Spoil = Callable[[Actor, Append], Awaitable[tuple[Item, Outcome]]]

pytestmark = pytest.mark.anyio

PLACE = 3
DONE, WAITING, RUNNING = Status.COMPLETED, Status.WAITING, Status.RUNNING


async def taken(actor: Actor, one: Append) -> tuple[Item, Outcome]:
    assert await actor.write(step(one, 2)) is Outcome.ACCEPTED
    return step(one, 2), Outcome.TAKEN


async def taken_with_a_change(actor: Actor, one: Append) -> tuple[Item, Outcome]:
    assert await actor.write(step(one, 2)) is Outcome.ACCEPTED
    return append(one, 2, change=change()), Outcome.TAKEN


async def of_a_former_life(actor: Actor, one: Append) -> tuple[Item, Outcome]:
    return append(msgspec.structs.replace(one, life=one.life + 1), 2, change=change()), Outcome.GONE


async def an_end_with_unseen_mail(actor: Actor, one: Append) -> tuple[Item, Outcome]:
    await actor.store.deliver([delivery(one)])
    return append(one, 2, change=change(DONE)), Outcome.UNSEEN


async def to_one_that_a_worker_owns(_: Actor, one: Append) -> tuple[Item, Outcome]:
    return append(one, 2, change=change(Status.PAUSED, release=True, unowned=True)), Outcome.OWNED


async def to_one_that_has_ended(actor: Actor, one: Append) -> tuple[Item, Outcome]:
    assert await actor.write(append(one, 2, change=change(DONE))) is Outcome.ACCEPTED
    return append(one, 3, change=change(WAITING, release=True)), Outcome.ENDED


async def started_already(actor: Actor, one: Append) -> tuple[Item, Outcome]:
    return start(one.instance_id, workflow_name=created(one).workflow_name), Outcome.EXISTS


async def for_a_dead_owner(actor: Actor, one: Append) -> tuple[Item, Outcome]:
    return start(owner="nobody", status=RUNNING), Outcome.DEAD


SPOILS = [
    taken,
    taken_with_a_change,
    of_a_former_life,
    an_end_with_unseen_mail,
    to_one_that_a_worker_owns,
    to_one_that_has_ended,
    started_already,
    for_a_dead_owner,
]


async def test_one_that_is_refused_among_many(actor: Actor) -> None:
    for spoil in SPOILS:
        await refuse_one_among_many(actor, spoil)


async def refuse_one_among_many(actor: Actor, spoil: Spoil) -> None:
    owned = [await actor.begin() for _ in range(9)]
    batch: list[Item] = [step(one, 2) for one in owned[:3]]
    batch += [append(one, 2, change=change(DONE)) for one in owned[3:6]]
    batch += [append(one, 2, change=change(WAITING, release=True)) for one in owned[6:]]
    batch += [start(), start(owner=actor.token, status=RUNNING)]
    refused, outcome = await spoil(actor, await actor.begin())
    batch.insert(PLACE, refused)
    expected = [outcome if item is refused else Outcome.ACCEPTED for item in batch]

    assert expected == await actor.store.commit(batch, worker=actor.token)

    before = 2 if outcome in (Outcome.TAKEN, Outcome.ENDED) else 1
    if spoil is not for_a_dead_owner:
        assert before == len(await full_log(actor.store, refused.instance_id))
    else:
        assert await actor.store.read(refused.instance_id) is None
    for item in batch:
        if item is not refused:
            history = await actor.store.read(item.instance_id)
            assert history is not None
            assert item.writer == history.rows[-1].writer
    assert expected == await actor.store.commit(batch, worker=actor.token), "sent again, it is recognised"


async def test_a_batch_of_a_dead_worker_writes_nothing(actor: Actor) -> None:
    owned = [await actor.begin() for _ in range(4)]
    batch = [append(one, 2, change=change(DONE) if number % 2 else None) for number, one in enumerate(owned)]
    await actor.store.leave(actor.worker)

    assert [Outcome.DEAD] * 4 == await actor.store.commit(batch, worker=actor.token)

    assert {1} == {len(await full_log(actor.store, one.instance_id)) for one in owned}


async def test_who_lets_go_of_many_sleeps_only_where_all_mail_was_seen(actor: Actor) -> None:
    """B1: a release in a batch does not put an instance to sleep that has a message its owner has not seen."""
    owned = [await actor.begin() for _ in range(4)]
    await actor.store.deliver([delivery(one) for one in owned[2:]])
    batch = [append(one, 2, change=change(WAITING, release=True)) for one in owned]

    assert [Outcome.ACCEPTED] * 4 == await actor.store.commit(batch, worker=actor.token)

    assert {one.instance_id for one in owned[2:]} == {claimed.instance_id for claimed in await actor.claim()}


async def test_texts_that_look_like_nothing_stay_what_they_are_among_many(actor: Actor) -> None:
    """A store may send nothing in another form where it writes many rows: no text and no time is taken for it."""
    texts = ("0", "", None)
    owned = [await actor.begin() for _ in texts]
    changes = [append(one, 2, change=change(error=text, code="0")) for one, text in zip(owned, texts, strict=True)]
    firsts = [start(error=text, parent="0") for text in texts]

    assert [Outcome.ACCEPTED] * 6 == await actor.store.commit([*changes, *firsts], worker=actor.token)

    shown: list[tuple[str | None, str | None, str]] = []
    for one in (*owned, *firsts):
        history = await actor.store.read(one.instance_id)
        assert history is not None
        row = history.instance
        shown.append((row.error, row.parent, row.code))
    assert shown == [*((text, None, "0") for text in texts), *((text, "0", "c1") for text in texts)]


HALF = "odd \ud800 text"
NO_TEXT: dict[str, Callable[[Append], Item]] = {
    "error": lambda one: append(one, 2, change=change(error=HALF)),
    "code": lambda one: append(one, 2, change=change(code=HALF)),
    "code that refused": lambda one: append(one, 2, change=change(Status.STUCK, release=True, refused_by=HALF)),
    "error of a start": lambda _: start(error=HALF),
    "parent of a child": lambda one: append(one, 2, starts=(start(parent=HALF),)),
}


async def test_half_a_character_is_refused_before_anything_is_written(actor: Actor) -> None:
    """Some databases accept a lone surrogate and some do not; a store sends it to none."""
    owned = [await actor.begin() for _ in range(3)]
    for place, build in NO_TEXT.items():
        batch = [step(owned[0], 2), build(owned[1]), step(owned[2], 2)]

        with pytest.raises(UsageError, match="surrogate"):
            await actor.store.commit(batch, worker=actor.token)
        async with actor.store.services.sessions.begin() as session:
            with pytest.raises(UsageError, match="surrogate"):
                await session.commit(batch[1], worker=actor.token)

        assert [1] * 3 == [len(await full_log(actor.store, one.instance_id)) for one in owned], place
