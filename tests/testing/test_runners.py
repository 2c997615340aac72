"""The kit under every common runner of async tests, each as a run of its own, and what an unrelated run loads."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

APP = """
from datetime import timedelta
from romancy import WorkflowContext, activity, workflow
from romancy.testing import TestApp

@activity
async def note(day: int) -> int:
    raise ConnectionError("no test should get here")

@workflow
async def days(ctx: WorkflowContext, count: int) -> int:
    for day in range(count):
        await note(day)
        await ctx.sleep(timedelta(days=1))
    return count

async def try_it(app: TestApp) -> None:
    app.calls.clear()
    before = app.skips
    app.mock(note, 1)
    assert await app.run(days, 3) == 3
    assert (app.skips - before, len(app.calls)) == (3, 3)
"""
ANYIO = """
import pytest
from days import TestApp, days, try_it

@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="SCOPE")
async def app(anyio_backend):
    async with TestApp([days]) as app:
        yield app

@pytest.mark.anyio
@pytest.mark.parametrize("number", range(4))
async def test_days(app, number):
    await try_it(app)
"""
ASYNCIO = """
import pytest
import pytest_asyncio
from days import TestApp, days, try_it

@pytest_asyncio.fixture(scope="SCOPE", loop_scope="SCOPE")
async def app():
    async with TestApp([days]) as app:
        yield app

@pytest.mark.asyncio(loop_scope="SCOPE")
@pytest.mark.parametrize("number", range(4))
async def test_days(app, number):
    await try_it(app)
"""
UNITTEST = """
import unittest
from days import TestApp, days, try_it

class DaysTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.app = await self.enterAsyncContext(TestApp([days]))

    async def test_days(self):
        await try_it(self.app)

    async def test_more_days(self):
        await try_it(self.app)
"""
PLUGIN = """
import pytest
from days import days, try_it

pytestmark = pytest.mark.asyncio

async def test_days(romancy_app, romancy_histories):
    async with romancy_app([days]) as app:
        await try_it(app)
        handle = await app.start(days, 1)
        await handle.result()
        await romancy_histories.check(handle, "one-day")

async def test_left_open(romancy_app):
    await romancy_app([days]).__aenter__()
"""
ASYNCIO_PLUGIN = "pytest_asyncio.plugin"
"""Not "asyncio": pytest then compiles the standard library's modules of that name too, and root's run caches them."""
UNRELATED = """
import sys

def test_nothing():
    print("loaded", sorted(name for name in sys.modules if name.startswith("romancy")))
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Run pytest with these plugins alone in a folder of its own, without the settings of this tree."""

    def run(test: str, *args: str, plugins: Sequence[str] = (), module: str = "pytest") -> tuple[int, str]:
        (tmp_path / "days.py").write_text(APP)
        (tmp_path / "test_days.py").write_text(test)
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_PLUGINS"):
            environment.pop(name, None)
        loaded = [word for plugin in plugins for word in ("-p", plugin)]
        done = subprocess.run(
            [sys.executable, "-m", module, "-q", *loaded, *args],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def test_an_unrelated_run_loads_no_part_of_the_library(run: Callable[..., tuple[int, str]]) -> None:
    """One entry point of the wheel is for pytest: the suite for stores. It loads itself and nothing else."""
    ours = [point for point in entry_points(group="pytest11") if "romancy" in point.value]
    assert [point.value for point in ours] == ["romancy_conformance.plugin"]
    code, said = run(UNRELATED, "-s", plugins=[point.name for point in ours])
    assert code == 0, said
    assert "loaded ['romancy_conformance', 'romancy_conformance.plugin']" in said


@pytest.mark.parametrize("scope", ["function", pytest.param("session", marks=pytest.mark.long)])
def test_pytest_asyncio(run: Callable[..., tuple[int, str]], scope: str) -> None:
    option = "asyncio_default_fixture_loop_scope=function"
    code, said = run(ASYNCIO.replace("SCOPE", scope), "-o", option, plugins=[ASYNCIO_PLUGIN])
    assert (code, "4 passed" in said) == (0, True), said


@pytest.mark.long
@pytest.mark.parametrize("scope", ["function", "session"])
def test_anyio(run: Callable[..., tuple[int, str]], scope: str) -> None:
    code, said = run(ANYIO.replace("SCOPE", scope), plugins=["anyio"])
    assert (code, "4 passed" in said) == (0, True), said


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="capability: uvloop does not run here")
def test_uvloop(run: Callable[..., tuple[int, str]]) -> None:
    """The clock of a test reads the loop's turns, and this loop has turns of its own kind."""
    text = ANYIO.replace("SCOPE", "function").replace('return "asyncio"', 'return ("asyncio", {"use_uvloop": True})')
    text += "    assert type(asyncio.get_running_loop()).__module__.startswith('uvloop')\n"
    code, said = run(f"import asyncio\n{text}", plugins=["anyio"])
    assert (code, "4 passed" in said) == (0, True), said


@pytest.mark.long
def test_xdist(run: Callable[..., tuple[int, str]]) -> None:
    code, said = run(ANYIO.replace("SCOPE", "session"), "-n", "2", plugins=["anyio", "xdist"])
    assert (code, "4 passed" in said) == (0, True), said


def test_unittest(run: Callable[..., tuple[int, str]]) -> None:
    code, said = run(UNITTEST, module="unittest")
    assert (code, "OK" in said) == (0, True), said


@pytest.mark.long
def test_the_plugin(run: Callable[..., tuple[int, str]]) -> None:
    plugins = [ASYNCIO_PLUGIN, "romancy.testing.plugin"]
    quiet = ("-W", "ignore")
    code, said = run(PLUGIN, *quiet, plugins=plugins)
    assert (code, "one-day.jsonl is missing: run pytest with --record-histories" in said) == (1, True), said
    assert "the test has left a TestApp open" in said
    code, said = run(PLUGIN, *quiet, "-k", "not left_open", "--record-histories", plugins=plugins)
    assert (code, "1 passed" in said) == (0, True), said
    code, said = run(PLUGIN, *quiet, "-k", "not left_open", plugins=plugins)
    assert (code, "1 passed" in said) == (0, True), said
