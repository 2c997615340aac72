"""Refuses calls that would wait forever for the open session of the activity that makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.attempt_context import entered_activity
from romancy.engine.activities.attempt import Attempt
from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.engine.activities.port import Port
    from romancy.storage.protocol import Store

__all__ = ["note_start", "refuse_to_wait", "waits_in_vain"]


def waits_in_vain(store: Store) -> bool:
    """Whether this store can write nothing before the caller's own session ends."""
    attempt = _holder()
    return attempt is not None and _excludes(attempt, store)


def refuse_to_wait(store: Store, what: str, instance_ids: Iterable[str] = ()) -> None:
    """Raise UsageError, with nothing written, if the call would wait for the session that its caller has open."""
    if entered_activity() is None or (attempt := _holder()) is None:
        return
    if _excludes(attempt, store):
        raise UsageError(
            f"app.{what} in an activity whose session is open would wait for that session for ever: "
            f"{store.capabilities.name} excludes all other writers until then. Give the session to calls that take one "
            "(session=…); make others before the session is opened, or in an activity of their own"
        )
    begun = attempt.open().begun.intersection(instance_ids)
    if begun:
        raise UsageError(
            f"app.{what}: instance {min(begun)!r} was started in this activity's open session, and would be waited "
            "for until that is committed; give the session to this call as well (session=…), or make it afterwards"
        )


def note_start(transaction: object, instance_id: str) -> None:
    """Record that an instance was started in a transaction, possibly that of the caller's own session."""
    attempt = _holder()
    if attempt is not None and _is_of(transaction, attempt.open()):
        attempt.open().has_begun(instance_id)


def _holder() -> Attempt | None:
    """The attempt that this code runs in, in any of its tasks or threads, while its session is open."""
    attempt = entered_activity()
    if not isinstance(attempt, Attempt) or attempt.port is None:
        return None
    port = attempt.port
    return attempt if port.opened is not None and not (port.ended or port.over) else None


def _excludes(attempt: Attempt, store: Store) -> bool:
    """Whether the session of this attempt excludes all other writers of the store."""
    if not store.capabilities.sessions_exclude:
        return False
    held = attempt.tools.store
    return held is store or held.capabilities.place == store.capabilities.place


def _is_of(transaction: object, port: Port) -> bool:
    opened = port.opened
    return opened is not None and (transaction is opened or transaction is opened.native)
