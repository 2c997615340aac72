"""Decides which suspect of a worker begins next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.engine.worker.evidence import Evidence

__all__ = ["next_of"]


def next_of(suspects: Mapping[str, Evidence], alive: float, many: int, longest: float) -> tuple[str, float]:
    """The suspect that begins next in a worker that has lived for `alive` seconds, and in how many seconds.

    Of those that have ended workers, only the one that has ended most is tried: each death of another one would speak
    for it. It begins exactly at its time, which is much later from trial to trial. So what ends each worker at the same
    age, and is no suspect, cannot be mistaken for it again and again. No other trial begins that would last until then.
    """
    worst = max(suspects, key=lambda each: len(suspects[each].trials))
    due = suspects[worst].alive_before(longest)
    if due <= alive:
        return worst, 0.0
    wait = due - alive
    for each, evidence in suspects.items():
        if evidence.trials:
            continue
        left = evidence.alive_before(longest) - alive
        if not suspects[worst].trials or max(0.0, left) + evidence.trial_for(many, longest) <= wait:
            return each, max(0.0, left)
    return worst, wait
