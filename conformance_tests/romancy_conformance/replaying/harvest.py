"""Which databases and workflows a test has used, and the replay of everything that it has left in them."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast
from unittest.mock import patch

from romancy import Romancy
from romancy.built_in import ALL
from romancy.errors import CodecError, RomancyError
from romancy.serialization import NO_CODECS, Codecs
from romancy.storage.backends import create_store
from romancy.workflow import Workflow
from romancy_conformance.invariants import Tables, sweep
from romancy_conformance.replaying.jobs import Answer, Job, again, source_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow
    from romancy_conformance.replaying.client import Replayer

__all__ = ["Noted", "noting", "replayed"]

MOST_HISTORIES: Final = 200
"""Histories of one test that are replayed at most."""
MOST_SWEPT: Final = 1000
"""Instances of one test that are swept at most."""
LONGEST: Final = 2000
"""Commits of the longest history that is replayed."""
PATIENCE: Final = 30.0
"""Seconds for reading a database; a frozen one does not answer."""


@dataclass
class Noted:
    """What a test has used."""

    known: list[Workflow[..., Any]] = field(default_factory=list[Workflow[..., Any]])
    codecs: Codecs = NO_CODECS

    def note(self, app: Romancy) -> None:
        """Record that an app has been opened."""
        inside = vars(app)
        for workflow in inside["_registry"].workflows.values():
            if workflow not in self.known:
                self.known.append(workflow)
        if len(inside["_codecs"].ids) >= len(self.codecs.ids):
            self.codecs = inside["_codecs"]

    def codes_of(self, row: InstanceRow) -> list[Workflow[..., Any]]:
        """Return the instance's workflow and those of the same name that may have continued it.

        Return an empty list where the first is unknown.
        """
        if ours := [each for each in ALL if each.name == row.workflow_name]:
            return ours  # their versions differ by what they start
        named = [each for each in self.known if each.name == row.workflow_name]
        named.sort(key=lambda each: each.code != row.code)
        return named if named and named[0].code == row.code else []


@contextmanager
def noting() -> Generator[Noted]:
    """Record the apps that are opened in this context."""
    noted, begin = Noted(), cast("Callable[[Romancy, Store], Awaitable[None]]", vars(Romancy)["_begin"])

    async def begun(app: Romancy, store: Store) -> None:
        noted.note(app)
        await begin(app, store)

    with patch.object(Romancy, "_begin", begun):
        yield noted


@dataclass
class Replays:
    """The results for the histories of one test."""

    counts: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])


def replayed(url: str, noted: Noted, replayer: Replayer, *, swept: bool = False) -> Replays:
    """Replay what a database holds, in the other process where possible; with `swept`, look for violations too."""
    replays = Replays()
    for row, job in asyncio.run(_jobs(url, noted, replays, swept=swept)):
        definitions = noted.codes_of(row)
        if not definitions:
            replays.counts["of a workflow, or a version of one, that no app of the test knows"] += 1
            continue
        answer = _replayed(definitions[0], job, replayer, replays.counts)
        if answer.problem is not None and all(again(other, job).problem is not None for other in definitions[1:]):
            replays.wrong.append(f"{row.workflow_name} {row.instance_id}: {answer.problem}")
    return replays


async def _jobs(url: str, noted: Noted, replays: Replays, *, swept: bool) -> list[tuple[InstanceRow, Job]]:
    """Yield the histories of a database. A history that is gone or unreadable is counted."""
    store = create_store(url)
    try:
        async with asyncio.timeout(PATIENCE):
            await store.open(migrate=False)
            tables = Tables(store, noted.codecs)
            if swept:
                replays.wrong += await _swept(store, tables, noted)
            return await _histories(tables, replays.counts)
    except (RomancyError, OSError, TimeoutError) as error:
        replays.counts[f"in a database that cannot be read any more ({type(error).__name__})"] += 1
        return []
    finally:
        with suppress(RomancyError, OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await store.close()


async def _swept(store: Store, tables: Tables, noted: Noted) -> list[str]:
    """Report violations, except for instances that tests made up without a workflow."""
    known = {each.name: each for each in noted.known}
    made_up = {row.instance_id async for row in tables.rows() if row.workflow_name not in known}
    found = await sweep(store, known, codecs=noted.codecs, at_most=MOST_SWEPT)
    return [str(one) for one in found if one.instance_id not in made_up]


async def _histories(tables: Tables, counts: Counter[str]) -> list[tuple[InstanceRow, Job]]:
    rows = [row async for row in tables.rows()]
    counts["more than are replayed of one test"] += max(0, len(rows) - MOST_HISTORIES)
    jobs: list[tuple[InstanceRow, Job]] = []
    for row in rows[:MOST_HISTORIES]:
        try:
            read = await tables.log(row.instance_id, at_most=LONGEST)
        except CodecError:
            counts["sealed by a codec that no app of the test has"] += 1
            continue
        if read is None:
            continue
        now, commits = read
        if not commits:
            counts["longer than what is replayed"] += 1
            continue
        bodies = [one.body.decode(errors="replace") for one in commits]
        jobs.append((now, Job("", "", now.workflow_name, "", now.instance_id, now.status, bodies)))
    return jobs


def _replayed(definition: Workflow[..., Any], job: Job, replayer: Replayer, counts: Counter[str]) -> Answer:
    job.module, job.qualname = definition.fn.__module__, definition.fn.__qualname__
    job.source = source_of(definition)
    answer = Answer(unknown="declared inside of a test") if "<" in job.qualname else replayer.ask(job)
    if answer.unknown is None:
        counts["elsewhere"] += 1
        return answer
    if "too long" in answer.unknown:
        counts[answer.unknown] += 1
        return answer
    counts[f"not elsewhere but here, {answer.unknown}"] += 1
    return again(definition, job)
