"""Takes instances up: replays the log into a run that continues, or parks an instance that cannot continue.

Trouble with one instance does not affect the others. An instance whose log cannot be read because the database is away
stays owned, and comes back with the next claim that asks for everything this worker owns.
"""

from __future__ import annotations

import functools
from logging import DEBUG
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from romancy._logs import about, get_logger
from romancy.core import DivergedError, OwnerChanged
from romancy.engine.decide import append_behind, owner_changed, short
from romancy.engine.family import is_for_life
from romancy.engine.log_lines import say_stuck
from romancy.engine.messages import CancelMessage, decode_message
from romancy.engine.pausing import pause_entry, paused_as, wish_in
from romancy.engine.replay import history, load, load_log
from romancy.engine.slot import GONE
from romancy.engine.turns import Turns
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
from romancy.storage.records import Change, Claimed, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.core import Departure, UndoingBegan
    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.worker.lease_keeper import Term
    from romancy.engine.worker.next_claim import NextClaim
    from romancy.engine.worker.resting import Resting
    from romancy.registry import Registry
    from romancy.storage.protocol import Store
    from romancy.storage.records import Mailbox

__all__ = ["Recovery", "Rewinds", "claimed_again", "is_given_up"]

logger = get_logger("romancy.engine")


class Rewinds(Protocol):
    """Rewinds an instance that a worker owns, and whose undoing has ended. False: its log has grown meanwhile."""

    async def __call__(
        self, store: Store, registry: Registry, claimed: Claimed, began: UndoingBegan, *, token: str, now: int
    ) -> bool:
        """Write the new run. Raises StorageError, and UsageError if it cannot be."""
        ...


def is_given_up(box: Mailbox | None) -> bool:
    """Whether the mail holds a cancellation that was sent while this life of the instance was stuck."""
    if box is None:
        return False
    for row in box.rows:
        try:
            message = decode_message(row.body)
        except StorageError:
            continue  # taking the mail in reports the error
        if isinstance(message, CancelMessage) and message.stuck and is_for_life(message, box.life):
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
        due=live.due,
    )


def _declined(live: Live) -> str | None:
    """Why this worker's code leaves the instance to others, though it can follow the log."""
    started, declines = live.run.state.started, live.definition.declines
    return None if declines is None or started is None else declines(bytes(started.input))


