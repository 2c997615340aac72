"""Passes over ended instances: which of several workers makes them, and the pages, with a rest behind each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy.engine import retains_in
from romancy.engine.surroundings import here
from romancy.storage.query import build_query

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from romancy.engine import Worker
    from romancy.status import Status
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["ended_pages", "is_first"]

_PAGE: Final = 200
_REST: Final = 4.0
"""The pause after a page, as a multiple of the time that it took."""


def is_first(worker: Worker) -> bool:
    """Whether no worker that removes by the same rules has a lower token."""
    leases = worker.leases
    mine = retains_in(leases.worker.codes)
    return not any(
        not peer.dead and peer.token < leases.token and retains_in(peer.codes) == mine for peer in leases.peers
    )


async def ended_pages(
    store: Store, worker: Worker, workflow: str, statuses: Sequence[Status], *, until: int, since: int | None = None
) -> AsyncGenerator[Sequence[InstanceRow]]:
    """The instances of a workflow that ended in this time, the oldest first, until the worker drains."""
    token = None
    while not worker.draining:
        began = here().seconds()
        page = await store.services.reading.find(
            build_query(
                named=workflow, status=statuses, ended_since=since, ended_until=until, oldest_first=True, limit=_PAGE,
                page_token=token,
            )
        )  # fmt: skip
        yield page.rows
        token = page.next_token
        if token is None:
            break
        await asyncio.sleep((here().seconds() - began) * _REST)
