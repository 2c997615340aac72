"""Rows that take the place of the last one of a log: by the owner alone, and with nothing behind them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.records import Former, Outcome, Step
from romancy.storage.services import Service
from romancy_conformance.contract.building import change, full_log, next_row, nonce, start, step, unique
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.amending import Amending
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio

ENDED = Status.COMPLETED


@pytest.fixture
def amending(store: Store) -> Amending:
    return services_with(Service.AMENDING, store).amending


def instead(of: Step | Append, body: bytes, *, behind: str | None = None, writer: str | None = None) -> Step:
    known = of.writer if behind is None else behind
    return Step(of.instance_id, of.life, of.seq, nonce() if writer is None else writer, body, known)


async def with_row(actor: Actor) -> tuple[Append, Step]:
    """An instance with a second row."""
    begun = await actor.begin()
    row = step(begun, 2, b'["first"]', after=begun.writer)
    assert await actor.write(row) is Outcome.ACCEPTED
    return begun, row


async def bodies(actor: Actor, of: Append) -> list[bytes]:
    return [row.body for row in await full_log(actor.store, of.instance_id)][1:]


async def test_a_row_takes_the_place_of_the_last_one_and_the_log_goes_on_behind_it(
    actor: Actor, amending: Amending
) -> None:
    begun, row = await with_row(actor)
    other = instead(row, b'["second"]')
    (before,) = [each.at for each in await full_log(actor.store, begun.instance_id)][1:]
    assert await amending.amend([other], worker=actor.token) == [Outcome.ACCEPTED]
    third = instead(other, b'["third"]')
    assert await amending.amend([third], worker=actor.token) == [Outcome.ACCEPTED]

    (amended,) = (await full_log(actor.store, begun.instance_id))[1:]
    assert (amended.body, amended.writer, amended.seq) == (b'["third"]', third.writer, 2)
    assert amended.at >= before
    assert await actor.write(step(begun, 3, b'["next"]', after=row.writer)) is Outcome.LOST
    assert await actor.write(step(begun, 3, b'["next"]', after=third.writer)) is Outcome.ACCEPTED
    assert await bodies(actor, begun) == [b'["third"]', b'["next"]']


async def test_what_is_sent_again_is_written_once(actor: Actor, amending: Amending) -> None:
    begun, row = await with_row(actor)
    other = instead(row, b'["second"]')
    for _ in range(3):
        assert await amending.amend([other], worker=actor.token) == [Outcome.ACCEPTED]
    assert await actor.write(step(begun, 3, b'["next"]', after=other.writer)) is Outcome.ACCEPTED
    assert await amending.amend([other], worker=actor.token) == [Outcome.ACCEPTED]
    assert await bodies(actor, begun) == [b'["second"]', b'["next"]']


async def test_a_late_copy_changes_nothing(actor: Actor, amending: Amending) -> None:
    begun, row = await with_row(actor)
    second = instead(row, b'["second"]')
    third = instead(second, b'["third"]')
    assert await amending.amend([second], worker=actor.token) == [Outcome.ACCEPTED]
    assert await amending.amend([third], worker=actor.token) == [Outcome.ACCEPTED]

    assert await amending.amend([second], worker=actor.token) == [Outcome.LOST]
    assert await actor.write(row) is Outcome.TAKEN
    assert await bodies(actor, begun) == [b'["third"]']


async def test_a_row_with_one_behind_it_stays(actor: Actor, amending: Amending) -> None:
    begun, row = await with_row(actor)
    assert await actor.write(step(begun, 3, b'["next"]', after=row.writer)) is Outcome.ACCEPTED
    assert await amending.amend([instead(row, b'["late"]')], worker=actor.token) == [Outcome.LOST]
    assert await bodies(actor, begun) == [b'["first"]', b'["next"]']


async def test_only_the_owner_amends(actor: Actor, hire: Hire, amending: Amending) -> None:
    other = await hire()
    begun, row = await with_row(actor)
    assert await amending.amend([instead(row, b'["x"]')], worker=other.token) == [Outcome.LOST]
    released = next_row(begun, 3, after=row.writer, change=change(release=True, wake_at=1))
    assert await actor.write(released) is Outcome.ACCEPTED
    assert await amending.amend([instead(released, b'["x"]')], worker=actor.token) == [Outcome.LOST]
    assert (await bodies(actor, begun))[0] == b'["first"]'


async def test_what_is_not_there_is_not_amended(actor: Actor, amending: Amending) -> None:
    begun, row = await with_row(actor)
    nobody = Step(unique("i"), 7, 2, nonce(), b"[]", nonce())
    absent = Step(begun.instance_id, begun.life, 3, nonce(), b"[]", row.writer)
    older = Step(begun.instance_id, begun.life + 1, 2, nonce(), b"[]", row.writer)
    unknown = instead(row, b"[]", behind=nonce())
    for item in (nobody, absent, older, unknown):
        assert await amending.amend([item], worker=actor.token) == [Outcome.LOST]
    assert await bodies(actor, begun) == [b'["first"]']
    assert await amending.amend([], worker=actor.token) == []


async def test_many_are_amended_together_and_each_by_itself(actor: Actor, amending: Amending) -> None:
    some = [await with_row(actor) for _ in range(20)]
    items = [instead(row, b'["new %d"]' % number) for number, (_, row) in enumerate(some)]
    items[3] = instead(some[3][1], b'["lost"]', behind=nonce())
    outcomes = await amending.amend(items, worker=actor.token)
    assert [outcome for outcome in outcomes if outcome is not Outcome.ACCEPTED] == [Outcome.LOST]
    assert outcomes[3] is Outcome.LOST
    kept = [(await bodies(actor, begun))[0] for begun, _ in some]
    assert kept == [b'["first"]' if n == 3 else b'["new %d"]' % n for n in range(20)]


async def test_one_of_two_that_amend_one_row_at_a_time_wins(actor: Actor, amending: Amending) -> None:
    for _ in range(10):
        begun, row = await with_row(actor)
        rivals = [instead(row, b'["%d"]' % number) for number in range(4)]
        done = await asyncio.gather(*(amending.amend([one], worker=actor.token) for one in rivals))
        winners = [rival for rival, (outcome,) in zip(rivals, done, strict=True) if outcome is Outcome.ACCEPTED]
        assert len(winners) == 1
        assert await bodies(actor, begun) == [winners[0].body]


async def test_a_takeover_and_an_amendment_follow_each_other(actor: Actor, hire: Hire, amending: Amending) -> None:
    """Whoever takes the instance reads the last row as it then stays."""
    heir = await hire()
    for _ in range(5):
        dying = await hire()
        begun, row = await with_row(dying)
        other = instead(row, b'["amended"]')
        moved, (outcome,) = await asyncio.gather(heir.take_over(dying), amending.amend([other], worker=dying.token))
        assert moved == (begun.instance_id,)
        first = b'["amended"]' if outcome is Outcome.ACCEPTED else b'["first"]'
        assert (await bodies(actor, begun))[0] == first
        assert await amending.amend([instead(row, b"[]")], worker=dying.token) == [Outcome.LOST]


async def test_a_life_that_was_replaced_is_not_amended(actor: Actor, amending: Amending) -> None:
    begun, row = await with_row(actor)
    end = next_row(begun, 3, after=row.writer, change=change(status=ENDED))
    assert await actor.write(end) is Outcome.ACCEPTED
    again = start(begun.instance_id, replaces=Former(begun.life, frozenset({ENDED})))
    assert [Outcome.ACCEPTED] == await actor.store.commit([again])
    assert await amending.amend([instead(row, b"[]")], worker=actor.token) == [Outcome.LOST]


async def test_any_bytes_are_kept_as_they_are(actor: Actor, amending: Amending) -> None:
    begun, row = await with_row(actor)
    body = bytes(range(256)) * 300
    assert await amending.amend([instead(row, body)], worker=actor.token) == [Outcome.ACCEPTED]
    assert await bodies(actor, begun) == [body]
