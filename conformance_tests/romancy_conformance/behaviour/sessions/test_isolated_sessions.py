"""Activities that say how isolated their session must be: the level holds, and giving way is no failure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.contract.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy.none()
SERVERS = pytest.mark.backends("postgres", "mysql", "mariadb", "tidb", "vitess")


class Scene:
    """What a test and its activities share."""

    ledger: Ledger
    level: Any
    attempts: list[str]
    both: asyncio.Barrier
    opened: asyncio.Event
    go_on: asyncio.Event


@pytest.fixture(autouse=True)
async def ledger(storage_url: str, app: Romancy) -> AsyncIterator[Ledger]:
    """A user's table in the app's database."""
    store = create_store(storage_url)
    await store.open()
    if not store.capabilities.serializable:
        await store.close()
        pytest.skip("capability: the store has no isolation level 'serializable'")
    Scene.ledger = await Ledger(store).create()
    Scene.attempts, Scene.level = [], "serializable"
    Scene.both, Scene.opened, Scene.go_on = asyncio.Barrier(2), asyncio.Event(), asyncio.Event()
    yield Scene.ledger
    await store.close()


@activity(retry=ONCE)
async def leave_unless_alone(name: str, other: str) -> bool:
    """Two that run side by side may both leave, unless they are as if one came after the other."""
    db = await activity_context().session(isolation=Scene.level)
    Scene.attempts.append(name)
    alone = await Scene.ledger.read_in(db, other) is not None
    if Scene.attempts.count(name) == 1:
        await Scene.both.wait()
    if not alone:
        await Scene.ledger.write(db, name, 1)
    return not alone


@workflow
async def isolated_leaving(ctx: WorkflowContext, name: str, other: str) -> bool:
    left = await leave_unless_alone(name, other)
    await ctx.sleep(0)
    return left


@SERVERS
@pytest.mark.parametrize("level", [None, "read committed", "serializable"])
async def test_two_racing_sessions_are_as_if_one_came_after_the_other(app: Romancy, level: Any) -> None:
    """The one that gives way is repeated. That counts as no failure: the activity has one attempt."""
    Scene.level = level
    first = await app.start(isolated_leaving, "ann", "ben")
    second = await app.start(isolated_leaving, "ben", "ann")
    results = [await first.result(timeout=60), await second.result(timeout=60)]

    written = [await Scene.ledger.read(name) is not None for name in ("ann", "ben")]
    assert results == written
    if level == "serializable":
        assert [False, True] == sorted(results)
        assert len(Scene.attempts) > 2
    else:
        assert [True, True] == results, "the test could see no difference"
        assert ["ann", "ben"] == sorted(Scene.attempts)


@activity(retry=ONCE)
async def isolated_write(key: str) -> str:
    db = await activity_context().session(isolation=Scene.level)
    Scene.attempts.append(key)
    await Scene.ledger.write(db, key, 1)
    Scene.opened.set()
    await Scene.go_on.wait()
    return key


@activity
async def isolated_plain() -> str:
    await Scene.opened.wait()
    return "plain"


@workflow
async def isolated_beside(ctx: WorkflowContext) -> list[str]:
    writing = asyncio.ensure_future(isolated_write("beside"))
    plain = await isolated_plain()
    await ctx.report(plain)
    return [plain, await writing]


@SERVERS
async def test_a_session_commits_though_its_instance_went_on_meanwhile(app: Romancy) -> None:
    """Its end is decided by the present rows: here, the last commit of the instance, which also ends it."""
    handle = await app.start(isolated_beside)
    await handle.report(wait=lambda told: told == "plain")
    Scene.go_on.set()

    assert ["plain", "beside"] == await handle.result(timeout=60)
    assert 1 == await Scene.ledger.read("beside")


@workflow
async def isolated_waiting(ctx: WorkflowContext) -> list[str]:
    key = await isolated_write("mail")
    event = await ctx.wait_event("late")
    return [key, event.data]


@SERVERS
async def test_mail_that_came_meanwhile_is_taken(app: Romancy) -> None:
    handle = await app.start(isolated_waiting)
    await Scene.opened.wait()
    await handle.signal("late", "news")
    Scene.go_on.set()

    assert ["mail", "news"] == await handle.result(timeout=60)
    assert 1 == await Scene.ledger.read("mail")


@activity(retry=ONCE)
def isolated_on_a_thread(key: str) -> str:
    with activity_context().session(isolation="serializable") as db:
        assert 1 == db.execute(Scene.ledger.insert(key))
    with activity_context().session() as again, activity_context().session(isolation="serializable"):
        return str(again.fetch_all("select 1 as n")[0]["n"])


calls_isolated_on_a_thread = calling(isolated_on_a_thread)


@pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")
async def test_a_plain_function_enters_it(app: Romancy) -> None:
    assert "1" == await app.run(calls_isolated_on_a_thread, "thread")
    assert 1 == await Scene.ledger.read("thread")


@activity(retry=ONCE)
async def isolated_wrongly(first: Any, then: Any) -> None:
    db = await activity_context().session(isolation=first)
    await Scene.ledger.write(db, "wrong", 1)
    await activity_context().session(isolation=then)


calls_isolated_wrongly = calling(isolated_wrongly)


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        ("serialisable", None, "isolation='serialisable': give one of 'read committed', 'repeatable read'"),
        (None, "read committed", "was begun without isolation="),
        ("read committed", "serializable", "was begun with isolation='read committed'"),
    ],
)
async def test_another_level_is_refused(app: Romancy, first: str | None, then: str | None, told: str) -> None:
    with pytest.raises(WorkflowFailedError, match=told):
        await app.run(calls_isolated_wrongly, first, then)

    assert await Scene.ledger.read("wrong") is None
