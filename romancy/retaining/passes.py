"""Passes over ended instances: which of several workers makes them, the workflows, and the pages of one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from romancy.engine import retains_in
from romancy.engine.surroundings import here
from romancy.storage.query import build_query

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

    from romancy.engine import Worker
    from romancy.status import Status
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["ended_pages", "go_through", "is_first"]

Part = TypeVar("Part")

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


async def go_through(parts: Iterable[Part], do: Callable[[Part], Awaitable[int]]) -> int:
    """Do each part of a pass, also behind one that fails. Returns what they return together.

    Raises the first error, when all parts were tried: none keeps the others waiting.
    """
    done, first = 0, None
    for part in parts:
        try:
            done += await do(part)
        except Exception as error:  # noqa: BLE001 - it is raised at the end
            first = first or error
    if first is not None:
        raise first
    return done


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
