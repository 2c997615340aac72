"""What the engine's log says of ends and failures: ids, kinds and times. What an exception says is the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy._logs import about, get_logger
from romancy.status import Status
from romancy.storage.records import Outcome as Answer

if TYPE_CHECKING:
    from romancy._logs import Concerned
    from romancy.core import Outcome
    from romancy.engine._attempt import Attempt
    from romancy.engine._live import Live

__all__ = ["say_attempt_failed", "say_end", "say_refused", "say_stuck"]

logger = get_logger("romancy.engine")


def say_attempt_failed(attempt: Attempt, error_type: str, delay: float | None) -> None:
    """An attempt failed; the next one follows in `delay` seconds, or none does."""
    live, number = attempt.live, attempt.effect.attempt
    further = "no other follows" if delay is None else f"the next follows in {delay:.3g} s"
    logger.warning(
        "instance %s: attempt %d at %s failed with %s; %s",
        live.instance_id, number, attempt.id, error_type, further,
        extra=about(live, attempt.id, number),
    )  # fmt: skip


def say_end(live: Live, outcome: Outcome) -> None:
    """The instance has ended."""
    if outcome.status is Status.COMPLETED:
        logger.debug("instance %s: completed", live.instance_id, extra=about(live))
    elif outcome.error is not None:
        logger.warning("instance %s: failed with %s", live.instance_id, outcome.error.type, extra=about(live))
    else:
        logger.info("instance %s: %s", live.instance_id, outcome.status, extra=about(live))


def say_refused(live: Live, answer: Answer) -> None:
    """An append was refused, and the instance is dropped here."""
    if answer is Answer.LOST:
        logger.error(
            "instance %s: the database does not have commit %d any more, which it had accepted: its last commits were "
            "lost (a fail-over, a restored copy, a crash without a flush); what its log says now is gone on from",
            live.instance_id, live.head,
            extra=about(live),
        )  # fmt: skip
    elif answer is Answer.ENDED:
        logger.info("instance %s: it has ended already", live.instance_id, extra=about(live))
    else:
        logger.warning(
            "instance %s: append refused (%s); another worker has it", live.instance_id, answer, extra=about(live)
        )


def say_stuck(instance: Concerned) -> None:
    """It was put aside: whoever awaits its result would wait in silence. The reason may quote its arguments."""
    logger.warning(
        "instance %s: put aside, it is stuck; `error` of app.get_instance(…) says why, and app.resume(…) tries again",
        instance.instance_id, extra=about(instance),
    )  # fmt: skip
