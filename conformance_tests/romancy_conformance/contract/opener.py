"""A process that opens a store when it is told to, uses it, and says that it could.

    python -m romancy_conformance.contract.opener URL

It says `ready`, waits for a line, opens, starts an instance, reads it back, closes, and says `ok` and its id.
"""

from __future__ import annotations

import asyncio
import sys

from romancy.storage.backends import create_store
from romancy_conformance.contract.building import start


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
