"""The engine's log lines about ends and failures: ids, kinds, times, and the text of the exception."""

from __future__ import annotations

from logging import DEBUG
from typing import TYPE_CHECKING, Final

from romancy._logs import Said, about, get_logger
from romancy.status import Status
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from types import TracebackType

    from romancy._logs import Concerned
    from romancy.core import Activation, RunEnd, StartActivity
    from romancy.engine.activities.attempt import Attempt
    from romancy.engine.instance import Live
    from romancy.serialization import ErrorInfo

__all__ = [
    "say_attempt_failed", "say_came_back", "say_complaints", "say_end", "say_gone_on", "say_interrupted", "say_late",
    "say_refused", "say_stuck", "say_unknown",
]  # fmt: skip

logger = get_logger("romancy.engine")

_OWN_FOLDER: Final = __file__.rpartition("engine")[0]
_COMPLETED: Final = Status.COMPLETED
"""Python 3.11 calls a function for each `Status.COMPLETED`."""


def say_attempt_failed(
    attempt: Attempt, info: ErrorInfo, raised: BaseException | None, delay: float | None, *, polls: bool = False
) -> None:
    """Log a failed attempt. The retry follows in `delay` seconds; None: there is no retry.

    `raised` is the local exception. `polls`: it is one of many of which the log keeps the last. Only the first of them
    is a warning.
    """
    live, number = attempt.live, attempt.effect.attempt
    further = "not retried" if delay is None else f"the next follows in {delay:.3g} s"
    if info.expected or (polls and delay is not None and attempt.effect.failed):
        ended = "ended as expected, with" if info.expected else "failed with"
        logger.info(
            "instance %s: attempt %d at %s %s %s%s; %s",
            live.instance_id, number, attempt.id, ended, info.type, Said(f": {info.message}"), further,
            extra=about(live, attempt.id, number),
        )  # fmt: skip
        return
    logger.warning(
        "instance %s: attempt %d at %s failed with %s; %s%s",
        live.instance_id, number, attempt.id, info.type, further, Said("" if raised else f"\n{info.report}"),
        exc_info=None if raised is None else (type(raised), raised, _by_the_user(raised)),
        extra=about(live, attempt.id, number),
    )  # fmt: skip


def _by_the_user(error: BaseException) -> TracebackType | None:
    """The traceback from the first frame outside this library."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
        trace = trace.tb_next
    return trace or error.__traceback__


def say_late(attempt: Attempt, error: BaseException | None) -> None:
    """Log that an attempt has answered, by returning or with this error, after it had reached its limit."""
    live, number, stop = attempt.live, attempt.effect.attempt, attempt.stop
    if stop is None or not attempt.is_wanted:
        return
    answer = "returned" if error is None else f"failed with {type(error).__name__}"
    logger.warning(
        "instance %s: attempt %d at %s %s %.3g s after its limit; that is recorded as its outcome",
        live.instance_id, number, attempt.id, answer, stop.late, extra=about(live, attempt.id, number),
    )  # fmt: skip


def say_unknown(live: Live, effect: StartActivity) -> None:
    """Log that an attempt which begins at most once may have begun, and is not begun again."""
    logger.warning(
        "instance %s: an attempt at %s may have begun, and nobody knows how it ended: it is declared at_most_once, so "
        "its outcome is unknown and it is not begun again",
        live.instance_id, effect.activity_id, extra=about(live, effect.activity_id, effect.attempt),
    )  # fmt: skip


def say_gone_on(attempt: Attempt, patience: float) -> None:
    """Log that the engine goes on without an attempt that did not stop within the `patience` seconds that it had."""
    live, number = attempt.live, attempt.effect.attempt
    why = "was cancelled" if attempt.stop is None or attempt.stop.error is None else "reached its limit"
    logger.warning(
        "instance %s: attempt %d at %s %s %g s ago and still runs: its workflow continues, and its outcome is unknown; "
        "it keeps its slot until it ends",
        live.instance_id, number, attempt.id, why, patience, extra=about(live, attempt.id, number),
    )  # fmt: skip


def say_came_back(attempt: Attempt, error: BaseException | None) -> None:
    """Log that an attempt has ended, without or with an error, after the engine went on without it."""
    live, number, stop = attempt.live, attempt.effect.attempt, attempt.stop
    answer = "returned" if error is None else f"ended with {type(error).__name__}"
    logger.warning(
        "instance %s: attempt %d at %s, which nothing waited for any more, %s %.3g s after it was told to stop; its "
        "outcome is not used, and its slot is free",
        live.instance_id, number, attempt.id, answer, 0.0 if stop is None else stop.late,
        extra=about(live, attempt.id, number),
    )  # fmt: skip


def say_complaints(live: Live, activation: Activation) -> None:
    """Log errors in the workflow that no code has handled."""
    for complaint in activation.warnings:
        logger.warning("instance %s: %s", live.instance_id, Said(complaint, complaint.brief), extra=about(live))


def say_end(live: Live, outcome: RunEnd) -> None:
    """Log the end of the instance."""
    if outcome.status is _COMPLETED:
        if logger.isEnabledFor(DEBUG):
            logger.debug("instance %s: completed", live.instance_id, extra=about(live))
    elif outcome.error is not None and (raised := outcome.error.raised).expected:
        said = Said(f": {raised.message}")
        logger.info(
            "instance %s: failed as expected, with %s%s", live.instance_id, raised.type, said, extra=about(live)
        )
    elif outcome.error is not None:
        name, summary, report = outcome.error.raised.type, outcome.error.summary, outcome.error.report
        told = report if report.startswith(summary) else f"{summary}\n{report}"
        begun = name if told.startswith(name) else outcome.error.type  # a type that may be shown without texts
        said = Said(told.removeprefix(begun))
        logger.warning("instance %s: failed with %s%s", live.instance_id, begun, said, extra=about(live))
    else:
        logger.info("instance %s: %s", live.instance_id, outcome.status, extra=about(live))


def say_refused(live: Live, answer: Outcome) -> None:
    """Log a refused append, after which the instance is dropped here."""
    if answer is Outcome.LOST:
        logger.error(
            "instance %s: the database does not have commit %d any more, which it had accepted: its last commits were "
            "lost (a fail-over, a restored copy, a crash without a flush); the worker continues from the present log",
            live.instance_id, live.head,
            extra=about(live),
        )  # fmt: skip
    elif answer is Outcome.ENDED:
        logger.info("instance %s: it has ended already", live.instance_id, extra=about(live))
    else:
        logger.warning(
            "instance %s: append refused (%s); another worker has it", live.instance_id, answer, extra=about(live)
        )


def say_interrupted(count: int, grace: float) -> None:
    """Log that attempts did not end within the `grace` seconds that a worker gave them when it stopped."""
    after = f" after {grace:g} s" if grace else ""
    if count == 1:
        logger.warning("1 activity was interrupted%s; it begins again when a worker runs", after)
    else:
        logger.warning("%d activities were interrupted%s; they begin again when a worker runs", count, after)


def say_stuck(instance: Concerned, reason: str, cause: Exception | None = None) -> None:
    """Log that the instance is stuck, with the traceback of an unexpected cause.

    A caller that awaits its result has no other notice of it.

    The reason may quote arguments, so the line does not hold it.
    """
    logger.warning(
        "instance %s: put aside, it is stuck; `error` of app.get_instance(…) says why, and app.resume(…) tries again%s",
        instance.instance_id, Said(f": {reason}"), extra=about(instance), exc_info=cause,
    )  # fmt: skip
