"""Whatever would leave the deterministic loop is refused by name, with an alternative, and the instance is not lost."""

from __future__ import annotations

import _thread
import asyncio
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.to_thread
import pytest
from msgspec import Raw

from romancy.context import WorkflowContext
from romancy.core import Run, WorkflowParked, WorkflowStarted
from romancy.workflow import workflow
from romancy_conformance.workflows.activities import echo
from tests.core.driver import START

Leave = Callable[[], Awaitable[Any]]


async def open_connection() -> Any:
    return await asyncio.open_connection("localhost", 9)


async def create_subprocess() -> Any:
    return await asyncio.create_subprocess_exec("true")


async def run_in_executor() -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, time.monotonic)


async def to_thread() -> Any:
    return await asyncio.to_thread(time.monotonic)


async def anyio_to_thread() -> Any:
    return await anyio.to_thread.run_sync(time.monotonic)


async def anyio_connect() -> Any:
    return await anyio.connect_tcp("localhost", 9)


async def anyio_process() -> Any:
    return await anyio.run_process(["true"])


async def own_thread() -> Any:
    threading.Thread(target=print).start()


async def pool() -> Any:
    with ThreadPoolExecutor() as threads:
        return threads.submit(time.monotonic).result()


async def from_another_thread() -> Any:
    asyncio.get_running_loop().call_soon_threadsafe(print)


async def signal_handler() -> Any:
    asyncio.get_running_loop().add_signal_handler(10, print)


async def add_reader() -> Any:
    asyncio.get_running_loop().add_reader(0, print)


async def nested_loop() -> Any:
    asyncio.get_running_loop().run_forever()


async def eager_tasks() -> Any:
    loop: Any = asyncio.get_running_loop()
    return loop.create_task(asyncio.sleep(0), eager_start=True)


async def task_factory() -> Any:
    asyncio.get_running_loop().set_task_factory(None)


async def plain_socket() -> Any:
    with socket.socket() as plain:
        plain.connect(("127.0.0.1", 9))


async def name_lookup() -> Any:
    return socket.getaddrinfo("localhost", 80)


async def plain_subprocess() -> Any:
    return subprocess.run(["true"], check=True)  # noqa: ASYNC221 - what is to be refused


async def another_program() -> Any:
    return os.posix_spawn("/bin/true", ["true"], {})  # noqa: ASYNC221 - what is to be refused


async def fork() -> Any:
    return os.fork()


async def forked_process() -> Any:
    multiprocessing.get_context("fork").Process(target=int).start()


async def spawned_process() -> Any:
    multiprocessing.get_context("spawn").Process(target=int).start()


async def datagrams() -> Any:
    return await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol)


async def unix_socket() -> Any:
    return await asyncio.open_unix_connection("nowhere")


async def server() -> Any:
    return await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)


async def plain_server() -> Any:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))


async def from_a_thread() -> Any:
    coroutine = echo(1)
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, asyncio.get_running_loop())
    finally:
        coroutine.close()


async def timer_thread() -> Any:
    threading.Timer(0.01, int).start()


async def raw_thread() -> Any:
    _thread.start_new_thread(print, ())


async def another_loop() -> Any:
    return asyncio.new_event_loop()


async def another_loop_by_its_module() -> Any:
    return asyncio.events.new_event_loop()


async def another_runner() -> Any:
    with asyncio.Runner() as runner:
        return runner.get_loop()


LEAVING: list[tuple[Leave, str]] = [
    (open_connection, "loop.create_connection()"),
    (create_subprocess, "loop.subprocess_exec()"),
    (run_in_executor, "loop.run_in_executor()"),
    (to_thread, "loop.run_in_executor()"),
    (anyio_to_thread, "Thread.start()"),
    (anyio_connect, "loop.getaddrinfo()"),
    (anyio_process, "loop.subprocess_exec()"),
    (own_thread, "Thread.start()"),
    (pool, "Thread.start()"),
    (from_another_thread, "loop.call_soon_threadsafe()"),
    (signal_handler, "loop.add_signal_handler()"),
    (add_reader, "loop.add_reader()"),
    (nested_loop, "loop.run_forever()"),
    (eager_tasks, "create_task(eager_start=True)"),
    (task_factory, "loop.set_task_factory()"),
    (raw_thread, "_thread.start_new_thread"),
    (another_loop, "asyncio.new_event_loop()"),
    (another_loop_by_its_module, "asyncio.new_event_loop()"),
    (another_runner, "asyncio.new_event_loop()"),
    (plain_socket, "socket.connect"),
    (name_lookup, "socket.getaddrinfo"),
    (plain_subprocess, "subprocess.Popen"),
    (another_program, "os.posix_spawn"),
    (fork, "os.fork"),
    (forked_process, "os.fork"),
    (spawned_process, "Process.start()"),
    (datagrams, "loop.create_datagram_endpoint()"),
    (unix_socket, "loop.create_unix_connection()"),
    (server, "loop.create_server()"),
    (plain_server, "socket.bind"),
    (from_a_thread, "loop.call_soon_threadsafe()"),
    (timer_thread, "Thread.start()"),
]


