"""The fence: an append comes behind the row that its writer knows, and behind an end comes nothing but another run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy.errors import InternalError, UsageError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Append, Change, Outcome, as_end
from romancy.storage.steps import as_appends
from romancy_conformance.contract.building import append, change, delivery, full_log, next_row, start, step, unique

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.records import Append, Item
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio

ENDS = sorted(TERMINAL_STATUSES)
REOPENED = change(release=True, wake_at=1, reopens=True, run_from=3)


async def ended(actor: Actor, status: Status = Status.COMPLETED) -> tuple[Append, Append]:
    """An instance that has ended, and the append that ended it."""
    begun = await actor.begin()
    end = append(begun, 2, b'["end"]', after=begun.writer, change=change(status))
    assert await actor.write(end) is Outcome.ACCEPTED
    return begun, end


async def lengths(actor: Actor, *begun: Append) -> list[int]:
    return [len(await full_log(actor.store, one.instance_id)) for one in begun]


async def status_of(actor: Actor, one: Append) -> Status:
    history = await actor.store.read(one.instance_id, limit=0)
    assert history is not None
    return history.instance.status


async def test_appends_follow_each_other(actor: Actor) -> None:
    begun = await actor.begin()
    plain = step(begun, 2, after=begun.writer)
    with_change = append(begun, 3, after=plain.writer, change=change(Status.WAITING))
    sending = append(begun, 4, after=with_change.writer, deliveries=(delivery(await actor.begin()),))
    ending = append(begun, 5, after=sending.writer, change=change(Status.COMPLETED))

    assert [await actor.write(item) for item in (plain, with_change, sending, ending)] == [Outcome.ACCEPTED] * 4


def kinds_of_append() -> dict[str, dict[str, Any]]:
    return {
        "plain": {},
        "change": {"change": change()},
        "release": {"change": change(Status.WAITING, release=True)},
        "end": {"change": change(Status.COMPLETED)},
        "child": {"starts": (start(),)},
        "next run": {"change": change(run_from=3, input=b"{}")},
    }


async def test_an_append_whose_predecessor_is_not_the_one_it_knows_is_lost(actor: Actor) -> None:
    """The database lost acknowledged rows, and other rows may stand in their place."""
    for length in (1, 2):  # the predecessor is missing, or is another one
        for kind, fields in kinds_of_append().items():
            begun = await actor.begin()
            if length == 2:
                assert await actor.write(step(begun, 2, after=begun.writer)) is Outcome.ACCEPTED, kind

            item = next_row(begun, 3, after=unique("w"), **fields)

            assert await actor.write(item) is Outcome.LOST, kind
            assert await lengths(actor, begun) == [length], kind
            assert await status_of(actor, begun) is Status.RUNNING, kind


async def test_a_row_in_another_life_is_no_predecessor(actor: Actor) -> None:
    begun = await actor.begin()

    other = replace(step(begun, 2, after=begun.writer), life=begun.life + 1)

    assert await actor.write(other) is Outcome.LOST


async def test_lost_items_leave_their_neighbours_untouched(actor: Actor) -> None:
    begun = [await actor.begin() for _ in range(6)]
    knows = [one.writer if number % 2 else unique("w") for number, one in enumerate(begun)]
    plain = [step(one, 2, after=after) for one, after in zip(begun[:4], knows[:4], strict=True)]
    changing = [append(one, 2, after=after, change=change()) for one, after in zip(begun[4:], knows[4:], strict=True)]

    outcomes = await actor.store.commit([*plain, *changing], worker=actor.token)

    assert outcomes == [Outcome.LOST, Outcome.ACCEPTED] * 3
    assert await lengths(actor, *begun) == [1, 2] * 3


async def test_a_step_is_the_append_that_carries_nothing(actor: Actor) -> None:
    """Steps of every fate in one batch, and the same as appends: the outcomes and the rows are the same."""
    ways: list[Callable[[Sequence[Item]], Sequence[Item]]] = [list, as_appends]
    for way in ways:
        begun = [await actor.begin() for _ in range(5)]
        over, end = await ended(actor)
        twice = step(begun[0], 2, b'["again"]', after=begun[0].writer)
        assert await actor.write(twice) is Outcome.ACCEPTED
        assert await actor.write(step(begun[1], 2, after=begun[1].writer)) is Outcome.ACCEPTED
        batch = [
            twice,
            step(begun[1], 2, after=begun[1].writer),
            step(begun[2], 2, after=unique("w")),
            step(begun[3], 2, b'["unknown"]'),
            step(over, 3, after=end.writer),
            step(begun[4], 2, b"[4]", after=begun[4].writer),
        ]

        outcomes = await actor.store.commit(way(batch), worker=actor.token)

        assert outcomes == [
            Outcome.ACCEPTED, Outcome.TAKEN, Outcome.LOST, Outcome.ACCEPTED, Outcome.ENDED, Outcome.ACCEPTED
        ]  # fmt: skip
        assert await lengths(actor, *begun, over) == [2, 2, 1, 2, 2, 2]
        bodies = [(await full_log(actor.store, one.instance_id))[-1].body for one in (begun[0], begun[3], begun[4])]
        assert bodies == [b'["again"]', b'["unknown"]', b"[4]"]


async def test_no_step_asks_for_a_row_that_ended_the_instance(actor: Actor) -> None:
    over, end = await ended(actor)
    wrong = replace(step(over, 3), behind=end.writer)

    for batch in ([wrong], [step(await actor.begin(), 2), wrong]):
        with pytest.raises(InternalError, match="nothing follows"):
            await actor.store.commit(batch, worker=actor.token)
    if await _has_sessions(actor):
        async with actor.store.services.sessions.begin() as session:
            with pytest.raises(InternalError, match="nothing follows"):
                await session.commit(wrong, worker=actor.token)

    assert await lengths(actor, over) == [2]


async def test_who_cannot_know_the_predecessor_is_not_asked_for_it(actor: Actor) -> None:
    """An instance whose last rows are gone is parked behind the hole; an ended instance is left alone."""
    damaged = await actor.begin()
    over, _ = await ended(actor)
    aside = change(Status.STUCK, release=True)

    assert await actor.write(append(damaged, 7, change=aside)) is Outcome.ACCEPTED
    assert await actor.write(append(over, 7, change=aside)) is Outcome.ENDED
    assert await status_of(actor, over) is Status.COMPLETED


async def test_the_same_append_sent_again_is_accepted_whatever_has_followed(actor: Actor) -> None:
    begun = await actor.begin()
    first = step(begun, 2, after=begun.writer)
    end = append(begun, 3, after=first.writer, change=change(Status.FAILED))
    for item in (first, end):
        assert await actor.write(item) is Outcome.ACCEPTED

    assert [await actor.write(item) for item in (first, end, first)] == [Outcome.ACCEPTED] * 3
    assert await lengths(actor, begun) == [3]


@pytest.mark.parametrize("status", ENDS)
async def test_nothing_follows_an_end(actor: Actor, status: Status) -> None:
    begun, end = await ended(actor, status)
    target = await actor.begin()
    late: list[dict[str, Any]] = [
        {},
        {"change": change()},
        {"change": change(Status.COMPLETED)},
        {"change": change(release=True, wake_at=1)},
        {"starts": (start(),)},
        {"deliveries": (delivery(target),)},
    ]

    outcomes = [await actor.write(next_row(begun, 3, after=end.writer, **fields)) for fields in late]

    assert outcomes == [Outcome.ENDED] * len(late)
    assert await lengths(actor, begun) == [2]
    assert await status_of(actor, begun) is status


async def test_nothing_follows_an_end_in_a_batch(actor: Actor) -> None:
    over = [await ended(actor) for _ in range(4)]
    open_ones = [await actor.begin() for _ in range(4)]
    late = [
        next_row(begun, 3, after=end.writer, change=change() if number % 2 else None)
        for number, (begun, end) in enumerate(over)
    ]
    others = [
        next_row(one, 2, after=one.writer, change=change() if number % 2 else None)
        for number, one in enumerate(open_ones)
    ]

    outcomes = await actor.store.commit([*late, *others], worker=actor.token)

    assert outcomes == [Outcome.ENDED] * 4 + [Outcome.ACCEPTED] * 4
    assert await lengths(actor, *(begun for begun, _ in over)) == [2] * 4


async def test_nothing_follows_a_start_that_was_an_end(actor: Actor) -> None:
    begun = start(workflow_name=next(iter(actor.workflows)), status=Status.COMPLETED, delay=None)
    assert await actor.write(begun) is Outcome.ACCEPTED

    assert await actor.write(step(begun, 2, after=begun.writer)) is Outcome.ENDED
    assert await actor.write(append(begun, 2, change=change())) is Outcome.ENDED


async def test_another_run_follows_an_end_when_it_says_so(actor: Actor) -> None:
    begun, end = await ended(actor, Status.FAILED)

    again = append(begun, 3, after=end.writer, change=REOPENED)

    assert await actor.write(again) is Outcome.ACCEPTED
    assert await actor.write(again) is Outcome.ACCEPTED
    assert await actor.write(append(begun, 3, after=end.writer, change=REOPENED)) is Outcome.TAKEN
    assert await actor.write(append(begun, 4, after=end.writer, change=REOPENED)) is Outcome.LOST
    (claimed,) = await actor.claim()
    assert (claimed.status, claimed.head, claimed.head_writer) == (Status.RUNNING, 3, again.writer)
    assert await actor.write(step(begun, 4, after=again.writer)) is Outcome.ACCEPTED


async def test_another_run_is_written_beside_others_changes(actor: Actor) -> None:
    failed, end = await ended(actor, Status.FAILED)
    over, last = await ended(actor)
    begun = await actor.begin()

    outcomes = await actor.store.commit(
        [
            append(failed, 3, after=end.writer, change=REOPENED),
            append(over, 3, after=last.writer, change=change(run_from=3)),
            append(begun, 2, after=begun.writer, change=change(run_from=2)),
        ],
        worker=actor.token,
    )

    assert outcomes == [Outcome.ACCEPTED, Outcome.ENDED, Outcome.ACCEPTED]


async def test_a_claim_tells_whom_to_follow(actor: Actor, hire: Hire) -> None:
    """The claim names the last row's writer for an unclaimed instance, for one taken over and for one already owned."""
    (name,) = actor.workflows
    lying = start(workflow_name=name)
    assert await actor.write(lying) is Outcome.ACCEPTED
    begun = await actor.begin()
    second = step(begun, 2, after=begun.writer)
    assert await actor.write(second) is Outcome.ACCEPTED

    claimed = {one.instance_id: one for one in await actor.claim(recover=True)}

    assert {one.head_writer for one in claimed.values()} == {lying.writer, second.writer}
    other = await hire()
    await other.take_over(actor)
    for one in await other.claim():
        rows = await full_log(other.store, one.instance_id)
        assert (one.head, one.head_writer) == (rows[-1].seq, rows[-1].writer)
        assert await other.write(step(one, one.head + 1, after=one.head_writer)) is Outcome.ACCEPTED


