"""Plays one case: workers, the client of the test, faults, and what has to hold afterwards.

Everything happens in this process, which ends after that. The client and the judge share a simulated process. The wire
of the judge is always calm, and so is that of the client unless `Faults` says otherwise.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
import traceback
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from contextvars import Context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from romancy._microseconds import moment_of
from romancy.app import Romancy
from romancy.registry import Registry
from romancy.testing._ledger import Effect, observers
from romancy.testing.simulating.app import URL, SimulatedApp
from romancy.testing.simulating.cases import Case, Outcome
from romancy.testing.simulating.cluster import Cluster, be_silent
from romancy.testing.simulating.crew import Crew
from romancy.testing.simulating.faults import Faults, drawn
from romancy.testing.simulating.judging import anything_is_open, misfits, stranded, strangers
from romancy.testing.simulating.registries import kept_registries
from romancy.testing.simulating.story import last_of
from romancy.testing.simulating.wire import Weather
from romancy.testing.simulating.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from romancy.storage.protocol import Store
    from romancy.testing.simulating.process import Process
    from romancy.workflow import Workflow

__all__ = ["Given", "play"]

_KEPT: Final = 5000
"""Lines of the trace."""
_LONGEST: Final = 24 * 3600 * SECOND
_A_MOMENT: Final = 0.1


class Given:
    """What the user has given to `simulate`."""

    def __init__(
        self,
        workflows: Sequence[Workflow[..., Any]],
        client: Callable[..., Any],
        check: Callable[..., Any] | None,
        prepare: Callable[..., Any] | None,
        faults: Faults,
        patience: float,
    ) -> None:
        self.workflows = workflows
        self.client = client
        self.check = check
        self.prepare = prepare
        self.faults = faults
        self.patience = patience


def play(given: Given, case: Case) -> Outcome:
    """Play this case. The caller's process does nothing else after that."""
    be_silent()
    sys.dont_write_bytecode = True  # an import that an activity makes would write a file
    random.seed(case.seed)  # so that the code under test may use it
    play = _Play(given, case)
    play.run()
    return play.outcome


