"""Sessions with a level of isolation: what their statements see, and what their commit decides by the present rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import StorageUnavailableError, UsageError
from romancy.status import Status
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import append, change, delivery, full_log, start, step
from romancy_conformance.contract.interleaving import statements
from romancy_conformance.contract.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio

SNAPSHOTS: list[IsolationLevel] = ["repeatable read", "serializable"]
LEVELS: list[IsolationLevel] = ["read committed", *SNAPSHOTS]


@pytest.fixture
async def ledger(store: Store) -> Ledger:
    """A user's table in this test's database."""
    return await Ledger(store).create()


async def offered(store: Store, level: IsolationLevel) -> None:
    """Skip the test if the store has nothing as strong. It says so before anything is begun."""
    capabilities = store.capabilities
    if capabilities.sql and (capabilities.serializable or level != "serializable"):
        return
    if level != "read committed":
        with pytest.raises(UsageError, match=f"isolation='{level}'"):
            async with store.services.sessions.begin(isolation=level):
                pass
        pytest.skip(f"capability: the store has no isolation level {level!r}")


@pytest.mark.parametrize("level", LEVELS)
async def test_writes_and_append_commit_together(actor: Actor, ledger: Ledger, level: IsolationLevel) -> None:
    await offered(actor.store, level)
    begun = await actor.begin()

    async with actor.store.services.sessions.begin(isolation=level) as session:
        await ledger.write(session, "a", 1)
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED
    async with actor.store.services.sessions.begin(isolation=level) as session:
        await ledger.write(session, "b", 2)

    assert (1, None) == (await ledger.read("a"), await ledger.read("b"))
    assert 2 == len(await full_log(actor.store, begun.instance_id))


@pytest.mark.parametrize("level", SNAPSHOTS)
async def test_reads_are_repeated(actor: Actor, ledger: Ledger, level: IsolationLevel) -> None:
    """Also after another session has committed. The next session has no level of its own again."""
    await offered(actor.store, level)
    if actor.store.capabilities.sessions_exclude:
        pytest.skip("capability: an open session excludes others")
    begun, other = await actor.begin(), await actor.begin()
    async with actor.store.services.sessions.begin() as writing:
        await ledger.write(writing, "a", 1)
        assert await writing.commit(step(other, 2), worker=actor.token) is Outcome.ACCEPTED

    async with actor.store.services.sessions.begin(isolation="repeatable read") as session:
        assert 1 == await ledger.read_in(session, "a")
        async with actor.store.services.sessions.begin() as writing:
            await ledger.change(writing, "a", 2)
            assert await writing.commit(step(other, 3), worker=actor.token) is Outcome.ACCEPTED
        assert 1 == await ledger.read_in(session, "a")
        await ledger.write(session, "b", 1)
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED
    async with actor.store.services.sessions.begin() as session:
        assert 2 == await ledger.read_in(session, "a")
        async with actor.store.services.sessions.begin() as writing:
            await ledger.change(writing, "a", 3)
            assert await writing.commit(step(other, 4), worker=actor.token) is Outcome.ACCEPTED
        assert 3 == await ledger.read_in(session, "a")


@pytest.mark.parametrize("level", LEVELS)
async def test_an_append_follows_a_row_that_was_written_meanwhile(
    actor: Actor, ledger: Ledger, level: IsolationLevel
) -> None:
    await offered(actor.store, level)
    if actor.store.capabilities.sessions_exclude:
        pytest.skip("capability: an open session excludes others")
    begun = await actor.begin()

    async with actor.store.services.sessions.begin(isolation=level) as session:
        await ledger.write(session, "a", 1)
        between = step(begun, 2)
        assert await actor.write(between) is Outcome.ACCEPTED
        item = step(begun, 3, after=between.writer)
        assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED

    assert 1 == await ledger.read("a")
    assert [2, 3] == [row.seq for row in await full_log(actor.store, begun.instance_id)][1:]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("reason", [Outcome.TAKEN, Outcome.LOST, Outcome.UNSEEN, Outcome.DEAD])
@pytest.mark.parametrize("level", SNAPSHOTS)
async def test_a_refused_append_takes_the_writes_with_it(
    actor: Actor, hire: Hire, ledger: Ledger, level: IsolationLevel, reason: Outcome, when: str
) -> None:
    """Whether it is refused for what the session sees or for what it does not see."""
    await offered(actor.store, level)
    if when == "meanwhile" and actor.store.capabilities.sessions_exclude:
        pytest.skip("capability: an open session excludes others")
    begun = await actor.begin()
    item = step(begun, 2)

    async def happens() -> Any:
        if reason is Outcome.TAKEN:
            await actor.write(step(begun, 2))
        elif reason is Outcome.LOST:
            await actor.write(step(begun, 2))
            return step(begun, 3, after="another")
        elif reason is Outcome.UNSEEN:
            await actor.store.deliver([delivery(begun)])
            return append(begun, 2, change=change(Status.COMPLETED))
        else:
            await (await hire()).take_over(actor)
            return step(begun, 3)
        return item

    if when == "before":
        item = await happens()
    try:
        async with actor.store.services.sessions.begin(isolation=level) as session:
            await ledger.write(session, "a", 1)
            if when == "meanwhile":
                item = await happens()
            outcome = await session.commit(item, worker=actor.token)
    except StorageUnavailableError:
        assert (when, reason in (Outcome.TAKEN, Outcome.UNSEEN)) == ("meanwhile", True), "the same again would do"
    else:
        assert outcome is reason

    assert await ledger.read("a") is None
    assert all(row.writer != item.writer for row in await full_log(actor.store, begun.instance_id))


@pytest.mark.parametrize("level", SNAPSHOTS)
async def test_everything_an_append_can_carry_commits_with_the_writes(
    actor: Actor, ledger: Ledger, level: IsolationLevel
) -> None:
    await offered(actor.store, level)
    begun, target, child = await actor.begin(), await actor.begin(), start()
    mail = delivery(begun)
    await actor.store.deliver([mail])
    item = append(
        begun,
        2,
        change=change(Status.COMPLETED, seen=1),
        consumed=(mail.delivery_id,),
        deliveries=(delivery(target),),
        starts=(child,),
    )

    async with actor.store.services.sessions.begin(isolation=level) as session:
        await ledger.write(session, "a", 1)
        assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED

    assert 1 == await ledger.read("a")
    assert await actor.store.read(child.instance_id) is not None
    found = await actor.store.read(begun.instance_id)
    assert found is not None
    assert Status.COMPLETED is found.instance.status


async def test_a_level_costs_no_statement_where_none_is_asked_for(actor: Actor, ledger: Ledger) -> None:
    if not actor.store.capabilities.sql:
        pytest.skip("capability: no SQL")

    async def written(**options: Any) -> None:
        begun = await actor.begin()
        async with actor.store.services.sessions.begin(**options) as session:
            await ledger.write(session, begun.instance_id, 1)
            assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    await written()
    without = await statements(actor.store, written())
    assert not any("isolation level serializable" in one or "append_alone" in one for one in without), without