def park_reason(run: Run, name: str) -> str:
    activation = run.activate([WorkflowStarted(at=START, workflow=name, input=Raw(b"{}"), nonce="n")])
    run.close()
    assert activation.parked is not None
    assert [type(event) for event in activation.events] == [WorkflowStarted, WorkflowParked]
    assert activation.effects == []
    return activation.parked


@pytest.mark.parametrize(("leave", "call"), LEAVING, ids=[leave.__name__ for leave, _ in LEAVING])
def test_leaving_the_loop_parks_the_run(leave: Leave, call: str) -> None:
    @workflow(name="leaves")
    async def leaves(ctx: WorkflowContext) -> None:
        await leave()

    reason = park_reason(Run(leaves, instance_id="x"), "leaves")
    assert call in reason
    assert "move it into an activity" in reason


def test_swallowing_the_error_changes_nothing() -> None:
    @workflow
    async def swallows(ctx: WorkflowContext) -> int:
        try:
            await to_thread()
        except Exception:  # noqa: BLE001 - what a careless workflow does
            return await echo(1)
        return 0

    assert "run_in_executor" in park_reason(Run(swallows, instance_id="x"), "swallows")


def test_a_future_of_another_loop() -> None:
    other = asyncio.new_event_loop()
    foreign = other.create_future()

    @workflow
    async def awaits_foreign(ctx: WorkflowContext) -> None:
        await foreign

    reason = park_reason(Run(awaits_foreign, instance_id="x"), "awaits_foreign")
    other.close()
    assert "belongs to another event loop" in reason


def test_a_future_that_nobody_will_resolve_is_named_with_its_place() -> None:
    @workflow
    async def forgotten(ctx: WorkflowContext) -> None:
        await asyncio.get_running_loop().create_future()

    reason = park_reason(Run(forgotten, instance_id="x"), "forgotten")
    assert "awaits something that no event can bring" in reason
    assert "forgotten, line" in reason


def test_a_workflow_that_never_yields() -> None:
    @workflow
    async def spins(ctx: WorkflowContext) -> None:
        while True:  # noqa: ASYNC110 - what is to be refused
            await asyncio.sleep(0)

    assert "never yields" in park_reason(Run(spins, instance_id="x"), "spins")


def test_a_result_that_cannot_be_written() -> None:
    @workflow
    async def returns_a_lock(ctx: WorkflowContext) -> int:
        return threading.Lock()  # type: ignore[return-value]

    reason = park_reason(Run(returns_a_lock, instance_id="x"), "returns_a_lock")
    assert "the workflow's result cannot be written" in reason
    assert "returns_a_lock" in reason


def test_an_endless_recursion_is_an_ordinary_failure() -> None:
    @workflow
    async def digs(ctx: WorkflowContext) -> int:
        async def dig(n: int) -> int:
            return await dig(n + 1)

        return await dig(0)

    run = Run(digs, instance_id="x")
    activation = run.activate([WorkflowStarted(at=START, workflow="digs", input=Raw(b"{}"), nonce="n")])
    assert activation.outcome is not None
    assert activation.outcome.error is not None
    assert activation.outcome.error.type == "RecursionError"


def test_the_same_calls_are_fine_outside_of_a_run() -> None:
    async def host() -> float:
        run = Run(_idle, instance_id="x")
        run.activate([WorkflowStarted(at=START, workflow="idle", input=Raw(b"{}"), nonce="n")])
        answer = await asyncio.to_thread(time.monotonic)
        run.close()
        return answer

    assert asyncio.run(host()) <= time.monotonic()
    assert sys.getrecursionlimit() > 0


@workflow(name="idle")
async def _idle(ctx: WorkflowContext) -> None:
    await ctx.sleep(1)