class _Play:
    """One case while it is played."""

    def __init__(self, given: Given, case: Case) -> None:
        self._given = given
        self._case = case
        self._cluster = Cluster(str(case.seed), keep=_KEPT)
        self._faults = drawn(case.seed, given.faults)
        self._crew = Crew(self._cluster, given.faults, case.workers, self._work)
        self._test = self._cluster.process("test")
        self._refused = self._test.loop.refused = self._crew.refused
        self._opens_for_client = False
        """Whether the app that the process of the test opens is that of a client whose calls may fail."""
        self._effects: list[Effect] = []
        self.outcome = Outcome()

    def run(self) -> None:
        """Play it, and write the outcome."""
        world, processes = self._cluster.world, self._cluster.processes
        test, calm, outcome = self._test, Weather(), self.outcome

        def create_store(_: str, **__: Any) -> Store:
            assert processes.turning is not None  # noqa: S101 - a store is made by code of a process
            is_calm = processes.turning is test and not self._opens_for_client
            return self._cluster.store(processes.turning, calm if is_calm else None)

        observers[:] = [self]
        with patch("romancy.app.create_store", create_store), kept_registries():
            test.begin(self._judged(), Context())
            world.run(lambda: test.is_dead or bool(self._refused or self._crew.broken), world.now + _LONGEST)
        outcome.refusal = next(iter(self._refused), "")
        self._find_what_nobody_caught()
        outcome.virtual, outcome.effects = (world.now - world.began) / SECOND, len(self._effects)
        outcome.struck, outcome.deaths = tuple(self._crew.struck), self._crew.deaths
        outcome.faults = [self._faults[number].told(self._case.workers) for number in self._crew.struck]
        outcome.digest = world.trace.digest()
        outcome.story = last_of(world.trace.lines) if outcome.findings else []

    # ── the ledger's observer ───────────────────────────────────────────────────────────────────────────────────

    def now(self) -> datetime:
        """The true time."""
        return moment_of(self._cluster.world.now)

    def did(self, effect: Effect) -> None:
        """An activity had an effect."""
        self._effects.append(effect)
        self._cluster.world.note(effect.process, "did", str(effect))

    # ── processes ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _work(self, process: Process, stop: asyncio.Event) -> None:
        app = SimulatedApp(self._given.workflows, process, self._crew.returns)
        answer = None if self._given.prepare is None else await _awaited(self._given.prepare(app))
        with answer if isinstance(answer, AbstractContextManager) else nullcontext():
            async with app:
                await stop.wait()
                await app.drain(2.0)

    async def _judged(self) -> None:
        """The test: the client beside the faults, then the judges."""
        async with self._app() as app, AsyncExitStack() as stack:
            its = app
            if self._given.faults.client:
                self._opens_for_client = True
                its = await stack.enter_async_context(self._app())
                self._opens_for_client = False
            self._crew.begin()
            striking = asyncio.create_task(self._crew.strike(self._case.of(self._faults)))
            self._test.loop.is_watched = True
            chance = random.Random(f"client {self._case.seed}")  # noqa: S311 - a simulation
            client = asyncio.create_task(self._given.client(its, chance), name="client")
            while not striking.done() and not (client.done() and not await anything_is_open(app)):
                await asyncio.wait([striking, client] if not client.done() else [striking], timeout=_A_MOMENT)
            striking.cancel()
            await self._crew.heal()
            await self._end_of_client(app, client)
            await self._ends_of_instances(app)
            await self._judge(app)

    def _app(self) -> Romancy:
        return Romancy(URL, workflows=self._given.workflows, worker=False)

    async def _end_of_client(self, app: Romancy, client: asyncio.Task[Any]) -> None:
        await asyncio.wait([client], timeout=self._given.patience)
        if not client.done():
            open_ones = "".join(f"\n{each}" for each in await stranded(app))
            self._find("client", f"the client has not returned {self._given.patience:g} s after the faults{open_ones}")
            client.cancel()
            await asyncio.wait([client], timeout=self._given.patience)
        elif (error := None if client.cancelled() else client.exception()) is not None:
            self._find("client", _described(error))

    async def _ends_of_instances(self, app: Romancy) -> None:
        until = asyncio.get_running_loop().time() + self._given.patience
        while await anything_is_open(app) and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 - others work
            await asyncio.sleep(_A_MOMENT)
        for each in await stranded(app):
            self._find("end", f"{self._given.patience:g} s after the faults, {each}")

    async def _judge(self, app: Romancy) -> None:
        registry, store = Registry.collect(self._given.workflows), self._cluster.store(self._test, Weather())
        await store.open()
        self.outcome.instances = len([each async for each in app.iter_instances()])
        self._test.loop.is_watched = False
        for each in await misfits(app, store, registry):
            self._find("replay", each)
        self._test.loop.is_watched = True
        async for each in strangers(app, registry, self._effects):
            self._find("ledger", each)
        if self._given.check is not None:
            try:
                await _awaited(self._given.check(app))
            except Exception as error:  # noqa: BLE001 - whatever it raises says that something is wrong
                self._find("check", _described(error))

    # ── what was found ──────────────────────────────────────────────────────────────────────────────────────────

    def _find(self, kind: str, text: str) -> None:
        self.outcome.findings.append((kind, text))

    def _find_what_nobody_caught(self) -> None:
        if self._test.error is not None:
            self._find("broken", "".join(traceback.format_exception(self._test.error)))
        elif not (self._test.is_dead or self.outcome.refusal or self._crew.broken):
            self._find("broken", "the simulation did not end within a day of its time")
        for text in self._crew.broken:
            self._find("worker", text)
        for name, context in self._cluster.processes.errors:
            self._find("uncaught", f"in {name}: {context.get('message')}: {context.get('exception')!r}")


async def _awaited(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


def _described(error: BaseException) -> str:
    """The error, and the line of the test that raised it."""
    ours = str(Path(__file__).parents[2])
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(ours)]
    where = "".join(f"\n  {Path(each.filename).name}, line {each.lineno}: {each.line}" for each in frames[-1:])
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    return f"{text}{where}{notes}"
