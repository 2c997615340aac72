"""Appends with everything that they carry, in one statement, and which appends one statement cannot write."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from romancy_postgres._columns import (
    RUN_COLUMNS,
    change_columns,
    child_columns,
    delivery_columns,
    first_columns,
    firsts_of,
    given_columns,
    index_rows,
    log_columns,
    new_run_columns,
    outbox_columns,
)
from romancy_postgres._judged_together import mail_judged_together, posts_judged_together
from romancy_postgres._routes import interest_columns, place_columns
from romancy_postgres._write import Written, news_of, news_of_firsts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from romancy.storage.records import Append
    from romancy_postgres._connection import Link

__all__ = [
    "all_at_once",
    "created_at_once",
    "entangled",
    "firsts_at_once",
    "renews",
    "write_at_once",
    "written_at_once",
]

Columns = list[list[object]]
_target, _starts, _outbox, _deliveries, _postings, _wanted, _unwanted = map(
    attrgetter, ("instance_id", "starts", "outbox", "deliveries", "postings", "interests", "uninterested")
)


def entangled(items: Sequence[Append]) -> bool:
    """Whether one statement cannot write them.

    A life is replaced, two messages of one id have a place in common, or a message goes to what they start or change.
    """
    for item in items:
        if item.create is not None and item.create.replaces is not None:
            return True
    if any(map(_postings, items)):
        posts = [posting for item in items for posting in item.postings]
        if posts[1:] and len(posts_judged_together(posts)) > 1:
            return True
    if not any(map(_deliveries, items)):
        return False
    mail = [delivery for item in items for delivery in item.deliveries]
    if mail[1:] and len(mail_judged_together(mail)) > 1:
        return True
    targets = {delivery.instance_id for delivery in mail}
    changed = {item.instance_id for item in items if item.change is not None or item.create is not None}
    started = {start.instance_id for item in items for start in item.starts}
    return not targets.isdisjoint(changed | started)


def renews(item: Append) -> bool:
    """Whether a new run begins with this append."""
    return item.change is not None and item.change.run_from is not None


async def write_at_once(link: Link, items: Sequence[Append], worker: str | None, *, mail: bool = True) -> Written:
    """Append rows with everything they carry, each wholly or not at all. Without `mail`, messages are left to others.

    An append whose child exists is not accepted. If a child cannot be created in the end, nothing of all is written,
    and the driver's error is one of a division by zero (`_errors.unborn`).
    """
    return written_at_once(items, await link.fetch("append_effects", worker, *all_at_once(items, mail=mail)))


def all_at_once(items: Sequence[Append], *, mail: bool = True) -> Columns:
    """The arguments of `append_effects` behind the worker."""
    sends = mail and any(map(_deliveries, items))
    targets = {delivery.instance_id for item in items for delivery in item.deliveries} if sends else ()
    return [
        *log_columns(items),
        *change_columns(items),
        [*map(_target, items), *targets],
        *_new_runs(items),
        *_carried(items, mail=mail),
    ]


def written_at_once(items: Sequence[Append], answer: Iterable[Iterable[Any]]) -> Written:
    """What `append_effects` has written of these items."""
    ((chosen, due, mailed, _),) = answer
    return _written(items, chosen, due or (), mailed or ())


def firsts_at_once(items: Sequence[Append]) -> Columns:
    """The arguments of `append_first`, which is the same for first appends: they create their instances."""
    targets = {delivery.instance_id for item in items for delivery in item.deliveries}
    firsts = firsts_of(items)
    return [*first_columns(firsts), [*sorted(targets)], *_carried(items, mail=True), *given_columns(firsts)]


def created_at_once(items: Sequence[Append], answer: Iterable[Iterable[Any]]) -> Written:
    """What `append_first` has written of these items."""
    ((chosen, mailed, _),) = answer
    written = _written(items, chosen, mailed or ())
    written.stirred |= news_of_firsts(item for item in items if item.instance_id in written.accepted)
    return written


def _written(items: Sequence[Append], chosen: Collection[str] | None, *news: Iterable[str]) -> Written:
    """What a statement has written of these items (None: all of them), with what it reports as changed."""
    accepted = items if chosen is None else [item for item in items if item.instance_id in chosen]
    stirred = set[str]()
    if any(map(_starts, accepted)):
        stirred = {start.instance_id for item in accepted for start in item.starts}
    return Written(set(map(_target, accepted)), stirred.union(news_of(accepted), *news))


def _carried(items: Sequence[Append], *, mail: bool) -> Columns:
    """The columns of what appends carry. Most carry nothing of most kinds."""
    children, named = _NO_CHILDREN, _NOTHING_GIVEN
    if any(map(_starts, items)):
        children, named = _children(items), given_columns(firsts_of(start for item in items for start in item.starts))
    return [
        *children,
        *(_outgoing(items) if any(map(_outbox, items)) else _NOTHING_OUT),
        *(_mail(items) if mail and any(map(_deliveries, items)) else _NO_MAIL),
        *(interest_columns(items) if any(map(_wanted, items)) or any(map(_unwanted, items)) else _NO_INTERESTS),
        *(_posts(items) if any(map(_postings, items)) else _NO_POSTS),
        *named,
    ]


def _new_runs(items: Sequence[Append]) -> Columns:
    for item in items:
        if item.change is not None and item.change.run_from is not None:
            break
    else:
        none: list[object] = [None] * len(items)
        return [*[none] * RUN_COLUMNS, *_NO_INDEX]
    indexes = [
        (item.instance_id, item.change.index)
        for item in items
        if item.change is not None and item.change.run_from is not None and item.change.index is not None
    ]
    return [*new_run_columns(items), *(index_rows(indexes) if indexes else _NO_INDEX)]


def _children(items: Sequence[Append]) -> Columns:
    return [
        [item.instance_id for item in items for _ in item.starts],
        *child_columns(firsts_of(start for item in items for start in item.starts)),
    ]


def _outgoing(items: Sequence[Append]) -> Columns:
    return [
        [item.instance_id for item in items for _ in item.outbox],
        *outbox_columns([row for item in items for row in item.outbox]),
    ]


def _mail(items: Sequence[Append]) -> Columns:
    return [
        [item.instance_id for item in items for _ in item.deliveries],
        *delivery_columns([delivery for item in items for delivery in item.deliveries]),
    ]


def _posts(items: Sequence[Append]) -> Columns:
    return [
        [item.instance_id for item in items for posting in item.postings for _ in posting.places],
        *place_columns([posting for item in items for posting in item.postings]),
    ]


_NO_CHILDREN, _NOTHING_OUT, _NO_MAIL, _NO_POSTS = _children(()), _outgoing(()), _mail(()), _posts(())
_NO_INDEX, _NO_INTERESTS, _NOTHING_GIVEN = index_rows(()), interest_columns(()), given_columns(())
