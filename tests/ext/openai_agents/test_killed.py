"""A process that is killed while its agent works: what the provider is asked again, and what is paid again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from tests.ext.openai_agents import program

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
    for place in ("request 0", "asked why", "asked how", "request 2"):
        killed = subprocess.run(  # noqa: ASYNC221 - nothing else happens meanwhile
            [sys.executable, "-m", program.__name__, url],
            env={**os.environ, program.KILLED_AT: place},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    async with Romancy(url, workflows=[program.oa_pays]) as app:
        assert await app.handle("killed", program.oa_pays).result(timeout=60) == "done"

    lines = Counter(ledger.read_text("utf-8").splitlines())
    paid = [name for name in lines if name.startswith("paid")]
    assert len(paid) == 1
    assert lines.pop(paid[0]) <= 2  # it ran beside the tool that was killed
    assert lines == {"request 0": 2, "asked why": 2, "request 1": 1, "asked how": 2, "request 2": 2}


@pytest.mark.dealt
async def test_an_agent_runs_on_each_database(
    storage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "requests"
    monkeypatch.setenv(program.LEDGER, str(ledger))
    async with Romancy(storage_url, workflows=[program.oa_pays]) as app:
        assert await app.run(program.oa_pays) == "done"
    assert len(ledger.read_text("utf-8").splitlines()) == 6
