"""Savepoints of an activity's session: what Romancy wrote in one goes with it, whatever the activity did before."""

from __future__ import annotations

from typing import Any, Final

import pytest
from sqlalchemy import text

from romancy import RetryPolicy, Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.ext.sqlalchemy import session
from romancy.outbox import OutboxEvent, Relay
from romancy.storage.outbox import OutboxState
from romancy.sync import SyncRomancy
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.servers import Kind
from tests.sessions.workflows import greet

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", *Kind)]

ONCE = RetryPolicy.none()
SCRIPTS: Final = {
    "[a!b": "b",
    "s[a!b": "b",
    "b[a!c": "bc",
    "[b[a!c]": "bc",
    "[[a!b]": "b",
    "[b[c]!d": "d",
    "[[b]c!d": "d",
    "[b[a!c!d": "d",
    "[[b]s]": "b",
    "[a![b]": "b",
    "[sa!sb": "b",
}
"""What an activity does, and whose traces must be left. A bracket begins or releases a savepoint, `!` undoes the
innermost one, `s` is a statement. A letter leaves traces in every way there is.
"""


class Kept:
    """What activities leave to their tests."""

    app: Romancy
    sync: SyncRomancy
    committed: list[str]
    sent: list[str]


class Sender:
    """Receives what was published."""

    async def send(self, event: OutboxEvent, /) -> None:
        Kept.sent.append(event.data)


@pytest.fixture(autouse=True)
def forget() -> None:
    Kept.committed, Kept.sent = [], []


@workflow
async def ear(ctx: WorkflowContext) -> list[str]:
    heard: list[str] = []
    while "end" not in heard:
        heard.append((await ctx.wait_event("word", model=str)).data)
    return sorted(heard[:-1])


async def trace(letter: str, db: object) -> None:
    context, app = activity_context(), Kept.app
    await app.start(greet.options(instance_id=letter), letter, session=db)
    await app.signal("ear", "word", f"{letter}1", session=db)
    await app.send("word", f"{letter}2", to="ear", session=db)
    await app.publish("word", f"{letter}3", session=db)
    await context.send("word", f"{letter}4", to="ear")
    await context.publish("word", f"{letter}5")
    context.after_commit(lambda: Kept.committed.append(letter))


@activity(retry=ONCE)
async def acts(script: str) -> None:
    db = await session()
    parts: list[Any] = []
    for step in script:
        if step == "[":
            parts.append(await db.begin_nested())
        elif step == "]":
            await parts.pop().commit()
        elif step == "!":
            await parts.pop().rollback()
        elif step == "s":
            await db.execute(text("select 1"))
        else:
            await trace(step, db)


@activity(retry=ONCE)
async def acts_plainly(script: str) -> None:
    """The same with the session that needs no library."""
    db = await activity_context().session()
    parts: list[Any] = []
    for step in script:
        if step == "[":
            parts.append(db.savepoint())
            await parts[-1].__aenter__()
        elif step == "]":
            await parts.pop().__aexit__(None, None, None)
        elif step == "!":
            assert not await parts.pop().__aexit__(LookupError, LookupError(step), None)
        elif step == "s":
            await db.fetch_all("select 1")
        else:
            await trace(step, db)


def trace_on_a_thread(letter: str, db: object) -> None:
    context, app = activity_context(), Kept.sync
    app.start(greet.options(instance_id=letter), letter, session=db)
    app.signal("ear", "word", f"{letter}1", session=db)
    app.send("word", f"{letter}2", to="ear", session=db)
    app.publish("word", f"{letter}3", session=db)
    context.after_commit(lambda: Kept.committed.append(letter))


@activity(retry=ONCE)
def acts_on_a_thread(script: str) -> None:
    with session() as db:
        parts: list[Any] = []
        for step in script:
            if step == "[":
                parts.append(db.begin_nested())
            elif step == "]":
                parts.pop().commit()
            elif step == "!":
                parts.pop().rollback()
            elif step == "s":
                db.execute(text("select 1"))
            else:
                trace_on_a_thread(step, db)


@workflow
async def scripted(ctx: WorkflowContext, script: str, kind: str) -> None:
    await {"library": acts, "plain": acts_plainly, "thread": acts_on_a_thread}[kind](script)


@pytest.mark.parametrize("kind", ["library", "plain"])
@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_savepoint_takes_everything_with_it(storage_url: str, script: str, kind: str) -> None:
    left = SCRIPTS[script]
    relay = Relay(Sender())
    async with Romancy(storage_url, workflows=[scripted, greet, ear], relay=relay) as Kept.app:
        app = Kept.app
        listening = await app.start(ear.options(instance_id="ear"))
        await app.run(scripted, script, kind)
        await app.signal("ear", "word", "end")

        assert await listening.result(timeout=60) == [f"{letter}{way}" for letter in left for way in (1, 2, 4)]
        await until(lambda: _nothing_pending(app))
        assert sorted(Kept.sent) == [f"{letter}{way}" for letter in left for way in (3, 5)]
        assert "".join(Kept.committed) == left
        found = {one.instance_id async for one in app.iter_instances(workflow_name="greet")}
        assert found == set(left)


async def _nothing_pending(app: Romancy) -> bool:
    return not (await app._access.opened().services.outbox.counts(most=1000)).states.get(OutboxState.PENDING)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_savepoint_on_a_thread_takes_everything_with_it(storage_url: str, script: str) -> None:
    left = SCRIPTS[script]
    with SyncRomancy(storage_url, workflows=[scripted, greet, ear]) as Kept.sync:
        app = Kept.sync
        listening = app.start(ear.options(instance_id="ear"))
        app.run(scripted, script, "thread")
        app.signal("ear", "word", "end")

        assert listening.result(timeout=60) == [f"{letter}{way}" for letter in left for way in (1, 2)]
        assert "".join(Kept.committed) == left
        assert {one.instance_id for one in app.iter_instances(workflow_name="greet")} == set(left)


@activity(retry=ONCE)
async def signals_what_it_undid(name: str) -> str:
    """What was started in a savepoint that is undone does not exist, so nothing waits for the session."""
    db = await session()
    part = await db.begin_nested()
    await Kept.app.start(greet.options(instance_id=name), name, session=db)
    await part.rollback()
    await Kept.app.start(greet.options(instance_id=name), "again", session=db)
    return name


@workflow
async def signalling(ctx: WorkflowContext, name: str) -> str:
    return await signals_what_it_undid(name)


async def test_an_id_is_free_again_after_its_savepoint_was_undone(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[signalling, greet]) as Kept.app:
        await Kept.app.run(signalling, "ann")
        assert await Kept.app.handle("ann", greet).result(timeout=60) == "hello again"
