"""What appends and posts write of the routing: messages at addresses, and interests. Inside a transaction or alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.storage.admission import head_start
from romancy.storage.records import Delivered
from romancy.storage.verdicts import on_posting
from romancy_postgres._columns import columns
from romancy_postgres._judged_together import posts_judged_together

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.storage.records import Append
    from romancy.storage.routing import Posting
    from romancy_postgres._connection import Link

__all__ = [
    "add_messages",
    "interest_columns",
    "place_columns",
    "posted",
    "routes_size",
    "size_of",
    "write_routes",
]


async def write_routes(link: Link, accepted: Sequence[Append]) -> None:
    """Write what accepted appends carry of the routing: at most two statements, none if they carry nothing."""
    interests = interest_columns(accepted)
    if any(interests):
        await link.run("interests_change", *interests)
    postings = [posting for one in accepted for posting in one.postings]
    if postings:
        await add_messages(link, postings)


def interest_columns(appends: Sequence[Append]) -> list[list[object]]:
    """The columns of `interests_change`: of those that are removed, and of those that are registered."""
    gone = [(one.instance_id, one.life, interest_id) for one in appends for interest_id in one.uninterested]
    removed = set(gone)
    wanted = [
        (
            one.instance_id,
            one.life,
            interest.interest_id,
            interest.address,
            interest.kind.value,
            interest.where,
            head_start(interest),
        )
        for one in appends
        for interest in one.interests
        if (one.instance_id, one.life, interest.interest_id) not in removed
    ]
    return [*columns(sorted(gone), width=3), *columns(sorted(wanted), width=7)]


async def add_messages(link: Link, postings: Sequence[Posting]) -> list[Delivered]:
    """Keep messages at all their places, or at none. One answer each, in order."""
    return [
        answer
        for some in posts_judged_together(postings)
        for answer in posted(await link.fetch("messages_add", *place_columns(some)))
    ]


def posted(rows: Iterable[Iterable[Any]]) -> list[Delivered]:
    """The answers in the rows of `messages_add`."""
    answers: list[Delivered] = []
    for (accepted,) in rows:
        answers.append(on_posting(known=not accepted) or Delivered.ACCEPTED)
    return answers


def place_columns(postings: Iterable[Posting]) -> list[list[object]]:
    """The columns of `messages_add`: a row for each place of each message. The last one has the dedupe key."""
    rows = [
        (n, one.message_id, key, place.address, place.spread.value, one.body, one.projection)
        for n, one in enumerate(postings)
        for place, key in zip(one.places, (*(None,) * (len(one.places) - 1), one.dedupe), strict=True)
    ]
    return columns(rows, width=7)


def size_of(posting: Posting) -> int:
    """How many bytes a message takes in a statement."""
    return (len(posting.body) + len(posting.projection or b"")) * len(posting.places)


def routes_size(item: Append) -> int:
    """How many bytes of the routing an append takes in a statement."""
    return sum(map(size_of, item.postings)) + sum(len(one.where or b"") for one in item.interests)
