"""Takes instances up, from a claim or again from their log, to a run that continues; parks those that cannot continue.

Trouble with one instance does not affect the others. An instance whose log cannot be read because the database is away
stays owned, and comes back with the next claim that asks for everything this worker owns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy._logs import about, get_logger
from romancy.engine.decide import owner_changed, short
from romancy.engine.log_lines import say_refused, say_stuck
from romancy.engine.messages import CancelMessage, decode_message
from romancy.engine.slot import FREE
from romancy.engine.worker.replay import load, load_log, resumption
from romancy.errors import (
    CodecError,
    HistoryCorruptError,
    HistoryVersionError,
    InstanceNotFoundError,
    NonDeterminismError,
    StorageError,
    StorageUnavailableError,
    UsageError,
)
from romancy.status import Status
from romancy.storage.records import Append, Change, Claimed, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.observer import Observer
    from romancy.engine.pending_append import Given
    from romancy.engine.post import Mail
    from romancy.engine.worker.quarantine import Quarantine
    from romancy.engine.worker.resting import Resting
    from romancy.storage.protocol import Store
    from romancy.storage.records import Mailbox, Work

__all__ = ["Intake", "claimed_again"]

logger = get_logger("romancy.engine")

_AT_ONCE: Final = 16
_MUCH: Final = 32
"""From this many kept messages on, an answer leaves them out instead of bringing them again."""


def _is_given_up(box: Mailbox | None) -> bool:
    """Whether the mail holds a cancellation that was sent while the instance was stuck."""
    if box is None:
        return False
    for row in box.rows:
        try:
            message = decode_message(row.body)
        except StorageError:
            continue  # taking the mail in reports the error
        if isinstance(message, CancelMessage) and message.stuck:
            return True
    return False


def claimed_again(live: Live) -> Claimed:
    """An instance that this worker still owns, in the form of a claim's answer."""
    return Claimed(
        instance_id=live.instance_id,
        life=live.life,
        workflow_name=live.definition.name,
        status=live.shown,
        code=live.definition.code,
        run_from=live.run_from,
        head=live.head,
        head_writer=live.writer,
        signals=live.signals,
        seen=live.signals,
        crashes=0,
    )


