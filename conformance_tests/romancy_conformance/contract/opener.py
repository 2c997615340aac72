"""A process that opens a store when it is told to, uses it, and says that it could; and many of them at once.

    python -m romancy_conformance.contract.opener URL

It says `ready`, waits for a line, opens, starts an instance, reads it back, closes, and says `ok` and its id.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys

from romancy.storage.backends import create_store
from romancy_conformance.contract.building import start


async def open_together(url: str, count: int = 10) -> list[str]:
    """Have so many processes open a database in the same moment; the id of what each of them has written."""
    command = [sys.executable, "-m", "romancy_conformance.contract.opener", url]
    processes = [
        await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    words = [out.decode().split() for out, _ in answers]
    assert [word[:1] for word in words] == [["ok"]] * count
    return [instance_id for _, instance_id in words]


async def use(url: str) -> str:
    """Open, write, read, close; the id of what was written."""
    store = create_store(url)
    await store.open()
    item = start()
    (outcome,) = await store.commit([item])
    history = await store.read(item.instance_id)
    await store.close()
    assert outcome == "accepted"
    assert history is not None
    return item.instance_id


def main() -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    print("ok", asyncio.run(use(sys.argv[1])), flush=True)


if __name__ == "__main__":
    main()
