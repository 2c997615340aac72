"""A whole query: which instances, how many, after which position. Built and checked here, answered by a store.

Pages come newest first, by `(created_at, instance_id)` both descending, ids by the bytes of their UTF-8. A page
continues after a position, not after a count, so rows that come and go elsewhere never shift it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, cast

import msgspec
from msgspec import Struct

from romancy.errors import QueryError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.query._conditions import Condition, compile_query
from romancy.storage.query._tokens import Position, decode_token, encode_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.storage.query._filters import FilterValue

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "Query", "build_query", "folded"]

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
MAX_PART_LENGTH = 255


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
    conditions: tuple[Condition, ...] = ()
    limit: int = DEFAULT_LIMIT
    since: int | None = None
    """Only instances that were started then or later, in microseconds."""
    ended_since: int | None = None
    """Only instances that ended then or later. An instance has ended if its status is terminal, at its `updated_at`."""
    ended_until: int | None = None
    """Only instances that ended before then."""
    after: Position | None = None
    """Only rows that come after this position in the order of pages: older, or as old and with a smaller id."""

    def fingerprint(self) -> bytes:
        """The parts to which a page token is bound: all but the limit, the times and the position, in any order."""
        canonical = msgspec.json.encode(
            (
                self.workflow_name if self.named is None else [self.named],
                sorted(set(self.statuses)),
                self.instance_id,
                sorted({msgspec.json.encode(condition).decode() for condition in self.conditions}),
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
    limit: int = DEFAULT_LIMIT,
    page_token: str | None = None,
    headers: Mapping[str, FilterValue] | None = None,
) -> Query:
    """Check everything and build a query. `QueryError` names the argument and its fault.

    An empty `workflow_name` or `instance_id` is part of every name and restricts nothing. The case of A to Z does not
    count. `named` is given instead of `workflow_name`: the whole name, whose case counts. The instances were started
    at `since` or later, and before `until`, and ended at `ended_since` or later, and before `ended_until`, all in
    microseconds. The times may move from page to page: a page begins where its token leads, or at `until` or
    `ended_until` if that is earlier, since no instance ends before it starts.
    """
    if named == "":
        raise QueryError("workflow_name: is empty, and no workflow has such a name; leave it out to choose all")
    newest = min((bound for bound in (until, ended_until) if bound is not None), default=None)
    query = Query(
        workflow_name=_part("workflow_name", workflow_name if named is None else named),
        named=named,
        statuses=_statuses(status),
        instance_id=_part("instance_id", instance_id),
        conditions=compile_query(filters, headers),
        limit=_limit(limit),
        since=since,
        ended_since=ended_since,
        ended_until=ended_until,
        after=None if newest is None else Position(newest, ""),
    )
    if page_token is None:
        return query
    after = decode_token(query.fingerprint(), page_token)
    if newest is not None and newest <= after.created_at:
        return query
    return msgspec.structs.replace(query, after=after)


def _limit(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_LIMIT:
        raise QueryError(f"limit: must be a whole number from 1 to {MAX_LIMIT}; read further pages with page_token")
    return value


def _part(what: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise QueryError(f"{what}: must be a string, not {type(value).__name__}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise QueryError(f"{what}: holds half of a surrogate pair, which is not text; fix its encoding") from None
    if size > MAX_PART_LENGTH:
        raise QueryError(f"{what}: {size} bytes of UTF-8; no name is longer than {MAX_PART_LENGTH}")
    if "\x00" in value:
        raise QueryError(f"{what}: holds a NUL character, which no name does")
    return folded(str.__str__(value))


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