class Intake:
    """Loads instances into the driver."""

    def __init__(
        self,
        store: Store,
        driver: Driver,
        *,
        nonce: Callable[[], str],
        recover: Callable[[], None],
        resting: Resting,
    ) -> None:
        self._store = store
        self._driver = driver
        self._nonce = nonce
        self._recover = recover
        self._resting = resting
        self._after_mail: dict[str, tuple[Claimed, Sequence[Given], Sequence[Mail]]] = {}
        self._told: dict[str, tuple[Live, int]] = {}
        """The mailbox counter that each instance was last given, as long as that very `Live` is here."""
        self._unread: dict[str, Claimed] = {}
        """Claimed instances whose mail did not come along. It may hold messages older than anything due now."""
        self.quarantine: Quarantine
        self.tell_parked: Callable[[str, int, None], None]
        self.observer: Observer | None = None
        self.starting: set[str] = set()
        """Instances whose start is in flight: a claim's answer may contain them before the start is acknowledged."""

    @property
    def waits_for_mail(self) -> bool:
        """Whether some instances cannot continue before another claim has brought their mail."""
        return bool(self._unread)

    @property
    def is_idle(self) -> bool:
        """Whether no instance waits for its mail before it is taken up."""
        return not (self._unread or self._after_mail)

    def look_for_own(self) -> None:
        """Let the next claim ask for everything this worker owns: something is not as it seemed."""
        self._recover()

    def known(self) -> dict[str, int]:
        """The mail that the next claim need not bring again (`ClaimRequest.known`)."""
        live = self._driver.live
        self._told = {instance_id: told for instance_id, told in self._told.items() if live.get(instance_id) is told[0]}
        counters = {instance_id: signals for instance_id, (_, signals) in self._told.items()}
        return counters | dict.fromkeys([*self._unread, *self._after_mail], -1)

    def kept(self) -> dict[str, int]:
        """The part of `known` of which much mail is held here: only new mail need be brought (`ClaimRequest.kept`)."""
        much = {one: told for one, told in self._told.items() if len(told[0].post) >= _MUCH}
        return {one: signals for one, (live, signals) in much.items() if not live.passed_over}

    def _lacks(self, box: Mailbox) -> bool:
        """Whether mail left out of this mailbox is missing here: a run that has been dropped since had kept it."""
        told, signals = self._told.get(box.instance_id, (None, 0))
        return box.after > signals or (box.after > 0 and self._driver.live.get(box.instance_id) is not told)

    async def take_in(self, work: Work) -> bool:
        """Continue claimed instances and hand out the mail. True if another claim must bring what this one did not.

        A mailbox that lacks mail no longer held here is ignored. The next claim does not report that mail as kept.
        """
        mail = {box.instance_id: box for box in work.mail}
        self._note(work)
        unread, self._unread = self._unread, {}
        new: list[Claimed] = []
        for instance_id, claimed in unread.items():
            if work.more and instance_id not in mail:
                self._unread[instance_id] = claimed
            elif instance_id not in self._driver.live:
                new.append(claimed)
        await self._admit_all(new, mail)
        after_mail, self._after_mail = self._after_mail, {}
        for instance_id, (claimed, inputs, kept) in after_mail.items():
            box = mail.get(instance_id)
            if work.more if box is None else self._lacks(box):
                self._after_mail[instance_id] = (claimed, inputs, kept)
            elif instance_id not in self._driver.live:
                await self.take_up(claimed, inputs, mail.pop(instance_id, None), kept=kept)
        late = self._hand_out(work, mail)
        for instance_id in dict.fromkeys([*unread, *(claimed.instance_id for claimed in work.claimed)]):
            mine = self._driver.live.get(instance_id)
            if mine is not None:
                self._driver.rest(mine)
        return work.more or late

    def standing(self) -> dict[str, tuple[Live, int]]:
        """The loaded instances that have no append in flight, with the ends of their logs."""
        return {one: (live, live.head) for one, live in self._driver.live.items() if live.slot is FREE}

    def drop_lost(self, work: Work, before: Mapping[str, tuple[Live, int]]) -> None:
        """Drop runs that remember more than the database, which was asked after it had accepted their last commits.

        The database has lost its last commits. The instances in its answer are taken up again, from the log as it is
        now.
        """
        for claimed in work.claimed:
            live, head = before.get(claimed.instance_id, (None, 0))
            if live is None or self._driver.live.get(claimed.instance_id) is not live or live.life != claimed.life:
                continue
            if claimed.head < head:
                say_refused(live, Outcome.LOST)
                self._driver.drop(live)

    def _note(self, work: Work) -> None:
        """Mark claimed instances to be taken up, unless the same life is loaded already."""
        for claimed in work.claimed:
            mine = self._driver.live.get(claimed.instance_id)
            if mine is not None and mine.life != claimed.life and mine.slot is FREE:
                self._driver.drop(mine)  # its id is used again, so it has ended
                mine = None
            if mine is None and claimed.instance_id not in self.starting:
                self._after_mail.pop(claimed.instance_id, None)
                self._unread[claimed.instance_id] = claimed
            elif mine is None or mine.life != claimed.life or claimed.head > mine.head:
                # Claimed between our own commit and its acknowledgement: ask again after it.
                self._recover()

    def _hand_out(self, work: Work, mail: dict[str, Mailbox]) -> bool:
        """Give each instance its mail. True if some mailboxes lack mail; these are ignored."""
        live = self._driver.live
        late = {box.instance_id for box in work.mail if self._lacks(box)}
        for instance_id, box in mail.items():
            mine = live.get(instance_id)
            if mine is not None and mine.life == box.life and instance_id not in late:
                self._driver.receive(mine, box)
        for box in work.mail:
            mine = live.get(box.instance_id)
            if mine is not None and mine.life == box.life and box.instance_id not in late:
                self._told[box.instance_id] = (mine, box.signals)
        return bool(late)

    async def _admit_all(self, new: Sequence[Claimed], mail: dict[str, Mailbox]) -> None:
        """Take instances up a few at a time: most of the time goes into waiting for the database."""
        if len(new) == 1:
            await self._admit(new[0], mail.pop(new[0].instance_id, None))
            return
        for first in range(0, len(new), _AT_ONCE):
            some = [(claimed, mail.pop(claimed.instance_id, None)) for claimed in new[first : first + _AT_ONCE]]
            ends = await asyncio.gather(*(self._admit(*one) for one in some), return_exceptions=True)
            for error in ends:
                if error is not None:
                    raise error

    async def _admit(self, claimed: Claimed, box: Mailbox | None) -> None:
        """Take up a claimed instance, or have it tried alone if it may have killed its owners."""
        try:
            if claimed.crashes and not _is_given_up(box) and await self.quarantine.holds(claimed, box):
                return
        except StorageUnavailableError as error:
            logger.warning("instance %s: cannot be read: %s", claimed.instance_id, error, extra=about(claimed))
            self._recover()
            return
        except StorageError as error:
            logger.warning("instance %s: %s", claimed.instance_id, error, extra=about(claimed))
        await self.take_up(claimed, (), box)

    def forget(self) -> None:
        """Forget what was to be taken up: other workers own it now."""
        self._after_mail.clear()
        self._told.clear()
        self._unread.clear()
        self.quarantine.forget()

    def after_mail(self, live: Live, inputs: Sequence[Given], kept: Sequence[Mail]) -> None:
        """Take the instance up once its mail has been read: it cannot end before.

        A claim that is under way reports the mail in `kept` as read, and so does not bring it again.
        """
        self._after_mail[live.instance_id] = (claimed_again(live), inputs, kept)

    async def take_up(
        self,
        claimed: Claimed,
        inputs: Sequence[Given] = (),
        box: Mailbox | None = None,
        *,
        kept: Sequence[Mail] = (),
    ) -> None:
        """Bring a claimed instance back from its log and continue it; park it where that cannot be done.

        `kept` are messages that nothing waited for when the instance was last here. They have been counted, and are not
        brought again.
        """
        await self._driver.solitude.turn_of(claimed.instance_id)
        try:
            with self._driver.solitude.replaying():
                live, given_up = await self._load(claimed, box)
        except InstanceNotFoundError:
            logger.info("instance %s was removed", claimed.instance_id, extra=about(claimed))
            self._recover()  # its id may have been used anew here since, and that life dropped in favour of this one
        except HistoryCorruptError as error:
            logger.error("%s", error, extra=about(claimed))  # noqa: TRY400 - no traceback
            self.park(replace(claimed, head_writer=None), str(error))  # perhaps its predecessor is missing
        except (NonDeterminismError, HistoryVersionError, CodecError, UsageError) as error:
            logger.warning("instance %s: %s", claimed.instance_id, error, extra=about(claimed))
            self.park(claimed, str(error))
        except StorageUnavailableError as error:
            logger.warning("instance %s: cannot be read: %s", claimed.instance_id, error, extra=about(claimed))
            self._recover()
        except Exception as error:
            logger.exception(
                "instance %s: unexpected error during replay; the instance is parked",
                claimed.instance_id,
                extra=about(claimed),
            )
            self.park(claimed, f"unexpected error during replay: {type(error).__name__}: {error}")
        else:
            if live.instance_id in self._driver.live or live.run.state.terminal is not None:
                live.run.close()  # it ended while the claim was being answered
                return
            live.keep_unless_fed(kept, inputs)
            logger.debug("instance %s: taken up at %d", live.instance_id, live.head, extra=about(live))
            if given_up:
                self._driver.wind_up(live, inputs, box)
                return
            resumed = resumption(live, self._driver.clock.now())
            self._driver.resume(live, inputs if resumed is None else [*inputs, (resumed, None)], box)

    async def _load(self, claimed: Claimed, box: Mailbox | None) -> tuple[Live, bool]:
        """The instance, and whether to wind it up: it was cancelled while it was stuck, and its code is not asked."""
        registry = self._driver.registry
        misfit: NonDeterminismError | None = None
        if (resting := self._resting.take(claimed)) is not None:
            return resting, False
        if not _is_given_up(box):
            try:
                return await load(self._store, registry, claimed), False
            except NonDeterminismError as error:
                misfit = error
        live, unknown = await load_log(self._store, registry, claimed)
        if misfit is not None and not live.run.state.abandoned:
            live.run.close()
            raise misfit
        if unknown:
            live.run.close()
            raise UsageError(
                f"it was cancelled and cannot be wound up here: this worker does not know the activities "
                f"{', '.join(sorted(unknown))}, and could not undo them. "
                "Start one that does and cancel it again, or terminate it"
            )
        return live, not live.run.state.abandoned

    def park(self, claimed: Claimed, reason: str) -> None:
        """Make the instance stuck, until other code or a person resumes it. It holds up no other instance."""
        code = self._driver.registry.workflows[claimed.workflow_name].code
        item = Append(
            instance_id=claimed.instance_id,
            life=claimed.life,
            seq=claimed.head + 1,
            writer=self._nonce(),
            body=owner_changed(self._driver.clock.now(), "", code),
            after=claimed.head_writer,
            change=Change(status=Status.STUCK, seen=claimed.seen, release=True, refused_by=code, error=short(reason)),
        )
        self._driver.writer.submit(item, lambda outcome: self._parked(claimed, reason, outcome))

    def _parked(self, claimed: Claimed, reason: str, outcome: Outcome) -> None:
        if outcome is Outcome.ENDED:
            return
        if outcome is not Outcome.ACCEPTED:
            logger.warning(
                "instance %s: parking was refused (%s); this worker will claim it again",
                claimed.instance_id,
                outcome,
                extra=about(claimed),
            )
            self._recover()
            return
        say_stuck(claimed, reason)
        self.tell_parked(claimed.instance_id, claimed.life, None)
        if self.observer is not None:
            self.observer.parked(claimed.instance_id, claimed.workflow_name, reason)
