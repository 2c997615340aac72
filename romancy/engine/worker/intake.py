"""Takes in the answer to a claim: sorts claimed instances, and hands out their mail.

A claimed instance is taken up once its mail has come. One that may have killed its owners goes to the quarantine.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy._logs import about, get_logger
from romancy.engine.log_lines import say_refused
from romancy.engine.slot import FREE
from romancy.engine.worker.recovery import is_given_up
from romancy.errors import StorageError, StorageUnavailableError
from romancy.status import Status
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.worker.held_starts import HeldStarts
    from romancy.engine.worker.lease_keeper import Term
    from romancy.engine.worker.next_claim import NextClaim
    from romancy.engine.worker.quarantine import Quarantine
    from romancy.engine.worker.recovery import Recovery
    from romancy.storage.records import Claimed, Item, Mailbox, Work

__all__ = ["Intake"]

logger = get_logger("romancy.engine")

_NONE: Final = frozenset[str]()
_AT_ONCE: Final = 16
_MUCH: Final = 32
"""From this many kept messages on, a claim asks only for newer ones."""


class Intake:
    """The instances that this worker has claimed and not taken up yet, and the mail that came with them."""

    def __init__(
        self,
        driver: Driver,
        recovery: Recovery,
        quarantine: Quarantine,
        next_claim: NextClaim,
        *,
        starting: AbstractSet[str],
        appending: Callable[[], Mapping[str, Item]],
        bereft: dict[str, int],
        held: HeldStarts,
    ) -> None:
        """`starting` holds the instances whose start is in flight, `appending` tells the appends in flight.

        A claim's answer may contain them: they are taken up once the append is settled. Else what it records, and the
        log does not have yet, would be done again.

        `bereft` gets the instances whose last owner died, with the ends of their logs.
        """
        self._driver = driver
        self._recovery = recovery
        self._quarantine = quarantine
        self._next_claim = next_claim
        self._told: dict[str, tuple[Live, int]] = {}
        """The mailbox counter up to which each instance got its mail, as long as that very `Live` is loaded."""
        self._unread: dict[str, Claimed] = {}
        """Claimed instances whose mail did not come with the claim. Their mail may be older than anything due now."""
        self.starting = starting
        self._appending = appending
        self._bereft = bereft
        self._held = held

    @property
    def waits_for_mail(self) -> bool:
        """Whether some instances have to wait until another claim brings their mail."""
        return bool(self._unread)

    @property
    def beside(self) -> int:
        """How many instances are starting here or were claimed, and are not loaded yet."""
        return len(self.starting) + len(self._unread)

    @property
    def is_idle(self) -> bool:
        """Whether no instance waits for its mail before it is taken up."""
        return not self._unread

    def known(self) -> dict[str, int]:
        """The mail that the next claim need not bring again (`ClaimRequest.known`)."""
        told = self._told
        if told:
            live = self._driver.live
            told = self._told = {one: known for one, known in told.items() if live.get(one) is known[0]}
        counters = {one: signals for one, (_, signals) in told.items()} if told else {}
        return counters | dict.fromkeys(self._unread, -1)

    def kept(self) -> dict[str, int]:
        """The part of `known` with much mail held here: a claim need bring only new mail (`ClaimRequest.kept`)."""
        if not self._told:
            return {}
        much = {one: told for one, told in self._told.items() if told[1] >= 0 and len(told[0].inbox) >= _MUCH}
        return {one: signals for one, (live, signals) in much.items() if not live.passed_over}

    def _lacks(self, box: Mailbox) -> bool:
        """Whether this mailbox leaves out mail that is missing here, because the run that kept it was dropped."""
        told, signals = self._told.get(box.instance_id, (None, 0))
        return box.after > max(signals, 0) or (box.after > 0 and self._driver.live.get(box.instance_id) is not told)

    def _has_to_wait(self, work: Work, box: Mailbox | None) -> bool:
        """Whether an instance cannot be taken up before another claim, because its mail is not all here."""
        return work.more if box is None else self._lacks(box)

    async def take_in(self, work: Work, term: Term, gone: AbstractSet[str] = _NONE) -> bool:
        """Continue claimed instances and distribute the mail. Returns True if another claim must bring missing mail.

        `term` is that of the claim. When it ends, nothing more is taken up. `gone` are the instances that this worker
        has let go of since it sent the claim.

        A mailbox that lacks mail no longer held here is ignored. The next claim does not report that mail as kept.
        """
        mail = {box.instance_id: box for box in work.mail}
        self._unread = {one: old for one, old in self._unread.items() if not self._quarantine.begins(one)}
        self._quarantine.note_answer()
        self._note(work, gone)
        unread, self._unread = self._unread, {}
        new: list[Claimed] = []
        for instance_id, claimed in unread.items():
            if self._has_to_wait(work, mail.get(instance_id)):
                self._unread[instance_id] = claimed
            elif instance_id not in self._driver.live:
                new.append(claimed)
        if len(new) == 1:
            await self._admit(new[0], mail.pop(new[0].instance_id, None), term)
        elif new:
            await self._admit_all(new, mail, term)
        if term.is_over():
            return False
        late = self._hand_out(work, mail)
        for claimed in work.claimed:
            unread[claimed.instance_id] = claimed
        for instance_id in unread:
            mine = self._driver.live.get(instance_id)
            if mine is not None:
                self._driver.release(mine)
        return work.more or late

    def standing(self) -> dict[str, tuple[Live, int]]:
        """The loaded instances that have no append in flight, with the ends of their logs."""
        return {one: (live, live.head) for one, live in self._driver.live.items() if live.slot is FREE}

    def drop_lost(self, work: Work, before: Mapping[str, tuple[Live, int]]) -> None:
        """Drop runs that are ahead of their logs: the database has lost commits that it had accepted.

        The claim asked after those commits were accepted. The instances in its answer are taken up again, from the
        present log.
        """
        lost: list[Live] = []
        for claimed in work.claimed:
            live, head = before.get(claimed.instance_id, (None, 0))
            if live is None or self._driver.live.get(claimed.instance_id) is not live or live.life != claimed.life:
                continue
            if claimed.head < head:
                lost.append(live)
        if not lost:
            return
        appending = self._appending()
        for live in lost:
            say_refused(live, Outcome.LOST)
            self._driver.drop(live, appending.get(live.instance_id))

    def going(self) -> set[str]:
        """What is not loaded and may yet be released: its append is queued or in flight."""
        return set(self._appending())

    def _note(self, work: Work, gone: AbstractSet[str]) -> None:
        """Mark claimed instances to be taken up, unless the same life is loaded already, or was during the claim.

        The database may have read of what is `gone` that this worker owns it, before it was released. Others may own it
        by now.
        """
        untold = self._appending().keys() | gone if work.claimed else _NONE
        for claimed in work.claimed:
            mine = self._driver.live.get(claimed.instance_id)
            if mine is not None and mine.life != claimed.life and mine.slot is FREE:
                self._driver.drop(mine)  # its id has a new life, so this one has ended
                mine = None
            if mine is None and claimed.instance_id not in self.starting and claimed.instance_id not in untold:
                self._unread[claimed.instance_id] = claimed
            elif mine is None or mine.life != claimed.life or claimed.head > mine.head:
                # Claimed between our own commit and its acknowledgement: ask again after it.
                self._next_claim.look_for_own()

    def _hand_out(self, work: Work, mail: dict[str, Mailbox]) -> bool:
        """Give each instance its mail. Returns True if some mailboxes lack mail; these are ignored."""
        live = self._driver.live
        late = set[str]()
        for box in work.mail:
            if self._lacks(box):
                late.add(box.instance_id)
        for instance_id, box in mail.items():
            mine = live.get(instance_id)
            if mine is not None and mine.life == box.life and instance_id not in late:
                self._driver.receive(mine, box)
        for box in work.mail:
            mine = live.get(box.instance_id)
            if mine is not None and mine.life == box.life and box.instance_id not in late:
                self._told[box.instance_id] = (mine, box.signals)
        return bool(late)

    async def _admit_all(self, new: Sequence[Claimed], mail: dict[str, Mailbox], term: Term) -> None:
        """Take up a few instances at a time: most of the time is spent waiting for the database."""
        for first in range(0, len(new), _AT_ONCE):
            some = [(claimed, mail.pop(claimed.instance_id, None)) for claimed in new[first : first + _AT_ONCE]]
            ends = await asyncio.gather(*(self._admit(*one, term) for one in some), return_exceptions=True)
            for error in ends:
                if error is not None:
                    raise error

    async def _admit(self, claimed: Claimed, box: Mailbox | None, term: Term) -> None:
        """Take up a claimed instance, or send it to the quarantine if it may have killed its owners."""
        if term.is_over() or self._quarantine.begins(claimed.instance_id):
            return
        if claimed.crashes:
            self._bereft[claimed.instance_id] = claimed.head
        try:
            if (box is not None or claimed.status is Status.PAUSED) and await self._recovery.pauses(claimed, box):
                return
            if self._held.workflows and self._held.holds(claimed, box):
                return
            if claimed.crashes and is_given_up(box):
                self._quarantine.give_up(claimed.instance_id)
            elif claimed.crashes and await self._quarantine.holds(claimed, box, term):
                return
        except StorageUnavailableError as error:
            logger.warning("instance %s: cannot be read: %s", claimed.instance_id, error, extra=about(claimed))
            self._next_claim.look_for_own()
            return
        except StorageError as error:
            logger.warning("instance %s: %s", claimed.instance_id, error, extra=about(claimed))
        await self._recovery.take_up(claimed, box, term)

    def reads_again(self, live: Live) -> None:
        """Have the next claim bring all mail of this instance, also if the database has lost some that was read."""
        self._told[live.instance_id] = live, -1

    def has_read(self, live: Live) -> bool:
        """Whether a claim has brought its mail since."""
        told, signals = self._told.get(live.instance_id, (None, 0))
        return told is not live or signals >= 0

    def forget(self) -> None:
        """Forget the instances to be taken up: other workers own them now."""
        self._told.clear()
        self._unread.clear()
        self._quarantine.forget()
