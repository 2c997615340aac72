"""Replacing: one commit removes an ended life and begins the next one of its id; at all times exactly one exists."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Former, Outcome, Step
from romancy_conformance.contract.building import (
    append,
    change,
    created,
    delivery,
    full_log,
    joinable,
    start,
    step,
    unique,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio


async def ended(actor: Actor, status: Status = Status.COMPLETED) -> Append:
    """An instance that has ended, with an unread message."""
    begun = await actor.begin()
    assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED
    await actor.store.deliver([delivery(begun)])
    assert await actor.write(append(begun, 3, change=change(status, seen=1))) is Outcome.ACCEPTED
    return begun


def heir(old: Append, statuses: Collection[Status] = TERMINAL_STATUSES, life: int | None = None, **more: Any) -> Append:
    """A new instance in the place of an ended one."""
    former = Former(old.life if life is None else life, frozenset(statuses))
    return start(old.instance_id, **({"workflow_name": created(old).workflow_name, "replaces": former} | more))


def silent(begun: Append) -> Step:
    """An empty step, with which a session commits."""
    return step(begun, 2, after=begun.writer)


async def life_of(store: Store, instance_id: str) -> int | None:
    """Return the life that other transactions see."""
    found = await store.read(instance_id, limit=0)
    return None if found is None else found.instance.life


async def test_one_commit_ends_the_old_life_and_begins_the_new_one(actor: Actor, store: Store) -> None:
    old = await ended(actor)
    new = heir(old)

    assert await store.commit([new]) == [Outcome.ACCEPTED]
    assert await store.commit([new]) == [Outcome.ACCEPTED], "it is in already"

    assert new.life == await life_of(store, old.instance_id)
    assert [1] == [row.seq for row in await full_log(store, old.instance_id)]
    (claimed,) = [one for one in await actor.claim() if one.instance_id == old.instance_id]
    assert (new.life, 1, 0) == (claimed.life, claimed.head, claimed.signals)
    assert await actor.write(step(old, 4, after="its own")) is Outcome.LOST
    assert [1] == [row.seq for row in await full_log(store, old.instance_id)]


async def test_a_new_life_carries_what_any_first_append_does(actor: Actor, store: Store) -> None:
    old = await ended(actor)
    child = start(parent=old.instance_id)
    mail = delivery(old)
    new = heir(old, owner=actor.token, status=Status.RUNNING, starts=(child,), deliveries=(mail,))

    assert await actor.write(new) is Outcome.ACCEPTED

    history = await store.read(old.instance_id)
    assert history is not None
    assert (history.instance.owner, history.instance.status, history.instance.signals) == (actor.token, "running", 1)
    assert await life_of(store, child.instance_id) == child.life


async def test_a_joined_session_replaces_when_the_caller_commits(actor: Actor, store: Store) -> None:
    old = await ended(actor)
    new = heir(old)

    async with store.services.sessions.begin() as outer:
        async with store.services.sessions.join(joinable(actor, outer)) as joined:
            assert await joined.commit(new) is Outcome.ACCEPTED
            assert old.life == await life_of(store, old.instance_id), "there is no moment without it"
        assert await outer.commit(silent(new), worker=actor.token) is Outcome.ACCEPTED

    assert new.life == await life_of(store, old.instance_id)
    assert [1, 2] == [row.seq for row in await full_log(store, old.instance_id)]


async def test_nothing_is_gone_unless_the_caller_commits(actor: Actor, store: Store) -> None:
    old = await ended(actor)

    async with store.services.sessions.begin() as outer, store.services.sessions.join(joinable(actor, outer)) as joined:
        assert await joined.commit(heir(old)) is Outcome.ACCEPTED

    assert old.life == await life_of(store, old.instance_id)
    assert 3 == len(await full_log(store, old.instance_id))


async def test_what_is_not_as_the_caller_thinks_stays(actor: Actor, store: Store) -> None:
    failed, running = await ended(actor, Status.FAILED), await actor.begin()
    begun = await actor.begin()
    nobody = start(unique("nobody"))
    refused = [
        heir(failed, life=failed.life + 1),
        heir(failed, [Status.COMPLETED, Status.CANCELLED]),
        heir(running, list(Status)),
        heir(nobody),
        heir(failed, []),
        heir(failed, replaces=None),
    ]

    for item in refused:
        assert await store.commit([item]) == [Outcome.EXISTS]
    async with store.services.sessions.begin() as outer:
        async with store.services.sessions.join(joinable(actor, outer)) as joined:
            for item in refused:
                assert await joined.commit(item) is Outcome.EXISTS
        assert await outer.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert 3 == len(await full_log(store, failed.instance_id))
    assert running.life == await life_of(store, running.instance_id)
    assert await life_of(store, nobody.instance_id) is None


async def test_an_old_life_stays_if_the_new_one_is_refused_for_what_it_carries(actor: Actor, store: Store) -> None:
    old, other = await ended(actor), await actor.begin()

    assert await store.commit([heir(old, starts=(start(other.instance_id),))]) == [Outcome.EXISTS]
    assert await store.commit([heir(old, owner=unique("nobody"), status=Status.RUNNING)]) == [Outcome.DEAD]

    assert old.life == await life_of(store, old.instance_id)
    assert 3 == len(await full_log(store, old.instance_id))


async def test_of_several_that_want_the_place_one_has_it(actor: Actor, store: Store, hire: Hire) -> None:
    old = await ended(actor)
    new = [(one, heir(old)) for one in (actor, await hire(), await hire())]

    async def take(one: Actor, mine: Append) -> Outcome:
        (outcome,) = await one.store.commit([mine])
        return outcome

    got = await asyncio.gather(*(take(*one) for one in new))

    assert sorted(got) == [Outcome.ACCEPTED, Outcome.EXISTS, Outcome.EXISTS]
    assert new[got.index(Outcome.ACCEPTED)][1].life == await life_of(store, old.instance_id)
    assert 1 == len(await full_log(store, old.instance_id))


async def test_a_retry_in_between_keeps_it(actor: Actor, store: Store) -> None:
    old = await ended(actor, Status.FAILED)
    (*_, last) = await full_log(store, old.instance_id)
    again = append(old, 4, after=last.writer, change=change(Status.RUNNING, seen=1, release=True, reopens=True))
    assert await actor.write(again) is Outcome.ACCEPTED

    assert await store.commit([heir(old)]) == [Outcome.EXISTS]

    assert 4 == len(await full_log(store, old.instance_id))
