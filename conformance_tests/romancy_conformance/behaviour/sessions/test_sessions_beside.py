"""A session of one activity beside other work of the same instance: no two of them wait for each other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    WorkflowCancelledError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy.hooks import ActivityEnded, Hook
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.slow_stores import SOON, Slow, stores
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.contract.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.hooks import Happening
    from romancy_conformance.behaviour.opening import Open

__all__ = ["stores"]

pytestmark = pytest.mark.anyio


class Scene:
    """What the activities of a test share."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.opened = asyncio.Event()
        self.go_on = asyncio.Event()
        self.ended = asyncio.Event()
        self.begun: list[str] = []


scenes: list[Scene] = []


@pytest.fixture
async def scene(app: Romancy, storage_url: str) -> AsyncIterator[Scene]:
    """The scene on the app's database, with a user's table."""
    store = create_store(storage_url)
    await store.open()
    scenes.append(Scene(await Ledger(store).create()))
    yield scenes[-1]
    scenes.clear()
    await store.close()


@activity
async def beside_plain() -> str:
    scene = scenes[-1]
    scene.begun.append("plain")
    await scene.opened.wait()
    return "plain"


@activity
async def beside_plain_first() -> str:
    scenes[-1].begun.append("plain")
    return "plain"


@activity
async def beside_plain_later() -> str:
    scene = scenes[-1]
    scene.begun.append("plain")
    await scene.go_on.wait()
    scene.ended.set()  # whatever waits for it runs once this has returned and its end is kept
    return "plain"


@activity
async def beside_books(key: str, wait: float) -> str:
    """Keeps its session open for a moment."""
    scene = scenes[-1]
    scene.begun.append("books")
    session = await activity_context().session()
    await scene.ledger.write(session, key, 1)
    scene.opened.set()
    await asyncio.sleep(wait)
    return "books"


@activity
async def beside_books_later(key: str) -> str:
    scene = scenes[-1]
    scene.begun.append("books")
    await scene.go_on.wait()
    scene.begun.append("asks for a session")
    session = await activity_context().session()
    await scene.ledger.write(session, key, 1)
    scene.opened.set()
    return "books"


@activity(timeout=0.3, retry=RetryPolicy.none())
async def beside_fails() -> str:
    session = await activity_context().session()
    await scenes[-1].ledger.write(session, "fails", 1)
    scenes[-1].opened.set()
    await asyncio.Event().wait()
    return "never"


@activity
async def beside_cleans_up() -> None:
    """When it is asked to stop, it opens its session only then, to write its result."""
    scene = scenes[-1]
    scene.begun.append("cleans up")
    try:
        await asyncio.Event().wait()
    finally:
        scene.opened.set()
        try:
            await scene.ledger.write(await activity_context().session(), "cleaned", 1)
        finally:
            scene.go_on.set()


calls_beside_cleans_up = calling(beside_cleans_up)


@workflow
async def beside_end(ctx: WorkflowContext, key: str) -> list[str]:
    return list(await asyncio.gather(beside_plain(), beside_books(key, 0.3)))


@workflow
async def beside_timer(ctx: WorkflowContext, key: str) -> list[str]:
    async def slept() -> str:
        await asyncio.sleep(0.15)
        return "slept"

    return list(await asyncio.gather(slept(), beside_books(key, 0.5)))


@workflow
async def beside_several(ctx: WorkflowContext, key: str) -> list[str]:
    bookings = [beside_books(f"{key} {number}", 0.05) for number in range(5)]
    return list(await asyncio.gather(beside_plain(), *bookings, beside_plain()))


@workflow
async def beside_write(ctx: WorkflowContext, key: str) -> list[str]:
    return list(await asyncio.gather(beside_plain_first(), beside_books_later(key)))


@workflow
async def beside_loss(ctx: WorkflowContext, key: str) -> list[str]:
    return list(await asyncio.gather(beside_plain_later(), beside_books(key, 0)))


@workflow
async def beside_failure(ctx: WorkflowContext) -> str:
    plain = asyncio.create_task(beside_plain())
    try:
        await beside_fails()
    except RetryExhaustedError:
        return await plain
    return "never"


@pytest.mark.parametrize("what", ["end", "timer"])
async def test_something_ends_while_a_session_is_open(app: Romancy, scene: Scene, what: str) -> None:
    kind, other = (beside_end, "plain") if what == "end" else (beside_timer, "slept")

    assert await asyncio.wait_for(app.run(kind, "k"), SOON) == [other, "books"]

    assert await scene.ledger.read("k") == 1
    assert scene.begun.count("books") == 1


