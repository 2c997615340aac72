"""Activities that are declared at most once: which attempts have begun here, and the end of one that is unknown.

An attempt that may have begun, and whose end is in no log, is never begun again. The log knows the attempts of former
owners. Of its own attempts a worker remembers the numbers: a run that it drops and replays asks for the same one again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import ActivityFailed
from romancy.engine.slot import FREE
from romancy.errors import ActivityUnknownError
from romancy.serialization import describe_exception

if TYPE_CHECKING:
    from romancy.core import StartActivity
    from romancy.engine.activities.attempt import Attempt
    from romancy.engine.instance import Live

__all__ = ["BegunOnce", "unanswered", "unknown_end"]


def unanswered(name: str, cause: BaseException) -> ActivityUnknownError:
    """The error of an attempt that did not answer at its limit, or that says itself that its outcome is unknown."""
    if isinstance(cause, ActivityUnknownError):
        return cause
    error = ActivityUnknownError(f"{cause}. Activity {name} is declared at_most_once, so it is not begun again")
    error.__cause__ = cause
    return error


def unknown_end(effect: StartActivity, *, now: int) -> ActivityFailed:
    """The input that ends a call of which an attempt may have begun."""
    error = ActivityUnknownError(
        f"an attempt at activity {effect.name} ({effect.activity_id}) may have begun, and how it ended is not in the "
        "log: its worker died, or dropped it. The activity is declared at_most_once, so it is not begun again: find "
        "out what it did"
    )
    described = describe_exception(error)
    return ActivityFailed(at=now, id=effect.activity_id, error=described, attempts=effect.failed + 1, unknown=True)


class BegunOnce:
    """The attempts at such activities that have begun on one worker."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[str, dict[str, int]]] = {}
        """For each instance the nonce of its run, and the numbers of the last attempts by the activities' ids."""

    def note(self, attempt: Attempt) -> None:
        """Record that the attempt begins."""
        live = attempt.live
        nonce, begun = self._of.get(live.instance_id, ("", {}))
        if nonce != attempt.nonce:
            begun = {}
            self._of[live.instance_id] = attempt.nonce, begun
        if live.slot is FREE:
            for ended in begun.keys() - live.run.state.activities.keys():
                del begun[ended]  # its end is in the log
        begun[attempt.id] = attempt.effect.attempt

    def take_back(self, attempt: Attempt) -> None:
        """Record that the attempt, which was told to stop, has not begun: it may have waited for a thread."""
        self._begun(attempt.live).pop(attempt.id, None)

    def has(self, live: Live, effect: StartActivity) -> bool:
        """Whether this very attempt has begun."""
        return self._begun(live).get(effect.activity_id) == effect.attempt

    def not_begun(self, live: Live) -> tuple[str, ...]:
        """The calls of such activities of which no attempt has begun here since the log told of the last one."""
        begun = self._begun(live)
        return tuple(
            id
            for id, call in live.run.state.activities.items()
            if call.definition is not None
            and call.definition.given.at_most_once
            and begun.get(id) != call.failures + call.unheard + 1
        )

    def any_of(self, instance_id: str) -> bool:
        """Whether attempts of this instance have begun."""
        return instance_id in self._of

    def forget(self, live: Live) -> None:
        """Forget the attempts of an instance whose log tells of all of them."""
        self._of.pop(live.instance_id, None)

    def _begun(self, live: Live) -> dict[str, int]:
        """Those of the present run."""
        nonce, begun = self._of.get(live.instance_id, ("", {}))
        started = live.run.state.started
        return begun if started is not None and started.nonce == nonce else {}
