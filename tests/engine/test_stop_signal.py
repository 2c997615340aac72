"""A process that only works: `serve` drains it on the first signal to stop, and ends it at once on the second."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from romancy import Romancy, UsageError
from romancy.engine import ToldToStop

PROGRAM = """
import asyncio
from functools import partial
from romancy import Romancy, WorkflowContext, activity, workflow

@activity
async def lasts(seconds: float) -> str:
    print("begun", flush=True)
    await asyncio.sleep(seconds)
    return "ended"

@workflow
async def line(ctx: WorkflowContext, seconds: float) -> str:
    return await lasts(seconds)

async def main() -> None:
    async with Romancy("memory://", workflows=[line]) as app:
        handle = await app.start(line, {seconds})
        asyncio.get_running_loop().call_soon(partial(print, "listening", flush=True))
        await app.serve()
        print((await handle.status()).value, flush=True)

with asyncio.Runner(loop_factory={loop}) as runner:
    runner.run(main())
"""
WITHOUT_HANDLERS = """
class Loop(asyncio.SelectorEventLoop):
    def add_signal_handler(self, *_: object) -> None:
        raise NotImplementedError
"""
LOOPS = {"handlers of the loop": ("", "None"), "handlers of Python, as on Windows": (WITHOUT_HANDLERS, "Loop")}


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> tuple[str, str]:
    """What a program adds for its kind of loop: its class, and its name."""
    return LOOPS[request.param]


def run(seconds: float, loop: tuple[str, str]) -> subprocess.Popen[str]:
    body = PROGRAM.replace("{seconds}", str(seconds)).replace("{loop}", loop[1])
    command = [sys.executable, "-c", body.replace("import asyncio\n", f"import asyncio\n{loop[0]}", 1)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert {process.stdout.readline(), process.stdout.readline()} == {"begun\n", "listening\n"}
    return process


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_may_end_before_the_process_does(told: signal.Signals, loop: tuple[str, str]) -> None:
    with run(0.5, loop) as process:
        process.send_signal(told)
        assert process.communicate(timeout=60)[0] == "completed\n"
        assert process.returncode == 0


def test_told_twice_it_ends_at_once(loop: tuple[str, str]) -> None:
    with run(60, loop) as process:
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:  # the first one may not have been handled yet
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        assert process.returncode == -signal.SIGTERM


def test_what_is_ignored_stays_ignored_and_a_second_signal_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without handlers of the loop. The child of `run --reload` ignores Ctrl-Break, which its parent hears as well."""
    heard: list[int] = []

    def refuse(*_: object) -> None:
        raise NotImplementedError

    async def main() -> object:
        monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", refuse)
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            with ToldToStop() as told:
                assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
                signal.raise_signal(signal.SIGINT)
                assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
                await told.wait()
                heard.append(signal.SIGINT)
            return signal.getsignal(signal.SIGTERM)
        finally:
            signal.signal(signal.SIGTERM, before)

    asked = signal.getsignal(signal.SIGINT)
    try:
        assert asyncio.run(main()) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, asked)
    assert heard == [signal.SIGINT]


def test_another_thread_hears_no_signals() -> None:
    errors: list[BaseException] = []

    async def serve() -> None:
        async with Romancy("memory://", workflows=[]) as app:
            with pytest.raises(UsageError, match="main thread") as raised:
                await app.serve()
            errors.append(raised.value)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_serving_without_a_worker_is_refused_with_what_to_do() -> None:
    async def serve() -> None:
        async with Romancy("memory://", workflows=[], worker=False) as app:
            await app.serve()

    with pytest.raises(UsageError, match=r"worker=False.*with_worker\(\).*romancy run MODULE:APP"):
        asyncio.run(serve())


def test_a_worker_is_asked_for_before_the_app_is_opened() -> None:
    async def ask() -> None:
        app = Romancy("memory://", workflows=[], worker=False)
        async with app.with_worker():
            app.with_worker()

    with pytest.raises(UsageError, match="open already"):
        asyncio.run(ask())
