"""Clearing: one commit removes an ended life and begins the next one of its id; at all times exactly one exists."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageUnavailableError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Append, Outcome
from romancy_conformance.contract.building import append, change, delivery, full_log, start, unique
from romancy_conformance.contract.test_sessions import joinable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Start
    from romancy.storage.sessions import Session
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio


async def ended(actor: Actor, status: Status = Status.COMPLETED) -> Start:
    """An instance that has ended, with an unread message."""
    begun = await actor.begin()
    assert await actor.write(append(begun, 2)) is Outcome.ACCEPTED
    await actor.store.deliver([delivery(begun)])
    assert await actor.write(append(begun, 3, change=change(status, seen=1))) is Outcome.ACCEPTED
    return begun


def silent(begun: Start) -> Append:
    """An empty append, with which a session commits."""
    return append(begun, 2, after=begun.writer)


async def life_of(store: Store, instance_id: str) -> int | None:
    """Return the life that other transactions see."""
    found = await store.read(instance_id, limit=0)
    return None if found is None else found.instance.life


async def replace(actor: Actor, outer: Session, old: Start, new: Start) -> Outcome | None:
    """Replace the old life with a new one in the session's commit; return None if the old one is not there."""
    async with actor.store.rooms.sessions.join(joinable(actor, outer)) as joined:
        if not await joined.clear(old.instance_id, old.life, TERMINAL_STATUSES):
            return None
        assert await joined.commit(new) is Outcome.ACCEPTED
    return await outer.commit(silent(new), worker=actor.token)


async def test_one_commit_ends_the_old_life_and_begins_the_new_one(actor: Actor, store: Store) -> None:
    old = await ended(actor)
    new = start(old.instance_id, workflow_name=old.workflow_name)

    async with store.rooms.sessions.begin() as outer:
        async with store.rooms.sessions.join(joinable(actor, outer)) as joined:
            assert await joined.clear(old.instance_id, old.life, [Status.COMPLETED]) is True
            assert old.life == await life_of(store, old.instance_id), "there is no moment without it"
            assert await joined.commit(new) is Outcome.ACCEPTED
            assert old.life == await life_of(store, old.instance_id)
        assert await outer.commit(silent(new), worker=actor.token) is Outcome.ACCEPTED

    assert new.life == await life_of(store, old.instance_id)
    assert [1, 2] == [row.seq for row in await full_log(store, old.instance_id)]
    (claimed,) = [one for one in await actor.claim() if one.instance_id == old.instance_id]
    assert (new.life, 2, 0) == (claimed.life, claimed.head, claimed.signals)
    assert await actor.write(append(old, 4, after="its own")) is Outcome.LOST
    assert [1, 2] == [row.seq for row in await full_log(store, old.instance_id)]


async def test_nothing_is_gone_unless_the_caller_commits(actor: Actor, store: Store) -> None:
    old = await ended(actor)

    async with store.rooms.sessions.begin() as outer, store.rooms.sessions.join(joinable(actor, outer)) as joined:
        assert await joined.clear(old.instance_id, old.life, TERMINAL_STATUSES) is True

    assert old.life == await life_of(store, old.instance_id)
    assert 3 == len(await full_log(store, old.instance_id))


async def test_what_is_not_as_the_caller_thinks_stays(actor: Actor, store: Store) -> None:
    failed, running = await ended(actor, Status.FAILED), await actor.begin()
    begun = await actor.begin()

    async with store.rooms.sessions.begin() as outer:
        async with store.rooms.sessions.join(joinable(actor, outer)) as joined:
            assert await joined.clear(failed.instance_id, failed.life + 1, TERMINAL_STATUSES) is False
            assert await joined.clear(failed.instance_id, failed.life, [Status.COMPLETED, Status.CANCELLED]) is False
            assert await joined.clear(running.instance_id, running.life, list(Status)) is False
            assert await joined.clear(unique("nobody"), 1, TERMINAL_STATUSES) is False
            assert await joined.clear(failed.instance_id, failed.life, []) is False
        assert await outer.commit(append(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert 3 == len(await full_log(store, failed.instance_id))
    assert running.life == await life_of(store, running.instance_id)


async def test_of_several_that_want_the_place_one_has_it(actor: Actor, store: Store, hire: Hire) -> None:
    old = await ended(actor)
    others = [actor, await hire(), await hire()]
    new = [start(old.instance_id, workflow_name=old.workflow_name) for _ in others]

    async def take(one: Actor, mine: Start) -> Outcome | None:
        for _ in range(20):
            try:
                async with one.store.rooms.sessions.begin() as outer:
                    return await replace(one, outer, old, mine)
            except StorageUnavailableError:
                await asyncio.sleep(0.05)  # another transaction holds the instance
        raise AssertionError("the others hold it for ever")

    got = await asyncio.gather(*(take(*one) for one in zip(others, new, strict=True)))

    assert [Outcome.ACCEPTED] == [outcome for outcome in got if outcome is not None]
    assert new[got.index(Outcome.ACCEPTED)].life == await life_of(store, old.instance_id)
    assert 2 == len(await full_log(store, old.instance_id))


async def test_a_retry_in_between_keeps_it(actor: Actor, store: Store) -> None:
    old = await ended(actor, Status.FAILED)
    (*_, last) = await full_log(store, old.instance_id)
    again = append(old, 4, after=last.writer, change=change(Status.RUNNING, seen=1, release=True, reopens=True))
    assert await actor.write(again) is Outcome.ACCEPTED

    async with store.rooms.sessions.begin() as outer:
        assert await replace(actor, outer, old, start(old.instance_id)) is None

    assert 4 == len(await full_log(store, old.instance_id))
