"""The failpoint: not there unless asked for, refused when it names nothing, deadly when it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from romancy import UsageError
from romancy.engine import armed
from romancy.storage.backends import create_store

PROGRAM = """
import asyncio
from romancy import Romancy, workflow

@workflow
async def nothing(ctx):
    return None

async def main():
    async with Romancy("memory://failpoint") as app:
        await app.run(nothing)
        print("one", flush=True)
        await app.run(nothing)
        print("two", flush=True)

asyncio.run(main())
"""


def test_unset_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROMANCY_FAIL", raising=False)
    store = create_store("memory://plain")

    assert armed(store) is store


@pytest.mark.parametrize("text", ["commit", "commit:during:1", "lunch:before:1", "commit:before:x"])
def test_what_names_no_write_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ROMANCY_FAIL", text)

    with pytest.raises(UsageError, match="names no write"):
        armed(create_store("memory://plain"))


@pytest.mark.parametrize(
    ("fail", "said"), [("commit:before:1", []), ("commit:after:1", []), ("commit:before:2", ["one"])]
)
def test_it_kills_at_the_chosen_commit(fail: str, said: list[str]) -> None:
    environment = {**os.environ, "ROMANCY_FAIL": fail, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=200, check=False
    )

    assert (-signal.SIGKILL, said) == (ended.returncode, ended.stdout.split())
