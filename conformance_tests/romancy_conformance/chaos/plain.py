"""The activities of a program as plain functions: the same work on threads.

The functions that send have no twin here: a plain function cannot await `send` and `publish`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from zlib import crc32

from romancy import RetryPolicy, TerminalError, activity, activity_context, compensation
from romancy_conformance.chaos.ledger import DONE, PHANTOM, UNDONE, insert_now, times_now
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    from pathlib import Path

    from romancy import SyncSession

__all__ = ["GUESSED", "KEPT", "OUTSIDE", "PLAIN", "act_outside", "is_plain", "outside"]

outside: list[Path] = []
"""The file for what activities do outside of the database. Its lines are their idempotency keys."""
OUTSIDE = "outside.txt"
"""The name of that file, in the folder of the round."""
KEPT = "keep-"
"""The keys of what is done only if a function was asked to stop after it had begun. No oracle knows that."""
GUESSED = "guessed"
"""What a call returns instead of its last error."""
_PATIENT = RetryPolicy.fixed(12, 0.01)
_WAITS = RetryPolicy(10_000, 0.1, 1.0, 0.1, record="last")
_POLLS = RetryPolicy(12, 0.01, 1.0, 0.01, record="last")


def is_plain(instance_id: str, key: str) -> bool:
    """Whether the activity of this key is a plain function: about half of them are, the same ones on each worker."""
    return stage.threads and crc32(f"{instance_id}/{key}".encode()) % 2 == 0


def act_outside() -> None:
    """Leave an effect that no transaction undoes."""
    context = activity_context()
    with outside[-1].open("a", encoding="utf-8") as file:
        file.write(f"{context.idempotency_key}\n")


def _write(key: str, what: str = DONE) -> str:
    context = activity_context()
    with context.session() as session:
        insert_now(session, context, key, what)
    return key


@compensation(retry=_PATIENT)
def chaos_plain_release(key: str, count: int) -> None:
    _write(key, UNDONE)


@activity(retry=_PATIENT)
def chaos_plain_annul(key: str) -> None:
    _write(key, UNDONE)


@activity(commit="lazy", retry=_PATIENT)
def chaos_plain_annul_lazily(key: str) -> None:
    _write(key, UNDONE)


@activity(retry=_PATIENT)
def chaos_plain_step(key: str, count: int) -> str:
    time.sleep(count * 0.003)
    return key


@activity(retry=_PATIENT)
def chaos_plain_write(key: str, count: int) -> str:
    time.sleep(count * 0.003)
    return _write(key)


@activity(compensation=chaos_plain_release, retry=_PATIENT)
def chaos_plain_reserve(key: str, count: int) -> str:
    written = _write(key)
    time.sleep(count * 0.003)
    return written


@activity(retry=_PATIENT)
def chaos_plain_savepoint(key: str, count: int) -> str:
    """One part is undone, and one stays."""
    context = activity_context()
    with context.session() as session:
        with suppress(LookupError), session.savepoint():
            insert_now(session, context, key, PHANTOM)
            raise LookupError(key)
        insert_now(session, context, key, DONE)
    return key


@activity(retry=_POLLS)
def chaos_plain_flaky(key: str, count: int) -> str:
    _write(key)
    if activity_context().attempt <= count:
        raise ConnectionError(f"attempt {activity_context().attempt} of {count}")
    return key


@activity(commit="lazy")
def chaos_plain_quick(key: str, count: int) -> str:
    return key


@activity(commit="lazy", retry=_PATIENT)
def chaos_plain_quick_write(key: str, count: int) -> str:
    return _write(key)


@activity(commit="lazy", retry=_PATIENT)
def chaos_plain_quick_flaky(key: str, count: int) -> str:
    if activity_context().attempt <= count:
        raise ConnectionError(f"attempt {activity_context().attempt} of {count}")
    return key


@activity
def chaos_plain_doomed(key: str, count: int) -> str:
    _write(key, PHANTOM)
    raise TerminalError(key)


@activity(retry=RetryPolicy.fixed(2, 0.01))
def chaos_plain_exhausted(key: str, count: int) -> str:
    _write(key, PHANTOM)
    raise ConnectionError(key)


@activity(compensation=chaos_plain_release, compensate="attempted", retry=RetryPolicy.fixed(2, 0.01))
def chaos_plain_gamble(key: str, count: int) -> str:
    _write(key, PHANTOM)
    raise ConnectionError(key)


@activity(retry=_PATIENT)
def chaos_plain_leaky(key: str, count: int) -> str:
    """The first attempt fails, but a thread that kept its session continues to write."""
    context = activity_context()
    with context.session() as session:
        if context.attempt > 1:
            insert_now(session, context, key, DONE)
            return key
    threading.Thread(target=_write_on, args=(session, context, key, count), daemon=True).start()
    raise ConnectionError("the first attempt")


def _write_on(session: SyncSession, context: Any, key: str, count: int) -> None:
    for _ in range(20):
        with suppress(Exception, asyncio.CancelledError):  # any error is right
            insert_now(session, context, key, PHANTOM)
        time.sleep(count * 0.005)


@activity(retry=_PATIENT)
def chaos_plain_long(key: str, count: int) -> str:
    """Keep a session open for longer than a short lease lasts."""
    written = _write(key)
    time.sleep(3)
    return written


def _work_on() -> None:
    """Work until the attempt is asked to stop. Raises CancelledError."""
    context = activity_context()
    while True:
        time.sleep(0.02)
        context.heartbeat()


@activity
def chaos_plain_hold(key: str, count: int) -> str:
    _work_on()
    return key


@activity(compensation=chaos_plain_release, retry=_PATIENT)
def chaos_plain_keep(key: str, count: int) -> str:
    """Act after it was asked to stop: that is to be recorded, and undone if the workflow fails."""
    with suppress(asyncio.CancelledError):
        _work_on()
    act_outside()
    return _write(key)


@activity(retry=_WAITS)
def chaos_plain_relents(key: str, count: int) -> str:
    """As its twin."""
    context = activity_context()
    with context.session() as session:
        undone = times_now(session, context.instance_id, key, UNDONE)
        if undone >= count:
            return key
        root, kin, _ = context.instance_id.partition(".k")
        if kin and times_now(session, f"{root}.ka", key, DONE) <= undone:
            raise ConnectionError("the sibling has not reserved yet")
        insert_now(session, context, key, PHANTOM)
        raise TerminalError(key)


@activity(retry=_WAITS)
def chaos_plain_mended(key: str, count: int) -> str:
    """As its twin."""
    context = activity_context()
    with context.session() as session:
        if times_now(session, context.instance_id.partition(".k")[0], key, UNDONE) < count:
            raise ConnectionError("the parent fails once more")
    return key


PLAIN: dict[str, Any] = {
    each.name.removeprefix("chaos_plain_"): each
    for each in (
        chaos_plain_step, chaos_plain_write, chaos_plain_reserve, chaos_plain_savepoint, chaos_plain_flaky,
        chaos_plain_quick, chaos_plain_quick_write, chaos_plain_quick_flaky, chaos_plain_doomed,
        chaos_plain_exhausted, chaos_plain_leaky, chaos_plain_long, chaos_plain_hold, chaos_plain_keep,
        chaos_plain_relents, chaos_plain_mended, chaos_plain_annul, chaos_plain_annul_lazily,
    )
} | {
    "guess": chaos_plain_exhausted.or_default(GUESSED), "gamble": chaos_plain_gamble.or_default(GUESSED),
}  # fmt: skip
