"""Registers subscriptions that may be refused, and lists the members of channels.

A subscription is registered after the commit that asked for it, outside of any append, because it may be refused.
Registering is idempotent: a worker that takes the instance over registers it again. An append drops it. The members are
read after the commit that asked for them, likewise.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from romancy._logs import about, get_logger
from romancy.core import MembersListed, Subscribed, SubscriptionGranted, SubscriptionRefused
from romancy.engine.slot import GONE
from romancy.engine.topics import address_of_all, interest_of_subscription, members_of, mode_of_interest
from romancy.errors import InstanceNotFoundError, StorageUnavailableError
from romancy.storage.routing import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from romancy.core import Input, MembersAsked
    from romancy.engine.instance import Live
    from romancy.engine.reports import Drives
    from romancy.storage.protocol import Store

__all__ = ["Joining"]

logger = get_logger("romancy.engine")

_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_MOST_BYTES: Final = 1024 * 1024
"""A list of members is part of a commit, which has room for four times as much."""


class Joining:
    """Asks the database about channels for a worker's instances, and feeds the answers to their runs."""

    def __init__(self, store: Store, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """`spawn` runs what asks the database as long as the worker lasts."""
        self._store = store
        self._spawn = spawn

    def begin(self, driver: Drives, live: Live, effect: Subscribed | MembersAsked) -> None:
        """Register the subscription or list the members, however long that takes, and feed the answer.

        The append has registered a subscription that nobody can refuse.
        """
        if isinstance(effect, Subscribed) and effect.id not in live.run.state.joining:
            return
        self._spawn(self._until_answered(driver, live, effect))

    async def _until_answered(self, driver: Drives, live: Live, effect: Subscribed | MembersAsked) -> None:
        pause = _PAUSE
        what = "subscribe to" if isinstance(effect, Subscribed) else "list the members of"
        while live.slot is not GONE:
            try:
                answer = await self._ask(driver, live, effect)
            except InstanceNotFoundError:
                return  # the instance has ended, and its run gets the end
            except StorageUnavailableError as error:
                logger.warning(
                    "instance %s: cannot %s %s yet, retried in %.1f s: %s",
                    live.instance_id, what, effect.topic.words, pause, error, extra=about(live),
                )  # fmt: skip
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            except Exception as error:
                logger.exception(
                    "instance %s: cannot %s %s", live.instance_id, what, effect.topic.words, extra=about(live)
                )
                driver.reports.broken(live, error)
                return
            _feed(driver, live, answer)
            return

    async def _ask(self, driver: Drives, live: Live, effect: Subscribed | MembersAsked) -> Input:
        if not isinstance(effect, Subscribed):
            return await self._listed(driver, live, effect)
        owner = Owner(live.instance_id, live.life)
        in_the_way = await self._store.services.router.register(
            owner, interest_of_subscription(effect.topic, effect.mode)
        )
        if in_the_way is None:
            return SubscriptionGranted(at=_now(driver, live), id=effect.id)
        return SubscriptionRefused(at=_now(driver, live), id=effect.id, existing=mode_of_interest(in_the_way))

    async def _listed(self, driver: Drives, live: Live, effect: MembersAsked) -> Input:
        found = await self._store.services.router.interests(address_of_all(effect.topic))
        members = members_of(effect.topic, found)
        fits = len(msgspec.json.encode(members)) <= _MOST_BYTES
        return MembersListed(
            at=_now(driver, live),
            id=effect.id,
            members=tuple(members) if fits else (),
            too_many=0 if fits else len(members),
        )


def _feed(driver: Drives, live: Live, answer: Input) -> None:
    if live.slot is not GONE and live.run.state.accepts(answer):
        driver.feed(live, answer)


def _now(driver: Drives, live: Live) -> int:
    return max(driver.clock.now(), live.run.last_time)
