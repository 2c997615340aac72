"""Which exceptions in an activity end the process: Ctrl-C does, the activity's own exceptions do not."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import asyncio, os, signal
from romancy import RetryExhaustedError, RetryPolicy, Romancy, WorkflowContext, activity, workflow

@activity(retry=RetryPolicy.none())
async def stops(how: str) -> None:
    if how == "raised":
        raise KeyboardInterrupt
    os.kill(os.getpid(), signal.SIGINT)  # the first one cancels the program, the second one interrupts this
    os.kill(os.getpid(), signal.SIGINT)

@workflow
async def calls(ctx: WorkflowContext, how: str) -> str:
    try:
        await stops(how)
    except RetryExhaustedError as error:
        return str(error)
    return "nothing was raised"

async def main() -> None:
    async with Romancy("memory://") as app:
        print(await app.run(calls, HOW))

asyncio.run(main())
"""


@pytest.mark.parametrize(("how", "ends"), [("raised", False), ("pressed", True)])
def test_a_keyboard_interrupt(tmp_path: Path, how: str, ends: bool) -> None:  # noqa: FBT001 - what is expected
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("HOW", repr(how)))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert ("raised KeyboardInterrupt, which does not end its worker" in done.stdout) is not ends
    assert (done.returncode != 0) is ends
    assert "does not answer" not in done.stderr, "an interrupted worker waits for no answer of its own tasks"
