"""The matrix from a shell; it ends with 1 when something was lost, done twice or left undone."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from romancy import Romancy
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.crashes.forking import Workshop
from romancy_conformance.behaviour.crashes.matrix import Matrix, Tally
from romancy_conformance.behaviour.crashes.transactional import CREATE_TABLE
from romancy_conformance.behaviour.crashes.worker import PLAYED
from romancy_conformance.contract.building import start

TOO_SLOW = {"approval-2"}
"""Its answer comes after days on its own clock."""
SHORT: tuple[str, ...] = (
    "five_steps",
    "errors_as_values",
    "waits_for_an_event",
    "gathered",
    "task_group_that_breaks",
    "sleeps_side_by_side",
    "writes_in_line",
    "grandparent",
    "stops_its_child",
    "writes_at_once",
    "writes_through_a_child",
    "trip-2",
    "cancelled_in_its_sleep",
    "recurs_at_once",
    "writes_after_failures",
    "writes_and_undoes",
    "writes_and_recurs",
)
"""Each way to write, and all the transactional ones."""

TAKEN_OVER = ("waits_for_an_event", "writes_in_line", "writes_through_a_child")
"""In the short form, the workflows whose workers are killed while they take them over."""
_ADAPTERS = (("sqlite",), ("postgres",), ("mysql", "mariadb"))
IN_ONE_COMMIT = {"nothing_at_all"}
"""It ends in its first commit, so no worker takes it over."""
FEWEST = {False: 3, True: 2}
"""The least number of kills for each workflow, in the short form (False) and in the full one (True).

In the short form, a worker is killed before a first commit, before a second one, and after a second one. In the full
form, a workflow may have a single commit.
"""


def turn_of(backend: str) -> list[str]:
    """Return the workflows of the short form that have their turn on a database, on an unknown one all.

    Each has its turn on two of the three adapters. MySQL and MariaDB share those of their adapter.
    """
    for number, siblings in enumerate(_ADAPTERS):
        if backend in siblings:
            dealt = [name for place, name in enumerate(SHORT) if place % len(_ADAPTERS) != number]
            return dealt[siblings.index(backend) :: len(siblings)]
    return list(SHORT)


async def create_table(url: str) -> None:
    """Create the table that the transactional activities write to."""
    store = create_store(url)
    await store.open()
    async with store.services.sessions.begin() as session:
        await session.execute(CREATE_TABLE)
        if store.capabilities.transactional_ddl:
            await session.commit(start(status=Status.COMPLETED, delay=None))
    await store.close()


async def play(url: str, names: list[str], *, full: bool) -> Tally:
    """Run these workflows on this database."""
    await create_table(url)
    store = create_store(url)
    await store.open()
    with tempfile.TemporaryDirectory() as folder, Workshop("romancy_conformance.behaviour.crashes.worker") as workshop:
        async with Romancy(url, worker=False) as app:
            matrix = Matrix(url, Path(folder), workshop, app, store)
            await matrix.clear()
            for name in names:
                begun, kills = time.monotonic(), matrix.tally.kills
                if full:
                    await matrix.at_every_write(name)
                else:
                    await matrix.case(name, ["commit:before:1", "commit:before:2", "commit:after:3"])
                await matrix.at_each_in_turn(name)
                if matrix.tally.kills - kills < FEWEST[full]:
                    matrix.tally.complaints.append(f"{name}: only {matrix.tally.kills - kills} workers died")
                if name in TAKEN_OVER or (full and name not in IN_ONE_COMMIT):
                    await matrix.in_a_takeover(name)
                print(f"{name}: {time.monotonic() - begun:.1f} s, {matrix.tally}", file=sys.stderr, flush=True)
            await matrix.in_a_delivery()
    await store.close()
    return matrix.tally


def main() -> None:
    parser = argparse.ArgumentParser(prog="romancy_conformance.behaviour.crashes", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--full", action="store_true", help="every workflow, killed before and after every commit")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=PLAYED, help="these workflows")
    options = parser.parse_args()
    chosen = options.only or ([name for name in PLAYED if name not in TOO_SLOW] if options.full else list(SHORT))
    tally = asyncio.run(play(options.url, chosen, full=options.full))
    for complaint in tally.complaints:
        print(complaint)
    print(tally)
    sys.exit(bool(tally.complaints))


if __name__ == "__main__":
    main()
