"""`romancy drain`: workers of other processes are asked to drain, and watched until they have ended."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy.storage.backends import create_store
from romancy.storage.records import Worker
from tests.cli.in_process import runner
from tests.cli.working import BUSY, ROMANCY, at_work, said

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.in_process import Answer

ENDS = BUSY.replace(
    "await asyncio.Event().wait()",
    "while not os.path.exists('go'):\n        await asyncio.sleep(0.05)",
).replace("import asyncio", "import asyncio\nimport os")


@pytest.fixture
def romancy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run a command beside an empty database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROMANCY_URL", "sqlite:///made.db")
    asyncio.run(_made("sqlite:///made.db"))
    return runner(capsys)


async def _made(url: str) -> None:
    async with Romancy(url, workflows=[], worker=False):
        pass


async def _beats(worker: Worker) -> None:
    store = create_store("sqlite:///made.db")
    await store.open()
    await store.heartbeat(worker)
    await store.close()


def test_a_worker_is_watched_until_it_has_ended(tmp_path: Path) -> None:
    with at_work(tmp_path, ENDS, "--drain", "1h") as worker:
        command = [*ROMANCY, "drain", "--all", "--json", "--url", "sqlite:///busy.db"]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as asking:
            assert asking.stdout is not None
            next(line for line in asking.stdout if "attempts at work: 1, open instances: 1" in line)
            (tmp_path / "go").touch()
            seen = [json.loads(line) for line in asking.stdout]
        assert 0 == worker.wait(120)
    assert 0 == asking.returncode
    assert (seen[-1]["over"], seen[-1]["failed"]) == (True, False)


@pytest.mark.skipif(sys.platform == "win32", reason="no other process can send SIGINT there")
def test_ctrl_c_ends_the_command_and_not_the_drain(tmp_path: Path) -> None:
    with at_work(tmp_path, BUSY, "--drain", "1h") as worker:
        pipe = subprocess.PIPE
        command = [*ROMANCY, "drain", "--all", "--url", "sqlite:///busy.db"]
        with subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as asking:
            assert asking.stdout is not None
            next(line for line in asking.stdout if "attempts at work: 1" in line)
            asking.send_signal(signal.SIGINT)
            assert "the drain goes on" in asking.communicate(timeout=120)[1]
        assert asking.returncode == 130
        said(worker, "told to stop")
        listed = subprocess.run(
            [*ROMANCY, "workers", "--url", "sqlite:///busy.db"],
            cwd=tmp_path, check=True, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "drains: 1 at work, 1 open" in listed.stdout
        assert worker.poll() is None


def test_who_cannot_be_asked_is_named(romancy: Callable[..., Answer]) -> None:
    assert "name a WORKER" in romancy("drain").err
    assert "name a WORKER" in romancy("drain", "w", "--all").err
    assert "no worker 'w' is registered" in romancy("drain", "w").err
    assert "no worker is alive: there is nothing to drain" in romancy("drain", "--all").err
    asyncio.run(_beats(Worker(token="silent", worker_id="gone", lease=1, codes=("x",))))
    told = romancy("drain", "gone")
    assert told.code
    assert "gone is silent: it cannot be asked" in told.err
    asyncio.run(_beats(Worker(token="old", worker_id="old", lease=3_600_000_000, codes=("x",))))
    assert "asked: old" in romancy("drain", "old", "--no-wait").err
