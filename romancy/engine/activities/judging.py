"""Decides what follows from the failure of an attempt.

Only this module applies the retry policy, and only this module says that a call has failed for good.
"""

from __future__ import annotations

import asyncio
import signal
import traceback
from inspect import unwrap
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from romancy.core import (
    ActivityAttemptFailed,
    ActivityFailed,
    CompensationAttemptFailed,
    CompensationFailed,
    StartCompensation,
    as_caught,
    derive,
)
from romancy.engine.activities.at_most_once import unanswered
from romancy.engine.activities.processes import RaisedElsewhereError
from romancy.engine.activities.threads import exit_refused
from romancy.engine.log_lines import say_attempt_failed
from romancy.errors import ActivityUnknownError
from romancy.retry import GiveUp, Retry, resolve
from romancy.serialization import describe_exception

if TYPE_CHECKING:
    from msgspec import Raw

    from romancy.core import Input, StartActivity
    from romancy.engine.activities.attempt import Attempt
    from romancy.retry import RetryPolicy
    from romancy.serialization import ErrorInfo

__all__ = ["ends_the_process", "failed_for_good", "failed_once", "judged"]


def ends_the_process(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Whether the exception comes from outside the activity: its loop has ended, or a user has pressed Ctrl-C.

    A GeneratorExit that the activity raises is met while its task runs. When its loop has ended, no task runs.

    Where Python's own handler of Ctrl-C is installed, its KeyboardInterrupt looks like one that the activity raises.
    """
    if isinstance(error, GeneratorExit):
        return not _runs(task)
    if not isinstance(error, KeyboardInterrupt):
        return False
    handler: Any = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    code = getattr(unwrap(getattr(handler, "func", handler)), "__code__", None)
    return bool(frames) and frames[-1][0].f_code is code


def _runs(task: asyncio.Task[Any] | None) -> bool:
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no loop runs
        return False


def _chance(attempt: Attempt) -> float:
    """A number from 0 to 1 for the jitter of a pause: the same whenever this work has failed so often."""
    path = ("jitter", attempt.id, attempt.effect.failed + 1)
    return int.from_bytes(derive(attempt.live.instance_id, attempt.nonce, *path)[:7]) / 2**56


def judged(
    attempt: Attempt, error: BaseException, *, now: int, retry: RetryPolicy | None, unknown: bool = False
) -> Input:
    """The input that reports the failure: a retry, or the end of the activity. `retry` is the policy of the app.

    `unknown`: the attempt did not answer, so nobody knows what it did.
    """
    effect, port, named = attempt.effect, attempt.port, attempt.tools.errors
    definition: Any = effect.definition
    given = effect.definition.given
    policy = resolve(given.retry, retry)
    returned = attempt.returned
    raised: BaseException | None = error
    if isinstance(error, RaisedElsewhereError):
        info, returned, error, raised = error.info, error.returned, error.cause, None
    else:
        if isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)):
            error = raised = exit_refused(definition.name, error)
        info = describe_exception(error, given.raises, named)
    never_again = given.at_most_once and (unknown or isinstance(error, ActivityUnknownError))
    if never_again:
        unknown, raised = True, unanswered(definition.name, error)
        info = describe_exception(raised)
    verdict: Retry | GiveUp
    try:
        verdict = GiveUp(exhausted=False)  # the result cannot be kept; a retry would only repeat the work
        if not (returned or never_again):
            verdict = policy.decide(effect.failed + 1, error, _chance(attempt) if policy.jitter else 0.0)
    except (Exception, SystemExit) as broken:  # noqa: BLE001 - a filter of the user failed, so nothing allows a retry
        verdict, info, raised = GiveUp(exhausted=False), describe_exception(broken), broken
    if isinstance(error, policy.expected) and not never_again:
        info = replace(info, expected=True)
    polls, delay = policy.record == "last", verdict.delay if isinstance(verdict, Retry) else None
    say_attempt_failed(attempt, info, raised, delay, polls=polls)
    if isinstance(verdict, GiveUp):
        failed = failed_for_good(effect, info, now=now, queued=attempt.queued, unknown=unknown)
        return as_caught(failed, definition, named, raised) if isinstance(failed, ActivityFailed) else failed
    details = None if port is None else port.details
    failures = effect.failed + 1 if polls else 0
    return failed_once(
        effect, info, verdict.delay, now=now, details=details, queued=attempt.queued, unknown=unknown, failures=failures
    )


def failed_once(
    effect: StartActivity | StartCompensation,
    info: ErrorInfo,
    delay: float,
    *,
    now: int,
    details: Raw | None = None,
    queued: int = 0,
    unknown: bool = False,
    failures: int = 0,
) -> ActivityAttemptFailed | CompensationAttemptFailed:
    """The input that reports a failed attempt which another one follows. Without `details`, those of before stay."""
    next_at = now + round(delay * 1_000_000)
    if isinstance(effect, StartCompensation):
        id = effect.compensation_id
        return CompensationAttemptFailed(
            at=now, id=id, attempt=effect.attempt, error=info, next_at=next_at, queued=queued, failures=failures
        )
    return ActivityAttemptFailed(
        at=now,
        id=effect.activity_id,
        attempt=effect.attempt,
        error=info,
        next_at=next_at,
        details=effect.details if details is None else details,
        queued=queued,
        unknown=unknown,
        failures=failures,
    )


def failed_for_good(
    effect: StartActivity | StartCompensation, info: ErrorInfo, *, now: int, queued: int = 0, unknown: bool = False
) -> ActivityFailed | CompensationFailed:
    """The input that ends the call: no attempt follows."""
    if isinstance(effect, StartCompensation):
        id = effect.compensation_id
        return CompensationFailed(at=now, id=id, error=info, attempts=effect.failed + 1, queued=queued)
    id = effect.activity_id
    return ActivityFailed(at=now, id=id, error=info, attempts=effect.failed + 1, queued=queued, unknown=unknown)
