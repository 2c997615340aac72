"""Subscribers outside of workflows: each has a name, and gets a message again until it has acknowledged it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

from msgspec.structs import replace

from romancy import core
from romancy.core import mode_conflict
from romancy.engine import decode_message
from romancy.engine.topics import address_of_all, interest_of_subscription, mode_of_interest, prefix_of, taking
from romancy.errors import EventTimeoutError, StorageError, StorageUnavailableError, UsageError
from romancy.retry import Duration, seconds
from romancy.storage.limits import check_id
from romancy.storage.routing import OUTSIDE, Letter, Owner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from romancy._access import Access
    from romancy.core import Mode

__all__ = ["Subscription", "end_subscription"]

M = TypeVar("M")


_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_LOOKS_FOR_AN_END: Final = 8
"""After this many reads without a message, a subscriber checks that its subscription still exists."""
_LONGEST_GOODBYE: Final = 5.0
"""Seconds that an outage may last at the end of a block."""
_TAKE: Final = "take"


class Subscription(Generic[M]):
    """The messages of a named subscriber outside of workflows. A message comes again until it is acknowledged."""

    def __init__(
        self,
        access: Access,
        topic: core.Topic,
        name: str,
        mode: Mode,
        read: Callable[[core.Message, int], M],
        where: bytes | None = None,
    ) -> None:
        self._access = access
        self._topic = topic
        self._owner = _owner_of(topic, name)
        self._mode: Mode = mode
        self._read = read
        self._where = where
        self._interest = interest_of_subscription(topic, mode)
        if mode == "broadcast":
            self._interest = replace(self._interest, where=where)
        self._address = address_of_all(topic)
        self._letters: deque[Letter] = deque()
        """Messages that were read and not returned yet."""
        self._handed: list[str] = []
        """Messages that were returned and are not acknowledged."""
        self._asks = False
        """Whether a competing subscriber has asked for a message and, as far as is known, not got one."""
        self._open = False
        self._receiving = False

    async def __aenter__(self) -> Self:
        if self._open:
            raise UsageError("this subscription is open already; subscribe() makes another one")
        in_the_way = await self._access.opened().services.router.register(self._owner, self._interest)
        if in_the_way is not None:
            raise mode_conflict(self._topic.name, mode_of_interest(in_the_way), self._mode)
        self._letters.clear()
        self._handed.clear()
        self._asks, self._open = False, True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Acknowledge the last message, unless an exception leaves the block.

        Raises StorageUnavailableError if the database stays away for some seconds. The message then comes again.
        """
        self._open = False
        try:
            if error is None:
                await self.acknowledge()
            if self._mode == "competing":
                await _insist(self._leave_the_rest_to_others)
        except StorageUnavailableError:
            if error is None:
                raise

    async def _leave_the_rest_to_others(self) -> None:
        router = self._access.opened().services.router
        await router.unregister(self._owner, (_TAKE,))
        while letters := await router.letters(self._owner.name):
            await router.give_back(self._owner, [letter.letter_id for letter in letters])
        self._access.dispatch((self._address,))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M:
        return await self.receive()

    async def receive(self, *, timeout: Duration | None = None) -> M:
        """Acknowledge the message before, and return the next one. Raises EventTimeoutError if none comes in time.

        Waits while the database is away. Raises SerializationError for a message that does not fit the declared
        type; the next call goes on. Raises CodecError for one that no codec of this app can open; the next call
        tries again. Raises UsageError if another task receives here, and if `unsubscribe` has ended the subscription.
        """
        if not self._open:
            raise UsageError(
                "receive() is for the inside of the block: `async with … .subscribe(…) as messages:`, then "
                "`messages.receive()` or `async for message in messages`"
            )
        if self._receiving:
            raise UsageError("another task receives here, and each call acknowledges the message before: use one task")
        limit = None if timeout is None else seconds(timeout, "the timeout")
        self._receiving = True
        try:
            await self._until_there_are_letters(limit)
        finally:
            self._receiving = False
        return self._hand_out()

    async def acknowledge(self) -> None:
        """Forget what was received so far. The next `receive` does it by itself.

        Raises StorageUnavailableError if the database stays away for some seconds.
        """
        await _insist(self._acknowledge)

    async def _acknowledge(self) -> None:
        if handed := tuple(self._handed):
            await self._access.opened().services.router.acknowledge(self._owner.name, handed)
            del self._handed[: len(handed)]

    def _hand_out(self) -> M:
        letter = self._letters.popleft()
        try:
            message = decode_message(letter.body)
        except StorageError:
            self._letters.clear()  # they are read again: the message may be readable then
            raise
        self._handed.append(letter.letter_id)
        if not isinstance(message, core.Message):
            raise UsageError(f"address {letter.address!r} holds a payload that is no message")
        return self._read(message, letter.at)

    async def _until_there_are_letters(self, limit: float | None) -> None:
        try:
            async with asyncio.timeout(limit):
                await self._look_again_and_again()
        except TimeoutError:
            try:
                await self._look_a_last_time()
            except StorageUnavailableError:
                pass  # the database was away for the whole time
            if self._handed or not self._letters:
                raise EventTimeoutError(f"no message of {self._topic.words} came in time") from None

    async def _look_again_and_again(self) -> None:
        pause, looks = _FIRST_PAUSE, 0
        while True:
            try:
                await self._acknowledge()
                if not self._letters:
                    await self._look()
                if self._letters:
                    return
                looks = (looks + 1) % _LOOKS_FOR_AN_END
                if not looks:
                    await self._check_that_it_stands()
            except StorageUnavailableError:
                pause = _LONGEST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _look(self) -> None:
        """Read the letters. A competing subscriber without one asks for a message."""
        router = self._access.opened().services.router
        self._letters.extend(await router.letters(self._owner.name))
        if not self._letters and self._mode == "competing" and not self._asks:
            await router.register(self._owner, taking(self._topic, _TAKE, self._where))
            await router.dispatch((self._address,))
            self._asks = True  # set last: after an outage, both steps are repeated
            self._letters.extend(await router.letters(self._owner.name))
        if self._letters:
            self._asks = False

    async def _look_a_last_time(self) -> None:
        """Stop asking for a message, so that others get the next one. A message that has just come is kept."""
        router = self._access.opened().services.router
        await self._acknowledge()
        if not self._letters:
            if self._mode == "competing":
                self._asks = False
                await router.unregister(self._owner, (_TAKE,))
            self._letters.extend(await router.letters(self._owner.name))

    async def _check_that_it_stands(self) -> None:
        if (self._owner, self._interest) not in await self._access.opened().services.router.interests(self._address):
            raise UsageError(
                f"the subscription to {self._topic.words} was ended by unsubscribe(); open it again to "
                "receive what is published from then on"
            )

    def __repr__(self) -> str:
        return f"<{self._mode} subscription to {self._topic.kind} {self._topic.name}>"


async def end_subscription(access: Access, topic: core.Topic, name: str) -> None:
    """End the subscription of this name. Unacknowledged messages are dropped; if competing, others get them."""
    owner, router = _owner_of(topic, name), access.opened().services.router
    await router.unregister(owner, (interest_of_subscription(topic, "broadcast").interest_id, _TAKE))
    while letters := await router.letters(owner.name):
        await router.give_back(owner, [letter.letter_id for letter in letters])
    access.dispatch((address_of_all(topic),))


def _owner_of(topic: core.Topic, name: str) -> Owner:
    """The owner of a subscriber's interests in the store, which knows names and no topics."""
    check_id(name, "name of the subscriber")
    owner = prefix_of(topic) + name
    check_id(owner, f"names of the {topic.kind} and of its subscriber together")
    return Owner(owner, OUTSIDE)


async def _insist(write: Callable[[], Awaitable[None]]) -> None:
    """Write, and repeat the write during a short outage."""
    loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
    latest = loop.time() + _LONGEST_GOODBYE
    while True:
        try:
            return await write()
        except StorageUnavailableError:
            if loop.time() > latest:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
