"""The product without what macOS and Windows lack: every module is imported, and programs run as on macOS.

This is no Mac and no Windows. It shows that nothing needs a name that these systems do not have.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tools import readme_program
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PRODUCT: Final = ("romancy", "romancy_sqlite", "romancy_postgres", "romancy_mysql")
SUITE: Final = ("romancy_conformance",)
TREE: Final = tuple(str(ROOT / part) for part in ("", "backends", "conformance_tests"))
ROMANCY: Final = (sys.executable, "-m", "romancy")
CUSTOMIZE: Final = "from tests.machines.lacking import SYSTEMS, strip\nstrip(SYSTEMS['macos'])\n"

SHOP: Final = """
import asyncio
import os
import sys

from romancy import EventType, RetryPolicy, Romancy, Status, WorkflowContext, activity, workflow
from romancy.engine.host import this_host

Paid = EventType("paid", int)
LEASE = 3.0

@activity(retry=RetryPolicy.fixed(3, 0.05), pass_context=True)
async def charge(ctx, amount: int) -> int:
    if ctx.attempt < 3:
        raise ConnectionError("the terminal is not there")
    return amount

@activity
async def pack() -> str:
    if os.environ["HOW"] == "dies":
        print("packing", flush=True)
        await asyncio.Event().wait()
    return "packed"

@workflow
async def order(ctx: WorkflowContext) -> int:
    await ctx.sleep(0.05)
    return await charge((await ctx.wait_event(Paid)).data)

@workflow
async def parcel(ctx: WorkflowContext) -> str:
    return await pack()

app = Romancy("sqlite:///shop.db", workflows=[order, parcel], lease=LEASE)
"""
WHOLE: Final = """
import time
from shop import *

async def main():
    assert not this_host().boot_id, "this system tells nothing about processes"
    async with app:
        handle = await app.start(order)
        await handle.signal(Paid, 7)
        assert 7 == await handle.result(timeout=60)
        print(await handle.status() is Status.COMPLETED)

asyncio.run(main())
"""
TAKEN_OVER: Final = """
import time
from shop import *

async def main():
    begun = time.monotonic()
    async with app:
        assert "packed" == await app.handle("one", parcel).result(timeout=60)
    print(time.monotonic() - begun)

asyncio.run(main())
"""


@pytest.fixture
def as_on_macos(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a Python, and of its children, without what Linux alone has."""
    folder = tmp_path / "customized"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CUSTOMIZE, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *TREE])}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    return folder


def python(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """Run Python to its end, and return its output; fail if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("system", "packages", "least"),
    [("windows", PRODUCT, 490), ("windows", SUITE, 290), ("macos", PRODUCT, 490)],
    ids=["windows", "windows, the suite", "macos"],
)
def test_every_module_can_be_imported(tmp_path: Path, system: str, packages: tuple[str, ...], least: int) -> None:
    tree = {**os.environ, "PYTHONPATH": os.pathsep.join(TREE)}

    said = python(tmp_path, tree, "-W", "ignore", "-m", "tests.machines.lacking", system, *packages)

    assert int(said) >= least


@pytest.mark.long
def test_names_of_linux_and_its_files_are_gone(tmp_path: Path, as_on_macos: Mapping[str, str]) -> None:
    program = (
        "import os, select, signal, socket, time\n"
        "for module, name in ((os, 'pidfd_open'), (select, 'epoll'), (signal, 'SIGRTMIN'), (time, 'CLOCK_BOOTTIME')):\n"
        "    assert not hasattr(module, name), name\n"
        "for path in ('/proc/self/stat', '/proc/sys/kernel/random/boot_id'):\n"
        "    try:\n"
        "        open(path)\n"
        "    except FileNotFoundError:\n"
        "        print(path)\n"
        "try:\n"
        "    os.readlink('/proc/self/ns/pid')\n"
        "except FileNotFoundError:\n"
        "    print('no link')\n"
    )

    assert len(python(tmp_path, as_on_macos, "-c", program).splitlines()) == 3


@pytest.mark.long
def test_the_program_of_the_readme(tmp_path: Path, as_on_macos: Mapping[str, str]) -> None:
    printed, seen = readme_program.play(sys.executable, tmp_path, as_on_macos)

    assert printed == seen


@pytest.mark.long
def test_signals_timers_and_retries(shop: Path, as_on_macos: Mapping[str, str]) -> None:
    assert python(shop, as_on_macos, "-c", WHOLE) == "True\n"


@pytest.mark.long
def test_the_demo(tmp_path: Path, as_on_macos: Mapping[str, str]) -> None:
    said = python(tmp_path, as_on_macos, "-m", "romancy", "demo")

    assert "kill -9" in said
    assert "the trip failed: no cars left in Lisbon" in said


@pytest.mark.long
def test_a_worker_that_runs_until_ctrl_c(shop: Path, as_on_macos: Mapping[str, str]) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([*ROMANCY, "run", "shop"], cwd=shop, env=as_on_macos, stderr=pipe, text=True) as worker:
        assert worker.stderr is not None
        assert any("worker runs 2 workflows" in line for line in iter(worker.stderr.readline, ""))
        worker.send_signal(signal.SIGINT)
        said = worker.stderr.read()

    assert worker.returncode == 0
    assert "worker has stopped" in said


@pytest.mark.long
def test_a_killed_worker_is_followed_after_its_lease(shop: Path, as_on_macos: Mapping[str, str]) -> None:
    """Where the system does not tell that a process is gone, others wait for the end of its lease."""
    dying = {**as_on_macos, "HOW": "dies"}
    with subprocess.Popen([*ROMANCY, "run", "shop", "--quiet"], cwd=shop, env=dying, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        python(shop, dying, "-m", "romancy", "start", "shop", "parcel", "--id", "one")
        assert worker.stdout.readline().rstrip() == b"packing"
        worker.kill()

    took = float(python(shop, {**as_on_macos, "HOW": "lives"}, "-c", TAKEN_OVER))

    assert took >= 3.0
