"""The time limit of each test of the suite where it judges an adapter: `pytest --storage-url URL`.

A test that waits longer fails, and the next one runs. If a test blocks its thread, or does not let itself be cancelled,
the process prints the results so far and where it is, and ends.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import inspect
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Watch", "limit_of", "within_limit"]

_SECONDS: Final = 120.0
_GRACE: Final = 60.0
_VARIABLE: Final = "ROMANCY_CONFORMANCE_LIMIT"


def limit_of(item: pytest.Item) -> float:
    """How many seconds this test may take: its mark, or what the environment says, or two minutes."""
    mark = item.get_closest_marker("timeout")
    if mark is not None and mark.args:
        return float(mark.args[0])
    return float(os.environ.get(_VARIABLE, _SECONDS))


def within_limit(item: pytest.Function) -> None:
    """Let an asynchronous test fail at its limit. Those of hypothesis are left to `Watch`: each example is a call."""
    test = item.obj
    if not inspect.iscoroutinefunction(test) or hasattr(test, "hypothesis"):
        return
    item.obj = _limited(test, limit_of(item))


def _limited(test: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    @functools.wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await test(*args, **kwargs)
        except TimeoutError:
            if limit.expired():
                pytest.fail(f"the test has not ended after {seconds:.0f} s")
            raise

    return limited


class Watch:
    """Ends the process if a test, with its fixtures, goes far beyond its limit."""

    def __init__(self, config: pytest.Config, report: Callable[[], None]) -> None:
        self._report = report
        stderr = sys.__stderr__
        self._stderr = os.dup(stderr.fileno() if stderr is not None else 2)  # pytest takes the other one while it runs
        self._capture: Any = config.pluginmanager.getplugin("capturemanager")

    def pytest_unconfigure(self) -> None:
        os.close(self._stderr)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        timer = threading.Timer(limit_of(item) + _GRACE, self._end, (item.nodeid,))
        timer.daemon = True
        timer.start()
        try:
            return (yield)
        finally:
            timer.cancel()

    def _end(self, test: str) -> None:
        try:
            if self._capture is not None:
                self._capture.suspend_global_capture(in_=True)
            self._report()
            sys.stdout.flush()
            with open(self._stderr, "w", encoding="utf-8", closefd=False) as out:
                print(f"\n{test} does not end; the run ends here:", file=out, flush=True)
                faulthandler.dump_traceback(out)
        finally:
            os._exit(1)
