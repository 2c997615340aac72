"""Ends a test process whose test does not end, so that the run of the tests does.

pytest-timeout raises in the main thread when a test has reached its time limit. If that interrupts an event loop, the
task that runs the test stays as it was, and the tear-down of an asynchronous fixture waits for it without a limit.
After any other failure, pytest-timeout does not watch the tear-down at all. A minute after the limit, this pytest
plugin prints the stacks of all threads and tasks and ends the process, unless somebody debugs it. With several
processes, xdist then reports the test as failed and starts another process.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

GRACE: Final = "timeout_grace"
_TIMER = pytest.StashKey[threading.Timer]()
_STDERR = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        GRACE, "seconds that a test has after its time limit to report its failure and to clean up", default=60
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real standard error, for pytest captures it while a test runs."""
    assert sys.__stderr__ is not None
    config.stash[_STDERR] = os.dup(sys.__stderr__.fileno())


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_STDERR])


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Generator[None, object, object]:
    """Watch the test, which begins now."""
    limit = settings.timeout + float(item.config.getini(GRACE))
    timer = item.config.stash[_TIMER] = threading.Timer(limit, _end, (item.nodeid, limit, item.config.stash[_STDERR]))
    timer.daemon = True
    timer.start()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Stop watching when the fixtures of the test are torn down."""
    try:
        return (yield)
    finally:
        _stop(item.config)


def pytest_enter_pdb(config: pytest.Config) -> None:
    """Stop watching while somebody debugs the test."""
    _stop(config)


def _stop(config: pytest.Config) -> None:
    if _TIMER in config.stash:
        config.stash[_TIMER].cancel()


def _end(test: str, seconds: float, stderr: int) -> None:
    try:
        with open(stderr, "w", encoding="utf-8") as out:
            print(f"\n{test} has not ended after {seconds:.0f} s; its process ends here:", file=out, flush=True)
            faulthandler.dump_traceback(out)
            tasks: list[asyncio.Task[Any]] = [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]
            for task in tasks:
                if not task.done():
                    print(f"\n{task.get_name()}:", *_places(task.get_coro()), sep="\n  ", file=out)
    finally:
        os._exit(1)


def _places(running: Any) -> Generator[str]:
    """Yield where the coroutine waits, and where each one waits that it awaits."""
    while running is not None:
        kind = {"coroutine": "cr", "generator": "gi", "async_generator": "ag"}.get(type(running).__name__, "")
        frame = getattr(running, f"{kind}_frame", None)
        if frame is not None:
            yield f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        running = getattr(running, "gi_yieldfrom" if kind == "gi" else f"{kind}_await", None)
