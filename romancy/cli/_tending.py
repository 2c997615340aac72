"""Commands for the database itself: `migrate` and `doctor`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from romancy.cli._database import running
from romancy.cli._printing import line, say
from romancy.errors import SchemaVersionError
from romancy.insight import ago, many, span
from romancy.storage.backends import create_store

if TYPE_CHECKING:
    from romancy.storage.records import Census

__all__ = ["TENDING"]

_SKEW: Final = 1_000_000
_url = click.option("--url", envvar="ROMANCY_URL", metavar="URL", required=True, show_envvar=True, help="The database.")


@click.command()
@_url
@running
async def migrate(url: str) -> None:
    """Make the tables, or bring them up to date; any number of processes may do so at once."""
    store = create_store(url)
    await store.open(migrate=True)
    try:
        say(f"{store.capabilities.name}: the schema is up to date")
    finally:
        await store.close()


@click.command()
@_url
@running
async def doctor(url: str) -> int:
    """Look whether the database can be reached and used; exit code 1 if something is wrong."""
    store = create_store(url)
    try:
        await store.open(migrate=False)
    except SchemaVersionError as error:
        line(f"PROBLEM  {error}")
        return 1
    try:
        capabilities = store.capabilities
        line(f"ok       reached {capabilities.name}; its schema is up to date")
        before = time.time_ns() // 1000
        census = await store.census()
        skew = census.now - (before + time.time_ns() // 1000) // 2
    finally:
        await store.close()
    problems = 0
    for fits, text in _findings(census, skew):
        problems += not fits
        line(f"{'ok      ' if fits else 'PROBLEM '} {text}")
    return 1 if problems else 0


def _findings(census: Census, skew: int) -> list[tuple[bool, str]]:
    silent = [peer for peer in census.workers if peer.dead or peer.beat_at + peer.lease < census.now]
    alive = len(census.workers) - len(silent)
    return [
        (abs(skew) < _SKEW, f"the database's clock differs from this machine's by {span(skew)}"),
        (alive > 0, f"{many(alive, 'worker')} {'is' if alive == 1 else 'are'} alive"),
        *(
            (
                False,
                f"worker {peer.worker_id} is silent or dead: last beat {ago(peer.beat_at, census.now)}",
            )
            for peer in silent
        ),
    ]


TENDING = (migrate, doctor)
