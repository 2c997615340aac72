"""A disk that fails in the middle of a COMMIT: the error, and how the commit is settled."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# A separate process: the limit on file sizes applies to all its files.
_PROGRAM = """
import asyncio, resource, sys
from pathlib import Path
from romancy.errors import RomancyError
from romancy.storage.backends import create_store
from romancy_conformance.contract.building import Actor, append, full_log

path = Path(sys.argv[1])
kind = resource.RLIMIT_FSIZE
_, hard = resource.getrlimit(kind)

def full():
    resource.setrlimit(kind, (path.with_name(path.name + "-wal").stat().st_size, hard))

def free():
    resource.setrlimit(kind, (hard, hard))

async def try_session(actor, item):
    async with actor.store.services.sessions.begin() as session:
        await session.execute("insert into mine (k) values (1)")
        full()
        try:
            return await session.commit(item, worker=actor.token)
        finally:
            free()

async def main():
    store = create_store(f"sqlite:///{path}")
    await store.open()
    actor = await Actor(store, workflows={"flow": "c1"}).register()
    begun = await actor.begin()
    async with store.services.sessions.begin() as session:
        await session.execute("create table mine (k integer)")
        await session.commit(append(begun, 2), worker=actor.token)
    plain = append(begun, 3)
    full()
    try:
        print(await store.commit([plain], worker=actor.token))
    except RomancyError as error:
        print(type(error).__name__)
    free()
    print(await actor.write(plain))
    try:
        print(await try_session(actor, append(begun, 4, b'["with user rows"]')))
    except RomancyError as error:
        print(type(error).__name__)
    print(await actor.write(append(begun, 4, b'["tombstone"]')))
    print((await full_log(store, begun.instance_id))[-1].body.decode())
    async with store.services.sessions.begin() as session:
        print(await session.fetch_all("select * from mine"))
        print(await session.fetch_all("pragma integrity_check"))
    await store.close()

asyncio.run(main())
"""


def test_a_commit_that_fails_is_sent_again_or_settled_by_a_tombstone(path: Path) -> None:
    """A3: the session's user rows are gone, so its place in the log goes to another append, or to a repetition."""
    program = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(path)], check=False, capture_output=True, text=True, timeout=200
    )

    assert program.returncode == 0, program.stderr
    assert [
        "StorageUnavailableError",
        "accepted",
        "OutcomeUnknownError",
        "accepted",
        '["tombstone"]',
        "[]",
        "[{'integrity_check': 'ok'}]",
    ] == program.stdout.splitlines()
