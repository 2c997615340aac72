"""A task that an attempt has left behind: what it does in the attempt's session after the end is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import RetryPolicy, Romancy, activity, activity_context
from romancy.errors import UsageError
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.contract.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy import Session

pytestmark = pytest.mark.anyio


class Scene:
    """What the activities of a test share."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.go_on = asyncio.Event()
        self.left: list[asyncio.Task[str]] = []


scenes: list[Scene] = []


@pytest.fixture
async def scene(storage_url: str, app: Romancy) -> AsyncIterator[Scene]:
    """A user's table, and room for what the activities leave behind."""
    store = create_store(storage_url)
    await store.open()
    scenes.append(Scene(await Ledger(store).create()))
    yield scenes[-1]
    await store.close()


async def use_late(session: Session) -> str:
    scene = scenes[-1]
    await scene.go_on.wait()
    try:
        await scene.ledger.write(session, "late", 1)
    except UsageError as error:
        return str(error)
    return "accepted"


@activity(retry=RetryPolicy.fixed(2, 0))
async def leave_a_task_behind(how: str) -> int:
    context = activity_context()
    scene = scenes[-1]
    session: Session = await context.session()
    await scene.ledger.write(session, "attempt", context.attempt)
    scene.left.append(asyncio.create_task(use_late(session)))
    if how == "fails" and context.attempt == 1:
        raise ValueError("the first attempt fails")
    return context.attempt


@activity(retry=RetryPolicy.none())
async def meet_what_was_left() -> list[str]:
    scene = scenes[-1]
    session: Session = await activity_context().session()
    await scene.ledger.write(session, "other", 1)
    scene.go_on.set()
    answers = await asyncio.gather(*scene.left)
    await scene.ledger.write(session, "another", 1)
    return list(answers)


calls_leave_a_task_behind = calling(leave_a_task_behind)
calls_meet_what_was_left = calling(meet_what_was_left)


@pytest.mark.parametrize(("how", "attempts"), [("returns", 1), ("fails", 2)])
async def test_a_task_left_behind_writes_nothing_by_itself(app: Romancy, scene: Scene, how: str, attempts: int) -> None:
    assert attempts == await (await app.start(calls_leave_a_task_behind, how)).result(timeout=100)
    scene.go_on.set()

    answers = await asyncio.gather(*scene.left)

    assert attempts == len(answers)
    assert all("ended" in answer for answer in answers), answers
    assert (attempts, None) == (await scene.ledger.read("attempt"), await scene.ledger.read("late"))


@pytest.mark.parametrize("how", ["returns", "fails"])
async def test_a_task_left_behind_writes_nothing_in_another_instances_session(
    app: Romancy, scene: Scene, how: str
) -> None:
    await (await app.start(calls_leave_a_task_behind, how)).result(timeout=100)

    answers = await (await app.start(calls_meet_what_was_left)).result(timeout=100)

    assert answers
    assert all("ended" in answer for answer in answers), answers
    found = [await scene.ledger.read(key) for key in ("late", "other", "another")]
    assert [None, 1, 1] == found
