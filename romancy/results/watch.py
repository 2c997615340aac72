"""Holds the callers that wait for the end of an instance, and the end once it is known, for the handles of one app."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from weakref import ref

from msgspec import Struct

from romancy.core import RunEnd
from romancy.status import Status
from romancy.storage.marks import instance_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy._access import Access
    from romancy.core import Activation

__all__ = ["Watch", "Watches"]

_FEW: Final = 1000
"""Up to so many watches, nobody looks whether handles still hold them."""


class Watch(Struct, eq=False, weakref=True):
    """Shared by all handles of one instance in this app. Holds the instance's end, or the callers waiting for news."""

    outcome: RunEnd | None = None
    life: int = 0
    """The life of the instance that ended with `outcome`."""
    recorded: int = 0
    """How many ends this app's worker has recorded. A handle uses only those recorded after it was made."""
    _begun: int = 0
    """The life with which this app replaced another; 0 if none."""
    _used: int = 0
    """The life of the last outcome that a caller has got; 0 if none."""
    waiting: list[asyncio.Future[None]] = []

    def begin(self, life: int) -> None:
        """Record that a new life of the id begins. The end of a former life no longer counts."""
        self._begun = life
        self.outcome = None
        self.tell()

    def end(self, life: int, outcome: RunEnd | None) -> None:
        """Record the end of a life here, if there is an outcome. The end of a replaced life is ignored.

        The end of a life is also ignored if a caller has already read it from the database: a later caller may ask for
        another life.
        """
        if self._begun in (0, life) and life != self._used:
            self.outcome, self.life = outcome, life
            self.recorded += 1
        if self.waiting:
            self.tell()

    def is_current(self, life: int) -> bool:
        """Whether this app has not replaced this life. The worker holds a life for a moment after its end."""
        return self._begun in (0, life)

    def knows_end(self, recorded: int) -> bool:
        """Whether the outcome is known and can be used by a handle that was made after so many ends were recorded.

        Another outcome is forgotten: another process may have begun a new life, and whoever failed may have been
        retried.
        """
        if self.outcome is not None and (self.recorded == recorded or self.outcome.status is not Status.COMPLETED):
            self.outcome = None
        return self.outcome is not None

    def use(self) -> RunEnd:
        """Give the outcome to one caller. A later caller asks the database: the instance may be gone by then."""
        outcome, self.outcome, self._used = self.outcome, None, self.life
        assert outcome is not None  # noqa: S101 - the caller has looked
        return outcome

    def is_gone(self) -> None:
        """Forget the outcome, and wake the callers."""
        self.outcome = None
        self.tell()

    def tell(self) -> None:
        """Wake all waiting callers: there may be news."""
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def news(self) -> asyncio.Future[None]:
        """A future that is done at the next `tell`, counted from this call and not from its `await`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future


class Watches:
    """The watches of one app, each held by the handles of its instance."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._by_id: dict[str, ref[Watch]] = {}
        self._most = _FEW
        """With more of them, those are removed that no handle holds any more."""

    def of(self, instance_id: str) -> Watch:
        """The watch that all handles of an instance share."""
        return self._held(instance_id) or self.new(instance_id)

    def new(self, instance_id: str) -> Watch:
        """The watch of an id that no handle of this app has."""
        watch = Watch()
        self._by_id[instance_id] = ref(watch)
        if len(self._by_id) > self._most:
            self._by_id = {held: one for held, one in self._by_id.items() if one() is not None}
            self._most = max(_FEW, 2 * len(self._by_id))
        return watch

    def of_start(self, instance_id: str) -> Watch:
        """The watch of an id that is about to be started. A known outcome may belong to a former life."""
        watch = self.of(instance_id)
        watch.outcome = None
        return watch

    def ended(self, instance_id: str, life: int, activation: Activation | None) -> None:
        """Record that this life of the instance ended here, or got stuck. `activation` may be None if it is stuck."""
        known = self._by_id.get(instance_id)
        watch = None if known is None else known()
        if watch is None or (activation is not None and activation.outcome is None and activation.parked is None):
            return
        watch.end(life, activation.outcome if activation is not None else None)

    def begun_anew(self, instance_id: str, life: int) -> None:
        """Record that a new life of the id begins. Wake the callers that wait for a former life, and the worker.

        The former life may have taken a message that another waiter can use.
        """
        self.of(instance_id).begin(life)
        self._access.stir()
        self._access.sweep()

    def removed(self, instance_ids: Iterable[str]) -> None:
        """Wake the callers that wait for these instances, which may be gone."""
        for watch in filter(None, map(self._held, instance_ids)):
            watch.is_gone()

    def changed(self, instance_ids: Iterable[str] | None) -> None:
        """Wake the callers that wait for these instances, or for any if it is not known which have changed."""
        for changed in instance_ids or list(self._by_id):
            watch = self._held(instance_of(changed))
            if watch is not None and watch.waiting:
                watch.tell()

    def close(self) -> None:
        """Wake all callers, which find the app closed."""
        for watch in filter(None, map(self._held, list(self._by_id))):
            watch.tell()

    def _held(self, instance_id: str) -> Watch | None:
        known = self._by_id.get(instance_id)
        return None if known is None else known()
