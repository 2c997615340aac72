"""A running relay: claims events, sends them, and records the outcomes.

Each event is claimed for a little longer than an attempt may take, and not sent any more when that time is nearly over.
So as long as clocks run and processes are not frozen, two relays never send one event at the same time. Outcomes are
written in batches: those found during one write go into the next.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from romancy._logs import get_logger
from romancy.engine.surroundings import here
from romancy.errors import CodecError, HistoryVersionError, StorageError, UsageError
from romancy.outbox._event import event_of
from romancy.outbox._sender import Reject, Retry, refused
from romancy.retry import Retry as Again
from romancy.storage.outbox import OutboxState, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from romancy.outbox._relay import Relay
    from romancy.storage.outbox import Consignment, Outbox, OutboxEntry

__all__ = ["Relaying"]

logger = get_logger("romancy.outbox")

_SECOND: Final = 1_000_000
_SWEEP_EVERY: Final = 60.0
_PURGE_EVERY: Final = 60.0
_PURGED_AT_ONCE: Final = 1000
_LONGEST_WAIT: Final = 30.0
_SHORTEST_WAIT: Final = 0.02
"""Seconds before another claim if others have locked the due events."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_LONGEST_ERROR: Final = 500
_LONGEST_DELAY: Final = 10 * 365.25 * 86_400
_TO_HEAR: Final = 0.05
"""Seconds that a call of the sender has at least to end after its cancellation."""
_LONGEST_GOODBYE: Final = 5.0
"""Seconds for calls of the sender to end after their cancellation, and then to record the last outcomes."""


