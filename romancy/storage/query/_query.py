"""A whole query: which instances, how many, after which position. Built and checked here, answered by a store.

Pages come newest first, by `(created_at, instance_id)` both descending, or oldest first, by both ascending; ids by the
bytes of their UTF-8. A page continues after a position, not after a count, so rows that come and go elsewhere never
shift it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from romancy.errors import QueryError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.failures import is_group
from romancy.storage.query._conditions import Condition, compile_query
from romancy.storage.query._tokens import Position, decode_token, encode_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.storage.query._filters import FilterValue

__all__ = [
    "DEFAULT_LIMIT",
    "MAX_IDS",
    "MAX_LIMIT",
    "Query",
    "build_query",
    "folded",
    "page_of",
    "restrict",
    "with_whole_name",
]

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
MAX_IDS = 1000
MAX_PART_LENGTH = 255
MAX_ERROR_LENGTH = 1000


def folded(text: str) -> str:
    """The text with small letters in the place of A to Z: what all databases can do alike. Other letters stay."""
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


class Query(Struct, frozen=True, kw_only=True):
    """A checked query. All given parts must hold. Make one with `build_query`."""

    workflow_name: str | None = None
    """A part of the name, `folded`, compared byte for byte with the folded name. There are no wildcards."""
    named: str | None = None
    """The whole name, compared byte for byte. `workflow_name` is then its `folded` form, which finds candidates."""
    statuses: tuple[Status, ...] = ()
    """Any of these; empty for all."""
    instance_id: str | None = None
    """A part of the id, like `workflow_name`."""
    ids: tuple[str, ...] | None = None
    """Only instances with one of these ids, each compared byte for byte; sorted, each once. None: any id."""
    parent: str | None = None
    """Only instances whose parent has this id, compared byte for byte."""
    top_level: bool = False
    """Only instances without a parent."""
    conditions: tuple[Condition, ...] = ()
    limit: int = DEFAULT_LIMIT
    since: int | None = None
    """Only instances that were started then or later, in microseconds. With `oldest_first`, `after` says it."""
    until: int | None = None
    """With `oldest_first`: only instances that were started before then. Otherwise, `after` says it."""
    ended_since: int | None = None
    """Only instances that ended then or later. An instance has ended if its status is terminal, at its `updated_at`."""
    ended_until: int | None = None
    """Only instances that ended before then."""
    error: str | None = None
    """A part of the error text of the row, compared byte for byte."""
    group: str | None = None
    """Only instances in this group of failures (`romancy.storage.failures`)."""
    oldest_first: bool = False
    """The order of pages is ascending."""
    after: Position | None = None
    """Only rows that come after this position in the order of pages.

    They are older, or as old and with a smaller id. With `oldest_first` they are younger, or as old and with a greater
    id.
    """

    def fingerprint(self) -> bytes:
        """The parts to which a page token is bound: all but the limit, the times and the position.

        The order of statuses, ids and conditions does not count. The order of pages does.
        """
        canonical = msgspec.json.encode(
            (
                self.workflow_name if self.named is None else [self.named],
                sorted(set(self.statuses)),
                self.instance_id,
                sorted({msgspec.json.encode(condition).decode() for condition in self.conditions}),
                self.ids,
                self.parent,
                self.top_level,
                self.oldest_first,
                *([self.error, self.group] if self.error or self.group else ()),
            )
        )
        return sha256(canonical).digest()

    def fits_parts(self, workflow_name: str, instance_id: str) -> bool:
        """Whether the name fits, and the id contains its part."""
        return self.fits_name(workflow_name) and (self.instance_id is None or self.instance_id in folded(instance_id))

    def fits_name(self, workflow_name: str) -> bool:
        """Whether this is the whole name that is wanted, or contains the part that is wanted."""
        if self.named is not None:
            return workflow_name == self.named
        return self.workflow_name is None or self.workflow_name in folded(workflow_name)

    def fits_family(self, instance_id: str, parent: str | None) -> bool:
        """Whether the id is one of those that are wanted, and the parent the wanted one."""
        return (
            (self.ids is None or _is_among(self.ids, instance_id))
            and (self.parent is None or parent == self.parent)
            and not (self.top_level and parent is not None)
        )

    def fits_place(self, created_at: int, instance_id: str) -> bool:
        """Whether the row lies between the bounds of the start, behind the position."""
        if (self.since is not None and created_at < self.since) or (
            self.until is not None and created_at >= self.until
        ):
            return False
        if self.after is None:
            return True
        place = created_at, instance_id.encode()
        after = self.after.created_at, self.after.instance_id.encode()
        return place > after if self.oldest_first else place < after

    @property
    def by_end(self) -> bool:
        """Whether it is restricted by the time of the end."""
        return self.ended_since is not None or self.ended_until is not None

    def fits_end(self, status: Status, updated_at: int) -> bool:
        """Whether an instance with this status and this last change ended within the bounds."""
        if not self.by_end:
            return True
        return (
            status in TERMINAL_STATUSES
            and (self.ended_since is None or updated_at >= self.ended_since)
            and (self.ended_until is None or updated_at < self.ended_until)
        )

    def token_after(self, created_at: int, instance_id: str) -> str:
        """The page token that continues this query after the row with this time and id."""
        return encode_token(self.fingerprint(), Position(created_at, instance_id))


def build_query(  # noqa: PLR0913 - each part of a query
    filters: Mapping[str, FilterValue] | None = None,
    *,
    workflow_name: str | None = None,
    named: str | None = None,
    status: str | Iterable[str] | None = None,
    instance_id: str | None = None,
    since: int | None = None,
    until: int | None = None,
    ended_since: int | None = None,
    ended_until: int | None = None,
    parent: str | None = None,
    top_level: bool = False,
    ids: Collection[str] | None = None,
    error: str | None = None,
    oldest_first: bool = False,
    limit: int = DEFAULT_LIMIT,
    page_token: str | None = None,
    headers: Mapping[str, FilterValue] | None = None,
) -> Query:
    """`restrict` and `page_of` in one: check everything and build a query.

    `named` is given instead of `workflow_name`: the whole name, whose case counts.
    """
    query = restrict(
        filters,
        workflow_name=workflow_name,
        status=status,
        instance_id=instance_id,
        ended_since=ended_since,
        ended_until=ended_until,
        parent=parent,
        top_level=top_level,
        ids=ids,
        error=error,
        headers=headers,
    )
    if named is not None:
        query = with_whole_name(query, named)
    return page_of(query, since=since, until=until, oldest_first=oldest_first, limit=limit, page_token=page_token)


def restrict(  # noqa: PLR0913 - each part of a query
    filters: Mapping[str, FilterValue] | None = None,
    *,
    workflow_name: str | None = None,
    status: str | Iterable[str] | None = None,
    instance_id: str | None = None,
    ended_since: int | None = None,
    ended_until: int | None = None,
    parent: str | None = None,
    top_level: bool = False,
    ids: Collection[str] | None = None,
    error: str | None = None,
    headers: Mapping[str, FilterValue] | None = None,
) -> Query:
    """A query for these instances, without bounds of the start. `QueryError` names the argument and its fault.

    An empty `workflow_name` or `instance_id` is part of every name and restricts nothing. The case of A to Z does not
    count. The instances ended at `ended_since` or later, and before `ended_until`, in microseconds. `parent` and `ids`
    are whole ids, whose case counts. `error` is a part of the error text, whose case counts, or a group of failures.
    """
    text, group = _error(error)
    if _is_true("top_level", top_level) and parent is not None:
        raise QueryError(
            "top_level: an instance without a parent is no child of one; give parent or top_level, not both"
        )
    return Query(
        workflow_name=_part("workflow_name", workflow_name),
        statuses=_statuses(status) or ((Status.FAILED,) if group else ()),
        instance_id=_part("instance_id", instance_id),
        error=text,
        group=group,
        ids=_ids(ids),
        parent=None if parent is None else _whole("parent", parent),
        top_level=top_level,
        conditions=compile_query(filters, headers),
        ended_since=ended_since,
        ended_until=ended_until,
    )


def with_whole_name(query: Query, named: str) -> Query:
    """The query, for instances of the workflow that has exactly this name. `QueryError` as for `restrict`."""
    if named == "":
        raise QueryError("workflow_name: is empty, and no workflow has such a name; leave it out to choose all")
    return replace(query, workflow_name=_part("workflow_name", named), named=named)


def page_of(
    query: Query,
    *,
    since: int | None = None,
    until: int | None = None,
    oldest_first: bool = False,
    limit: int = DEFAULT_LIMIT,
    page_token: str | None = None,
) -> Query:
    """The query for a page of what `restrict` has made. `QueryError` names the argument and its fault.

    The instances were started at `since` or later, and before `until`, in microseconds. These times and those of the
    end may move from page to page. A token and a time never replace each other: a page begins where its token leads,
    or at `until` or `ended_until` if that is earlier, since no instance ends before it starts. With `oldest_first`, it
    begins at `since` if that is later.
    """
    newest = min((bound for bound in (until, query.ended_until) if bound is not None), default=None)
    ordered = replace(query, limit=_limit(limit), oldest_first=_is_true("oldest_first", oldest_first))
    after = None if page_token is None else decode_token(ordered.fingerprint(), page_token)
    if oldest_first:
        return replace(ordered, until=newest, after=_later(after, since))
    return replace(ordered, since=since, after=_earlier(after, newest))


def _earlier(after: Position | None, until: int | None) -> Position | None:
    """Where a page begins that goes back in time."""
    if until is None or (after is not None and after.created_at < until):
        return after
    return Position(until, "")


def _later(after: Position | None, since: int | None) -> Position | None:
    """Where a page begins that goes forward in time. No id is empty."""
    if since is None or (after is not None and after.created_at >= since):
        return after
    return Position(since, "")


def _is_true(what: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise QueryError(f"{what}: must be True or False, not {type(value).__name__}")
    return value


def _limit(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_LIMIT:
        raise QueryError(f"limit: must be a whole number from 1 to {MAX_LIMIT}; read further pages by their tokens")
    return value


def _part(what: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    return folded(_text(what, value))


def _whole(what: str, value: object) -> str:
    """A whole id."""
    if value == "":
        raise QueryError(f"{what}: is empty, and no instance has such an id; leave it out to restrict nothing")
    return _text(what, value)


def _ids(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str | bytes) or not isinstance(value, Collection):
        raise QueryError(f"ids: must be a list of ids, not {type(value).__name__}")
    wanted = {_whole("ids", each) for each in cast("Collection[object]", value)}
    if len(wanted) > MAX_IDS:
        raise QueryError(f"ids: {len(wanted)} ids; give at most {MAX_IDS} in a call, and the others in further calls")
    return tuple(sorted(wanted))


def _is_among(ids: tuple[str, ...], instance_id: str) -> bool:
    at = bisect_left(ids, instance_id)
    return at < len(ids) and ids[at] == instance_id


def _error(value: object) -> tuple[str | None, str | None]:
    """A part of the error text, or a group."""
    if value is None or value == "":
        return None, None
    text = _text("error", value, MAX_ERROR_LENGTH, "give a part of the text that is at most {} long")
    return (None, text) if is_group(text) else (text, None)


def _text(what: str, value: object, most: int = MAX_PART_LENGTH, why: str = "no name is longer than {}") -> str:
    if not isinstance(value, str):
        raise QueryError(f"{what}: must be a string, not {type(value).__name__}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise QueryError(f"{what}: holds half of a surrogate pair, which is not text; fix its encoding") from None
    if size > most:
        raise QueryError(f"{what}: {size} bytes of UTF-8; {why.format(most)}")
    if "\x00" in value:
        raise QueryError(f"{what}: holds a NUL character, which no name does")
    return str.__str__(value)


def _statuses(status: object) -> tuple[Status, ...]:
    if status is None:
        return ()
    wanted: list[object] = [status]
    if isinstance(status, Iterable) and not isinstance(status, str):
        wanted = list(cast("Iterable[object]", status))
    if not wanted:
        raise QueryError("status: an empty list matches nothing; leave it out to get every status")
    if any(name not in tuple(Status) for name in wanted):
        raise QueryError(f"status: unknown; give one or several of {', '.join(Status)}")
    return tuple(known for known in sorted(Status) if known in wanted)
