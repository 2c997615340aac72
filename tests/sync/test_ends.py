"""How a `SyncRomancy` and a program end: twice, at the interpreter's end, and by Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from romancy import UsageError, WorkflowContext, workflow
from romancy.sync import SyncRomancy

if TYPE_CHECKING:
    from pathlib import Path

README: Final = """
import asyncio
from romancy import Romancy, WorkflowContext, activity, workflow

@activity
async def pack(number: int) -> None:
    print("packs", flush=True)
    await asyncio.sleep(60)

@workflow
async def order(ctx: WorkflowContext) -> None:
    await asyncio.gather(*(pack(number) for number in range({count})))

async def main() -> None:
    async with Romancy("sqlite:///orders.db") as app:
        await app.run(order)

{run}
"""
RUNS: Final = {
    "uncaught": "asyncio.run(main())",
    "caught": "try:\n    asyncio.run(main())\nexcept KeyboardInterrupt:\n    print('caught')",
    "hook": "import sys\nsys.excepthook = lambda kind, *_: print('hook', kind.__name__)\nasyncio.run(main())",
}
SYNC: Final = """
import time
from romancy import WorkflowContext, activity, workflow
from romancy.sync import SyncRomancy

@activity
async def pack() -> None:
    import asyncio
    print("packs", flush=True)
    await asyncio.sleep(60)

@workflow
async def order(ctx: WorkflowContext) -> None:
    await pack()

with SyncRomancy("sqlite:///orders.db", workflows=[order]) as app:
    app.run(order)
"""
AT_EXIT: Final = """
import atexit
from romancy import UsageError, WorkflowContext, workflow
from romancy.sync import SyncRomancy

@workflow
async def one(ctx: WorkflowContext) -> int:
    return 1

app = SyncRomancy("sqlite:///orders.db", workflows=[one]).open()

@atexit.register
def last() -> None:
    for call in (lambda: app.run(one), lambda: app.list_instances(), lambda: app.handle("x").status()):
        try:
            call()
        except UsageError as error:
            print(error)
    app.close()
    print("closed")
"""


@workflow
async def one(ctx: WorkflowContext) -> int:
    return 1


def interrupted(folder: Path, program: str, packs: int = 1) -> tuple[int, str, str]:
    """The exit code and the output of a program that gets a SIGINT while its activities run."""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(packs):
            assert process.stdout.readline() == "packs\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_ctrl_c_ends_with_one_line_and_no_traceback(tmp_path: Path) -> None:
    code, _, err = interrupted(tmp_path, README.format(count=1, run=RUNS["uncaught"]))
    assert code == -signal.SIGINT
    assert err == "1 activity was interrupted; it begins again when a worker runs\n"


def test_several_activities_are_counted(tmp_path: Path) -> None:
    _, _, err = interrupted(tmp_path, README.format(count=3, run=RUNS["uncaught"]), packs=3)
    assert err == "3 activities were interrupted; they begin again when a worker runs\n"


def test_a_program_may_catch_the_ctrl_c(tmp_path: Path) -> None:
    code, out, _ = interrupted(tmp_path, README.format(count=1, run=RUNS["caught"]))
    assert (code, out) == (0, "caught\n")


def test_a_hook_of_the_program_stays(tmp_path: Path) -> None:
    _, out, _ = interrupted(tmp_path, README.format(count=1, run=RUNS["hook"]))
    assert out == "hook KeyboardInterrupt\n"


def test_ctrl_c_in_a_program_without_await(tmp_path: Path) -> None:
    code, _, err = interrupted(tmp_path, SYNC)
    assert code == -signal.SIGINT
    assert err == "1 activity was interrupted; it begins again when a worker runs\n"


def test_to_close_twice_is_no_mistake(tmp_path: Path) -> None:
    with SyncRomancy(f"sqlite:///{tmp_path}/a.db", workflows=[one]) as app:
        assert app.run(one) == 1
        app.close()
        app.close()
        with pytest.raises(UsageError, match="this app is not open"):
            app.run(one)
    never = SyncRomancy(f"sqlite:///{tmp_path}/a.db")
    never.close()
    with app:
        assert app.run(one) == 1


def test_a_call_at_the_interpreters_end_is_told_why_it_cannot_be_made(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", AT_EXIT], cwd=tmp_path, capture_output=True, text=True, check=True)
    *refused, last = done.stdout.splitlines()
    assert len(refused) == 3
    assert all("the interpreter is ending and has closed this app" in line for line in refused)
    assert (last, done.stderr) == ("closed", "")
