"""A caller that waits for a workflow that no live worker knows is told after some seconds, once."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from romancy import EventType, Status
from romancy.insight import alive
from romancy.results import waiting
from romancy.sync import SyncRomancy
from romancy_conformance.behaviour.cast import returns, waits
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Go = EventType("go", str)


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when a wait has looked for workers, which it does soon here."""
    assert waiting._SILENT_FOR == 5  # pyright: ignore[reportPrivateUsage] - what the guide promises
    monkeypatch.setattr(waiting, "_SILENT_FOR", 0.001)
    looked = threading.Event()

    def noted(*args: Any) -> Any:
        looked.set()
        return alive(*args)

    monkeypatch.setattr(waiting, "alive", noted)
    return looked


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records if "no live worker knows workflow" in line.getMessage()]


async def test_a_wait_without_a_worker_says_so_once(
    open_app: Open, looks: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    client = await open_app(worker=False, workflows=[waits])
    handle = await client.start(waits)
    callers = [asyncio.create_task(client.handle(handle.instance_id, waits).result()) for _ in range(3)]
    assert await asyncio.to_thread(looks.wait, 60)
    await client.signal(handle.instance_id, Go, "went")
    await open_app(workflows=[waits])

    assert await asyncio.wait_for(asyncio.gather(*callers), 60) == ["went"] * 3
    (line,) = said(caplog)
    assert line.startswith(f"instance {handle.instance_id}: its result has been awaited for 0.001 s")
    assert "workflow waits; start one with `romancy run MODULE:APP`, or open this app without worker=False" in line


async def test_a_worker_that_does_not_know_the_workflow_is_told_what_to_do(
    open_app: Open, looks: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    client = await open_app(worker=False, workflows=[waits])
    handle = await client.start(waits)
    worker = await open_app(workflows=[returns])
    wait = asyncio.create_task(worker.handle(handle.instance_id).result())
    assert await asyncio.to_thread(looks.wait, 60)
    await client.signal(handle.instance_id, Go, "went")
    await open_app(workflows=[waits])

    assert await asyncio.wait_for(wait, 60) == "went"
    (line,) = said(caplog)
    assert "this app's own does not: give it the workflow in workflows=[…]" in line


async def test_nothing_is_said_if_a_worker_knows_it(
    open_app: Open, looks: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    worker, client = await open_app(workflows=[waits]), await open_app(worker=False, workflows=[waits])
    handle = await client.start(waits)
    await status_is(worker, handle.instance_id, Status.WAITING)
    wait = asyncio.create_task(handle.result())
    assert await asyncio.to_thread(looks.wait, 60)
    await handle.signal(Go, "went")

    assert await asyncio.wait_for(wait, 60) == "went"
    assert not said(caplog)


async def test_callers_that_began_together_look_together(
    open_app: Open, looks: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, client = await open_app(workflows=[waits]), await open_app(worker=False, workflows=[waits])
    handle = await client.start(waits)
    await status_is(worker, handle.instance_id, Status.WAITING)
    monkeypatch.setattr(waiting, "_SILENT_FOR", 1.0)
    times: list[None] = []

    def counted(*args: Any) -> Any:
        times.append(None)
        looks.set()
        return alive(*args)

    monkeypatch.setattr(waiting, "alive", counted)
    callers = [asyncio.create_task(client.handle(handle.instance_id, waits).result()) for _ in range(200)]
    assert await asyncio.to_thread(looks.wait, 60)
    await handle.signal(Go, "went")

    assert await asyncio.wait_for(asyncio.gather(*callers), 60) == ["went"] * 200
    assert len(times) < 20


async def test_code_without_await_is_told_too(
    backend: str, storage_url: str, open_app: Open, looks: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    if backend == "memory":
        pytest.skip("capability: a database of this kind lives in one process")
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def ask() -> Any:
        with SyncRomancy(storage_url, worker=False, workflows=[waits]) as client:
            handle = client.start(waits)
            loop.call_soon_threadsafe(started.set_result, handle.instance_id)
            return handle.result()

    wait = asyncio.create_task(asyncio.to_thread(ask))
    instance_id = await asyncio.wait_for(started, 60)
    assert await asyncio.to_thread(looks.wait, 60)
    worker = await open_app(workflows=[waits])
    await worker.signal(instance_id, Go, "went")

    assert await asyncio.wait_for(wait, 60) == "went"
    assert len(said(caplog)) == 1
