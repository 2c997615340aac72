"""Channels in the engine: a subscription's interest, its registration, and the messages sent.

A subscription is registered after the commit that asked for it, outside of any append, because it may be refused.
Registering is idempotent: a worker that takes the instance over registers it again. An append drops it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy._logs import about, get_logger
from romancy.core import ChannelJoined, ChannelRefused
from romancy.engine.messages import ChannelMessage, encode_message
from romancy.engine.slot import GONE
from romancy.errors import InstanceNotFoundError, StorageUnavailableError
from romancy.storage.routing import Interest, InterestKind, Owner, Place, Posting, Spread, address_of_channel

if TYPE_CHECKING:
    from romancy.core import JoinChannel, SendOnChannel
    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.worker.tasks import Tasks
    from romancy.storage.protocol import Store

__all__ = [
    "Joining",
    "mode_of_interest",
    "on_channel",
    "posted_on_channel",
    "subscription",
    "taking",
]

logger = get_logger("romancy.engine")

_KINDS: Final = {"broadcast": InterestKind.COPY, "competing": InterestKind.MEMBER}
_MODES: Final = {kind: mode for mode, kind in _KINDS.items()}
_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


def subscription(channel: str, mode: str) -> Interest:
    """The interest that a subscription is. An owner has one for each channel."""
    return Interest(interest_id=f"{channel}/c", address=address_of_channel(channel), kind=_KINDS[mode])


def mode_of_interest(kind: InterestKind) -> str:
    """The mode of the subscriptions that are interests of this kind."""
    return _MODES.get(kind, kind.value)


def taking(channel: str, interest_id: str) -> Interest:
    """The interest of a competing subscriber while it asks for a message."""
    return Interest(interest_id=interest_id, address=address_of_channel(channel), kind=InterestKind.TAKE)


def on_channel(effect: SendOnChannel, sender: str) -> ChannelMessage:
    """The message that a workflow sends."""
    return ChannelMessage(
        channel=effect.channel,
        data=effect.data,
        message_id=effect.message_id,
        sender=sender,
        metadata=effect.metadata,
        headers=effect.headers,
        direct=effect.to is not None,
    )


def posted_on_channel(message: ChannelMessage, stamp: str) -> Posting:
    """The posting of a message for the subscribers of its channel."""
    place = Place(address_of_channel(message.channel), Spread.CHANNEL)
    return Posting(message_id=stamp, places=(place,), body=encode_message(message))


class Joining:
    """Registers the subscriptions of a worker's instances, and feeds the answers to their runs."""

    def __init__(self, store: Store, tasks: Tasks) -> None:
        self._store = store
        self._tasks = tasks

    def begin(self, driver: Driver, live: Live, effect: JoinChannel) -> None:
        """Register the subscription, however long that takes, and feed the answer."""
        self._tasks.spawn(self._until_answered(driver, live, effect))

    async def _until_answered(self, driver: Driver, live: Live, effect: JoinChannel) -> None:
        pause = _PAUSE
        while live.slot is not GONE:
            try:
                await self._ask(driver, live, effect)
            except InstanceNotFoundError:
                pass  # the instance has ended, and its run gets the end
            except StorageUnavailableError as error:
                logger.warning(
                    "instance %s: cannot subscribe to channel %r yet, retried in %.1f s: %s",
                    live.instance_id, effect.channel, pause, error, extra=about(live),
                )  # fmt: skip
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            except Exception as error:
                logger.exception(
                    "instance %s: cannot subscribe to channel %r", live.instance_id, effect.channel, extra=about(live)
                )
                driver.reports.broken(live, error)
            return

    async def _ask(self, driver: Driver, live: Live, effect: JoinChannel) -> None:
        owner = Owner(live.instance_id, live.life)
        in_the_way = await self._store.router.register(owner, subscription(effect.channel, effect.mode))
        if live.slot is GONE or effect.join_id not in live.run.state.joining:
            return
        now = max(driver.clock.now(), live.run.last_time)
        if in_the_way is None:
            driver.feed(live, ChannelJoined(at=now, id=effect.join_id))
        else:
            driver.feed(live, ChannelRefused(at=now, id=effect.join_id, existing=mode_of_interest(in_the_way)))
