"""What the steps of an agent are run with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic.errors import PydanticUserError
from pydantic_ai.exceptions import (
    FallbackExceptionGroup,
    ModelQuotaExceededError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    RetryModelRequest,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)

from romancy.retry import Duration, RetryPolicy

__all__ = ["StepOptions", "merged", "policy_of"]

_NOT_MENDED: Final = (
    FallbackExceptionGroup,
    ModelQuotaExceededError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    PydanticUserError,
    RetryModelRequest,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)
"""The same request would fail again, or asks to be answered otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOptions:
    """The options of the steps of one kind, or of one tool: `metadata={"romancy": StepOptions(timeout=30)}`.

    Without `retry`, a step has five attempts: 1, 2, 4 and 8 seconds apart. An error's `retry_after` is waited for, up
    to `max_interval`. What no attempt mends is never tried again: a refused request, an exhausted quota, a mistake in
    the program.
    """

    retry: RetryPolicy | None = None
    timeout: Duration | None = None
    """The longest time of one attempt."""
    heartbeat_timeout: Duration | None = None
    """The longest time between two heartbeats, which a tool gives by `activity_context().heartbeat()`."""


def merged(given: StepOptions, base: StepOptions) -> StepOptions:
    """The given options, and those of `base` where they say nothing."""
    return StepOptions(
        retry=base.retry if given.retry is None else given.retry,
        timeout=base.timeout if given.timeout is None else given.timeout,
        heartbeat_timeout=base.heartbeat_timeout if given.heartbeat_timeout is None else given.heartbeat_timeout,
    )


def policy_of(given: RetryPolicy | None) -> RetryPolicy:
    """The policy, which gives up on what no attempt mends."""
    base = RetryPolicy() if given is None else given
    own = base.give_up_on if isinstance(base.give_up_on, tuple) else (base.give_up_on,)
    return RetryPolicy(
        base.max_attempts,
        base.initial_interval,
        base.multiplier,
        base.max_interval,
        jitter=base.jitter,
        retry_on=base.retry_on,
        give_up_on=(*own, *_NOT_MENDED),
        expected=base.expected,
        record=base.record,
    )
