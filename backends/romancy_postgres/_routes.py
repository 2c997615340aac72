"""What appends and posts write of the routing: messages at addresses, and interests. Inside a transaction or alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.records import Delivered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.storage.records import Append
    from romancy.storage.routing import Posting
    from romancy_postgres._connection import Link

__all__ = ["add_messages", "routes_size", "size_of", "write_routes"]


async def write_routes(link: Link, accepted: Sequence[Append]) -> None:
    """Write what accepted appends carry of the routing: at most two statements, none if they carry nothing."""
    gone = sorted((one.instance_id, one.life, interest_id) for one in accepted for interest_id in one.uninterested)
    removed = set(gone)
    wanted = sorted(
        (one.instance_id, one.life, interest.interest_id, interest.address, interest.kind.value, interest.where)
        for one in accepted
        for interest in one.interests
        if (one.instance_id, one.life, interest.interest_id) not in removed
    )
    if gone or wanted:
        await link.run("interests_change", *_columns(gone, 3), *_columns(wanted, 6))
    postings = [posting for one in accepted for posting in one.postings]
    if postings:
        await add_messages(link, postings)


async def add_messages(link: Link, postings: Sequence[Posting]) -> list[Delivered]:
    """Keep messages at all their places, or at none. One answer each, in order."""
    rows = [
        (n, one.message_id, one.dedupe, place.address, place.spread.value, one.body, one.projection)
        for n, one in enumerate(postings)
        for place in one.places
    ]
    answers = await link.fetch("messages_add", *_columns(rows, 7))
    return [Delivered.ACCEPTED if answer[0] else Delivered.DUPLICATE for answer in answers]


def size_of(posting: Posting) -> int:
    """How many bytes a message takes in a statement."""
    return (len(posting.body) + len(posting.projection or b"")) * len(posting.places)


def routes_size(item: Append) -> int:
    """How many bytes of the routing an append takes in a statement."""
    return sum(map(size_of, item.postings)) + sum(len(one.where or b"") for one in item.interests)


def _columns(rows: Iterable[tuple[object, ...]], width: int) -> list[list[object]]:
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns or [[] for _ in range(width)]
