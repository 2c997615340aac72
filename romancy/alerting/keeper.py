"""The workflow whose one instance remembers which alerts were told.

Its log grows only when something begins or is over. What it is told it compares with what it knows, so it does not
matter how many processes look, nor how often they send the same.

The definitions are not declared: an app that takes every workflow of its process does not get this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy._logs import get_logger
from romancy.activity import Activity
from romancy.alerting.records import ALERTS, OBSERVED, Notice, Told
from romancy.alerting.telling import Telling  # noqa: TC001 - signatures of activities are read when the app opens
from romancy.context import WorkflowContext  # noqa: TC001 - the same
from romancy.depends import Depends
from romancy.errors import RetryExhaustedError
from romancy.retry import RetryPolicy
from romancy.workflow import Workflow

if TYPE_CHECKING:
    from romancy.alerting.records import Observed

__all__ = ["KEEPER", "telling_of_the_process"]

_log: Final = get_logger("romancy")
_STUBBORN: Final = RetryPolicy(max_attempts=12, initial_interval=1.0, max_interval=120.0)
"""Some ten minutes. Then the next alert has its turn."""
_TIME_LIMIT: Final = 30.0


def telling_of_the_process() -> Telling:
    """Provider of the way to tell. The app that looks overrides it."""
    raise LookupError("alerts are told by `romancy alerts`")


async def _tell(notices: list[Notice], *, telling: Telling = Depends(telling_of_the_process)) -> None:
    await telling.tell(notices)


_telling: Final = Activity[..., Any](
    _tell, name=f"{ALERTS}.tell", retry=_STUBBORN, timeout=_TIME_LIMIT, transactional=False
)


async def _keep(ctx: WorkflowContext, told: Told) -> None:
    await ctx.report(told)
    while not ctx.should_recur:
        observed = (await ctx.wait_event(OBSERVED)).data
        if observed.at <= told.at or not (notices := _notices(told, observed)):
            continue
        try:
            await _telling(notices)
        except RetryExhaustedError as error:
            ctx.log.warning("these alerts could not be told: %s (%s)", [one.condition.key for one in notices], error)
        told = Told(observed.at, observed.conditions)
        await ctx.report(told)
    KEEPER.recur(told)


def _notices(told: Told, observed: Observed) -> list[Notice]:
    """What has begun, then what is over."""
    known = {one.key for one in told.conditions}
    now = {one.key for one in observed.conditions}
    begun = [Notice("begins", one, observed.at) for one in observed.conditions if one.key not in known]
    return begun + [Notice("is over", one, observed.at) for one in told.conditions if one.key not in now]


KEEPER: Final = Workflow[[Told], None](_keep, name=ALERTS, version="1")
