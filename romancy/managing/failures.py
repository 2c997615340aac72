"""Failures by their causes: listed, and silenced by operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from romancy._microseconds import moment_of
from romancy.errors import QueryError, UsageError
from romancy.failure import FailureGroup, FailureGroups
from romancy.managing.draining import Draining
from romancy.retry import whole_number
from romancy.storage.failures import SILENCED, SILENCED_AT, decode_about, is_group
from romancy.storage.limits import check_id, check_text
from romancy.storage.routing import OUTSIDE, Interest, InterestKind, Owner
from romancy.storage.services import Service

if TYPE_CHECKING:
    from romancy.storage.failures import About, Grouped
    from romancy.storage.protocol import Store

__all__ = ["LOOKED_AT", "FailedInstances", "failures_of", "group_in"]

LOOKED_AT: Final = 10_000
"""The failures that one call reads at most, from an index."""
_MOST: Final = 1_000
_MOST_SILENCED: Final = 1_000
_LONGEST_REASON: Final = 1_000


class FailedInstances(Draining):
    """Lists failures by their causes."""

    async def failures(
        self, workflow_name: str | None = None, *, silenced: bool = False, limit: int = 50
    ) -> FailureGroups:
        """What has failed, by workflow, activity, class and message, the group that was seen last first.

        Numbers, ids, addresses and quoted values in messages do not count. `workflow_name` is a whole name. Groups that
        are silenced come with `silenced=True`. The newest 10,000 failed instances are looked at. An instance that is
        retried or removed is in no group any more.
        """
        return await failures_of(_grouping(self._access.lists().store), workflow_name, silenced=silenced, limit=limit)

    async def silence_failures(self, group: str, reason: str = "") -> None:
        """Leave a group out of lists, also what fails later, until `unsilence_failures`. Its instances stay failed."""
        _check_group(group)
        check_text(reason, "the reason")
        if len(reason.encode()) > _LONGEST_REASON:
            raise QueryError(f"the reason has more than {_LONGEST_REASON:,} bytes; shorten it")
        store = _grouping(self._access.to_write("silence_failures"))
        if len(await _silenced(store)) >= _MOST_SILENCED:
            raise UsageError(f"{_MOST_SILENCED:,} groups are silenced already; unsilence_failures ends that for one")
        kept = Interest(
            interest_id=group, address=SILENCED_AT, kind=InterestKind.MEMBER, where=msgspec.json.encode(reason)
        )
        await store.services.router.register(Owner(SILENCED, OUTSIDE), kept)

    async def unsilence_failures(self, group: str) -> None:
        """List a group again. Nothing happens if it is not silenced."""
        _check_group(group)
        store = _grouping(self._access.to_write("unsilence_failures"))
        await store.services.router.unregister(Owner(SILENCED, OUTSIDE), [group])


async def failures_of(
    store: Store, workflow_name: str | None = None, *, silenced: bool = False, limit: int = 50
) -> FailureGroups:
    """The failures in a store, as `app.failures` has them."""
    if workflow_name is not None:
        check_id(workflow_name, "workflow_name=")
    if whole_number(limit, "failures: limit=") > _MOST:
        raise QueryError(f"failures: limit= is at most {_MOST:,}, not {limit}")
    found = await store.services.lookups.failures(LOOKED_AT)
    reasons = await _silenced(store)
    chosen = [
        _group(each, about, reasons.get(each.group))
        for each in found
        if workflow_name in (None, (about := decode_about(each.about)).workflow)
    ]
    if not silenced:
        chosen = [one for one in chosen if not one.silenced]
    looked_at = sum(each.number for each in found)
    more = looked_at >= LOOKED_AT or len(chosen) > limit
    return FailureGroups(groups=chosen[:limit], looked_at=looked_at, more=more)


async def group_in(store: Store, group: str) -> FailureGroup | None:
    """A group among the newest failures."""
    found = await failures_of(_grouping(store), silenced=True, limit=_MOST)
    return next((one for one in found.groups if one.group == group), None)


def _group(found: Grouped, about: About, reason: str | None) -> FailureGroup:
    return FailureGroup(
        group=found.group,
        workflow_name=about.workflow,
        activity=about.activity,
        error_type=about.type,
        text=about.text,
        number=found.number,
        since=moment_of(found.since),
        last_seen=moment_of(found.last),
        last_instance=found.instance_id,
        first_release=_release(decode_about(found.first)),
        last_release=_release(about),
        silenced=reason is not None,
        reason=reason or "",
    )


def _release(about: About) -> str:
    return about.release or about.code


async def _silenced(store: Store) -> dict[str, str]:
    """The groups that are silenced, and why."""
    return {
        one.interest_id: msgspec.json.decode(one.where or b'""', type=str)
        for owner, one in await store.services.router.interests(SILENCED_AT)
        if owner == Owner(SILENCED, OUTSIDE)
    }


def _grouping(store: Store) -> Store:
    """The store, if it has what groups need. Raises UsageError."""
    if not {Service.ROUTER, Service.LOOKUPS} <= store.services.offered:
        raise UsageError("the adapter of this database has no router and lookups, so failures are not grouped")
    return store


def _check_group(group: str) -> None:
    given: Any = group
    if not isinstance(given, str) or not is_group(given):
        raise QueryError(f"{group!r} is no group of failures; `romancy failures` lists them, as f-3f9a1c22b0d4")
