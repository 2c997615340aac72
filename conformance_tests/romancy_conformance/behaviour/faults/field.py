"""The field of a fault test: a database, its worker processes, and the record of what they did."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

from romancy import Romancy
from romancy.core import TERMINAL, ActivityCompleted, OwnerChanged, WorkflowCompleted, decode_commit
from romancy.errors import StorageUnavailableError
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome, Worker
from romancy_conformance.behaviour.crashes.__main__ import create_table
from romancy_conformance.behaviour.crashes.ledger import Ledger
from romancy_conformance.behaviour.faults.account import begun_in_vain, out_of_line
from romancy_conformance.behaviour.faults.program import WORKFLOWS, faulty_line
from romancy_conformance.contract.building import start
from romancy_conformance.process_control import OPTIONS, stop

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from romancy.core import LogEvent
    from romancy.storage.protocol import Store
    from romancy.storage.records import Peer
    from romancy_conformance.behaviour.crashes.ledger import Entry

__all__ = ["Field", "Process"]

PROGRAM = "romancy_conformance.behaviour.faults.program"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Process:
    """One worker process."""

    def __init__(self, url: str, ledger: Path, *options: str, program: tuple[str, ...] = (PROGRAM,)) -> None:
        command = [sys.executable, "-m", *program, url, "--ledger", str(ledger), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, **OPTIONS)

    async def ready(self) -> Process:
        """Wait until it works."""
        assert self.process.stdout is not None
        assert (await asyncio.to_thread(self.process.stdout.readline)).strip() == "ready"
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def send(self, signal_number: signal.Signals) -> None:
        self.process.send_signal(signal_number)

    def kill(self) -> None:
        """End it if it still runs, even when frozen."""
        if self.alive:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    async def stopped(self) -> int:
        """Tell it to stop; return its exit code."""
        await asyncio.to_thread(stop, self.process)
        return await asyncio.to_thread(self.process.wait, 90)

    def memory(self) -> int:
        """Return its resident memory in bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as statm:  # noqa: PTH123 - not a file to keep
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Field:
    """A fixture opens it; its `app` only starts and asks."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.ledger = Ledger(folder / "ledger")
        self.app = Romancy(url, worker=False, workflows=WORKFLOWS)
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

    async def worker(self, *options: str, url: str = "", program: tuple[str, ...] = (PROGRAM,)) -> Process:
        """Start one more worker process."""
        process = Process(url or self.url, self._ledger_file, *options, program=program)
        self._processes.append(process)
        return await process.ready()

    async def peers(self) -> dict[str, Peer]:
        """Return the living workers by their tokens, as another worker sees them."""
        observer = Worker(token=secrets.token_hex(8), worker_id="observer", lease=60_000_000)
        pulse = await self.store.heartbeat(observer)
        await self.store.leave(observer)
        return {peer.token: peer for peer in pulse.peers if not peer.dead}

    async def beaten(self, worker: Process, times: int = 1) -> None:
        """Wait until it has sent so many more heartbeats."""

        async def beats() -> int:
            return sum(peer.beat for peer in (await self.peers()).values() if peer.host.pid == worker.pid)

        first = await beats()
        async with asyncio.timeout(60):
            while await beats() < first + times:  # noqa: ASYNC110 - another process beats
                await asyncio.sleep(0.05)

    async def acquainted(self, workers: Iterable[Process]) -> None:
        """Wait until each of these knows all others: two more heartbeats contain a complete one."""
        await asyncio.gather(*(self.beaten(worker, 2) for worker in workers))

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
        """Return the instance's events; check that the log has no gaps."""
        history = await self.store.read(instance_id)
        assert history is not None
        assert [row.seq for row in history.rows] == list(range(1, len(history.rows) + 1))
        return [event for row in history.rows for event in decode_commit(row.body)]

    async def check(
        self, ids: Iterable[str], steps: int, *, interrupted: int, by: Iterable[Process] | None = None
    ) -> int:
        """Check that every instance completed once, with each effect exactly once and no completed step repeated.

        At most `interrupted` attempts may have run in vain; return how many did. With `by`, only these processes may
        have left a step unfinished, and each of them that died at most one of each instance.
        """
        line, names = [f"{name}:{n + 1}" for n in range(steps) for name in ("faulty_step", "faulty_write")], set(ids)
        entries = [entry for entry in self.ledger.read() if entry.instance_id in names]
        assert out_of_line(entries, line) == []
        for instance_id in names:
            log = await self.log(instance_id)
            assert [type(event) for event in log if isinstance(event, TERMINAL)] == [WorkflowCompleted], instance_id
            assert [event.id for event in log if isinstance(event, ActivityCompleted)] == line, instance_id
        async with self.store.services.sessions.begin() as session:
            rows = await session.fetch_all("select instance, activity from effects")
        table = Counter((row["instance"], row["activity"]) for row in rows)
        assert table == Counter((one, id) for one in names for id in line if id.startswith("faulty_write"))
        ended = Counter((entry.instance_id, entry.activity_id) for entry in entries if entry.what == "end")
        assert {(one, id) for one in names for id in line} == ended.keys()
        if by is not None:
            _check_who(entries, list(by))
        in_vain = ended.total() - len(ended)
        assert in_vain <= interrupted
        return in_vain

    async def now(self) -> int:
        """Return the database's time: that of a log entry it writes now."""
        marker = start(status=Status.COMPLETED, delay=None)
        assert await self.store.commit([marker]) == [Outcome.ACCEPTED]
        history = await self.store.read(marker.instance_id)
        assert history is not None
        return history.rows[-1].at

    async def taken_over(self, instance_id: str) -> list[int]:
        """Return when others took the instance over, by the database's clock."""
        history = await self.store.read(instance_id)
        assert history is not None
        return [
            row.at
            for row in history.rows
            if any(isinstance(event, OwnerChanged) and event.owner for event in decode_commit(row.body))
        ]

    async def places_of(self, ids: Sequence[str]) -> list[str]:
        """Those of these instances that stand in line at a limit, or have a place."""
        return sorted({owner.name for owner, _ in await self.store.services.lookups.places_of(ids)})

    async def owners(self, instance_id: str) -> list[str]:
        """Return the new owners of the instance, in order; an empty one is a release."""
        return [event.owner for event in await self.log(instance_id) if isinstance(event, OwnerChanged)]

    async def status(self, instance_id: str) -> Status:
        return await self.app.handle(instance_id).status()


def _check_who(entries: list[Entry], interrupted: list[Process]) -> None:
    """Check that only these left steps unfinished, which no database can interrupt."""
    in_vain = [entry for entry in begun_in_vain(entries) if entry.activity_id.startswith("faulty_step")]
    assert [entry for entry in in_vain if entry.pid not in {process.pid for process in interrupted}] == []
    dead = {process.pid for process in interrupted if not process.alive}
    left = Counter((entry.pid, entry.instance_id) for entry in in_vain if entry.pid in dead)
    assert max(left.values(), default=0) <= 1
