"""Notices: what all workers of a database have to heed, as rows among the workers, which every heartbeat reads.

The row of a notice is no worker: it owns nothing, and its lease does not end. What it says is in its codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import msgspec

from romancy.storage.records import NOTICE, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from romancy.storage.records import Peer

__all__ = ["HELD", "Notice", "NoticeKind", "held_reason", "is_held_start", "notice_row", "notices_in", "row_to_leave"]

HELD: Final = "its workflow is paused"
"""How the reason of an instance begins that a worker has paused because of its workflow."""

NoticeKind: TypeAlias = Literal["activity", "workflow", "over", "drain"]
"""What a notice says of a name.

`activity`: no attempt of this activity begins. `workflow`: no start of this workflow begins. `over`: those that were
held go on. `drain`: the worker with this token drains.
"""

_MARKS: Final[Mapping[NoticeKind, str]] = {
    "activity": "paused ",
    "workflow": "paused-workflow ",
    "over": "unpaused-workflow ",
    "drain": "drain ",
}
_FOR_EVER: Final = 100 * 365 * 86_400_000_000
_A_MOMENT: Final = 1_000_000
_decoder: Final = msgspec.json.Decoder(tuple[str, str])


class Notice(NamedTuple):
    """What all workers have to heed."""

    kind: NoticeKind
    name: str
    reason: str
    since: int
    token: str
    """That of its row."""


def notice_row(token: str, kind: NoticeKind, name: str, reason: str) -> Worker:
    """The row that says so, to be registered by a heartbeat. Once it has left, the notice is over."""
    said = msgspec.json.encode((name, reason)).decode()
    return Worker(token=token, worker_id=NOTICE, lease=_FOR_EVER, codes=(_MARKS[kind] + said,))


def row_to_leave(token: str, *codes: str) -> Worker:
    """The row of a notice with this token, for a call that ends it."""
    return Worker(token=token, worker_id=NOTICE, lease=_A_MOMENT, codes=codes)


def notices_in(peers: Iterable[Peer]) -> list[Notice]:
    """The notices that hold, the oldest first. What only a later version says is passed over."""
    found = [
        Notice(kind, *_decoder.decode(code.removeprefix(mark)), peer.started_at, peer.token)
        for peer in peers
        if peer.worker_id == NOTICE and not peer.dead
        for code in peer.codes
        for kind, mark in _MARKS.items()
        if code.startswith(mark)
    ]
    return sorted(found, key=lambda one: (one.since, one.token))


def held_reason(reason: str) -> str:
    """The reason of an instance that is paused because its workflow is, for this reason."""
    return f"{HELD}: {reason}" if reason else HELD


def is_held_start(error: str | None) -> bool:
    """Whether the reason of a paused instance is that its workflow is paused, or was."""
    return error is not None and (error == HELD or error.startswith(f"{HELD}: "))
