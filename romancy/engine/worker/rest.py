"""Whether a worker has nothing to do until a moment comes, or until somebody outside does something."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy.engine.driver import Driver
    from romancy.engine.worker.claims import Claiming
    from romancy.engine.worker.recovery import Intake

__all__ = ["rests"]


def rests(driver: Driver, claiming: Claiming, intake: Intake) -> bool:
    """Whether nothing is to be claimed, taken up, fed, written or dispatched now, whatever attempts are made."""
    if driver.due or driver.solitude.only is not None:
        return False
    return driver.writer.idle and driver.dispatcher.idle and claiming.at_rest and intake.is_idle
