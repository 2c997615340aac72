"""Ended means ended: whatever is still held of a session after its end writes nothing, here or in another one."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import UsageError
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import step
from romancy_conformance.contract.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.sessions import StoreSession
    from romancy_conformance.contract.building import Actor

    Use = Callable[[StoreSession, Ledger, Any], Awaitable[object]]

pytestmark = pytest.mark.anyio

ENDS = ("committed", "refused", "left", "failed")


@pytest.fixture
async def ledger(store: Store) -> Ledger:
    """A user's table on this test's database."""
    return await Ledger(store).create()


async def end(actor: Actor, ledger: Ledger, how: str, seen: Callable[[StoreSession], object]) -> StoreSession:
    """Return a session that has ended in this way; `seen` is called while it is open."""
    begun = await actor.begin()
    if how == "refused":
        await actor.write(step(begun, 2))
    opened: list[StoreSession] = []
    with contextlib.suppress(LookupError):
        async with actor.store.services.sessions.begin() as session:
            opened.append(session)
            await ledger.write(session, how, 1)
            answer = seen(session)
            if inspect.isawaitable(answer):
                await answer
            if how == "failed":
                raise LookupError("mine")
            if how != "left":
                expected = Outcome.ACCEPTED if how == "committed" else Outcome.TAKEN
                assert expected is await session.commit(step(begun, 2), worker=actor.token)
    return opened[0]


async def write_natively(native: Any, ledger: Ledger, key: str) -> None:
    """Add a row through the driver's own object."""
    if hasattr(native, "put"):
        await native.put(ledger.place(key), 1)
        return
    if hasattr(native, "select_db"):
        native = await native.cursor()
    answer = native.execute(ledger.insert(key))
    if inspect.isawaitable(answer):
        await answer


async def in_a_part(session: StoreSession) -> None:
    async with session.savepoint():
        pass


async def get_native(session: StoreSession) -> None:
    await asyncio.sleep(0)
    assert session.native


USES: dict[str, Use] = {
    "execute": lambda session, ledger, _: session.execute(ledger.insert("late")),
    "fetch_all": lambda session, _ledger, _: session.fetch_all("select 1 as one"),
    "savepoint": lambda session, _ledger, _: in_a_part(session),
    "native": lambda session, _ledger, _: get_native(session),
    "the native object": lambda _session, ledger, native: write_natively(native, ledger, "late"),
}


async def refuses_everything(session: StoreSession, native: Any, ledger: Ledger) -> None:
    """Check every use of a session that has ended."""
    for use in USES.values():
        with pytest.raises(UsageError):
            await use(session, ledger, native)


async def test_a_session_that_has_ended_refuses_everything_and_does_not_reach_into_the_next(
    actor: Actor, ledger: Ledger
) -> None:
    for how in ENDS:
        natives: list[Any] = []

        def keep(session: StoreSession, natives: list[Any] = natives) -> None:
            natives.append(session.native)

        old = await end(actor, ledger, how, keep)
        begun = await actor.begin()

        await refuses_everything(old, natives[0], ledger)
        with pytest.raises(UsageError):
            await old.commit(step(begun, 2), worker=actor.token)
        async with actor.store.services.sessions.begin() as session:
            await ledger.write(session, f"new after {how}", 2)
            await refuses_everything(old, natives[0], ledger)
            await ledger.write(session, f"newer after {how}", 3)
            assert Outcome.ACCEPTED is await session.commit(step(begun, 2), worker=actor.token)

        assert (1 if how == "committed" else None) == await ledger.read(how)
        rows = [await ledger.read(key) for key in ("late", f"new after {how}", f"newer after {how}")]
        assert [None, 2, 3] == rows, how


async def test_what_nobody_has_begun_before_the_end_is_refused_after_it(actor: Actor, ledger: Ledger) -> None:
    """A coroutine that was created before the end of the session runs after it."""
    late: list[Awaitable[object]] = []

    def prepare(session: StoreSession) -> None:
        late.extend(use(session, ledger, session.native) for use in USES.values())

    await end(actor, ledger, "committed", prepare)

    assert len(late) == len(USES)
    for use in late:
        with pytest.raises(UsageError):
            await use

    assert await ledger.read("late") is None


async def test_a_part_that_outlives_its_session_lets_its_error_through(actor: Actor, ledger: Ledger) -> None:
    leave, inside = asyncio.Event(), asyncio.Event()

    async def outlive(session: StoreSession) -> None:
        async with session.savepoint():
            inside.set()
            await leave.wait()
            raise LookupError("in the part")

    begun = await actor.begin()
    async with actor.store.services.sessions.begin() as session:
        await ledger.write(session, "a", 1)
        task = asyncio.create_task(outlive(session))
        await inside.wait()
        assert Outcome.ACCEPTED is await session.commit(step(begun, 2), worker=actor.token)
    leave.set()

    with pytest.raises(LookupError, match="in the part"):
        await task
    assert 1 == await ledger.read("a")
