"""Starts, signals, retries, cancellations and purges of the same ids, while workers are killed, frozen and drained."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, UsageError, WorkflowCancelledError, WorkflowFailedError
from romancy.errors import StorageUnavailableError
from romancy_conformance.behaviour.faults.called import CALLED, LAST, breaks, called_line, repair
from romancy_conformance.behaviour.faults.field import Process
from romancy_conformance.process_control import freeze, freezes, thaw

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from romancy_conformance.behaviour.faults.field import Field

SOAK = bool(os.environ.get("ROMANCY_SOAK"))

pytestmark = [pytest.mark.anyio, pytest.mark.soak, freezes, pytest.mark.timeout(1800 if SOAK else 300)]

IDS, LIVES, WORKERS = (16, 40, 4) if SOAK else (5, 3, 2)
PROGRAM = ("romancy_conformance.behaviour.faults.called",)
PATIENCE = 120.0


async def insist(call: Callable[[], Awaitable[Any]]) -> Any:
    """Repeat a call until the database answers; with an id, nothing is done twice."""
    while True:
        try:
            return await call()
        except StorageUnavailableError:
            await asyncio.sleep(0.05)


class Crew:
    """Worker processes; from time to time, a fault hits one of them."""

    def __init__(self, url: str, folder: Path, chance: random.Random) -> None:
        self._url, self._folder, self._chance = url, folder, chance
        self._workers: list[Process] = []

    async def hire(self) -> None:
        worker = Process(self._url, self._folder / "ledger", program=PROGRAM)
        self._workers.append(worker)
        await worker.ready()

    async def storm(self) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(0.3, 1.5))
            worker = self._chance.choice(self._workers)
            what = self._chance.choice(["kill", "freeze", "drain"])
            if what == "freeze":
                freeze(worker.process)
                await asyncio.sleep(self._chance.choice([0.5, 3.5]))  # its lease is 2 s
                thaw(worker.process)
                continue
            if what == "drain":
                await worker.stopped()
            worker.kill()
            self._workers.remove(worker)
            await self.hire()

    def dismiss(self) -> None:
        for worker in self._workers:
            worker.kill()


class Caller:
    """Uses one id, life after life. All its calls go through one app: through several, calls have no order."""

    def __init__(self, instance_id: str, apps: list[Romancy], folder: Path, chance: random.Random) -> None:
        self._id, self._apps, self._folder, self._chance = instance_id, apps, folder, chance
        self.effects: Counter[tuple[str, str]] = Counter()

    async def _purge(self, app: Romancy) -> None:
        """Purge until the instance is gone: another transaction may hold its row, and an answer may be lost."""
        removed = 0
        async with asyncio.timeout(PATIENCE):
            while await insist(lambda: app.get_instance(self._id)) is not None:
                removed += await insist(lambda: app.purge(self._id))
        assert removed <= 1

    async def live(self, life: str, *, purge: bool) -> None:
        """Play one life: its result is what it was sent, unless it was ended from outside."""
        app, chance = self._chance.choice(self._apps), self._chance
        numbers = chance.sample(range(1000), chance.randrange(2, 12))
        sent = await self._begin(app, life, next(number for number in range(1000, 1020) if not breaks(number)))
        for number in numbers:
            await self._send(app, number)
            sent.append(number)
            if breaks(number):
                with pytest.raises(WorkflowFailedError):
                    await app.handle(self._id, called_line).result(timeout=PATIENCE)
                repair(self._folder, life, number)
                await self._retry(app)
        end = chance.choice(["last", "last", "last", "cancel", "terminate"])
        if end == "last":
            await self._send(app, LAST)
            assert await app.handle(self._id, called_line).result(timeout=PATIENCE) == sent
            self.effects.update((life, str(number)) for number in sent)
        else:
            await insist(lambda: getattr(app, end)(self._id))
            with pytest.raises(WorkflowCancelledError):
                await app.handle(self._id, called_line).result(timeout=PATIENCE)
        if purge:
            await self._purge(app)

    async def _begin(self, app: Romancy, life: str, first: int) -> list[int]:
        """Begin by a signal, by name, after a delay that the first signal ends, or at once."""
        how = self._chance.choice(["signal", "signal", "name", "delay", "plain"])
        named = app.workflow("called_line") if how in ("signal", "name") else called_line
        named = named.options(instance_id=self._id, delay=60.0 if how == "delay" else None)
        if how != "signal":
            await insist(lambda: app.start(named, life=life, got=[]))
            return []
        call = named.bind(life=life, got=[])
        again = self._chance.choice([1, 3])
        await asyncio.gather(
            *(insist(lambda: app.signal_with_start(call, "number", first, id="first")) for _ in range(again))
        )
        return [first]

    async def _send(self, app: Romancy, number: int) -> None:
        """Send a signal once or more often: its id identifies repetitions."""
        for _ in range(self._chance.choice([1, 1, 2])):
            await insist(lambda: app.signal(self._id, "number", number, id=str(number)))

    async def _retry(self, app: Romancy) -> None:
        """Retry several times at once; one retry is done."""

        async def done() -> bool:
            try:
                await insist(lambda: app.retry(self._id))
            except UsageError:
                return False
            return True

        assert sum(await asyncio.gather(*(done() for _ in range(self._chance.choice([1, 3]))))) == 1


async def test_calls_in_a_storm(field: Field, tmp_path: Path) -> None:
    """Signals are received once and in order, across runs, retries and owners; each effect is there once."""
    chance = random.Random("calls")
    crew = Crew(field.url, tmp_path, chance)
    async with Romancy(field.url, worker=False, workflows=CALLED) as app:
        for _ in range(WORKERS):
            await crew.hire()
        callers = [Caller(f"i{number}", [app], tmp_path, random.Random(number)) for number in range(IDS)]

        async def all_lives(caller: Caller, number: int) -> None:
            for life in range(LIVES):
                await caller.live(f"{number}-{life}", purge=life + 1 < LIVES)

        storm = asyncio.create_task(crew.storm())
        try:
            await asyncio.gather(*(all_lives(caller, number) for number, caller in enumerate(callers)))
        finally:
            storm.cancel()
            crew.dismiss()
    async with field.store.services.sessions.begin() as session:
        rows = await session.fetch_all("select instance, activity from effects")
    table = Counter((row["instance"], row["activity"]) for row in rows)
    expected = sum((caller.effects for caller in callers), Counter[tuple[str, str]]())
    assert {key: table[key] for key in expected} == dict(expected)
    assert set(table.values()) <= {1}
