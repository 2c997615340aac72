"""Notices: what all workers of a database have to heed, as rows among the workers, which every heartbeat reads.

The row of a notice is no worker: it owns nothing, and its lease does not end. What it says is in its codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from romancy.storage.records import NOTICE, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.records import Peer

__all__ = ["Notice", "notice_row", "notices_in"]

_PAUSED: Final = "paused "
_FOR_EVER: Final = 100 * 365 * 86_400_000_000
_decoder: Final = msgspec.json.Decoder(tuple[str, str])


class Notice(NamedTuple):
    """That an activity is paused."""

    activity: str
    reason: str
    since: int
    token: str
    """That of its row."""


def notice_row(token: str, activity: str, reason: str) -> Worker:
    """The row that says so, to be registered by a heartbeat. Once it has left, the notice is over."""
    said = msgspec.json.encode((activity, reason)).decode()
    return Worker(token=token, worker_id=NOTICE, lease=_FOR_EVER, codes=(_PAUSED + said,))


def notices_in(peers: Iterable[Peer]) -> list[Notice]:
    """The notices that hold, the oldest first. What only a later version says is passed over."""
    found = [
        Notice(*_decoder.decode(code.removeprefix(_PAUSED)), peer.started_at, peer.token)
        for peer in peers
        if peer.worker_id == NOTICE and not peer.dead
        for code in peer.codes
        if code.startswith(_PAUSED)
    ]
    return sorted(found, key=lambda one: (one.since, one.token))
