"""The workers of an SQL database: heartbeats, and who else is there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from romancy.storage.marks import WORKER_NEWS
from romancy.storage.records import Host, Peer, Pulse
from romancy.storage.sqlkit.statements import Ask, ask_all, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Worker
    from romancy.storage.sqlkit.statements import Interpreter, Operation

__all__ = ["Leases", "peers_of"]

_COLUMNS = 2
"""The columns of a worker's row follow the time, and whether the asking worker is alive."""


class Leases:
    """As `Store` promises. `urgent` has connections of its own, where others may delay heartbeats.

    Remembers which workers it registered: if the row of one is gone, that worker is dead.
    """

    def __init__(self, urgent: Interpreter) -> None:
        self._urgent = urgent
        self._registered: set[str] = set()

    async def heartbeat(self, worker: Worker, /, *, leaving: bool) -> Pulse:
        """As `Store.heartbeat` and `Store.leave` promise."""
        known = worker.token in self._registered
        pulse = await self._urgent.in_turn(partial(_heartbeat, worker, leaving=leaving, registered=known))
        self._registered.add(worker.token)
        return pulse


def _heartbeat(worker: Worker, *, leaving: bool, registered: bool) -> Operation[Pulse]:
    """Count the worker's beat up, or register it unless it had a row, and list the others."""
    host = worker.host
    about = {
        "token": worker.token, "worker_id": worker.worker_id, "lease": worker.lease, "codes": list(worker.codes),
        "boot_id": host.boot_id, "pid_namespace": host.pid_namespace, "pid": host.pid, "pid_start": host.pid_start,
        "leaving": leaving, "registered": registered,
    }  # fmt: skip
    beat, others = yield from ask_all(Ask("beat", about), Ask("peers", {"token": worker.token}))
    if worker.codes and any(number == 1 for (number,) in beat.rows):
        yield from tell(WORKER_NEWS + worker.token)
    now, alive = others.rows[0][:_COLUMNS]
    return Pulse(now=now, alive=bool(alive), peers=peers_of(others.rows))


def peers_of(rows: Sequence[Sequence[Any]]) -> list[Peer]:
    """The workers in these rows, by token. Where there are none, a row has only the first columns."""
    return sorted((_peer(row[_COLUMNS:]) for row in rows if row[_COLUMNS] is not None), key=_token)


def _token(peer: Peer) -> str:
    return peer.token


def _peer(columns: Sequence[Any]) -> Peer:
    token, worker_id, lease, beat, dead, codes, boot_id, pid_namespace, pid, pid_start, started_at, beat_at = columns
    return Peer(
        token=token,
        worker_id=worker_id,
        lease=lease,
        beat=beat,
        dead=bool(dead),
        codes=tuple(codes),
        host=Host(boot_id=boot_id, pid_namespace=pid_namespace, pid=pid, pid_start=pid_start),
        started_at=started_at,
        beat_at=beat_at,
    )
