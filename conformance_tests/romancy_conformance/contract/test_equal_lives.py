"""A life tells the uses of one id apart. Instances of different ids may have lives of the same number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.records import Outcome, PruneRequest
from romancy_conformance.contract.building import append, change, created, full_log, nonce, start, step, unique

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

pytestmark = pytest.mark.anyio


async def twins(actor: Actor) -> tuple[Append, Append]:
    """Two instances with equal lives. Who looks for the life alone finds a row of the first one first."""
    one = await actor.begin(unique("a"))
    return one, await actor.begin(unique("b"), life=one.life)


async def test_each_has_a_log_of_its_own(actor: Actor, store: Store) -> None:
    one, other = await twins(actor)
    assert await actor.write(step(one, 2, b'["one"]')) is Outcome.ACCEPTED
    assert await actor.write(step(other, 2, b'["other"]')) is Outcome.ACCEPTED

    assert [row.body for row in await full_log(store, one.instance_id)] == [one.body, b'["one"]']
    assert [row.body for row in await full_log(store, other.instance_id)] == [other.body, b'["other"]']


@pytest.mark.parametrize("together", [False, True])
async def test_a_row_of_another_instance_is_no_row_before(actor: Actor, *, together: bool) -> None:
    """An append follows the row of its own log, whoever wrote the rows of others."""
    one, other = await twins(actor)
    row = step(one, 2)
    assert await actor.write(row) is Outcome.ACCEPTED
    assert await actor.write(step(other, 2)) is Outcome.ACCEPTED

    for late in (step(other, 3, after=row.writer), append(other, 3, after=row.writer, change=change(Status.WAITING))):
        items = [late, step(await actor.begin(), 2)] if together else [late]
        outcomes = await actor.store.commit(items, worker=actor.token)
        assert outcomes[0] is Outcome.LOST
        assert set(outcomes[1:]) <= {Outcome.ACCEPTED}


async def test_a_row_of_another_instance_is_no_row_before_in_a_session_that_sees_an_old_state(actor: Actor) -> None:
    one, other = await twins(actor)
    sessions, mine = actor.store.services.sessions, step(other, 2)
    assert await actor.write(step(one, 2)) is Outcome.ACCEPTED
    assert await actor.write(mine) is Outcome.ACCEPTED

    async with sessions.begin(isolation="repeatable read") as session:
        assert await session.commit(step(other, 3, after=mine.writer), worker=actor.token) is Outcome.ACCEPTED


async def test_a_row_of_another_instance_at_the_same_place_is_not_the_own_one(actor: Actor) -> None:
    """An append that is sent again is known by its writer, at its place in its own log."""
    one, other = await twins(actor)
    writer = nonce()
    assert await actor.write(step(one, 2, writer=writer)) is Outcome.ACCEPTED
    assert await actor.write(step(other, 2)) is Outcome.ACCEPTED

    assert await actor.write(step(other, 2, writer=writer)) is Outcome.TAKEN


async def test_a_start_knows_the_first_row_of_its_own_id(actor: Actor) -> None:
    one = await actor.begin()
    again = start(one.instance_id, life=one.life, writer=one.writer, workflow_name=created(one).workflow_name)
    assert await actor.write(again) is Outcome.ACCEPTED

    other = await actor.begin(life=one.life)
    assert await actor.write(start(other.instance_id, life=one.life, writer=one.writer)) is Outcome.EXISTS


async def test_rows_of_a_former_run_go_and_others_stay(actor: Actor, store: Store) -> None:
    one, other = await twins(actor)
    for begun in (one, other):
        assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED
    assert await actor.write(append(one, 3, change=change(Status.RUNNING, run_from=3))) is Outcome.ACCEPTED

    await store.services.upkeep.prune(PruneRequest())
    assert await actor.write(append(other, 3, change=change(Status.RUNNING, run_from=3))) is Outcome.ACCEPTED
    lengths = [len(await full_log(store, begun.instance_id)) for begun in (one, other)]
    await store.services.upkeep.prune(PruneRequest())

    assert lengths == [1, 3], "only one of them had a former run"
    assert [[row.seq for row in await full_log(store, begun.instance_id)] for begun in (one, other)] == [[3], [3]]


async def test_a_change_of_one_among_many_is_no_change_of_another(actor: Actor, store: Store) -> None:
    one, other = await twins(actor)
    many = [await actor.begin(life=one.life) for _ in range(2)]
    items = [append(begun, 2, change=change(Status.WAITING, release=True)) for begun in (one, *many)]

    assert set(await store.commit(items, worker=actor.token)) == {Outcome.ACCEPTED}

    for begun, status in ((one, Status.WAITING), (many[-1], Status.WAITING), (other, Status.RUNNING)):
        history = await store.read(begun.instance_id)
        assert history is not None
        assert (history.instance.status, len(history.rows)) == (status, 1 if begun is other else 2)
