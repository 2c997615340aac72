"""A process that is killed while its graph works: which nodes and requests are done again, and what is paid again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from tests.ext.langgraph import program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.mark.long
async def test_a_killed_process_repeats_only_what_was_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "requests"
    monkeypatch.setenv(program.LEDGER, str(ledger))
    url = f"sqlite:///{tmp_path / 'killed.db'}"
    for place in ("node one", "node two", "request 0", "asked how", "request 2"):
        killed = subprocess.run(  # noqa: ASYNC221 - nothing else happens meanwhile
            [sys.executable, "-m", program.__name__, url],
            env={**os.environ, program.KILLED_AT: place},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    async with Romancy(url, workflows=[program.lg_killed]) as app:
        assert await app.handle("killed", program.lg_killed).result(timeout=60) == "one two done"

    lines = Counter(ledger.read_text("utf-8").splitlines())
    (paid,) = [name for name in lines if name.startswith("paid")]
    assert lines.pop(paid) == 1
    assert lines == {"node one": 2, "node two": 2, "request 0": 2, "request 1": 1, "asked how": 2, "request 2": 2}


@pytest.mark.dealt
async def test_a_graph_runs_on_each_database(storage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "requests"
    monkeypatch.setenv(program.LEDGER, str(ledger))
    async with Romancy(storage_url, workflows=[program.lg_killed]) as app:
        assert await app.run(program.lg_killed) == "one two done"
    assert len(ledger.read_text("utf-8").splitlines()) == 7
