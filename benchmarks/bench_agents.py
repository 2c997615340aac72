"""What durability adds to the calls of an agent, how long its log gets, and what taking agents over does to a loop.

`python -m benchmarks.bench_agents [added] [log] [takeover]` runs all three parts, or those named.

`added`: an agent of pydantic-ai whose model takes no time calls one tool in each of twenty turns. Each library runs it
with its own adapter, and without durability in the same process. The difference is what the library adds to a call: of
the model or of the tool, on average. The best of the rounds counts, each in a process and a database of its own.

`log`: the bytes of the log of an agent with turns of 10 kB.

`takeover`: a worker takes over many agents that have run for many turns, and the longest time for which its event loop
was not free is told.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sqlite3
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic_ai import UsageLimits

from benchmarks.agents.agent import bench_agent, prompt_of
from benchmarks.contestants import AGENTS, BUILD, MissingError
from benchmarks.databases import empty_database
from benchmarks.process import DriverError, Process
from romancy import Romancy, WorkflowContext, workflow
from romancy.ext.pydantic_ai import RomancyDurability

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from benchmarks.contestants import Contestant

PARTS: Final = ("added", "log", "takeover")
TURNS: Final = 20
PATIENCE: Final = 300.0


# ── added ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def added(databases: Iterable[str], who: Collection[str], rounds: int, runs: int) -> None:
    """Print a table of what each library adds to a call. In each round all of them have their turn."""
    print(f"{TURNS} turns of an agent, a call of the model and one of a tool in each; milliseconds of a call")
    print("| database | library | version | alone | durable | added | with events: added |")
    print("|---|---|---|--:|--:|--:|--:|")
    for database in databases:
        lines = [Line(AGENTS[name]) for name in who if database in AGENTS[name].databases]
        for _ in range(rounds):
            for line in lines:
                line.measure(database, runs)
        for line in lines:
            print(f"| {database} | {line} |", flush=True)


class Line:
    """The figures of one library on one database."""

    def __init__(self, contestant: Contestant) -> None:
        self._contestant = contestant
        self._log = BUILD / "logs" / f"{contestant.name}.log"
        self._version = ""
        self._missing = ""
        self._took: dict[tuple[bool, bool], list[float]] = {}
        try:
            contestant.ready()
        except MissingError as error:
            self._missing = str(error)

    def measure(self, database: str, runs: int) -> None:
        """Run the agent in a process and a database of its own: durably and alone, with events and without."""
        if self._missing:
            return
        self._log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with empty_database(database) as url, Process(self._contestant.command(), url, self._log) as driver:
                self._version = driver.said["version"]
                for number in range(runs + 1):  # the first one warms up
                    for durable, events in product((False, True), repeat=2):
                        answer = driver.do("agent", patience=PATIENCE, turns=TURNS, durable=durable, events=events)
                        if number:
                            took = 1000 * answer["seconds"] / answer["calls"]
                            self._took.setdefault((durable, events), []).append(took)
        except DriverError as error:
            self._missing = str(error)

    def __str__(self) -> str:
        if self._missing or not self._took:
            return f"{self._contestant.title} | {self._missing} | | | |"
        alone, durable = min(self._took[False, False]), min(self._took[True, False])
        heard = min(self._took[True, True]) - min(self._took[False, True])
        figures = f"{alone:.2f} | {durable:.2f} | {durable - alone:.2f} | {heard:.2f}"
        return f"{self._contestant.title} | {self._version} | {figures}"


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────────────

AGENT = bench_agent(RomancyDurability())
UNLIMITED: Final = UsageLimits(request_limit=None)


@workflow
async def runs(ctx: WorkflowContext, prompt: str) -> str:
    return (await AGENT.run(prompt, usage_limits=UNLIMITED)).output


@workflow
async def runs_and_waits(ctx: WorkflowContext, prompt: str) -> str:
    said = (await AGENT.run(prompt, usage_limits=UNLIMITED)).output
    await ctx.report(said)
    await ctx.wait_event("go")
    return said


async def log_of(turns: int, size: int) -> int:
    """The bytes of the log of so many turns with so many characters each."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "log.db"
        async with Romancy(f"sqlite:///{file}", workflows=[runs]) as app:
            await app.run(runs, prompt_of(turns, size))
        with sqlite3.connect(file) as connection:
            (length,) = connection.execute("select sum(length(body)) from romancy_log").fetchone()
        return int(length)


