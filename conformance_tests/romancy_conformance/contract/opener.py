"""A process that opens and uses a store at a signal from the test; the test starts many of them at once.

    python -m romancy_conformance.contract.opener URL

It prints `ready`, waits for a line, opens the store, starts an instance, reads it back, closes the store, and prints
`ok` and the instance's id.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys

from romancy.storage.backends import create_store
from romancy_conformance.contract.building import start


async def open_together(url: str, count: int = 5, *, program: str = __name__) -> list[str]:
    """Have this many processes open a database at the same moment; return the ids of the instances they wrote."""
    command = [sys.executable, "-m", program, url]
    processes = [
        await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert (await process.stdout.readline()).rstrip() == b"ready"
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    words = [out.decode().split() for out, _ in answers]
    assert [word[:1] for word in words] == [["ok"]] * count
    return [instance_id for _, instance_id in words]


async def use(url: str) -> str:
    """Open, write, read, close; return the id of the instance."""
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