class Recovery:
    """Loads single instances into the driver, or parks them."""

    def __init__(
        self,
        store: Store,
        driver: Driver,
        resting: Resting,
        next_claim: NextClaim,
        *,
        parked: Callable[[str, int, None], None],
        rewinds: Rewinds,
    ) -> None:
        """`parked` is told each instance that was parked, `rewinds` each of which all is undone that was to be."""
        self._store = store
        self._driver = driver
        self._resting = resting
        self._next_claim = next_claim
        self._tell_parked = parked
        self._rewinds = rewinds
        self._turns = Turns()

    async def take_up(self, claimed: Claimed, box: Mailbox | None, term: Term) -> None:
        """Replay a claimed instance from its log and continue it; park it if that is impossible.

        Not if the term of its claim has ended meanwhile: others may own it.
        """
        if term.is_over():
            return
        if (live := self._resting.take(claimed)) is not None:
            if live.run.state.undoing is None:
                self._go_on(live, box, given_up=False)
                return
            live.run.close()
        try:
            found = await self._replayed(claimed, given_up=is_given_up(box))
        except StorageUnavailableError as error:
            logger.warning("instance %s: cannot be read: %s", claimed.instance_id, error, extra=about(claimed))
            self._next_claim.look_for_own()
            return
        if found is None:
            return
        live, given_up = found
        if term.is_over():
            live.run.close()
        elif (undoing := live.run.state.undoing) is not None and live.run.state.is_undone:
            live.run.close()
            await self._rewind(claimed, undoing.began)
        elif not given_up and (reason := _declined(live)):
            live.run.close()
            self._leave(claimed, reason)
        else:
            self._go_on(live, box, given_up=given_up)

    async def _was_paused(self, claimed: Claimed) -> bool:
        """Whether somebody has paused it since it was claimed: then it was taken from this worker."""
        async for _, commit in history(self._store, claimed.instance_id, after=claimed.head, life=claimed.life):
            if any(isinstance(event, OwnerChanged) and event.pause for event in commit):
                return True
        return False

    async def _rewind(self, claimed: Claimed, began: UndoingBegan) -> None:
        """Rewind an instance of which all is undone. The next claim loads its new run."""
        driver = self._driver
        token, now = driver.incarnation.token or "", driver.clock.now()
        try:
            if await self._rewinds(self._store, driver.registry, claimed, began, token=token, now=now):
                self._next_claim.look()
                return
        except StorageUnavailableError as error:
            logger.warning("instance %s: cannot be rewound yet: %s", claimed.instance_id, error, extra=about(claimed))
        except InstanceNotFoundError:
            logger.info("instance %s was removed", claimed.instance_id, extra=about(claimed))
        except Exception as error:  # noqa: BLE001 - the instance is parked with it
            self.park(claimed, f"it cannot be rewound: {type(error).__name__}: {error}", cause=error)
            return
        self._next_claim.look_for_own()

    async def follow(self, live: Live) -> None:
        """Put a run that has followed the log in the place of the run of this loaded instance, and continue it.

        It is parked if that is impossible, and dropped if another worker has written to its log.
        Raises StorageUnavailableError.
        """
        claimed = claimed_again(live)
        found = await self._replayed(claimed, given_up=live.is_given_up, loaded=live)
        if found is None:
            return
        fresh, given_up = found
        if live.slot is GONE or (fresh.head, fresh.writer) != (live.head, live.writer):
            fresh.run.close()
            if live.slot is not GONE:
                self._driver.drop(live)
                self._next_claim.look_for_own()
            return
        self._driver.follow(live, fresh, without_code=given_up)

    async def _replayed(
        self, claimed: Claimed, *, given_up: bool, loaded: Live | None = None
    ) -> tuple[Live, bool] | None:
        """The instance, as `_load` returns it. None: it was removed or is parked, and a `loaded` one is dropped.

        None also if it was paused behind the claim.

        Raises StorageUnavailableError.
        """
        try:
            live, winds_up = await self._load(claimed, given_up=given_up)
            if loaded is not None or live.head == claimed.head or not await self._was_paused(claimed):
                return live, winds_up
            live.run.close()
            self._next_claim.look_for_own()
        except InstanceNotFoundError:
            logger.info("instance %s was removed", claimed.instance_id, extra=about(claimed))
            if loaded is not None:
                self._driver.drop(loaded)
            self._next_claim.look_for_own()  # the id may have a new life, which was dropped in favour of this one
        except HistoryCorruptError as error:
            # Perhaps its predecessor is missing.
            self.park(replace(claimed, head_writer=None), str(error), loaded=loaded)
        except (NonDeterminismError, HistoryVersionError, CodecError, UsageError) as error:
            departure = error.departure if isinstance(error, DivergedError) else None
            self.park(claimed, str(error), departure, loaded=loaded)
        except StorageUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - the instance is parked with it
            reason = f"unexpected error during replay: {type(error).__name__}: {error}"
            self.park(claimed, reason, cause=error, loaded=loaded)
        return None

    def _go_on(self, live: Live, box: Mailbox | None, *, given_up: bool) -> None:
        """Continue an instance that has followed its log."""
        there = self._driver.live.get(live.instance_id)
        if there is not None or live.run.state.terminal is not None:
            live.run.close()  # it ended, or was taken up beside this, while the claim was being answered
            if there is not None and box is not None and there.life == live.life:
                self._driver.receive(there, box)
            return
        if logger.isEnabledFor(DEBUG):
            logger.debug("instance %s: taken up at %d", live.instance_id, live.head, extra=about(live))
        self._driver.resume(live, box, without_code=given_up)

    async def _load(self, claimed: Claimed, *, given_up: bool) -> tuple[Live, bool]:
        """The instance, and whether it goes on without its code.

        It does if it was cancelled while it was stuck, or if it is undone before it is rewound.
        """
        registry = self._driver.registry
        misfit: NonDeterminismError | None = None
        if not given_up:
            try:
                live = await load(self._store, registry, claimed, self._turns)
            except NonDeterminismError as error:
                misfit = error
            else:
                if live.run.state.undoing is None:
                    return live, False
                live.run.close()
        live, unknown = await load_log(self._store, registry, claimed, self._turns)
        if live.run.state.undoing is not None:
            if lacks := live.run.state.not_to_be_undone():
                live.run.close()
                raise UsageError(
                    f"it is to be rewound, and this worker does not know how to undo {', '.join(lacks)}. Start one "
                    "that knows these activities and their compensations and resume it, or terminate it"
                )
            return live, True
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

    async def pauses(self, claimed: Claimed, box: Mailbox | None) -> bool:
        """Let go of a claimed instance if it is paused, or is to be. Its code does not run. False: it goes on.

        A cancellation that was sent before the pause needs the code: the instance is paused behind it. One that may
        have killed its owner would have to wait for its trial, so it is paused first.

        Raises StorageError.
        """
        wish = None if box is None else wish_in(box.rows, claimed.life)
        goes_first = wish is not None and wish.is_cancelled and not claimed.crashes
        if claimed.status is not Status.PAUSED and (wish is None or not wish.pause or goes_first):
            return False
        signals = claimed.signals if box is None else box.signals
        now, code = self._driver.clock.now(), self._driver.registry.workflows[claimed.workflow_name].code
        if claimed.status is not Status.PAUSED and wish is not None:
            body = pause_entry(now, code, "begins", wish.reason, freeze=wish.freeze)
            change = paused_as(wish.reason, signals)
        elif wish is not None and not wish.pause:
            body = pause_entry(now, code, "ends")
            change = Change(status=Status.RUNNING, seen=signals, release=True, wake_at=now)
        else:
            found = await self._store.read(claimed.instance_id, limit=0)
            body = owner_changed(now, "", code)
            change = paused_as("" if found is None else found.instance.error or "", signals)
        consumed = () if wish is None else wish.delivery_ids
        item = append_behind(claimed, self._driver.incarnation.nonce(), body, change, consumed)
        self._driver.writer.submit(item, self._let_be)
        return True

    def _let_be(self, outcome: Outcome) -> None:
        if outcome not in (Outcome.ACCEPTED, Outcome.ENDED):
            self._next_claim.look_for_own()

    def _leave(self, claimed: Claimed, reason: str) -> None:
        """Release the instance as it is, for workers with other code. This one does not claim it again."""
        code, now = self._driver.registry.workflows[claimed.workflow_name].code, self._driver.clock.now()
        change = Change(
            status=claimed.status, seen=claimed.seen, release=True, wake_at=claimed.due or now, refused_by=code
        )
        item = append_behind(claimed, self._driver.incarnation.nonce(), owner_changed(now, "", code), change)
        self._driver.writer.submit(item, functools.partial(self._left, claimed, reason))

    def _left(self, claimed: Claimed, reason: str, outcome: Outcome) -> None:
        if outcome is Outcome.ACCEPTED:
            logger.info("instance %s is left to other workers: %s", claimed.instance_id, reason, extra=about(claimed))
        elif outcome is not Outcome.ENDED:
            self._next_claim.look_for_own()

    def park(
        self,
        claimed: Claimed,
        reason: str,
        departure: Departure | None = None,
        *,
        cause: Exception | None = None,
        loaded: Live | None = None,
    ) -> None:
        """Make the instance stuck, until other code or a person resumes it. Other instances are not affected.

        The place where its code left the log is recorded as data, beside the reason for people. A `loaded` instance is
        dropped first; the record says whether attempts were at work, of which nobody knows what they did.
        """
        if loaded is not None:
            self._driver.drop(loaded)
        code = self._driver.registry.workflows[claimed.workflow_name].code
        now = self._driver.clock.now()
        interrupted = self._driver.attempts.may_have_begun(claimed.instance_id)
        body = owner_changed(now, "", code, departure=departure, interrupted=interrupted)
        change = Change(status=Status.STUCK, seen=claimed.seen, release=True, refused_by=code, error=short(reason))
        item = append_behind(claimed, self._driver.incarnation.nonce(), body, change)
        self._driver.writer.submit(item, functools.partial(self._parked, claimed, reason, cause))

    def _parked(self, claimed: Claimed, reason: str, cause: Exception | None, outcome: Outcome) -> None:
        if outcome is Outcome.ENDED:
            return
        if outcome is not Outcome.ACCEPTED:
            logger.warning(
                "instance %s: parking was refused (%s); this worker will claim it again",
                claimed.instance_id,
                outcome,
                extra=about(claimed),
            )
            self._next_claim.look_for_own()
            return
        say_stuck(claimed, reason, cause)
        self._tell_parked(claimed.instance_id, claimed.life, None)
        if self._driver.observer is not None:
            self._driver.observer.parked(claimed.instance_id, claimed.workflow_name, reason)
