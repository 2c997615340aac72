"""Channels in the engine: a subscription's interest, its registration, the list of members, and the messages sent.

A subscription is registered after the commit that asked for it, outside of any append, because it may be refused.
Registering is idempotent: a worker that takes the instance over registers it again. An append drops it. The members are
read after the commit that asked for them, likewise.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from romancy._logs import about, get_logger
from romancy.core import ChannelJoined, ChannelMembersListed, ChannelRefused, JoinChannel, Listed
from romancy.engine.messages import ChannelMessage, encode_message
from romancy.engine.slot import GONE
from romancy.errors import InstanceNotFoundError, StorageUnavailableError
from romancy.storage.routing import OUTSIDE, Interest, InterestKind, Owner, Place, Posting, Spread, address_of_channel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.core import Input, ListMembers, SendOnChannel
    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.worker.tasks import Tasks
    from romancy.storage.protocol import Store

__all__ = [
    "Joining",
    "members_of",
    "mode_of_interest",
    "on_channel",
    "posted_on_channel",
    "prefix_of",
    "subscription",
    "taking",
]

logger = get_logger("romancy.engine")

_KINDS: Final = {"broadcast": InterestKind.COPY, "competing": InterestKind.MEMBER}
_MODES: Final = {kind: mode for mode, kind in _KINDS.items()}
_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_MOST_BYTES: Final = 1024 * 1024
"""A list of members is part of a commit, which has room for four times as much."""


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


def prefix_of(channel: str) -> str:
    """What the names of the subscribers outside begin with in the store, which knows names and no channels."""
    return f"{len(channel)}/{channel}/"


def members_of(channel: str, interests: Iterable[tuple[Owner, Interest]]) -> list[Listed]:
    """The subscribers among the interests at the address of a channel. A competing one that asks has two there."""
    prefix = prefix_of(channel)
    return [
        Listed(owner.name.removeprefix(prefix), mode_of_interest(interest.kind), outside=True)
        if owner.life == OUTSIDE
        else Listed(owner.name, mode_of_interest(interest.kind))
        for owner, interest in interests
        if interest.kind is not InterestKind.TAKE
    ]


class Joining:
    """Asks the database about channels for a worker's instances, and feeds the answers to their runs."""

    def __init__(self, store: Store, tasks: Tasks) -> None:
        self._store = store
        self._tasks = tasks

    def begin(self, driver: Driver, live: Live, effect: JoinChannel | ListMembers) -> None:
        """Register the subscription or list the members, however long that takes, and feed the answer."""
        self._tasks.spawn(self._until_answered(driver, live, effect))

    async def _until_answered(self, driver: Driver, live: Live, effect: JoinChannel | ListMembers) -> None:
        pause = _PAUSE
        what = "subscribe to" if isinstance(effect, JoinChannel) else "list the members of"
        while live.slot is not GONE:
            try:
                answer = await self._ask(driver, live, effect)
            except InstanceNotFoundError:
                return  # the instance has ended, and its run gets the end
            except StorageUnavailableError as error:
                logger.warning(
                    "instance %s: cannot %s channel %r yet, retried in %.1f s: %s",
                    live.instance_id, what, effect.channel, pause, error, extra=about(live),
                )  # fmt: skip
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            except Exception as error:
                logger.exception(
                    "instance %s: cannot %s channel %r", live.instance_id, what, effect.channel, extra=about(live)
                )
                driver.reports.broken(live, error)
                return
            _feed(driver, live, answer)
            return

    async def _ask(self, driver: Driver, live: Live, effect: JoinChannel | ListMembers) -> Input:
        if not isinstance(effect, JoinChannel):
            return await self._listed(driver, live, effect)
        owner = Owner(live.instance_id, live.life)
        in_the_way = await self._store.rooms.router.register(owner, subscription(effect.channel, effect.mode))
        if in_the_way is None:
            return ChannelJoined(at=_now(driver, live), id=effect.join_id)
        return ChannelRefused(at=_now(driver, live), id=effect.join_id, existing=mode_of_interest(in_the_way))

    async def _listed(self, driver: Driver, live: Live, effect: ListMembers) -> Input:
        found = await self._store.rooms.router.interests(address_of_channel(effect.channel))
        members = members_of(effect.channel, found)
        fits = len(msgspec.json.encode(members)) <= _MOST_BYTES
        return ChannelMembersListed(
            at=_now(driver, live),
            id=effect.list_id,
            members=tuple(members) if fits else (),
            too_many=0 if fits else len(members),
        )


def _feed(driver: Driver, live: Live, answer: Input) -> None:
    if live.slot is not GONE and live.run.state.accepts(answer):
        driver.feed(live, answer)


def _now(driver: Driver, live: Live) -> int:
    return max(driver.clock.now(), live.run.last_time)