class Relaying:
    """One relay at work on one outbox, from `run()` to `stop()`."""

    def __init__(self, relay: Relay, outbox: Outbox) -> None:
        self._relay = relay
        self._outbox = outbox
        self._token = here().token()
        self._claims = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._settled: list[Settled] = []
        self._settle_now = asyncio.Event()
        self._held = 0
        """How many events are claimed and not settled, and how many calls of the sender ignore their cancellation."""
        self._deaf: set[asyncio.Task[None]] = set()
        """Attempts that were settled although their call has not ended."""
        self._freed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._sweep_at = 0.0
        self._purge_at = 0.0
        self._own_due = math.inf
        """When the first event that was settled here since the last claim is due again (`time.monotonic`)."""
        self._look = asyncio.Event()
        self._failed_before = False
        self.works: bool | None = None
        """Whether it may claim. None: its sender is not entered yet."""
        self._unusable: UsageError | None = None
        """The error of the sender that a call has shown."""

    @property
    def holds(self) -> int:
        """How many events it has claimed and not settled."""
        return self._held

    def look(self) -> None:
        """Look for due events now."""
        self._look.set()

    def stop(self) -> None:
        """Claim nothing more. Attempts under way continue."""
        self._stopping.set()

    async def run(self, grace: Callable[[], float]) -> None:
        """Work until `stop()`, then let attempts end within as many seconds as `grace` says. Others are given back.

        Raises what the sender raises when it is entered, and an error that is no outage of the database. Raises
        UsageError if `send` turns out to give nothing to await.
        """
        async with AsyncExitStack() as stack:
            if hasattr(self._relay.sender, "__aenter__"):
                await stack.enter_async_context(self._relay.sender)  # type: ignore[arg-type]
            settling = asyncio.create_task(self._settle_all())
            settling.add_done_callback(lambda _: self.stop())
            try:
                self.works = True
                await self._claim_all()
                if self._sending:
                    await asyncio.wait(self._sending, timeout=grace())
            finally:
                self.works = False
                self._stopping.set()
                await self._give_up_sending()
                self._settle_now.set()
                await asyncio.wait({settling}, timeout=_LONGEST_GOODBYE)
                settling.cancel()
                await asyncio.gather(settling, return_exceptions=True)
            if not settling.cancelled():
                settling.result()
        if self._unusable is not None:
            raise self._unusable

    async def _give_up_sending(self) -> None:
        """Cancel the calls of the sender. A call that does not end is abandoned, and another relay sends its event."""
        for task in self._sending:
            task.cancel()
        _, deaf = await asyncio.wait(self._sending, timeout=_LONGEST_GOODBYE) if self._sending else (None, ())
        if deaf:
            calls = "1 call of the sender goes" if len(deaf) == 1 else f"{len(deaf)} calls of the sender go"
            logger.error("%s on although the relay has cancelled it; those events are sent again", calls)

    # ── claiming ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _claim_all(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            if self._held == self._relay.concurrency:
                self._freed.clear()
                await self._unless_stopping(self._freed.wait())
                continue
            try:
                given = await self._claim()
                if not given.more:
                    await self._wait(_SHORTEST_WAIT if self._purge_at <= here().seconds() else _until(given))
            except StorageError as error:
                self._say_once(error)
                await self._unless_stopping(asyncio.sleep(pause * here().uniform(0.5, 1)))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                pause, self._failed_before = _FIRST_PAUSE, False

    async def _wait(self, seconds: float) -> None:
        """Wait until there may be something to claim."""
        self._look.clear()
        soonest = min(seconds, max(self._own_due - here().seconds(), _SHORTEST_WAIT))
        await self._unless_stopping(self._outbox.wait(soonest), self._look.wait())

    async def _unless_stopping(self, *works: Coroutine[Any, Any, object]) -> None:
        """Run these until one is done or `stop()` is called."""
        tasks = [asyncio.ensure_future(work) for work in (*works, self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _claim(self) -> Consignment:
        self._claims += 1
        if here().seconds() >= self._sweep_at:
            await self._sweep()
        lease, free = round(self._relay.lease * _SECOND), self._relay.concurrency - self._held
        begun, self._own_due = here().seconds(), math.inf
        given = await self._outbox.claim(f"{self._token}-{self._claims}", lease=lease, limit=free)
        for entry in given.entries:
            self._held += 1
            task = asyncio.create_task(self._handle(entry, given.now, begun))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        if here().seconds() >= self._purge_at:
            await self._purge(given.now)
        return given

    async def _sweep(self) -> None:
        """Sweep, and again before long if that, or a settlement in the meantime, fails."""
        self._sweep_at = _soon(_SWEEP_EVERY)
        try:
            await self._outbox.sweep()
        except StorageError:
            self._sweep_at = 0.0
            raise

    async def _purge(self, now: int) -> None:
        """Remove a portion of the published events that were kept for long enough. Other events are sent in between."""
        keep, gone = self._relay.keep, 0
        if keep is not None:
            before = now - round(keep * _SECOND)
            gone = await self._outbox.purge([OutboxState.PUBLISHED], before, limit=_PURGED_AT_ONCE)
        if gone < _PURGED_AT_ONCE:
            self._purge_at = _soon(_PURGE_EVERY)

    def _say_once(self, error: StorageError) -> None:
        if not self._failed_before:
            logger.warning("the outbox cannot be read, retried: %s", error)
        self._failed_before = True

    # ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _handle(self, entry: OutboxEntry, now: int, begun: float) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs in one
        try:
            settled = await self._sent(entry, now, begun, task)
        except asyncio.CancelledError:  # by `run`, or by the sender itself
            ours = self._stopping.is_set()
            settled = _given_back(entry) if ours else self._again(entry, Retry(), "CancelledError")
        except Exception as error:
            logger.exception("event %s could not be sent, by a bug of the relay", entry.row.outbox_id)
            settled = _settled(entry, OutboxState.FAILED, _said(error))
        if task in self._deaf:
            self._deaf.discard(task)
            self._held -= 1
            self._freed.set()
            return
        self._settled.append(settled)
        self._settle_now.set()

    def _go_on_without(self, entry: OutboxEntry, task: asyncio.Task[None]) -> None:
        """Settle an attempt whose call ignores its cancellation, before its claim ends. The call keeps its place."""
        logger.error(
            "event %s (%s): the sender goes on although its call was cancelled after %g s; the attempt has failed",
            entry.row.outbox_id, entry.row.topic, self._relay.timeout,
        )  # fmt: skip
        said = f"no answer within {self._relay.timeout:g} s, and the sender ignored its cancellation"
        self._deaf.add(task)
        self._held += 1
        self._settled.append(self._again(entry, TimeoutError(), said))
        self._settle_now.set()

    async def _sent(self, entry: OutboxEntry, now: int, begun: float, task: asyncio.Task[None]) -> Settled:
        """Send the event, and return the outcome."""
        relay = self._relay
        if relay.max_age is not None and now - entry.queued_at > relay.max_age * _SECOND:
            return self._ended(entry, OutboxState.EXPIRED, f"older than {relay.max_age:g} s", counted=False)
        if here().seconds() - begun > relay.lease - relay.timeout:
            return _given_back(entry)  # it waited so long that another relay may send it before this one ends
        latest = begun + relay.lease - (relay.lease - relay.timeout) / 2 - here().seconds()
        patience = max(latest, relay.timeout + _TO_HEAR)
        giving_up = asyncio.get_running_loop().call_later(patience, self._go_on_without, entry, task)
        try:
            event = event_of(entry, relay.source)
            async with asyncio.timeout(relay.timeout):
                sending: object = relay.sender.send(event)
                if not inspect.isawaitable(sending):
                    self._unusable = refused(relay.sender)
                    self.stop()
                    return _given_back(entry)
                await sending
        except (Reject, HistoryVersionError) as error:
            return self._ended(entry, OutboxState.INVALID, _said(error))
        except TimeoutError as error:
            return self._again(entry, error, _text(error) or f"no answer within {relay.timeout:g} s")
        except CodecError as error:
            return self._again(entry, Retry(), f"this relay cannot open it: {error}")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if isinstance(error, GeneratorExit) and not _runs(task):
                raise  # nobody runs this coroutine any more: Python removes it
            return self._again(entry, error, _said(error))
        finally:
            giving_up.cancel()
        return _settled(entry, OutboxState.PUBLISHED)

    def _again(self, entry: OutboxEntry, error: BaseException, said: str) -> Settled:
        try:
            decision = self._relay.retry.decide(entry.attempts + 1, error, here().uniform(0, 1))
        except BaseException as raised:  # noqa: BLE001 - a filter of the user's
            return self._ended(entry, OutboxState.FAILED, f"{said}; then retry_on= raised {_said(raised)}")
        if not isinstance(decision, Again):
            state = OutboxState.FAILED if decision.exhausted else OutboxState.INVALID
            return self._ended(entry, state, said)
        after = error.after if isinstance(error, Retry) and error.after is not None else 0.0
        delay = min(max(decision.delay, after), _LONGEST_DELAY)
        logger.info(
            "event %s (%s) was not sent, attempt %d; next in %.1f s",
            entry.row.outbox_id, entry.row.topic, entry.attempts + 1, delay,
        )  # fmt: skip
        return _settled(entry, OutboxState.PENDING, said, delay)

    def _ended(self, entry: OutboxEntry, state: OutboxState, said: str, *, counted: bool = True) -> Settled:
        attempts = entry.attempts + counted
        logger.warning(
            "event %s (%s) is %s after %d attempt%s; `romancy outbox --state %s` tells why, "
            "`romancy outbox --requeue %s` queues it again",
            entry.row.outbox_id, entry.row.topic, state, attempts, "s" * (attempts != 1), state, entry.row.outbox_id,
        )  # fmt: skip
        return _settled(entry, state, said, counted=counted)

    # ── settling ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _settle_all(self) -> None:
        """Write outcomes in batches, until nothing is claimed any more and all attempts have ended."""
        while self.works is not False or self._sending or self._settled:
            await self._settle_now.wait()
            self._settle_now.clear()
            batch, self._settled = self._settled, []
            if batch:
                await self._settle(batch)
                self._held -= len(batch)
                self._freed.set()

    async def _settle(self, batch: list[Settled]) -> None:
        """Write a batch. If the database is away for longer than the claims last, the events are sent again."""
        until = here().seconds() + self._relay.lease
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._outbox.settle(batch)
            except StorageError as error:
                self._say_once(error)
                self._sweep_at = 0.0  # it may have ended events without making the next ones of their keys due
                if here().seconds() > until:
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                break
        if not self._sweep_at:
            self._look.set()
        again = [one.delay / _SECOND for one in batch if one.state is OutboxState.PENDING]
        due = here().seconds() + min(again, default=math.inf)
        if due < self._own_due:
            self._own_due = due
            self._look.set()


def _runs(task: asyncio.Task[None]) -> bool:
    """Whether the event loop runs this task at this moment."""
    try:
        return asyncio.current_task() is task
    except RuntimeError:
        return False


def _until(given: Consignment) -> float:
    """Seconds until the next event that is known to be due."""
    if given.next_due is None:
        return _LONGEST_WAIT
    return min(max((given.next_due - given.now) / _SECOND, _SHORTEST_WAIT), _LONGEST_WAIT)


def _settled(
    entry: OutboxEntry, state: OutboxState, error: str | None = None, delay: float = 0.0, *, counted: bool = True
) -> Settled:
    said = None if error is None else error.encode(errors="replace").decode().replace("\x00", "?")[:_LONGEST_ERROR]
    return Settled(
        outbox_id=entry.row.outbox_id,
        claim=entry.claim or "",
        state=state,
        delay=round(delay * _SECOND),
        error=said,
        counted=counted,
    )


def _given_back(entry: OutboxEntry) -> Settled:
    return Settled(outbox_id=entry.row.outbox_id, claim=entry.claim or "", state=OutboxState.PENDING, counted=False)


def _soon(seconds: float) -> float:
    """A moment in about that time (`time.monotonic`), so that relays do not do the same at the same time."""
    return here().seconds() + seconds * here().uniform(0.8, 1.2)


def _said(error: BaseException) -> str:
    name, text = type(error).__name__, _text(error)
    if isinstance(error, (Retry, Reject)):
        return text or name
    return f"{name}: {text}" if text else name


def _text(error: BaseException) -> str:
    """The text of a sender's error. Empty if it has none or raises."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - of the user's
        return ""