def logs() -> None:
    """Print how the log of an agent grows with its turns."""
    print("bytes of the log, by turns of 10 kB")
    for turns in (25, 50, 100):
        print(f"| {turns} | {asyncio.run(log_of(turns, 10_000)):,} |", flush=True)


# ── taking over ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Pauses:
    """The longest time for which the loop did not run what was due, and the longest without Python's collector."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.without_collector = 0.0
        self._collected = 0.0
        self._began = 0.0

    def _collector(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._collected += time.perf_counter() - self._began

    async def watch(self, ends: asyncio.Event) -> None:
        """Measure until the event."""
        due = 0.002
        gc.callbacks.append(self._collector)
        while not ends.is_set():
            self._collected, before = 0.0, time.perf_counter()
            await asyncio.sleep(due)
            pause = time.perf_counter() - before - due
            self.longest = max(self.longest, pause)
            self.without_collector = max(self.without_collector, pause - self._collected)
        gc.callbacks.remove(self._collector)


async def taken_over(url: str, agents: int, turns: int) -> tuple[float, Pauses]:
    """The seconds until a new worker has ended so many agents, and the pauses of its loop."""
    ids = [f"agent-{number}" for number in range(agents)]
    async with Romancy(url, workflows=[runs_and_waits]) as app:
        await app.start_many([runs_and_waits.options(instance_id=one).bind(prompt_of(turns)) for one in ids])
        for one in ids:
            await app.handle(one).report(wait="done".__eq__)
    async with Romancy(url, workflows=[runs_and_waits]) as app:
        ends, pauses = asyncio.Event(), Pauses()
        watching = asyncio.create_task(pauses.watch(ends))
        began = time.perf_counter()
        await asyncio.gather(*(app.signal(one, "go") for one in ids))
        for one in ids:
            if await app.handle(one, runs_and_waits).result() != "done":
                raise SystemExit(f"{one} did not end as it should")
        spent = time.perf_counter() - began
        ends.set()
        await watching
        return spent, pauses


def takeovers(databases: Iterable[str], agents: int, turns: int) -> None:
    """Print what taking agents over takes."""
    print(f"{agents} agents of {turns} turns, taken over")
    print("| database | seconds | longest pause of the loop | without Python's collector |")
    print("|---|--:|--:|--:|")
    for database in databases:
        with empty_database(database) as url:
            spent, pauses = asyncio.run(taken_over(url, agents, turns))
        figures = f"{1000 * pauses.longest:.0f} ms | {1000 * pauses.without_collector:.0f} ms"
        print(f"| {database} | {spent:.1f} | {figures} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Agents: added time, length of the log, taking over")
    parser.add_argument("--database", action="append", choices=("sqlite", "postgres", "mysql", "mariadb"))
    parser.add_argument("--who", action="append", choices=tuple(AGENTS), help="only these libraries")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5, help="of each kind in a round")
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("parts", nargs="*", choices=(*PARTS, []), metavar="part")
    wanted = parser.parse_args()
    parts, names = wanted.parts or PARTS, wanted.database or ["sqlite", "postgres"]
    if "added" in parts:
        added(names, wanted.who or AGENTS, wanted.rounds, wanted.runs)
    if "log" in parts:
        logs()
    if "takeover" in parts:
        takeovers(names, wanted.agents, wanted.turns)


if __name__ == "__main__":
    main()
