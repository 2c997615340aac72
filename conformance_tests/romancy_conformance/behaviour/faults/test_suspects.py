"""Suspects that wait for their trials hold up nothing else, and poison beside long activities is parked."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from romancy import Handle, Romancy
from romancy.engine import suspects_in
from romancy.status import Status
from romancy_conformance.behaviour.faults.field import ENVIRONMENT
from romancy_conformance.behaviour.faults.suspected import WORKFLOWS, calls_buy, calls_drink, calls_travel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy_conformance.behaviour.faults.field import Field

pytestmark = pytest.mark.anyio

MANY = pytest.mark.parametrize("many", [5, pytest.param(100, marks=pytest.mark.long)])
POISONED = 66


class Crew:
    """Workers, one after the other, and what each has begun."""

    def __init__(self, field: Field) -> None:
        self.url, self.store = field.url, field.store
        self.app = Romancy(field.url, worker=False, workflows=WORKFLOWS)
        self.begun: set[str] = set()
        """The long activities that the present worker has begun."""
        self.process: asyncio.subprocess.Process | None = None

    async def hire(self, pace: str) -> asyncio.subprocess.Process:
        """Start a worker; it is at work, or has died since."""
        self.begun = set()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "romancy_conformance.behaviour.faults.suspected", self.url, pace,
            env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await self.line()
        return self.process

    async def line(self) -> str:
        """Read one more line of the worker; "" if it is dead."""
        assert self.process is not None
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().strip()

    async def begins(self, many: int) -> None:
        """Wait until so many long activities have begun in the present worker."""
        while len(self.begun) < many:
            line = await self.line()
            assert line, "the worker died"
            self.begun.add(line)

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def suspects(self) -> int:
        """How many suspects the workers tell of."""
        peers = (await self.store.services.reading.census()).workers
        return sum(suspects_in(peer.codes) for peer in peers if not peer.dead)


@asynccontextmanager
async def crew_of(field: Field) -> AsyncGenerator[Crew]:
    crew = Crew(field)
    async with crew.app:
        try:
            yield crew
        finally:
            if crew.process is not None and crew.process.returncode is None:
                await crew.kill()


@MANY
async def test_after_two_deaths_nothing_but_the_suspects_waits(field: Field, many: int) -> None:
    """A new workflow ends while each of them is undecided and none has begun."""
    async with crew_of(field) as crew:
        held, *_ = await crew.app.start_many([calls_travel.bind(number) for number in range(many)])
        for _ in range(2):
            await crew.hire("never")
            await crew.begins(many)
            await crew.kill()
        await crew.hire("never")
        async with asyncio.timeout(120):
            while await crew.suspects() < many:  # noqa: ASYNC110 - another process tells
                await asyncio.sleep(0.05)

        bought = [await (await crew.app.start(calls_buy, what)).result(timeout=120) for what in ("bread", "milk")]

        assert (bought, await crew.suspects()) == (["bread", "milk"], many)
        why = " ".join(await crew.app.explain(held.instance_id))
        assert "It is suspected of ending its workers: 2 workers in a row were lost with it." in why
        assert "does not run while it is suspected" in why


@MANY
async def test_after_two_deaths_all_go_on_one_after_another(field: Field, many: int) -> None:
    async with crew_of(field) as crew:
        await crew.app.start_many([calls_travel.bind(number) for number in range(many)])
        for _ in range(3):
            await crew.hire("soon")
            await crew.begins(many)
            await crew.kill()
        stuck = await crew.app.list_instances(status="stuck")

    assert not stuck.instances


@MANY
async def test_poison_beside_long_activities_is_parked(field: Field, many: int) -> None:
    """After eight deaths at most; meanwhile errands are done, and at last all long activities run."""
    async with crew_of(field) as crew:
        handle = await crew.app.start(calls_drink, 0)
        await crew.app.start_many([calls_travel.bind(number) for number in range(many)])
        deaths, errands = 0, list[Handle[str]]()
        process = await crew.hire("soon")
        while True:
            errands.append(await crew.app.start(calls_buy, "bread"))
            dead = asyncio.ensure_future(process.wait())
            while not dead.done() and await handle.status() is not Status.STUCK:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            if not dead.done():
                break
            assert process.returncode == POISONED
            deaths += 1
            assert deaths <= 8
            process = await crew.hire("soon")
        await crew.begins(many)
        done = [await one.result(timeout=120) for one in errands]
        stuck = await crew.app.list_instances(status="stuck")
        dead.cancel()

    assert deaths > 2
    assert done == ["bread"] * len(errands)
    assert [one.instance_id for one in stuck.instances] == [handle.instance_id]
