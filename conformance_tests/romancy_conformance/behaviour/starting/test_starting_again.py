"""Starting under a taken id: the caller gets the existing instance or an error, as it chooses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    InstanceConflictError,
    Romancy,
    UsageError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import returns

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Added = EventType("added", int)
apps: list[Romancy] = []


@workflow
async def again_with_such_names(ctx: WorkflowContext, if_exists: str) -> str:
    return if_exists


@activity
async def again_invites(name: str) -> str:
    session = await activity_context().session()
    named = returns.options(instance_id=name)
    try:
        await apps[0].start(named, name, session=session, if_exists="refuse")
        await apps[0].start(named, name, session=session, if_exists="refuse")
    except InstanceConflictError as error:
        return str(error.conflicts)
    return "twice"


calls_again_invites = calling(again_invites)


async def test_an_id_that_is_taken_is_refused_where_that_is_wanted(app: Romancy, open_app: Open) -> None:
    front = await open_app(worker=False)
    ann, bob = (returns.options(instance_id=name) for name in ("ann", "bob"))
    first = await front.start(ann, "ann", if_exists="refuse")
    for one in (app, front):
        with pytest.raises(InstanceConflictError, match="'ann' exists already, and if_exists='refuse'") as told:
            await one.start(ann, "ann", if_exists="refuse")
        assert ("ann",) == told.value.conflicts
        assert "ann" == await (await one.start(ann, "ann", if_exists="return")).result()
    assert "ann" == await first.result()

    with pytest.raises(InstanceConflictError) as told:
        await app.start_many([ann.bind("ann"), bob.bind("bob")], if_exists="refuse")
    assert (("ann",), ("bob",)) == (told.value.conflicts, told.value.started)
    assert "bob" == await app.handle("bob").result()


async def test_of_many_that_want_a_free_id_one_gets_it(app: Romancy, open_app: Open) -> None:
    others = [app, await open_app(), await open_app(worker=False)]
    named = returns.options(instance_id="ann")

    got = await asyncio.gather(
        *(one.start(named, "ann", if_exists="refuse") for one in others * 3), return_exceptions=True
    )

    refused = [error for error in got if isinstance(error, InstanceConflictError)]
    assert len(got) - 1 == len(refused)
    assert "ann" == await app.handle("ann").result()


async def test_an_id_that_is_taken_is_refused_in_a_session(app: Romancy) -> None:
    apps[:] = [app]
    assert "('cid',)" == await app.run(calls_again_invites, "cid")
    assert "cid" == await app.handle("cid").result()


async def test_what_to_do_is_said_in_one_of_these_words(app: Romancy) -> None:
    unknown: Any = "restart"
    with pytest.raises(UsageError, match="'restart': say 'return', 'refuse', 'restart_ended', 'restart_failed' or '"):
        await app.start(returns, "ann", if_exists=unknown)
    assert "mine" == await (await app.start(again_with_such_names, if_exists="mine")).result()
