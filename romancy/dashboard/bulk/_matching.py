"""Finds the instances of an action on many: those of a search, as of the time of the confirmation page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from romancy._job_name import NAME
from romancy.dashboard._refused import bad_request
from romancy.serialization import is_sealed
from romancy.status import Status

if TYPE_CHECKING:
    from romancy.dashboard._acting import Action
    from romancy.dashboard._search import Search
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["COUNTED", "Counted", "count", "matching", "statuses_for"]

COUNTED: Final = 10_000
"""Upper bound on the count of a page. The job counts the rest."""
_EACH: Final = 500


class Counted(NamedTuple):
    """The number of instances of an action."""

    number: int
    more: bool
    """Whether there are more than were counted."""


def statuses_for(action: Action, search: Search) -> tuple[Status, ...]:
    """The statuses of the instances to act on. RefusedError: the action does not apply to any status of the search."""
    search.query(1)  # refuses an invalid search with its reason
    if search.status:
        asked = [Status(one) for one in search.status]
    else:
        asked = list(action.statuses if search.chosen else action.by_itself or action.statuses)
    fitting = tuple(sorted(set(asked) & action.statuses))
    if not fitting:
        raise bad_request(
            f"{action.verb.capitalize()} does nothing to instances that are {' or '.join(asked)}. "
            f"It is for those that are {', '.join(sorted(action.statuses))}."
        )
    return fitting


async def matching(
    store: Store, action: Action, search: Search, asked: int, page: str = ""
) -> tuple[list[InstanceRow], str | None]:
    """A page of the instances that existed when the confirmation page was made, and the token of the next page.

    A search by input finds no instance with a sealed input: only visitors who can open it may know its value.
    """
    query = search._replace(status=statuses_for(action, search), page=page).query(_EACH)
    found = await store.services.reading.find(query)
    rows = [row for row in found.rows if row.created_at <= asked and row.workflow_name != NAME]
    if query.conditions:
        rows = [row for row in rows if not is_sealed(row.input, "input")]
    return rows, found.next_token


async def count(store: Store, action: Action, search: Search, asked: int) -> Counted:
    """How many there are, exactly up to `COUNTED`."""
    number, page = 0, ""
    while True:
        rows, following = await matching(store, action, search, asked, page)
        number += len(rows)
        if number > COUNTED:
            return Counted(COUNTED, more=True)
        if following is None:
            return Counted(number, more=False)
        page = following
