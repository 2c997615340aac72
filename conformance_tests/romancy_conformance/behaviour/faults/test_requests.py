"""Requests to a body that goes on with new runs, while its workers are killed: each is answered once."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

import msgspec
import pytest

from romancy.core import ActivityCompleted, RequestAnswered, RequestRefused, WorkflowContinued
from romancy_conformance.behaviour.faults.account import begun_in_vain
from romancy_conformance.behaviour.faults.field import ENVIRONMENT
from romancy_conformance.behaviour.faults.listening import (
    LISTENER,
    Answer,
    Book,
    Told,
    fails,
    is_refused,
    listening,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from romancy_conformance.behaviour.faults.field import Field, Process

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

SOAK = bool(os.environ.get("ROMANCY_SOAK"))
ASKED = 300
KILLS = 50 if SOAK else 12
WORKERS = 2
SOME_RUNS = 4
MODULE = "romancy_conformance.behaviour.faults.listening"


class Guest:
    """Another process, which asks."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-m", MODULE, url, "--ask"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=ENVIRONMENT)
        self._heard: list[Told] = []
        self._hears = asyncio.create_task(asyncio.to_thread(self._hear))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        await self.all_heard()

    def ask(self, numbers: Iterable[int]) -> None:
        assert self._process.stdin is not None
        print(*numbers, file=self._process.stdin, flush=True)

    async def heard(self, count: int) -> None:
        """Wait until so many have been answered."""
        async with asyncio.timeout(120):
            while len(self._heard) < count:  # noqa: ASYNC110 - another process hears them
                await asyncio.sleep(0.01)

    async def all_heard(self) -> list[Told]:
        """Everything, once all that was asked is answered."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._hears
        self._process.wait()
        return self._heard

    def _hear(self) -> None:
        with self._process.stdout as lines:  # type: ignore[union-attr] # pyright: ignore[reportOptionalContextManager] - it is a pipe
            assert lines.readline() == "ready\n"
            for line in lines:
                self._heard.append(msgspec.json.decode(line, type=Told))


@pytest.mark.timeout(3600 if SOAK else 900)
async def test_a_body_that_recurs_answers_each_request_once_whatever_becomes_of_its_workers(
    field: Field, capsys: pytest.CaptureFixture[str]
) -> None:
    seed, began = random.randrange(1 << 32), time.monotonic()
    chance = random.Random(seed)
    numbers = list(range(ASKED))
    chance.shuffle(numbers)
    wanted = sum(not is_refused(number) for number in numbers)
    crew = [await _hired(field) for _ in range(WORKERS)]
    await field.app.start(listening.options(instance_id=LISTENER), Book(wanted))

    async with Guest(field.url) as guest:
        for kill in range(KILLS):
            asked = ASKED * kill // KILLS, ASKED * (kill + 1) // KILLS
            guest.ask(numbers[slice(*asked)])
            await guest.heard(chance.randint(*asked) if kill else 1)
            await asyncio.sleep(chance.uniform(0.0, 0.05))  # into the middle of something
            await _kill_owner(field, crew, chance)
        told = await guest.all_heard()
    book = await field.app.handle(LISTENER, listening).result(timeout=60)

    heard = {one.number: one.answers[0] for one in told}
    assert [] == [one for one in told if any(answer != one.answers[0] for answer in one.answers)]
    _check_told(heard, book, wanted)
    await _check_recorded(field, heard, wanted)
    vain = len(begun_in_vain(field.ledger.read()))
    with capsys.disabled():
        took = time.monotonic() - began
        print(f"\n{field.url.partition(':')[0]}, seed {seed}: {KILLS} kills in {took:.0f} s, {vain} in an activity")
    assert vain > 0
    async with Guest(field.url) as another:  # who asks later, with the same ids
        another.ask(numbers)
    assert heard == {one.number: one.answers[0] for one in await another.all_heard()}


async def _hired(field: Field) -> Process:
    return await field.worker(program=(MODULE,))


async def _kill_owner(field: Field, crew: list[Process], chance: random.Random) -> None:
    """Kill the worker that has the instance, or any if none has, and hire another one."""
    owner = (await field.owners(LISTENER))[-1:]
    pids = {peer.host.pid for token, peer in (await field.peers()).items() if token in owner}
    victim = next((worker for worker in crew if worker.pid in pids), chance.choice(crew))
    victim.kill()
    crew.remove(victim)
    crew.append(await _hired(field))


def _check_told(heard: dict[int, Answer | str], book: Book, wanted: int) -> None:
    """Each has its place, and the total of all that come before it: nothing was lost or done twice between runs."""
    assert heard.keys() == set(range(ASKED))
    places: dict[int, int] = {}
    totals: dict[int, int] = {}
    for number, answer in heard.items():
        if is_refused(number):
            assert answer == f"RequestRefusedError: {number} is refused"
        elif isinstance(answer, Answer):
            places[answer.place], totals[answer.place] = number, answer.total
        else:
            assert answer.startswith(f"RequestFailedError: {number} was number ")
            places[int(answer.rpartition(" ")[2])] = number
    assert places.keys() == set(range(1, wanted + 1))
    total = 0
    for place in range(1, wanted + 1):
        total += 0 if fails(places[place]) else places[place]
        assert totals.get(place, total) == total
    assert book == Book(wanted, wanted, total)


async def _check_recorded(field: Field, heard: dict[int, Answer | str], wanted: int) -> None:
    """The log has each answer that its sender has, once; and the table each effect."""
    log = await field.log(LISTENER)
    recorded: dict[str, Answer | str] = {}
    for event in log:
        if isinstance(event, RequestAnswered):
            assert event.id not in recorded
            wrong = event.error
            reply = f"RequestFailedError: {wrong.message}" if wrong else msgspec.json.decode(event.reply, type=Answer)
            recorded[event.id] = reply
        elif isinstance(event, RequestRefused):
            assert event.id not in recorded
            recorded[event.id] = f"RequestRefusedError: {event.error.message}"
    assert recorded == {f"r{number}": answer for number, answer in heard.items()}
    assert sum(isinstance(event, WorkflowContinued) for event in log) > SOME_RUNS
    acted = {number for number in heard if not is_refused(number) and not fails(number)}
    assert sum(isinstance(event, ActivityCompleted) for event in log) == len(acted)
    async with field.store.services.sessions.begin() as session:
        rows = await session.fetch_all("select instance, activity from effects")
    assert Counter(int(row["activity"]) for row in rows) == Counter(acted)
