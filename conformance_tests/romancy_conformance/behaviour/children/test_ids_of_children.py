"""No id is reserved: the parent is told that a child's id is taken, and instances are never mixed up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from msgspec import Raw

from romancy import Romancy, Status, WorkflowContext, WorkflowFailedError, workflow
from romancy.core import ChildStarted
from romancy.core.words.ids import derive
from romancy.engine import new_life, start_of
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.behaviour.costs.hurried import hurried
from romancy_conformance.behaviour.waiting import status_is

pytestmark = pytest.mark.anyio


@workflow
async def id_parent(ctx: WorkflowContext, chosen: str | None) -> Any:
    child = returns if chosen is None else returns.options(instance_id=chosen)
    try:
        return await child("the child")
    except WorkflowFailedError as error:
        return str(error)


@workflow
async def id_patient(ctx: WorkflowContext, taken: str) -> int:
    await ctx.wait_event("ready")  # earlier messages have been read, and nothing waits for them
    try:
        await returns.options(instance_id=taken)("the child")
    except WorkflowFailedError:
        return int((await ctx.wait_event("go")).data)
    return 0


@workflow
async def id_twins(ctx: WorkflowContext, id: str) -> list[str]:
    twin = returns.options(instance_id=id)
    ends = await asyncio.gather(twin("one"), twin("other"), return_exceptions=True)
    return [str(end) for end in ends]


@workflow
async def id_stubborn(ctx: WorkflowContext, id: str) -> Any:
    while True:
        with contextlib.suppress(WorkflowFailedError):
            return await returns.options(instance_id=id)("the child")


@workflow
async def id_seeking(ctx: WorkflowContext, ids: list[str]) -> str:
    """Start the child under the first of these ids that is free."""
    for id in ids:
        with contextlib.suppress(WorkflowFailedError):
            await returns.options(instance_id=id)("the child")
            return id
    return "none"


async def told(app: Romancy, taken: str) -> None:
    """Check that the parent has heard which id is taken, and that the instance with that id is unchanged."""
    said = await app.handle("parent", id_parent).result(timeout=60)

    assert "InstanceConflictError" in said
    assert f"an instance {taken!r} exists already" in said
    assert await app.handle(taken, returns).result(timeout=60) == "a stranger"
    assert [type(event) for event in await app.history("parent")].count(ChildStarted) == 1


async def test_a_chosen_id_that_is_taken(app: Romancy) -> None:
    await app.run(returns.options(instance_id="taken"), "a stranger")
    await app.start(id_parent.options(instance_id="parent"), "taken")

    await told(app, "taken")


@pytest.mark.parametrize("ids", [["first", "second", "third", "free"], ["first", "first", "free"]])
async def test_one_taken_id_after_another(app: Romancy, ids: list[str]) -> None:
    for taken in {*ids} - {"free"}:
        await app.run(returns.options(instance_id=taken), "a stranger")

    handle = await app.start(id_seeking, ids)
    assert await handle.result(timeout=20) == "free"


async def test_a_parent_that_keeps_asking_for_the_id_of_a_stranger_becomes_stuck(app: Romancy) -> None:
    await app.run(returns.options(instance_id="taken"), "a stranger")
    handle = await app.start(id_stubborn, "taken")
    await status_is(app, handle.instance_id, Status.STUCK)

    instance = await app.get_instance(handle.instance_id)
    assert instance is not None
    assert "keeps starting a child with the taken id 'taken'" in (instance.error or "")


async def test_an_id_that_two_children_are_to_have_at_once(app: Romancy) -> None:
    one, other = await app.run(id_twins, "twin")

    assert one == "one"
    assert "an instance 'twin' exists already" in other
    assert await app.handle("twin", returns).result(timeout=60) == "one"


async def test_the_id_of_the_parent(app: Romancy) -> None:
    said = await app.run(id_parent.options(instance_id="parent"), "parent")

    assert "InstanceConflictError" in said
    assert "an instance 'parent' exists already" in said


async def test_a_parent_that_keeps_asking_for_a_taken_id_becomes_stuck(app: Romancy) -> None:
    handle = await app.start(id_stubborn.options(instance_id="parent"), "parent")
    await status_is(app, handle.instance_id, Status.STUCK)

    instance = await app.get_instance("parent")
    assert instance is not None
    assert "keeps starting a child with the taken id 'parent'" in (instance.error or "")


async def test_an_id_that_the_engine_makes_and_a_stranger_chose(app: Romancy, storage_url: str) -> None:
    life = new_life("child")
    start = start_of(id_parent, Raw(b'{"chosen":null}'), instance_id="parent", life=life, writer="w", now=1)
    made = f"parent.returns:1-{derive('parent', f'{life:x}', 'child', 'returns:1').hex()[:8]}"
    await app.run(returns.options(instance_id=made), "a stranger")
    store = create_store(storage_url)
    await store.open()
    try:
        assert await store.commit([start]) == ["accepted"]
    finally:
        await store.close()

    await told(app, made)


async def test_mail_that_was_read_before_an_id_turned_out_to_be_taken(app: Romancy) -> None:
    await app.run(returns.options(instance_id="taken"), "a stranger")
    handle = await app.start(id_patient, "taken")
    await handle.signal("go", 5)
    await handle.signal("ready")

    with hurried(1 / 1000):  # no sweep comes to help
        assert await handle.result(timeout=60) == 5
