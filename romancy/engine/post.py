"""Messages that nothing waits for yet, and waits that no message has ended, indexed so that each finds the other.

After `match`, no kept message fits any wait. Later calls therefore look only at what was added since, and the cost of a
commit depends on what it changed, not on how much mail the instance has.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias

from romancy.engine.messages import Message, Signal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from romancy.core import AwaitEvent


__all__ = ["NO_POST", "Mail", "Post"]

_Channel: TypeAlias = "tuple[str, str | None]"
"""The name of an event and a key; None matches any key."""
_FEW: Final = 16


@dataclass(frozen=True, slots=True)
class Mail:
    """A message read from the inbox. Its row stays there until an append consumes it."""

    delivery_id: str
    at: int
    message: Message
    number: int
    """Its position among the messages read for this instance."""


class _Queue:
    """Numbered ids, the lowest first. Removed ids stay in the heap until they come up or make up most of it."""

    __slots__ = ("_heap", "left")

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self.left = 0
        """How many ids have not been removed."""

    def put(self, number: int, id: str) -> None:
        heappush(self._heap, (number, id))
        self.left += 1

    def first(self, numbers: Mapping[str, int]) -> tuple[int, str] | None:
        """The first id whose number is still valid."""
        heap = self._heap
        while heap and numbers.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0] if heap else None

    def take_out(self, numbers: Mapping[str, int]) -> None:
        """Account for one removed id."""
        self.left -= 1
        if len(self._heap) > 2 * self.left + _FEW:
            self._heap = [(number, id) for number, id in self._heap if numbers.get(id) == number]
            heapify(self._heap)


class _Queues:
    """Queues by channel; an id may stand in several."""

    __slots__ = ("_numbers", "_of")

    def __init__(self) -> None:
        self._of: dict[_Channel, _Queue] = {}
        self._numbers: dict[str, int] = {}

    def put(self, number: int, id: str, channels: tuple[_Channel, ...]) -> None:
        self._numbers[id] = number
        for channel in channels:
            queue = self._of.get(channel)
            if queue is None:
                queue = self._of[channel] = _Queue()
            queue.put(number, id)

    def first(self, channel: _Channel) -> tuple[int, str] | None:
        queue = self._of.get(channel)
        return None if queue is None else queue.first(self._numbers)

    def take_out(self, id: str, channels: tuple[_Channel, ...]) -> None:
        del self._numbers[id]
        for channel in channels:
            queue = self._of[channel]
            queue.take_out(self._numbers)
            if not queue.left:
                del self._of[channel]


class Post:
    """The kept mail and the waits of one instance."""

    __slots__ = ("_asked", "_begun", "_by_channel", "_mail", "_new", "_pressing", "_waiting", "_waits", "read")

    def __init__(self) -> None:
        self._mail: dict[str, Mail] = {}
        self._waits: dict[str, AwaitEvent] = {}
        self._by_channel = _Queues()
        self._waiting = _Queues()
        self._pressing: dict[str, None] = {}
        """Messages that are not signals; they need no wait."""
        self._new: list[Mail] = []
        """Messages kept since the last `match`."""
        self._asked: dict[_Channel, None] = {}
        """Channels waited for since the last `match`."""
        self._begun = 0
        self.read = 0
        """The number of the last message read."""

    def __len__(self) -> int:
        return len(self._mail)

    def __contains__(self, delivery_id: str) -> bool:
        return delivery_id in self._mail

    def mail(self) -> list[Mail]:
        """The kept messages."""
        return list(self._mail.values())

    def keep(self, mail: Mail) -> None:
        """Keep a message that nothing is known to wait for."""
        self.read = max(self.read, mail.number)
        self._mail[mail.delivery_id] = mail
        self._new.append(mail)
        if isinstance(mail.message, Signal):
            self._by_channel.put(mail.number, mail.delivery_id, _channels(mail.message))
        else:
            self._pressing[mail.delivery_id] = None

    def wait(self, wait: AwaitEvent) -> None:
        """Record that the run waits for an event; older waits come first."""
        channel = (wait.name, wait.key)
        self._begun += 1
        self._waits[wait.wait_id] = wait
        self._waiting.put(self._begun, wait.wait_id, (channel,))
        self._asked[channel] = None

    def stop_waiting(self, wait_id: str) -> None:
        """Record that the run no longer waits for it."""
        wait = self._waits.pop(wait_id, None)
        if wait is not None:
            channel = (wait.name, wait.key)
            self._waiting.take_out(wait_id, (channel,))
            if self._waiting.first(channel) is None:
                self._asked.pop(channel, None)

    def stop_all(self) -> None:
        """Record that the run waits for nothing."""
        self._waits.clear()
        self._waiting = _Queues()
        self._asked.clear()

    def clear(self) -> None:
        """Forget all kept messages."""
        self._mail.clear()
        self._by_channel = _Queues()
        self._pressing.clear()
        self._new.clear()

    def has_for(self, wait: AwaitEvent) -> bool:
        """Whether a kept message fits this wait."""
        return self._by_channel.first((wait.name, wait.key)) is not None

    @property
    def is_pressing(self) -> bool:
        """Whether a kept message needs no wait."""
        return bool(self._pressing)

    def match(self) -> list[tuple[Mail, str]]:
        """Remove and return the messages that something waits for, in the order of arrival.

        Each comes with the oldest wait that it fits, and ends that wait. A message that is not a signal is returned
        with an empty wait id.
        """
        found: list[tuple[Mail, str]] = []
        ranks = count()
        looked: list[tuple[int, int, str, _Channel | None]] = [
            (mail.number, next(ranks), mail.delivery_id, None) for mail in self._new
        ]
        looked += [(*first, channel) for channel in self._asked if (first := self._first(channel, ranks))]
        heapify(looked)
        self._new.clear()
        self._asked.clear()
        while looked:
            _, _, delivery_id, channel = heappop(looked)
            mail = self._mail.get(delivery_id)
            wait_id = None if mail is None else self._wait_for(mail.message)
            if mail is not None and wait_id is not None:
                self._take_out(mail)
                self.stop_waiting(wait_id)
                found.append((mail, wait_id))
            if channel is not None and (first := self._first(channel, ranks)):
                heappush(looked, (*first, channel))
        return found

    def _first(self, channel: _Channel, ranks: Iterator[int]) -> tuple[int, int, str] | None:
        """The first message that fits the waits of a channel, if the channel has waits."""
        first = self._by_channel.first(channel)
        if first is None or self._waiting.first(channel) is None:
            return None
        return first[0], next(ranks), first[1]

    def _wait_for(self, message: Message) -> str | None:
        """The oldest wait that this message ends; None if there is none, an empty id if the message needs none."""
        if not isinstance(message, Signal):
            return ""
        waits = [wait for channel in _channels(message) if (wait := self._waiting.first(channel))]
        return min(waits)[1] if waits else None

    def _take_out(self, mail: Mail) -> None:
        del self._mail[mail.delivery_id]
        self._pressing.pop(mail.delivery_id, None)
        if isinstance(mail.message, Signal):
            self._by_channel.take_out(mail.delivery_id, _channels(mail.message))


def _channels(signal: Signal) -> tuple[_Channel, ...]:
    """The channels of the waits that the signal fits: its name with any key, and its name with its key."""
    anybody = (signal.name, None)
    return (anybody,) if signal.key is None else (anybody, (signal.name, signal.key))


NO_POST: Final = Post()
"""The read-only post of all instances that have no mail and wait for nothing."""
