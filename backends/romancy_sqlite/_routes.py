"""Writes the routing of appends, sessions, posts and purges: interests, messages, and messages given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from romancy.storage.records import Delivered
from romancy.storage.verdicts import on_posting
from romancy_sqlite._bulk import interest_rows, projection_text
from romancy_sqlite._places import is_needless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Append
    from romancy.storage.routing import Owner, Posting
    from romancy_sqlite._connection import Tx

__all__ = ["leave_lanes", "post_all", "weight_of_posts", "write_routes"]


def write_routes(tx: Tx, item: Append, owner: Owner) -> None:
    """Write the routing of an accepted append."""
    if item.interests:
        for row in interest_rows(item, tx.now):
            tx.run("add_interest", row)
    if item.uninterested:
        rows = [(*owner, interest_id) for interest_id in item.uninterested]
        tx.run("drop_interests", {"interests": msgspec.json.encode(rows).decode()})
    if item.postings:
        post_all(tx, item.postings)


def leave_lanes(tx: Tx, appends: Sequence[Append]) -> None:
    """Write what appends that were written in bulk leave: their interests go, and marks are posted at lanes."""
    gone = [(one.instance_id, one.life, interest_id) for one in appends for interest_id in one.uninterested]
    if gone:
        tx.run("drop_interests", {"interests": msgspec.json.encode(gone).decode()})
    marks: dict[str, list[Posting]] = {}
    for one in appends:
        for mark in one.postings:
            marks.setdefault(mark.places[0].address, []).append(mark)
    for posted in marks.values():
        if not is_needless(tx, posted[0].places[0]):
            post_all(tx, posted)


def weight_of_posts(batch: Sequence[Posting]) -> int:
    """The approximate number of pages that these messages write."""
    return sum([len(posting.places) * (3 + (len(posting.body) >> 11)) for posting in batch])


def post_all(tx: Tx, batch: Sequence[Posting]) -> list[Delivered]:
    """Keep each message in turn, so that a second copy in the same batch meets the first."""
    return [_post(tx, posting) for posting in batch]


def _post(tx: Tx, posting: Posting) -> Delivered:
    places = [place for place in posting.places if not is_needless(tx, place)]
    if not places:
        return Delivered.ACCEPTED
    known = posting.dedupe is not None and bool(tx.rows("seen_at", (posting.topic, posting.dedupe)))
    for place in posting.places:
        known = known or bool(tx.rows("message_has", (place.address, posting.message_id)))
    verdict = on_posting(known=known)
    if verdict is not None:
        return verdict
    if posting.dedupe is not None:
        tx.run("see_at", (posting.topic, posting.dedupe, tx.now))
    projection = projection_text(posting.projection)
    for place in places:
        row = (place.address, posting.message_id, place.spread.value, tx.now, posting.body, projection)
        tx.run("message_insert", row)
    return Delivered.ACCEPTED
