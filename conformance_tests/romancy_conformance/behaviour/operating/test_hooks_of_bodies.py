"""Blocks that hooks put around the bodies of workflows: what they set and see, and that they affect no other code."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Status, WorkflowCancelledError, WorkflowContext, WorkflowFailedError, activity, workflow
from romancy.hooks import Hook
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from romancy.hooks import Body
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

scope: ContextVar[str] = ContextVar("scope", default="none")
seen: list[str] = []
"""What bodies saw. It must decide nothing that they do: a replay elsewhere has no such hook."""


@pytest.fixture(autouse=True)
def forget() -> None:
    seen.clear()


class Scopes(Hook):
    """Sets a context variable for each body, and notes how each was entered and left."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    @contextmanager
    def around_body(self, body: Body, /) -> Generator[None]:
        self.told.append(("in", body.workflow_name, body.run, dict(body.arguments), body.is_replaying))
        token = scope.set(f"{scope.get()}/{body.instance_id}")
        error: BaseException | None = None
        try:
            yield
        except GeneratorExit:
            raise
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.told.append(("out", body.run, repr(error), body.is_replaying))
            scope.reset(token)


@activity
async def ar_scope() -> str:
    return scope.get()


@activity
def ar_scope_on_a_thread() -> str:
    return scope.get()


@workflow
async def ar_seen(ctx: WorkflowContext, first: int, *, second: str = "b") -> list[str]:
    async def beside() -> None:
        seen.append(scope.get())

    seen.append(scope.get())
    await asyncio.create_task(beside())
    return [await ar_scope(), await ar_scope_on_a_thread()]


@workflow
async def ar_fails(ctx: WorkflowContext, number: int) -> None:
    await ar_scope()
    raise KeyError(number)


@workflow
async def ar_rests(ctx: WorkflowContext) -> str:
    await ctx.wait_event("go")
    return await ar_scope()


@workflow
async def ar_recurs(ctx: WorkflowContext, left: int) -> str:
    found = await ar_scope()
    return ar_recurs.recur(left - 1) if left else found


@workflow
async def ar_parent(ctx: WorkflowContext) -> list[str]:
    return await ar_seen.options(instance_id="daughter")(7)


async def test_a_body_its_tasks_and_its_activities_see_what_the_block_sets(open_app: Open) -> None:
    hook = Scopes()
    app = await open_app(hooks=[hook])

    assert ["none/one"] * 2 == await app.run(ar_seen.options(instance_id="one"), 1, second="z")
    assert ["none/one"] * 2 == seen
    assert [
        ("in", "ar_seen", 1, {"first": 1, "second": "z"}, False),
        ("out", 1, "None", False),
    ] == hook.told


async def test_a_block_sees_the_error_with_which_the_body_ends(open_app: Open) -> None:
    hook = Scopes()
    app = await open_app(hooks=[hook])

    with pytest.raises(WorkflowFailedError):
        await app.run(ar_fails, 5)

    assert ("out", 1, "KeyError(5)", False) == hook.told[-1]


async def test_a_run_that_is_put_aside_leaves_the_block_without_an_error(open_app: Open) -> None:
    hook = Scopes()
    app = await open_app(hooks=[hook], sticky=0)
    handle = await app.start(ar_rests)
    await status_is(app, handle.instance_id, Status.WAITING)
    await handle.signal("go")

    assert f"none/{handle.instance_id}" == await handle.result()
    assert ("out", 1, "None", False) == hook.told[-1]
    assert {"None"} == {what[2] for what in hook.told if what[0] == "out"}


async def test_the_body_is_entered_again_by_the_next_worker_as_a_replay(open_app: Open) -> None:
    first, second = Scopes(), Scopes()
    app = await open_app(hooks=[first])
    handle = await app.start(ar_rests)
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.drain()
    other = await open_app(hooks=[second])
    await other.handle(handle.instance_id).signal("go")

    assert f"none/{handle.instance_id}" == await other.handle(handle.instance_id).result()
    assert [("in", "ar_rests", 1, {}, True), ("out", 1, "None", False)] == second.told


async def test_a_cancellation_is_seen(open_app: Open) -> None:
    hook = Scopes()
    app = await open_app(hooks=[hook])
    handle = await app.start(ar_rests)
    await status_is(app, handle.instance_id, Status.WAITING)
    await handle.cancel()
    with pytest.raises(WorkflowCancelledError):
        await handle.result()

    assert "CancelledError" in hook.told[-1][2]


async def test_each_run_and_each_child_has_a_block_of_its_own(open_app: Open) -> None:
    hook = Scopes()
    app = await open_app(hooks=[hook])

    assert "none/again" == await app.run(ar_recurs.options(instance_id="again"), 2)
    assert [1, 1, 2, 2, 3, 3] == [what[2] if what[0] == "in" else what[1] for what in hook.told]
    assert {"None"} == {what[2] for what in hook.told if what[0] == "out"}
    assert ["none/daughter"] * 2 == await app.run(ar_parent.options(instance_id="mother"))


class Outside(Hook):
    """Does what no body may do."""

    def __init__(self) -> None:
        self.loops: list[asyncio.AbstractEventLoop] = []

    def around_body(self, body: Body, /) -> AbstractContextManager[object]:
        return self._block()

    @contextmanager
    def _block(self) -> Generator[None]:
        self._leaves()
        try:
            yield
        finally:
            self._leaves()

    def _leaves(self) -> None:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        self.loops.append(asyncio.get_running_loop())


async def test_a_hook_stands_outside_of_the_workflow(open_app: Open) -> None:
    hook = Outside()
    app = await open_app(hooks=[hook])

    assert ["none"] * 2 == await app.run(ar_seen, 1)
    assert [asyncio.get_running_loop()] * 2 == hook.loops


class Broken(Hook):
    """Fails, or suppresses errors."""

    def __init__(self, where: str) -> None:
        self.where = where

    def around_body(self, body: Body, /) -> AbstractContextManager[object]:
        if self.where == "around":
            raise RuntimeError("the hook is broken")
        return self

    def __enter__(self) -> None:
        if self.where == "enter":
            raise RuntimeError("the hook is broken")

    def __exit__(self, *_: object) -> bool:
        if self.where == "exit":
            raise RuntimeError("the hook is broken")
        return True


@pytest.mark.parametrize("where", ["around", "enter", "exit", "swallow"])
async def test_a_broken_hook_disturbs_nobody(open_app: Open, where: str, caplog: pytest.LogCaptureFixture) -> None:
    hook = Scopes()
    app = await open_app(hooks=[Broken(where), hook])

    with caplog.at_level(logging.ERROR, "romancy"):
        with pytest.raises(WorkflowFailedError, match="KeyError"):
            await app.run(ar_fails, 6)
        assert 2 == len(await app.run(ar_seen, 1))

    assert 4 == len(hook.told)
    assert (where != "swallow") == any("hook Broken failed at Body" in record.message for record in caplog.records)
