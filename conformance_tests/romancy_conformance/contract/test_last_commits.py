"""Reading the commits that last changed instances: of the right life, all at once, and found by their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.any_store import last_commits_of
from romancy.storage.query import build_query
from romancy.storage.records import PruneRequest
from romancy.storage.services import Service
from romancy_conformance.contract.building import append, change, full_log, start, step, unique
from romancy_conformance.contract.interleaving import statements
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, InstanceRow
    from romancy_conformance.contract.building import Actor

pytestmark = pytest.mark.anyio


async def ended(actor: Actor, count: int) -> list[Append]:
    """Let instances end with further commits before and, of the first one, in its first commit."""
    (name,) = actor.workflows
    at_once = start(workflow_name=name, status=Status.COMPLETED, body=b'["at once"]', delay=None)
    await actor.write(at_once)
    begun = [await actor.begin(unique(f"é'\\%{number}")) for number in range(count - 1)]
    for number, one in enumerate(begun):
        await actor.write(step(one, 2))
        await actor.write(append(one, 3, b'["end",%d]' % number, change=change(Status.COMPLETED)))
    return [at_once, *begun]


async def rows_of(actor: Actor) -> list[InstanceRow]:
    (name,) = actor.workflows
    return (await actor.store.services.reading.find(build_query(workflow_name=name, limit=1000))).rows


@pytest.mark.parametrize("count", [1, 2, 60])
async def test_each_instance_has_the_commit_that_ended_it(actor: Actor, store: Store, count: int) -> None:
    begun = await ended(actor, count)

    found = await last_commits_of(store, await rows_of(actor))

    assert {one.instance_id: (await full_log(store, one.instance_id))[-1] for one in begun} == found


async def test_a_commit_of_another_instance_with_an_equal_life_is_left_out(actor: Actor, store: Store) -> None:
    one = await actor.begin()
    other = await actor.begin(life=one.life)
    rows = await rows_of(actor)
    assert {one.instance_id, other.instance_id} == {row.instance_id for row in rows}

    for row in rows:
        assert [row.instance_id] == [*await last_commits_of(store, [row])]


async def test_what_was_removed_or_began_anew_is_left_out(actor: Actor, store: Store) -> None:
    """Of another life, or of a commit that is gone. A commit stays the same when others follow it."""
    gone, anew, reopened = (await ended(actor, 4))[1:]
    rows = await rows_of(actor)
    (end,) = [row for row in await full_log(store, reopened.instance_id) if row.seq == 3]
    assert 2 == await store.services.upkeep.prune(PruneRequest(instance_ids=(gone.instance_id, anew.instance_id)))
    again = await actor.begin(anew.instance_id)
    await actor.write(step(again, 2))
    await actor.write(append(again, 3, b'["other"]', change=change(Status.COMPLETED)))
    await actor.write(append(reopened, 4, change=change(Status.RUNNING, reopens=True)))

    found = await last_commits_of(store, rows)

    assert {rows[-1].instance_id, reopened.instance_id} == found.keys()
    assert end == found[reopened.instance_id]


async def test_all_are_one_statement(actor: Actor, store: Store) -> None:
    services_with(Service.LOOKUPS, store)
    await ended(actor, 20)
    rows = await rows_of(actor)

    assert [] == await statements(store, last_commits_of(store, []))
    sent = await statements(store, last_commits_of(store, rows))

    assert 1 == sum("last_commits" in one for one in sent), sent
    assert len(await statements(store, last_commits_of(store, rows[:1]))) == len(sent)
