"""Reads the commits that last changed the rows of instances: for lists that show how the instances ended.

In the same way, the commits are read with which their runs began.

An adapter may offer this as `last_commits` of its store. Without it, each log is read by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow, LogRow

__all__ = ["LastCommits", "first_commits_of", "last_commits_of"]


class LastCommits(Protocol):
    async def __call__(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        """By instance id, the row of the log at `last_seq` of each of these instances, of the same life.

        Instances that were removed in the meantime are left out. It is one statement, which writes and locks nothing
        and finds each row by its key.
        """
        ...


async def last_commits_of(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
    """The same from any store. Without instances, nothing is read."""
    if not instances:
        return {}
    last_commits: LastCommits | None = getattr(store, "last_commits", None)
    return await (_one_by_one(store, instances) if last_commits is None else last_commits(instances))


async def first_commits_of(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
    """By instance id, the commits with which the present runs of these instances began, in the same way."""
    return await last_commits_of(store, [replace(one, last_seq=one.run_from) for one in instances])


async def _one_by_one(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
    found: dict[str, LogRow] = {}
    for one in instances:
        page = await store.read(one.instance_id, after=one.last_seq - 1, limit=1)
        if page is not None and page.instance.life == one.life and page.rows and page.rows[0].seq == one.last_seq:
            found[one.instance_id] = page.rows[0]
    return found