async def test_a_session_asks_for_the_predecessor_too(actor: Actor) -> None:
    begun = await actor.begin()
    over, end = await ended(actor)
    if not await _has_sessions(actor):
        return
    outcomes: list[Outcome] = []
    for item in (
        step(begun, 2, after=unique("w")),
        append(begun, 2, after=unique("w"), change=change()),
        step(over, 3, after=end.writer),
        append(over, 3, after=end.writer, change=change()),
        step(begun, 2, after=begun.writer),
    ):
        async with actor.store.services.sessions.begin() as session:
            outcomes.append(await session.commit(item, worker=actor.token))

    assert outcomes == [Outcome.LOST, Outcome.LOST, Outcome.ENDED, Outcome.ENDED, Outcome.ACCEPTED]
    assert await lengths(actor, begun, over) == [2, 2]


async def test_a_session_that_began_before_its_predecessor_was_written_finds_it(actor: Actor) -> None:
    """The log contains what the instance wrote meanwhile; an old snapshot of the database must not hide it."""
    begun = await actor.begin()
    if not await _has_sessions(actor) or actor.store.capabilities.sessions_exclude:
        return
    async with actor.store.services.sessions.begin() as session:
        if actor.store.capabilities.sql:
            await session.fetch_all("select 1 as one")
        meanwhile = step(begun, 2, after=begun.writer)
        assert await actor.write(meanwhile) is Outcome.ACCEPTED

        assert await session.commit(step(begun, 3, after=meanwhile.writer), worker=actor.token) is Outcome.ACCEPTED


async def _has_sessions(actor: Actor) -> bool:
    try:
        async with actor.store.services.sessions.begin():
            return True
    except UsageError:
        return False  # a store without sessions says so, and test_sessions.py reports it


async def test_the_nonce_says_whether_it_ends_the_instance(actor: Actor) -> None:
    begun = await actor.begin()
    for status in Status:
        wrong = unique("w") if status in TERMINAL_STATUSES else as_end(unique("w"))

        with pytest.raises(InternalError, match="nonce"):
            await actor.write(append(begun, 2, after=begun.writer, writer=wrong, change=Change(status=status, seen=0)))
        with pytest.raises(InternalError, match="nonce"):
            await actor.write(start(status=status, writer=wrong))

        assert await lengths(actor, begun) == [1], status
