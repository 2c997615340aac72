"""A report each night over the sales of the day before, into a table of the shop's own SQLite database.

    python -m examples.nightly_report shop.db 2026-03-01

The program makes up for missed nights at once, each with the figures of its own day. It runs until you stop it;
`--nights 3` ends it after the third report. Each night is a run of its own, so it may go on for years.
The table `sales` has the columns `day`, `item` and `amount`; see `create`.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from romancy import Romancy, WorkflowContext, activity, workflow

HOUR = time(2, tzinfo=UTC)


@dataclass
class Figures:
    total: int
    best: str


def create(shop: str) -> None:
    with closing(sqlite3.connect(shop)) as mine, mine:
        mine.execute("create table if not exists sales (day text, item text, amount integer)")
        mine.execute("create table if not exists reports (day text primary key, total integer, best text)")


@activity
def collect(shop: str, day: date) -> Figures:
    print(f"collect {day}", flush=True)
    with closing(sqlite3.connect(shop)) as mine:
        rows = mine.execute(
            "select item, sum(amount) from sales where day = ? group by item order by 2 desc, 1", [str(day)]
        ).fetchall()
    return Figures(sum(amount for _, amount in rows), rows[0][0] if rows else "nothing")


@activity
def archive(shop: str, day: date, figures: Figures) -> None:
    """Waits while another program writes to the same file. A second attempt replaces what the first one wrote."""
    print(f"archive {day}", flush=True)
    with closing(sqlite3.connect(shop, timeout=60)) as mine, mine:
        mine.execute("insert or replace into reports values (?, ?, ?)", [str(day), figures.total, figures.best])


@workflow
async def nightly_report(ctx: WorkflowContext, shop: str, day: date, nights: int | None) -> str:
    due = datetime.combine(day + timedelta(days=1), HOUR)
    if due > ctx.now():
        await ctx.sleep(due - ctx.now())
    figures = await collect(shop, day)
    await archive(shop, day, figures)
    if nights == 1:
        return f"{day}: {figures.total}, most of it with {figures.best}"
    return nightly_report.recur(shop, day + timedelta(days=1), nights - 1 if nights else None)


async def work(url: str, shop: str, first: date, nights: int | None) -> str:
    create(shop)
    async with Romancy(url, workflows=[nightly_report]) as app:
        handle = await app.start(nightly_report.options(instance_id=f"nightly {shop} {first}"), shop, first, nights)
        return await handle.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", help="the shop's database, a file of SQLite's")
    parser.add_argument("first", type=date.fromisoformat, help="the first day to report")
    parser.add_argument("--nights", type=int)
    parser.add_argument("--database", default="sqlite:///nightly.db")
    said = parser.parse_args()
    print(asyncio.run(work(said.database, said.shop, said.first, said.nights)))


if __name__ == "__main__":
    main()
