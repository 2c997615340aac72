"""What the steps of an agent are run with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from romancy.retry import Duration, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StepOptions", "merged", "policy_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOptions:
    """The options of the steps of one kind, or of one tool.

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


def policy_of(
    given: RetryPolicy | None,
    not_mended: tuple[type[BaseException], ...],
    is_mended: Callable[[Exception], bool] | None = None,
) -> RetryPolicy:
    """The policy, which gives up on what no attempt mends: on these classes, and on what `is_mended` denies."""
    base = RetryPolicy() if given is None else given
    own = base.give_up_on if isinstance(base.give_up_on, tuple) else (base.give_up_on,)
    asked = base.retry_on if is_mended is None else _both(base, is_mended)
    return replace(base, retry_on=asked, give_up_on=(*own, *not_mended))


def _both(base: RetryPolicy, is_mended: Callable[[Exception], bool]) -> Callable[[Exception], bool]:
    asked = base.retry_on

    def retries(error: Exception) -> bool:
        return (isinstance(error, asked) if isinstance(asked, type | tuple) else asked(error)) and is_mended(error)

    return retries
