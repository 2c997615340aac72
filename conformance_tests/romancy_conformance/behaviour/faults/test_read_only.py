"""A database that takes no writes for a while: workers wait, no attempt counts, and every effect is there once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from romancy.core import ActivityAttemptFailed, ActivityFailed
from romancy_conformance.behaviour.faults.field import Field
from romancy_conformance.process_control import resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from romancy_conformance.servers import Server

pytestmark = pytest.mark.anyio

STEPS = 4
COUNT = 30
CLOSED = 5.0
"""Seconds without writes."""
ENDS_ALL = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{database}'"
"""One row: the query would not be carried out beyond the first one that is fetched."""
SWITCHES: dict[str, list[tuple[list[str], list[str]]]] = {
    # Running transactions meet it first; then only new connections meet it, and keep it when it is over.
    "postgres": [
        (
            ["alter system set default_transaction_read_only = on", "select pg_reload_conf()"],
            ["alter system reset default_transaction_read_only", "select pg_reload_conf()"],
        ),
        (
            ['alter database "{database}" set default_transaction_read_only = on', ENDS_ALL],
            ['alter database "{database}" reset default_transaction_read_only'],
        ),
    ],
    "mysql": 2 * [(["set global super_read_only = 1"], ["set global read_only = 0"])],
    "mariadb": 2 * [(["set global read_only = 1"], ["set global read_only = 0"])],
    "tidb": 2 * [(["set global tidb_super_read_only = 1"], ["set global tidb_super_read_only = 0"])],
}
"""How each kind of server is closed for writes and opened again, in two turns."""


class Shutter:
    """A private server of this test with one database, which can be closed for writes."""

    def __init__(self, server: Server) -> None:
        self._access = server.access
        url = server.fresh_database()
        self._database = urlsplit(url).path.removeprefix("/")
        self.url = url if server.kind == "postgres" else self._as_anybody(url)
        self.turns = SWITCHES[server.kind]

    def _as_anybody(self, url: str) -> str:
        """`read_only` does not apply to administrators, so the worker is not one."""
        self._access.fetch("create user 'anybody'@'%' identified by 'anybody'")
        self._access.fetch(f"grant all on {self._database}.* to 'anybody'@'%'")
        parts = urlsplit(url)
        return parts._replace(netloc=f"anybody:anybody@{parts.hostname}:{parts.port}").geturl()

    async def say(self, statements: Sequence[str]) -> None:
        """Run statements as the administrator."""
        for statement in statements:
            await asyncio.to_thread(self._access.fetch, statement.format(database=self._database))


@pytest.fixture
def shutter(backend: str, has_server: Callable[[str], bool], server_for: Callable[[str], Server]) -> Shutter:
    if not (has_server(backend) and backend in SWITCHES):
        pytest.skip(
            "capability: there is no server to tell; a file in use cannot be made read-only, "
            "and a disk that takes no more is in test_files.py"
        )
    return Shutter(server_for(backend))


@pytest.fixture
async def field(shutter: Shutter, tmp_path: Path) -> AsyncIterator[Field]:
    field = Field(shutter.url, tmp_path)
    await field.open()
    yield field
    await field.close()


def ended(field: Field) -> int:
    """Return how many attempts have ended."""
    return sum(entry.what == "end" for entry in field.ledger.read())


async def keep_closed(shutter: Shutter, close: Sequence[str], field: Field, ids: list[str]) -> asyncio.Task[None]:
    """Close it for a while, and again if the start of an instance succeeded; return the start that still waits."""
    over = time.monotonic() + CLOSED
    while True:
        await shutter.say(close)
        ids.append(f"late-{len(ids)}")
        starting = asyncio.create_task(field.start(ids[-1:], STEPS, 0.2))
        await asyncio.wait({starting}, timeout=max(over - time.monotonic(), 1.0))
        if not starting.done():
            return starting
        await starting


@resources
@pytest.mark.timeout(300)
async def test_a_database_closed_for_writes_under_load(shutter: Shutter, field: Field) -> None:
    """F13: by the session and by the driver's own object alike."""
    workers = [await field.worker("--lease", "10") for _ in range(2)]
    ids = [f"load-{number}" for number in range(COUNT)]
    await field.start(ids, STEPS, 0.2)
    before = [worker.memory() for worker in workers]
    again = 0
    for turn, (close, reopen) in enumerate(shutter.turns, 1):
        await field.begun(turn * COUNT)
        done = ended(field)
        starting = await keep_closed(shutter, close, field, ids)
        again += ended(field) - done
        assert not starting.done()
        await shutter.say(reopen)
        await asyncio.wait_for(starting, 60)
    await field.all_ended()

    assert all(worker.alive for worker in workers)
    assert again <= 10 * COUNT  # now and then; without a pause it would be some thousands
    await field.check(ids, STEPS, interrupted=again + 4 * COUNT)
    logs = [await field.log(instance_id) for instance_id in ids]
    assert [] == [one for log in logs for one in log if isinstance(one, (ActivityAttemptFailed, ActivityFailed))]
    assert max(after - was for after, was in zip([w.memory() for w in workers], before, strict=True)) < 50 << 20
