"""The field of a fault test: a database, the worker processes on it, and the account of what they did."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

from romancy import Romancy
from romancy.core import TERMINAL, ActivityCompleted, OwnerChanged, WorkflowCompleted, decode_commit
from romancy.errors import StorageUnavailableError
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.crashes.__main__ import create_table
from romancy_conformance.behaviour.crashes.ledger import Ledger
from romancy_conformance.behaviour.faults.program import faulty_holder, faulty_line, faulty_naps

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from romancy.core import LogEvent
    from romancy.status import Status
    from romancy.storage.protocol import Store

__all__ = ["Field", "Process"]

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Process:
    """One worker process."""

    def __init__(self, url: str, ledger: Path, *options: str) -> None:
        module = "romancy_conformance.behaviour.faults.program"
        command = [sys.executable, "-m", module, url, "--ledger", str(ledger), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)

    async def ready(self) -> Process:
        """Wait until it works."""
        assert self.process.stdout is not None
        assert (await asyncio.to_thread(self.process.stdout.readline)).strip() == "ready"
        return self

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def send(self, signal_number: signal.Signals) -> None:
        self.process.send_signal(signal_number)

    def kill(self) -> None:
        """End it if it still runs, frozen or not."""
        if self.alive:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    async def stopped(self) -> int:
        """Tell it to stop, and how it ended."""
        self.send(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 90)

    def memory(self) -> int:
        """Resident memory in bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as statm:  # noqa: PTH123 - not a file to keep
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Field:
    """Opened by a fixture; `app` only starts and asks."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.ledger = Ledger(folder / "ledger")
        self.app = Romancy(url, worker=False, workflows=[faulty_line, faulty_naps, faulty_holder])
        self.store: Store = create_store(url)
        self._ledger_file = folder / "ledger"
        self._processes: list[Process] = []

    async def open(self) -> None:
        await create_table(self.url)
        await self.store.open()
        await self.app.__aenter__()

    async def close(self) -> None:
        for process in self._processes:
            process.kill()
        await self.app.__aexit__(None, None, None)
        await self.store.close()

    async def worker(self, *options: str, url: str = "") -> Process:
        """One more worker process, at work."""
        process = Process(url or self.url, self._ledger_file, *options)
        self._processes.append(process)
        return await process.ready()

    async def start(self, ids: Iterable[str], steps: int, seconds: float) -> None:
        """Start instances for the workers."""
        await self.app.start_many(
            [faulty_line.options(instance_id=instance_id).bind(steps, seconds) for instance_id in ids]
        )

    async def begun(self, count: int, what: str = "begin") -> None:
        """Wait until so many attempts have begun (or ended)."""
        async with asyncio.timeout(120):
            while sum(entry.what == what for entry in self.ledger.read()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def all_ended(self, timeout: float = 120) -> None:
        """Wait until nothing is open."""
        async with asyncio.timeout(timeout):
            while True:
                try:
                    page = await self.app.list_instances(status=["pending", "running", "waiting"], limit=1)
                    if not page.instances:
                        return
                except StorageUnavailableError:
                    pass
                await asyncio.sleep(0.1)

    async def log(self, instance_id: str) -> list[LogEvent]:
        """The instance's events, in a log without gaps."""
        history = await self.store.read(instance_id)
        assert history is not None
        assert [row.seq for row in history.rows] == list(range(1, len(history.rows) + 1))
        return [event for row in history.rows for event in decode_commit(row.body)]

    async def check(self, ids: Iterable[str], steps: int, *, interrupted: int) -> int:
        """Every instance completed once; no effect lost, none in the table twice; no completed step ran again.

        At most so many attempts were carried out in vain, because they were interrupted; it tells how many.
        """
        async with self.store.session() as session:
            rows = await session.fetch_all("select instance, activity from effects")
        table = Counter((row["instance"], row["activity"]) for row in rows)
        ended = Counter((entry.instance_id, entry.activity_id) for entry in self.ledger.read() if entry.what == "end")
        expected: Counter[tuple[str, str]] = Counter()
        completed: set[tuple[str, str]] = set()
        for instance_id in ids:
            log = await self.log(instance_id)
            assert [type(event) for event in log if isinstance(event, TERMINAL)] == [WorkflowCompleted], instance_id
            done = [event.id for event in log if isinstance(event, ActivityCompleted)]
            assert len(done) == len(set(done)) == 2 * steps
            completed |= {(instance_id, id) for id in done}
            expected.update((instance_id, id) for id in done if id.startswith("faulty_write"))
        assert table == expected
        assert completed <= ended.keys()
        in_vain = sum(ended.values()) - len(completed)
        assert in_vain <= interrupted
        return in_vain

    async def owners(self, instance_id: str) -> list[str]:
        """Who took the instance over, in order; empty for a release."""
        return [event.owner for event in await self.log(instance_id) if isinstance(event, OwnerChanged)]

    async def status(self, instance_id: str) -> Status:
        return await self.app.handle(instance_id).status()
