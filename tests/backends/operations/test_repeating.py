"""An operation that begins anew, and one that does not wait."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import InternalError
from romancy.storage.outbox import OutboxState
from romancy.storage.sqlkit.statements import ROUNDS, Ask, LockedError, OvertakenError, ask, ask_all
from romancy_conformance.contract.publishing import MINUTE, Publisher, ended, ids, outgoing, take
from tests.backends.operations.scenes import Begun, dialect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.sqlkit.statements import Interpreter, Operation
    from romancy_mysql._sql import Statement

    Call = Callable[[Store], Awaitable[Any]]


pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]


@pytest.mark.backends("postgres", "mysql", "mariadb")
async def test_a_transaction_that_is_repeated_begins_its_operation_anew(
    stores: tuple[Store, Store], publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first attempt ends with an error that a retry can solve. SQLite has one writer, and none of these errors."""
    store = stores[0]
    sent = await publisher.publish(outgoing(), outgoing())
    begun = Begun(monkeypatch)
    fails_once(store, "outbox_due", monkeypatch)

    given = await store.services.outbox.claim("c", lease=MINUTE, limit=10)

    assert ids(given.entries) == sent
    parts = 1 if dialect(store) == "mysql" else 0  # the second attempt claims in parts, by an operation of the dialect
    assert len(begun.operations) == 3 + parts  # a look, and two attempts
    await begun.over()


async def test_an_operation_that_touches_too_few_rows_begins_anew_and_is_undone(
    stores: tuple[Store, Store], publisher: Publisher
) -> None:
    store = stores[0]
    outbox: Any = store.services.outbox
    interpreter: Interpreter = outbox._interpreter
    sent = await publisher.publish_each(outgoing(), outgoing())
    await store.services.outbox.settle([ended(one, OutboxState.FAILED) for one in await take(store)])
    begun = list[int]()

    def requeue(expected: int) -> Operation[int]:
        begun.append(expected)
        both = {"states": [OutboxState.FAILED.value], "every": True, "ids": [], "limit": 10}
        (answer,) = yield from ask_all(Ask("outbox_requeue", both, expected))
        return answer.touched

    error = InternalError if dialect(store) == "sqlite" else OvertakenError
    with pytest.raises(error):
        await interpreter.together(partial(requeue, len(sent) + 1))
    undone = await store.services.outbox.entries([OutboxState.FAILED])
    done = await interpreter.together(partial(requeue, len(sent)))

    assert begun == [len(sent) + 1] * (1 if dialect(store) == "sqlite" else ROUNDS) + [len(sent)]
    assert len(undone) == done == len(sent)


@pytest.mark.backends("postgres", "mysql", "mariadb")
async def test_an_operation_that_must_not_wait_says_that_a_row_is_locked(
    stores: tuple[Store, Store], publisher: Publisher
) -> None:
    store, other = stores
    outbox: Any = store.services.outbox
    interpreter: Interpreter = outbox._interpreter
    await publisher.publish(outgoing())
    (entry,) = await take(store)
    row = (entry.row.outbox_id, entry.claim, OutboxState.PUBLISHED.value, 0, False, None)
    settle = partial(ask, "outbox_settle", settled=[row])

    async with other.services.sessions.begin() as session:
        await session.execute("update romancy_outbox set attempts = attempts")
        for carry_out in (interpreter.in_turn, interpreter.together):
            with pytest.raises(LockedError):
                await carry_out(settle, lock_waits=0)
    await interpreter.together(settle, lock_waits=0)

    (entry,) = await store.services.outbox.entries()
    assert entry.state is OutboxState.PUBLISHED


def fails_once(store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first statement of this name meets a deadlock."""
    failures = [name]
    if dialect(store) == "postgres":
        import asyncpg  # noqa: PLC0415 - an extra

        from romancy_postgres._connection import Link  # noqa: PLC0415 - an extra

        fetch = Link.fetch

        async def fetched(link: Link, statement: str, *arguments: object) -> Any:
            if statement in failures:
                failures.remove(statement)
                raise asyncpg.DeadlockDetectedError
            return await fetch(link, statement, *arguments)

        monkeypatch.setattr(Link, "fetch", fetched)
        return
    from romancy_mysql._database import Database  # noqa: PLC0415 - an extra
    from romancy_mysql._errors import TransientError  # noqa: PLC0415 - an extra

    send = Database.send

    async def sending(database: Database, line: Any, given: Sequence[Statement]) -> Any:
        if failures and any(one.name in failures for one in given):
            failures.clear()
            raise TransientError(name)
        return await send(database, line, given)

    monkeypatch.setattr(Database, "send", sending)
