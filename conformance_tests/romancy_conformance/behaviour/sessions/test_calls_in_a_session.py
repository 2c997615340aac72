"""An activity that has its session open calls its own app: nothing waits for the caller's own transaction."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from romancy import RetryPolicy, Romancy, activity, activity_context
from romancy.errors import RomancyError
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import returns, waits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy.none()
apps: list[Romancy] = []
"""The last one belongs to the running test."""


@pytest.fixture(autouse=True)
def known(app: Romancy) -> Romancy:
    """Make the app available to activities."""
    apps.append(app)
    return app


CALLS: dict[str, Callable[[Romancy, str], Awaitable[object]]] = {
    "signal": lambda app, waiting: app.signal(waiting, "go", 1),
    "start": lambda app, _: app.start(returns, 1),
    "start_many": lambda app, _: app.start_many([returns.bind(1), returns.bind(1)]),
    "run": lambda app, _: app.run(returns, 1),
    "cancel": lambda app, waiting: app.cancel(waiting),
    "terminate": lambda app, waiting: app.terminate(waiting),
    "retry": lambda app, waiting: app.retry(waiting),
    "resume": lambda app, waiting: app.resume(waiting),
    "purge": lambda app, waiting: app.purge(waiting),
    "cancel_many": lambda app, _: app.cancel_many(workflow_name="waits"),
    "signal of a handle": lambda app, waiting: app.handle(waiting, waits).signal("go", 1),
}
"""Calls that write in their own transaction."""


async def answer(call: Awaitable[object]) -> str:
    """Return the answer or the error of a call."""
    try:
        await call
    except RomancyError as error:
        return f"{type(error).__name__}: {error}"
    return "done"


@activity(retry=ONCE)
async def calls_in_its_session(call: str, waiting: str) -> str:
    await activity_context().session()
    return await answer(CALLS[call](apps[-1], waiting))


@activity(retry=ONCE)
async def calls_from_elsewhere(waiting: str) -> list[str]:
    """Call from a task that began before the session, from one that began after it, and from a thread."""
    opened = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def once_open() -> str:
        await opened.wait()
        return await answer(apps[-1].signal(waiting, "go", 1))

    before = asyncio.create_task(once_open())
    await asyncio.sleep(0)
    await activity_context().session()
    opened.set()
    after = asyncio.create_task(once_open())
    threaded = partial(asyncio.run_coroutine_threadsafe, once_open(), loop)
    thread = await asyncio.to_thread(lambda: asyncio.wrap_future(threaded(), loop=loop))
    return list(await asyncio.gather(before, after, thread))


@activity(retry=ONCE)
async def asks_for_results(open_one: str, ended: str) -> list[str]:
    await activity_context().session()
    app = apps[-1]
    looked = await app.get_instance(open_one)
    assert looked is not None
    assert 1 == await app.handle(ended, returns).result(), "what has ended is only read"
    return [await answer(app.handle(open_one, waits).result())]


@activity(retry=ONCE)
async def starts_twice() -> list[str]:
    session = await activity_context().session()
    app, twin = apps[-1], returns.options(instance_id="twin")
    await app.start(twin, 1, session=session)
    return [await answer(app.start(twin, 1)), await answer(app.signal("twin", "go", 1))]


@activity(retry=ONCE)
async def calls_around_its_session(waiting: str) -> str:
    await apps[-1].start(returns.options(instance_id="before"), 1)
    session = await activity_context().session()
    await apps[-1].start(returns.options(instance_id="within"), 1, session=session)
    await apps[-1].signal(waiting, "go", 7, session=session)
    return "done"


calls_calls_in_its_session = calling(calls_in_its_session)
calls_calls_from_elsewhere = calling(calls_from_elsewhere)
calls_asks_for_results = calling(asks_for_results)
calls_starts_twice = calling(starts_twice)
calls_calls_around_its_session = calling(calls_around_its_session)


def excludes(app: Romancy) -> bool:
    """Whether no other transaction can write beside an open session."""
    return app._access.opened().capabilities.sessions_exclude  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_that_would_wait_for_its_own_session_is_refused(app: Romancy, call: str) -> None:
    waiting = await app.start(waits)

    said = await (await app.start(calls_calls_in_its_session, call, waiting.instance_id)).result(timeout=100)

    if excludes(app):
        assert said.startswith("UsageError: app."), said
        assert "session=" in said
        assert not (await waiting.status()).value.startswith("c"), "nothing was written"
    else:
        assert "wait for that session" not in said


async def test_every_task_and_thread_of_the_attempt_is_told(app: Romancy) -> None:
    waiting = await app.start(waits)

    said = await (await app.start(calls_calls_from_elsewhere, waiting.instance_id)).result(timeout=100)

    assert 3 == len(said)
    assert all(excludes(app) == ("session=" in one) for one in said), said


@pytest.mark.backends("sqlite")
async def test_another_app_on_the_same_file_is_told_as_well(app: Romancy, open_app: Open) -> None:
    waiting = await app.start(waits)
    apps.append(await open_app(worker=False))

    said = await (await app.start(calls_calls_in_its_session, "signal", waiting.instance_id)).result(timeout=100)

    assert "session=" in said


@pytest.mark.backends("sqlite")
async def test_a_result_that_cannot_come_is_not_waited_for(app: Romancy) -> None:
    waiting = await app.start(waits)
    ended = await app.start(returns, 1)
    await ended.result(timeout=100)

    said = await (await app.start(calls_asks_for_results, waiting.instance_id, ended.instance_id)).result(timeout=100)

    assert said[0].startswith("UsageError: app.result")


async def test_what_the_session_has_started_is_not_waited_for(app: Romancy) -> None:
    said = await (await app.start(calls_starts_twice)).result(timeout=100)

    assert all(one.startswith("UsageError") and "session=" in one for one in said), said
    assert 1 == await app.handle("twin", returns).result(timeout=100)


async def test_calls_before_and_within_the_session_go_through(app: Romancy) -> None:
    waiting = await app.start(waits)

    assert "done" == await (await app.start(calls_calls_around_its_session, waiting.instance_id)).result(timeout=100)

    assert 7 == await waiting.result(timeout=100)
    handles: list[Any] = [app.handle(one, returns) for one in ("before", "within")]
    assert [1, 1] == [await handle.result(timeout=100) for handle in handles]