async def test_several_sessions_and_ends_at_once(app: Romancy, scene: Scene) -> None:
    expected = ["plain", *["books"] * 5, "plain"]

    assert await asyncio.wait_for(app.run(beside_several, "k"), SOON) == expected

    assert [await scene.ledger.read(f"k {number}") for number in range(5)] == [1] * 5
    assert scene.begun.count("books") == 5


async def under_way(app: Romancy, scene: Scene, store: Slow) -> Any:
    """Start an instance whose first end is on its way to the log when a session is requested."""
    store.free.clear()
    handle = await app.start(beside_write, "k")
    await asyncio.wait_for(store.waits.wait(), SOON)
    scene.go_on.set()
    await until(lambda: "asks for a session" in scene.begun)
    return handle


async def test_a_session_is_asked_for_while_something_is_written(
    app: Romancy, scene: Scene, stores: list[Slow]
) -> None:
    handle = await under_way(app, scene, stores[0])
    stores[0].free.set()

    assert await handle.result(timeout=SOON) == ["plain", "books"]
    assert await scene.ledger.read("k") == 1
    assert scene.begun.count("books") == 1


async def test_a_session_that_ended_goes_with_its_run(app: Romancy, scene: Scene, stores: list[Slow]) -> None:
    """The write before it was refused: all is repeated, and no transaction holds the row any more."""
    handle = await under_way(app, scene, stores[0])
    stores[0].refuses = True
    stores[0].free.set()

    assert await handle.result(timeout=SOON) == ["plain", "books"]
    assert await scene.ledger.read("k") == 1


async def test_a_session_that_ended_goes_with_a_terminated_instance(
    app: Romancy, scene: Scene, stores: list[Slow]
) -> None:
    handle = await under_way(app, scene, stores[0])
    stores[0].brought.clear()
    ending = asyncio.ensure_future(app.terminate(handle.instance_id))
    await asyncio.wait_for(stores[0].brought.wait(), SOON)
    stores[0].free.set()

    assert await ending
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=SOON)
    assert await scene.ledger.read("k") is None
    scene.opened.set()
    assert await asyncio.wait_for(app.run(beside_end, "k"), SOON) == ["plain", "books"], "nobody holds the row"


async def test_what_ended_meanwhile_is_not_done_again_when_a_session_is_lost(
    app: Romancy, scene: Scene, stores: list[Slow]
) -> None:
    stores[0].loses = True
    handle = await app.start(beside_loss, "k")
    await asyncio.wait_for(stores[0].losing.wait(), SOON)
    scene.go_on.set()
    await asyncio.wait_for(scene.ended.wait(), SOON)
    stores[0].lost.set()

    assert await handle.result(timeout=SOON) == ["plain", "books"]
    assert await scene.ledger.read("k") == 1
    assert sorted(scene.begun) == ["books", "books", "plain"]


class Ends(Hook):
    """Records which activities have ended, as the hooks are told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def happened(self, event: Happening, /) -> None:
        if isinstance(event, ActivityEnded):
            self.told.append(event.activity_name)


async def test_the_hooks_hear_of_what_ended_meanwhile(open_app: Open, scene: Scene, stores: list[Slow]) -> None:
    ends = Ends()
    app = await open_app(hooks=[ends])
    stores[-1].loses = True
    handle = await app.start(beside_loss, "k")
    await asyncio.wait_for(stores[-1].losing.wait(), SOON)
    scene.go_on.set()
    await asyncio.wait_for(scene.ended.wait(), SOON)
    stores[-1].lost.set()
    await handle.result(timeout=SOON)
    await app.drain(0)  # the hooks have been called by then

    assert sorted(ends.told) == ["beside_books", "beside_plain_later"]


async def test_what_waited_for_a_session_goes_on_when_it_fails(app: Romancy, scene: Scene) -> None:
    assert await asyncio.wait_for(app.run(beside_failure), SOON) == "plain"

    assert await scene.ledger.read("fails") is None


async def test_a_session_is_asked_for_while_the_instance_ends(app: Romancy, scene: Scene) -> None:
    """No worker owns it any more: what the session wrote is rolled back, and its activity ends."""
    handle = await app.start(calls_beside_cleans_up)
    await until(lambda: scene.begun)
    assert await app.terminate(handle.instance_id)

    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=SOON)
    await asyncio.wait_for(scene.opened.wait(), SOON)
    await asyncio.wait_for(scene.go_on.wait(), SOON)
    assert await scene.ledger.read("cleaned") is None
