"""Tells whether a worker has nothing to do until a due time or until a change from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy.engine.worker.worker import Worker

__all__ = ["is_at_rest", "rests_beside_attempts"]


def is_at_rest(worker: Worker) -> bool:
    """Whether nothing is under way: the worker waits for a due time or for a change from outside."""
    return worker.driver.attempts.at_rest and rests_beside_attempts(worker)


def rests_beside_attempts(worker: Worker) -> bool:
    """Whether nothing is to be claimed, taken up, fed, written or dispatched now. Attempts may run."""
    driver, claiming = worker.driver, worker.claiming
    if driver.due or not worker.tasks.idle:
        return False
    return driver.writer.idle and driver.dispatcher.idle and claiming.at_rest and claiming.intake.is_idle
