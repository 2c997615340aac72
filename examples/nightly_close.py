"""The books are closed each night, and a night in which nothing ran is closed as soon as something runs.

    python -m examples.nightly_close books.db                  # at half past two in Berlin, until you stop it
    python -m examples.nightly_close books.db --every 5        # with nights that are 5 seconds apart, to look at it

Stop it, or kill it in the middle of a close, and start it again some nights later: the close goes on where it was, and
the nights that came meanwhile are closed late, each with the entries up to its own time. The table `entries` has the
columns `at` and `amount`; see `create`.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

from romancy import Romancy, ScheduleHandle, WorkflowContext, activity, workflow


def create(books: str) -> None:
    with closing(sqlite3.connect(books)) as mine, mine:
        mine.execute("create table if not exists entries (at text, amount integer)")
        mine.execute("create table if not exists closings (night text primary key, balance integer, late real)")


@activity
def balance(books: str, night: datetime) -> int:
    """What was in the books at that time, however late it is now."""
    print(f"sum up to {night:%Y-%m-%d %H:%M:%S}", flush=True)
    with closing(sqlite3.connect(books)) as mine:
        (total,) = mine.execute(
            "select coalesce(sum(amount), 0) from entries where at < ?", [night.isoformat()]
        ).fetchone()
    return int(total)


@activity
def close(books: str, night: datetime, total: int) -> float:
    """A second attempt replaces what the first one wrote. Returns how late it is, in seconds."""
    print(f"close {night:%Y-%m-%d %H:%M:%S}", flush=True)
    late = (datetime.now(UTC) - night).total_seconds()
    with closing(sqlite3.connect(books, timeout=60)) as mine, mine:
        mine.execute("insert or replace into closings values (?, ?, ?)", [night.isoformat(), total, late])
    return late


@workflow
async def nightly_close(ctx: WorkflowContext, books: str) -> float:
    night = ctx.scheduled_at
    assert night is not None, "the schedule starts it"
    return await close(books, night, await balance(books, night))


async def declare(app: Romancy, books: str, every: float | None) -> ScheduleHandle:
    call = nightly_close.bind(books)
    if every is None:
        return await app.schedule(
            "nightly-close", call, cron="30 2 * * *", tz="Europe/Berlin", catchup="all", overlap="allow"
        )
    return await app.schedule("nightly-close", call, every=timedelta(seconds=every), catchup="all", overlap="allow")


async def work(url: str, books: str, every: float | None, closes: int | None) -> None:
    create(books)
    async with Romancy(url, workflows=[nightly_close]) as app:
        nightly = await declare(app, books, every)
        if closes is None:
            await asyncio.Event().wait()
        while True:
            found = await nightly.get()
            if found is not None and closes is not None and found.started >= closes:
                break
            await asyncio.sleep(0.1)
        for run in found.runs:
            await app.handle(run.instance_id, nightly_close).result()
    print(f"{found.started} nights are closed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("books", help="the database of the books, a file of SQLite's")
    parser.add_argument("--every", type=float, help="so many seconds instead of a day")
    parser.add_argument("--closes", type=int, help="end after so many")
    parser.add_argument("--database", default="sqlite:///nightly-close.db")
    said = parser.parse_args()
    asyncio.run(work(said.database, said.books, said.every, said.closes))


if __name__ == "__main__":
    main()
