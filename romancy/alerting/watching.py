"""Looks for what needs a person, again and again, and tells the instance that remembers it."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from romancy._logs import get_logger
from romancy.alerting.conditions import conditions_of
from romancy.alerting.keeper import KEEPER
from romancy.alerting.records import ALERTS, OBSERVED, Observed, Told
from romancy.errors import RomancyError
from romancy.status import TERMINAL_STATUSES

if TYPE_CHECKING:
    from romancy.alerting.conditions import Found, Thresholds
    from romancy.event import EventType
    from romancy.instance import Instance
    from romancy.storage.protocol import Store
    from romancy.workflow import Call

__all__ = ["Watch", "Watched"]

_log: Final = get_logger("romancy")
_PATIENCE: Final = 3
"""What was not found in so many looks in a row is over. So what comes and goes is told once."""


class Watched(Protocol):
    """What a look needs of an app."""

    @property
    def store(self) -> Store: ...
    async def get_instance(self, instance_id: str, /) -> Instance | None: ...
    async def report(self, instance_id: str, /) -> Any: ...
    async def signal_with_start(
        self, call: Call[Any], event: EventType[Any], data: object, /, *, id: str, if_exists: Literal["restart_ended"]
    ) -> object: ...


class Watch:
    """The looks of one process."""

    def __init__(self, app: Watched, thresholds: Thresholds, every: float) -> None:
        self._app = app
        self._thresholds = thresholds
        self._every = every
        self._missed: dict[str, int] = {}
        """In how many looks each condition that was told was not found any more."""

    async def run(self) -> None:
        """Look until it is cancelled. A look that fails is made again at its next time."""
        while True:
            try:
                await self.look()
            except RomancyError as error:
                _log.warning("a look for alerts failed, and is made again: %s", error)
            await asyncio.sleep(self._every)

    async def look(self) -> None:
        """Find what holds, and send it if it is not what was told last."""
        found = await conditions_of(self._app.store, self._thresholds)
        remembered = await self._app.get_instance(ALERTS)
        told = await self._told(remembered)
        observed = self._as_observed(found, told)
        if {one.key for one in observed.conditions} == {one.key for one in told.conditions}:
            return
        keys = repr(sorted(one.key for one in observed.conditions))
        # The same change to the same state is one message, whoever sends it. An instance that has ended is another one.
        life = None if remembered is None else remembered.created_at
        message = sha256(f"{life} {told.at} {keys}".encode()).hexdigest()[:32]
        await self._app.signal_with_start(
            KEEPER.options(instance_id=ALERTS).bind(Told()),
            OBSERVED,
            observed,
            id=message,
            if_exists="restart_ended",
        )

    def _as_observed(self, found: Found, told: Told) -> Observed:
        """What holds, with what was told and is missing for a moment only."""
        now = {one.key for one in found.conditions}
        gone = [one for one in told.conditions if one.key not in now]
        self._missed = {one.key: self._missed.get(one.key, 0) + 1 for one in gone}
        kept = [one for one in gone if self._missed[one.key] < _PATIENCE]
        return Observed(found.at, [*found.conditions, *kept])

    async def _told(self, found: Instance | None) -> Told:
        if found is None or found.status in TERMINAL_STATUSES:
            return Told()
        report = await self._app.report(ALERTS)
        return Told() if report is None else msgspec.convert(report, Told)
