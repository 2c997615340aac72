"""The failpoint: refused when it names no write, kills at the write it names, and is unknown to Romancy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from romancy_conformance.failpoint import Failpoint

PROGRAM = """
import asyncio, sys
from romancy import Romancy, workflow
from romancy_conformance.failpoint import Failpoint

@workflow
async def nothing(ctx):
    return None

async def main():
    async with Romancy("memory://failpoint") as app:
        await app.run(nothing)
        print("one", flush=True)
        await app.run(nothing)
        print("two", flush=True)

for text in sys.argv[1:]:
    Failpoint(text).arm()
asyncio.run(main())
"""


def run(*points: str, **variables: str) -> tuple[int, list[str]]:
    """Return how the program ended, and its output."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *points],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return ended.returncode, ended.stdout.split()


@pytest.mark.parametrize("text", ["", "commit", "commit:during:1", "lunch:before:1", "commit:before:x"])
def test_a_failpoint_that_names_no_write_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names no write"):
        Failpoint(text)


@pytest.mark.parametrize(
    ("fail", "said"), [("commit:before:1", []), ("commit:after:1", []), ("commit:before:2", ["one"])]
)
def test_a_failpoint_kills_at_its_commit(fail: str, said: list[str]) -> None:
    assert run(fail) == (-signal.SIGKILL, said)


def test_no_environment_variable_sets_a_failpoint() -> None:
    assert run(ROMANCY_FAIL="commit:before:1") == (0, ["one", "two"])
