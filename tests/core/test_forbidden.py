"""Whatever would leave the deterministic loop is refused by name, with an alternative, and the instance is not lost."""

from __future__ import annotations

import _thread
import asyncio
import inspect
import multiprocessing
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.to_thread
import pytest

from romancy.context import WorkflowContext
from romancy.core import Run, WorkflowParked, WorkflowStarted
from romancy.workflow import Workflow, workflow
from romancy_conformance.workflows.activities import echo
from tests.core.driver import started

Leave = Callable[[], Any]


def pool() -> Any:
    with ThreadPoolExecutor() as threads:
        return threads.submit(time.monotonic).result()


def plain_socket() -> None:
    with socket.socket() as plain:
        plain.connect(("127.0.0.1", 9))


def plain_server() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))


def from_a_thread() -> Any:
    coroutine = echo(1)
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop())
    finally:
        coroutine.close()


def another_runner() -> Any:
    with asyncio.Runner() as runner:
        return runner.get_loop()


loop: Callable[[], Any] = asyncio.get_running_loop

LEAVING: dict[str, tuple[Leave, str]] = {
    "open_connection": (lambda: asyncio.open_connection("localhost", 9), "loop.create_connection()"),
    "create_subprocess": (lambda: asyncio.create_subprocess_exec("true"), "loop.subprocess_exec()"),
    "run_in_executor": (lambda: loop().run_in_executor(None, time.monotonic), "loop.run_in_executor()"),
    "to_thread": (lambda: asyncio.to_thread(time.monotonic), "loop.run_in_executor()"),
    "anyio_to_thread": (lambda: anyio.to_thread.run_sync(time.monotonic), "Thread.start()"),
    "anyio_connect": (lambda: anyio.connect_tcp("localhost", 9), "loop.getaddrinfo()"),
    "anyio_process": (lambda: anyio.run_process(["true"]), "loop.subprocess_exec()"),
    "own_thread": (lambda: threading.Thread(target=print).start(), "Thread.start()"),
    "pool": (pool, "Thread.start()"),
    "from_another_thread": (lambda: loop().call_soon_threadsafe(print), "loop.call_soon_threadsafe()"),
    "signal_handler": (lambda: loop().add_signal_handler(10, print), "loop.add_signal_handler()"),
    "add_reader": (lambda: loop().add_reader(0, print), "loop.add_reader()"),
    "nested_loop": (lambda: loop().run_forever(), "loop.run_forever()"),
    "eager_tasks": (lambda: loop().create_task(asyncio.sleep(0), eager_start=True), "create_task(eager_start=True)"),
    "task_factory": (lambda: loop().set_task_factory(None), "loop.set_task_factory()"),
    "raw_thread": (lambda: _thread.start_new_thread(print, ()), "_thread.start_new_thread"),
    "another_loop": (lambda: asyncio.new_event_loop(), "asyncio.new_event_loop()"),  # noqa: PLW0108 - looked up in the run
    "another_loop_by_its_module": (lambda: asyncio.events.new_event_loop(), "asyncio.new_event_loop()"),  # noqa: PLW0108 - looked up in the run
    "another_runner": (another_runner, "asyncio.new_event_loop()"),
    "plain_socket": (plain_socket, "socket.connect"),
    "database_in_a_file": (lambda: sqlite3.connect(":memory:").close(), "sqlite3.connect"),
    "name_lookup": (lambda: socket.getaddrinfo("localhost", 80), "socket.getaddrinfo"),
    "plain_subprocess": (lambda: subprocess.run(["true"], check=True), "subprocess.Popen"),
    "another_program": (lambda: os.posix_spawn("/bin/true", ["true"], {}), "os.posix_spawn"),
    "fork": (os.fork, "os.fork"),
    "forked_process": (lambda: multiprocessing.get_context("fork").Process(target=int).start(), "os.fork"),
    "spawned_process": (lambda: multiprocessing.get_context("spawn").Process(target=int).start(), "Process.start()"),
    "datagrams": (
        lambda: loop().create_datagram_endpoint(asyncio.DatagramProtocol), "loop.create_datagram_endpoint()"
    ),
    "unix_socket": (lambda: asyncio.open_unix_connection("nowhere"), "loop.create_unix_connection()"),
    "server": (lambda: asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0), "loop.create_server()"),
    "plain_server": (plain_server, "socket.bind"),
    "from_a_thread": (from_a_thread, "loop.call_soon_threadsafe()"),
    "timer_thread": (lambda: threading.Timer(0.01, int).start(), "Thread.start()"),
}  # fmt: skip
"""What leaves the loop, and the call that the reason names."""


