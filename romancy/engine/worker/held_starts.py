"""Starts of workflows that are paused by their names: a worker that meets one pauses it, and later lets it go on.

An instance is held if nothing of it has begun when it is claimed. Its row is that of a paused instance, whose reason
says so. When the pause is over, a notice says that for a while: longer than any worker can take instances without a
heartbeat, which tells it. Until then, what is held is looked for and let go on, whoever holds it and whoever dies.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy._logs import about, get_logger
from romancy.engine.decide import append_behind
from romancy.engine.messages import CancelMessage, TerminateMessage, decode_message
from romancy.engine.pausing import pause_entry, paused_as
from romancy.engine.surroundings import here
from romancy.errors import StorageError
from romancy.status import Status
from romancy.storage.notices import HELD, held_reason, is_held_start, row_to_leave
from romancy.storage.query import build_query
from romancy.storage.records import Append, Change, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from romancy.engine.driver import Driver
    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.engine.worker.next_claim import NextClaim
    from romancy.engine.worker.tasks import Tasks
    from romancy.storage.notices import Notice
    from romancy.storage.protocol import Store
    from romancy.storage.records import Claimed, InstanceRow, Mailbox, Peer

__all__ = ["HeldStarts"]

logger = get_logger("romancy.engine")

_AT_ONCE: Final = 100
"""How many instances go on in one commit."""
_READS: Final = 16
_SPARE: Final = 60_000_000
"""Microseconds that a notice of an end stays at least."""
_ENDS: Final = (CancelMessage, TerminateMessage)


class HeldStarts:
    """What one worker knows of paused workflows, and does with their starts."""

    def __init__(
        self, store: Store, driver: Driver, keeper: Callable[[], LeaseKeeper], next_claim: NextClaim, tasks: Tasks
    ) -> None:
        self._store = store
        self._driver = driver
        self._keeper = keeper
        self._next_claim = next_claim
        self._tasks = tasks
        self.workflows: dict[str, str] = {}
        """The workflows that are paused, with the reasons."""
        self._over: dict[str, list[Notice]] = {}
        """The notices of workflows that are paused no longer."""
        self._releases = False

    def heed(self, notices: Sequence[Notice]) -> None:
        """Know what these notices say. After each heartbeat while there are some: let go on what is to."""
        self.workflows = {one.name: one.reason for one in reversed(notices) if one.kind == "workflow"}
        self._over = {}
        for one in notices:
            if one.kind == "over" and one.name not in self.workflows:
                self._over.setdefault(one.name, []).append(one)
        if self._over and not self._releases:
            self._releases = True
            self._tasks.spawn(self._release_all())

    # ── holding ─────────────────────────────────────────────────────────────────────────────────────────────────

    def holds(self, claimed: Claimed, box: Mailbox | None) -> bool:
        """Pause a claimed instance of which nothing has begun, and let go of it. False: it goes on.

        One that is to be cancelled or terminated goes on, and ends.
        """
        reason = self.workflows.get(claimed.workflow_name)
        if reason is None or claimed.status is not Status.PENDING or (box is not None and _ends(box)):
            return False
        code = self._driver.registry.workflows[claimed.workflow_name].code
        said, signals = held_reason(reason), claimed.signals if box is None else box.signals
        body = pause_entry(self._driver.clock.now(), code, "begins", said)
        item = append_behind(claimed, self._driver.incarnation.nonce(), body, paused_as(said, signals))
        self._driver.writer.submit(item, self._held)
        return True

    def _held(self, outcome: Outcome) -> None:
        if outcome not in (Outcome.ACCEPTED, Outcome.ENDED):
            self._next_claim.look_for_own()

    # ── letting go on ───────────────────────────────────────────────────────────────────────────────────────────

    async def _release_all(self) -> None:
        try:
            for name in list(self._over):
                if self._is_first(self._over.get(name, ())):
                    await self._release(name)
        except StorageError as error:
            logger.debug("cannot let held starts go on: %s", error)
        finally:
            self._releases = False

    def _is_first(self, notices: Sequence[Notice]) -> bool:
        """Whether it is the turn of this worker. One of the living does it, and any if that one has not for long."""
        leases = self._keeper().leases
        if any(self._age(one) > leases.worker.lease for one in notices):
            return True
        return bool(notices) and leases.token <= min((one.token for one in self._peers()), default=leases.token)

    def _peers(self) -> list[Peer]:
        return [one for one in self._keeper().leases.peers if one.works and not one.dead]

    def _age(self, notice: Notice) -> int:
        return self._driver.clock.now() - notice.since

    async def _release(self, name: str) -> None:
        """Let all held starts of the workflow go on, the oldest first. End the notice if that was the last look."""
        token, gone = None, 0
        while name in self._over:
            query = build_query(
                named=name, status=Status.PAUSED, error=HELD, oldest_first=True, limit=_AT_ONCE, page_token=token
            )
            page = await self._store.services.reading.find(query)
            gone += await self._let_go_on([row for row in page.rows if is_held_start(row.error)])
            if (token := page.next_token) is None:
                break
        if gone:
            logger.info("workflow %s is paused no longer: %d starts go on", name, gone)
            return
        longest = max([self._keeper().leases.worker.lease, *(one.lease for one in self._peers())])
        for notice in self._over.get(name, []):
            if self._age(notice) > max(_SPARE, 2 * longest):
                await self._store.leave(row_to_leave(notice.token))

    async def _let_go_on(self, rows: Sequence[InstanceRow]) -> int:
        items: list[Append] = []
        for first in range(0, len(rows), _READS):
            found = await asyncio.gather(*(self._release_of(row) for row in rows[first : first + _READS]))
            items += [item for item in found if item is not None]
        if not items:
            return 0
        outcomes = await self._store.commit(items, worker=self._keeper().leases.token)
        if (accepted := outcomes.count(Outcome.ACCEPTED)) < len(items):
            logger.debug("%d of %d held starts have changed", len(items) - accepted, len(items))
        return accepted

    async def _release_of(self, row: InstanceRow) -> Append | None:
        """The row of its log that ends the pause. None: it has changed. Of all that go on, the oldest is due first."""
        found = await self._store.read(row.instance_id, after=row.last_seq - 1)
        if found is None or found.more or [one.seq for one in found.rows] != [row.last_seq]:
            return None
        last, now = found.rows[0], self._driver.clock.now()
        change = Change(
            status=Status.RUNNING, seen=row.signals, release=True, wake_at=min(row.created_at, now), unowned=True
        )
        if logger.isEnabledFor(10):
            logger.debug("instance %s: its start is held no longer", row.instance_id, extra=about(row))
        return Append(
            instance_id=row.instance_id,
            life=row.life,
            seq=row.last_seq + 1,
            writer=f"{here().token()}.start",
            body=pause_entry(max(now, last.at), "", "ends"),
            after=last.writer,
            change=change,
        )


def _ends(box: Mailbox) -> bool:
    """Whether the mail asks to cancel or to terminate the instance."""
    for row in box.rows:
        try:
            if isinstance(decode_message(row.body), _ENDS):
                return True
        except StorageError:
            continue  # taking the mail in reports the error
    return False
