"""Bounded mail: an answer to a claim brings a limited amount, and all mail arrives in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.mail import MAX_MAIL_BYTES
from romancy.storage.records import ClaimRequest, Delivered, Outcome
from romancy_conformance.contract.building import append, change, delivery, start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Mailbox, Work
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio

LARGE = 2 * 1024 * 1024
COUNT = 9
"""Large messages; four of them fit into one answer."""
MORE = MAX_MAIL_BYTES // LARGE + 1
"""Large messages that do not fit into one answer."""


async def claimed(actor: Actor, known: dict[str, int], limit: int = 0) -> Work:
    """Make one claim, with this limit on the mail in the answer."""
    request = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=limit, known=known)
    return await actor.store.claim(request)


def size_of(boxes: list[Mailbox]) -> int:
    return sum(len(row.body) for box in boxes for row in box.rows)


async def collected(actor: Actor, known: dict[str, int], limit: int = 0) -> tuple[list[Work], dict[str, Mailbox]]:
    """Claim as an engine does until the store has left nothing out; return the answers and every mailbox."""
    answers: list[Work] = []
    boxes: dict[str, Mailbox] = {}
    while not answers or answers[-1].more:
        work = await claimed(actor, known, limit=0 if answers else limit)
        answers.append(work)
        for one in work.claimed if work.more else ():
            known[one.instance_id] = -1
        for box in work.mail:
            assert box.instance_id not in boxes, "brought twice"
            boxes[box.instance_id] = box
            known[box.instance_id] = box.signals
        assert len(answers) <= COUNT, "it comes to no end"
    return answers, boxes


async def sent(store: Store, items: list[Append], size: int = LARGE) -> dict[str, bytes]:
    """Send a large message to each instance."""
    mail = [delivery(one, b"%04d" % number + b"x" * (size - 4)) for number, one in enumerate(items)]
    for one in mail:
        assert await store.deliver([one]) == [Delivered.ACCEPTED]
    return {one.instance_id: one.body for one in mail}


async def test_large_mail_of_what_is_owned_comes_in_several_answers(actor: Actor, store: Store) -> None:
    bodies = await sent(store, [await actor.begin() for _ in range(COUNT)])

    answers, boxes = await collected(actor, {})

    assert {key: [row.body for row in box.rows] for key, box in boxes.items()} == {
        key: [body] for key, body in bodies.items()
    }
    assert [size_of(work.mail) <= MAX_MAIL_BYTES for work in answers] == [True] * len(answers)
    assert len(answers) >= COUNT * LARGE / MAX_MAIL_BYTES


async def test_large_mail_of_what_is_claimed_comes_in_several_answers(
    actor: Actor, store: Store, workflow_name: str
) -> None:
    """Mail that a former owner has seen and not consumed is not lost when the answer is full."""
    items = [start(workflow_name=workflow_name) for _ in range(COUNT)]
    await store.commit(items)
    bodies = await sent(store, items)
    former = await claimed(actor, {}, limit=COUNT)
    for one in former.claimed:
        seen = change(seen=1, release=True, wake_at=1)
        assert await actor.write(append(one, 2, change=seen)) == "accepted"

    answers, boxes = await collected(actor, {}, limit=COUNT)

    assert len(answers[0].claimed) == COUNT
    assert {key: [row.body for row in box.rows] for key, box in boxes.items()} == {
        key: [body] for key, body in bodies.items()
    }
    assert [size_of(work.mail) <= MAX_MAIL_BYTES for work in answers] == [True] * len(answers)


async def test_a_mailbox_comes_whole_however_large(actor: Actor, store: Store) -> None:
    """Its counter covers all of its messages; after a part of them the instance could sleep with unread mail."""
    begun, other = await actor.begin(), await actor.begin()
    for _ in range(5):
        await sent(store, [begun])
    await sent(store, [other], 10)

    answers, boxes = await collected(actor, {})

    assert (len(boxes[begun.instance_id].rows), boxes[begun.instance_id].signals) == (5, 5)
    assert len(boxes[other.instance_id].rows) == 1
    assert answers[-1].more is False


async def test_what_is_known_is_not_brought_again_until_there_is_more(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    await sent(store, [begun], 10)
    (box,) = (await claimed(actor, {})).mail

    assert (await claimed(actor, {begun.instance_id: box.signals})).mail == []
    (again,) = (await claimed(actor, {})).mail
    assert again.rows == box.rows
    await sent(store, [begun], 20)
    (more,) = (await claimed(actor, {begun.instance_id: box.signals})).mail
    assert ([len(row.body) for row in more.rows], more.signals) == ([10, 20], 2)


async def test_mail_that_is_kept_has_no_weight(actor: Actor, store: Store, request: pytest.FixtureRequest) -> None:
    """What is new is small, and comes at once, though each mailbox has another number up to which it is kept."""
    first, *others = begun = [await actor.begin() for _ in range(MORE + 1)]
    await sent(store, begun)
    for _ in range(MORE):
        await sent(store, [first])
    kept = {first.instance_id: MORE + 1, **{one.instance_id: 1 for one in others}}
    new = await sent(store, begun, 10)

    work = await store.claim(
        ClaimRequest(worker=actor.token, codes=actor.workflows, limit=0, known=dict(kept), kept=kept)
    )

    if request.config.getoption("--storage-url") and any(len(box.rows) > 1 for box in work.mail):
        pytest.skip("capability: the store brings whole mailboxes")
    assert {box.instance_id: [row.body for row in box.rows] for box in work.mail} == {
        key: [body] for key, body in new.items()
    }
    assert not work.more


async def test_mail_of_what_another_owns_is_not_brought(actor: Actor, store: Store, hire: Hire) -> None:
    """Also if it has seen that mail, so that nothing is new in it."""
    other = await hire()
    begun = await other.begin()
    await store.deliver([delivery(begun)])
    assert await other.write(append(begun, 2, change=change(seen=1))) is Outcome.ACCEPTED

    brought: list[list[str]] = []
    for one in (actor, other):
        work = await one.store.claim(
            ClaimRequest(worker=one.token, codes=one.workflows, limit=0, known={begun.instance_id: -1})
        )
        brought.append([box.instance_id for box in work.mail])

    assert [[], [begun.instance_id]] == brought


async def test_small_mail_is_one_answer(actor: Actor, store: Store) -> None:
    items = [await actor.begin() for _ in range(100)]
    await sent(store, items, 100)

    work = await claimed(actor, {})

    assert (len(work.mail), work.more) == (100, False)


async def test_a_message_without_a_body_is_brought(actor: Actor) -> None:
    """It has no size, but it is mail."""
    begun = await actor.begin()
    assert [Delivered.ACCEPTED] == await actor.store.deliver([delivery(begun, b"")])

    (box,) = (await claimed(actor, {})).mail

    assert [b""] == [row.body for row in box.rows]