def park_reason(wf: Workflow[[], Any]) -> str:
    run = Run(wf, instance_id="x")
    activation = run.activate([started(wf)])
    run.close()
    assert activation.parked is not None
    assert [type(event) for event in activation.events] == [WorkflowStarted, WorkflowParked]
    assert activation.effects == []
    return activation.parked


@pytest.mark.parametrize(("leave", "call"), LEAVING.values(), ids=LEAVING.keys())
def test_leaving_the_loop_parks_the_run(leave: Leave, call: str) -> None:
    @workflow(name="leaves")
    async def leaves(ctx: WorkflowContext) -> None:
        answer = leave()
        if inspect.isawaitable(answer):
            await answer

    reason = park_reason(leaves)
    assert call in reason
    assert "move it into an activity" in reason


def test_swallowing_the_error_changes_nothing() -> None:
    @workflow
    async def swallows(ctx: WorkflowContext) -> int:
        try:
            await asyncio.to_thread(time.monotonic)
        except Exception:  # noqa: BLE001 - what a careless workflow does
            return await echo(1)
        return 0

    assert "run_in_executor" in park_reason(swallows)


def test_a_future_of_another_loop() -> None:
    other = asyncio.new_event_loop()
    foreign = other.create_future()

    @workflow
    async def awaits_foreign(ctx: WorkflowContext) -> None:
        await foreign

    reason = park_reason(awaits_foreign)
    other.close()
    assert "belongs to another event loop" in reason


def test_a_future_that_nobody_will_resolve_is_named_with_its_place() -> None:
    @workflow
    async def forgotten(ctx: WorkflowContext) -> None:
        await asyncio.get_running_loop().create_future()

    reason = park_reason(forgotten)
    assert "awaits something that no event can bring" in reason
    assert "forgotten, line" in reason


def test_a_workflow_that_never_yields() -> None:
    @workflow
    async def spins(ctx: WorkflowContext) -> None:
        while True:  # noqa: ASYNC110 - what is to be refused
            await asyncio.sleep(0)

    assert "never yields" in park_reason(spins)


def test_a_result_that_cannot_be_written() -> None:
    @workflow
    async def returns_a_lock(ctx: WorkflowContext) -> int:
        return threading.Lock()  # type: ignore[return-value]

    reason = park_reason(returns_a_lock)
    assert "the workflow's result cannot be written" in reason
    assert "returns_a_lock" in reason


def test_an_endless_recursion_is_an_ordinary_failure() -> None:
    @workflow
    async def digs(ctx: WorkflowContext) -> int:
        async def dig(n: int) -> int:
            return await dig(n + 1)

        return await dig(0)

    run = Run(digs, instance_id="x")
    activation = run.activate([started(digs)])
    assert activation.outcome is not None
    assert activation.outcome.error is not None
    assert activation.outcome.error.type == "RecursionError"


def test_the_same_calls_are_fine_outside_of_a_run() -> None:
    async def host() -> float:
        run = Run(_idle, instance_id="x")
        run.activate([started(_idle)])
        answer = await asyncio.to_thread(time.monotonic)
        run.close()
        return answer

    assert asyncio.run(host()) <= time.monotonic()
    assert sys.getrecursionlimit() > 0


@workflow(name="idle")
async def _idle(ctx: WorkflowContext) -> None:
    await ctx.sleep(1)
