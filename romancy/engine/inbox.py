"""The inbox of a loaded instance: keeps its messages, and matches them with its open waits.

Both are indexed. After `match`, no kept message fits any wait, except those that are held in turn. Later calls
therefore look only at additions, so the cost of a commit depends on its changes, not on how much mail the instance
has. Only waits with conditions on the data (`where`) look at every kept message of their name, once.

A message that was sent to the instance fits waits for its name, with its key or without one. A message that was taken
for a wait fits waits with its key, and that wait first. A copy of a broadcast message fits waits without a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count, islice
from typing import TYPE_CHECKING, Final, TypeAlias

from romancy.core import NO_DICT, NULL, Message, Topic
from romancy.engine.messages import Mailed
from romancy.engine.topics import interest_id_of
from romancy.storage.limits import MAX_ID_BYTES
from romancy.storage.query import Searched, project

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from romancy.core import Input, MessageAwaited
    from romancy.storage.records import Append, InboxRow

__all__ = ["EMPTY_INBOX", "ConsumedMail", "Given", "Inbox", "Mail", "in_order_of_arrival"]

_Line: TypeAlias = "tuple[Topic, bool]"
"""Where waits stand and messages go: a topic, and whether it is for what a channel's sender sent to this instance.

Waits for events without a key stand in a line of their own.
"""
_FEW: Final = 16
_NONE: Final = frozenset[str]()
_SHORT: Final = MAX_ID_BYTES // 4
"""The id of a wait of at most so many characters is also the id of its interest."""
_SENDER: Final = 16
"""Characters at the end of a delivery id that name its sender."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A message read from the inbox. Its row stays there until an append consumes it."""

    delivery_id: str
    at: int
    message: Mailed
    number: int
    """The message's position among those read for this instance."""
    address: str | None = None
    """The address where it was posted. None: it was sent to this very instance."""
    interest: str | None = None
    """The interest for which it was taken. It must be given back if no append consumes it."""
    posted_at: int | None = None
    """When it was posted, if it was kept for long. Its receiver sees this time."""


Given: TypeAlias = "tuple[Input, Mail | None]"
"""An input and the message it was made from."""


class _Queue:
    """Numbered ids, the lowest first. Removed ids stay in the heap until they reach its top or make up most of it."""

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

    def all(self, numbers: Mapping[str, int]) -> list[tuple[int, str]]:
        """All ids that have not been removed, in any order. One that has come back may stand in the heap twice."""
        return list(dict.fromkeys(one for one in self._heap if numbers.get(one[1]) == one[0]))

    def take_out(self, numbers: Mapping[str, int]) -> None:
        """Account for one removed id."""
        self.left -= 1
        if len(self._heap) > 2 * self.left + _FEW:
            self._heap = [(number, id) for number, id in self._heap if numbers.get(id) == number]
            heapify(self._heap)


class _Queues:
    """Queues by line; an id may stand in several."""

    __slots__ = ("_of", "numbers")

    def __init__(self) -> None:
        self._of: dict[_Line, _Queue] = {}
        self.numbers: dict[str, int] = {}
        """The ids, and their numbers."""

    def put(self, number: int, id: str, lines: tuple[_Line, ...]) -> None:
        self.numbers[id] = number
        for line in lines:
            queue = self._of.get(line)
            if queue is None:
                queue = self._of[line] = _Queue()
            queue.put(number, id)

    def first(self, line: _Line) -> tuple[int, str] | None:
        queue = self._of.get(line)
        return None if queue is None else queue.first(self.numbers)

    def all(self, line: _Line) -> list[tuple[int, str]]:
        queue = self._of.get(line)
        return [] if queue is None else queue.all(self.numbers)

    def take_out(self, id: str, lines: tuple[_Line, ...]) -> None:
        del self.numbers[id]
        for line in lines:
            queue = self._of[line]
            queue.take_out(self.numbers)
            if not queue.left:
                del self._of[line]


class Inbox:
    """The kept mail and the waits of one instance."""

    __slots__ = (
        "_asked",
        "_begun",
        "_by_interest",
        "_by_line",
        "_choosy",
        "_in_turn",
        "_looking",
        "_mail",
        "_new",
        "_waiting",
        "_waits",
        "judged",
        "pressing",
        "put_off",
        "read",
        "taken",
    )

    def __init__(self) -> None:
        self._mail: dict[str, Mail] = {}
        self._waits: dict[str, MessageAwaited] = {}
        self._by_line = _Queues()
        """The kept messages of users, except the new ones."""
        self._waiting: dict[_Line, dict[str, int]] = {}
        """The waits without conditions, the oldest first."""
        self.pressing: dict[str, None] = {}
        """What is no message of a user; it needs no wait."""
        self._new: list[Mail] = []
        """What is kept since the last `match`. Most of it is received there, and never stands in a line."""
        self._asked: dict[_Line, None] = {}
        """Lines waited in since the last `match`."""
        self._choosy: dict[_Line, dict[str, int]] = {}
        """The waits that have conditions, the oldest first."""
        self._looking: dict[_Line, None] = {}
        """Lines in which such a wait stands since the last `match`."""
        self._by_interest: dict[str, str] = {}
        """The waits by their interests."""
        self.taken: dict[str, Mail] = {}
        """Kept messages that were taken for a wait. They must be given back if no append consumes them."""
        self._in_turn = 0
        """How many waits want their messages in turn with those of others."""
        self.judged = 0
        """Of how many waits the body is asked about a message before it is recorded."""
        self.put_off = False
        """Whether messages that fit a wait are kept until the run has acted on what was fed before."""
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
        """Keep a message for which no wait is known."""
        self.read = max(self.read, mail.number)
        self._mail[mail.delivery_id] = mail
        self._new.append(mail)
        if not isinstance(mail.message, Message):
            self.pressing[mail.delivery_id] = None
        if mail.interest is not None:
            self.taken[mail.delivery_id] = mail

    def _line_up(self, new: list[Mail]) -> None:
        """Put new messages of users into their lines, those that are still kept."""
        for mail in new:
            id, message = mail.delivery_id, mail.message
            if self._mail.get(id) is mail and isinstance(message, Message) and id not in self._by_line.numbers:
                self._by_line.put(mail.number, id, _lines(mail, message))

    def wait(self, wait: MessageAwaited) -> None:
        """Record that the run waits for an event; older waits come first."""
        line = _line(wait)
        self._begun += 1
        self._waits[wait.id] = wait
        self._in_turn += wait.in_turn
        self.judged += wait.judged
        if len(wait.id) > _SHORT:
            self._by_interest[interest_id_of(wait.id)] = wait.id
        if wait.where == NULL:
            self._waiting.setdefault(line, {})[wait.id] = self._begun
            self._asked[line] = None
        else:
            self._choosy.setdefault(line, {})[wait.id] = self._begun
            self._looking[line] = None

    def stop_waiting(self, wait_id: str) -> None:
        """Record that the run no longer waits for it."""
        wait = self._waits.pop(wait_id, None)
        if wait is None:
            return
        self._in_turn -= wait.in_turn
        self.judged -= wait.judged
        if len(wait_id) > _SHORT:
            self._by_interest.pop(interest_id_of(wait_id), None)
        line = _line(wait)
        standing = self._waiting if wait.where == NULL else self._choosy
        del standing[line][wait_id]
        if not standing[line]:
            del standing[line]
            if standing is self._waiting:
                self._asked.pop(line, None)

    def take_back(self, pairs: Sequence[tuple[Mail, MessageAwaited]]) -> None:
        """Keep messages that `match` has paired with waits, which stand before all others again."""
        for mail, wait in reversed(pairs):
            self.keep(mail)
            self.wait(wait)
            standing = (self._waiting if wait.where == NULL else self._choosy)[_line(wait)]
            begun = standing.pop(wait.id)
            first = next(iter(standing.values()), begun)
            others = dict(standing)
            standing.clear()
            standing |= {wait.id: min(begun, first - 1), **others}

    def stop_all(self) -> None:
        """Record that the run waits for nothing."""
        self._waits.clear()
        self._in_turn = self.judged = 0
        self._waiting.clear()
        self._asked.clear()
        self._choosy.clear()
        self._looking.clear()
        self._by_interest.clear()

    def clear(self) -> None:
        """Forget all kept messages."""
        self._mail.clear()
        if self._by_line.numbers:
            self._by_line = _Queues()
        self.pressing.clear()
        self._new.clear()
        self.taken.clear()

    def has_for(self, wait: MessageAwaited) -> bool:
        """Whether a kept message fits this wait."""
        self._line_up(self._new)
        line = _line(wait)
        if wait.where == NULL:
            return self._by_line.first(line) is not None
        where = bytes(wait.where)
        return any(_data(self._mail[delivery_id]).fits(where) for _, delivery_id in self._by_line.all(line))

    def strays(self) -> list[Mail]:
        """Remove and return the kept messages that were taken for a wait, and that no wait fits."""
        strays = [mail for mail in self.taken.values() if self._wait_for(mail) is None]
        for mail in strays:
            self._take_out(mail)
        return strays

    def copies_of(self, topic: Topic) -> tuple[str, ...]:
        """The delivery ids of the kept messages that were copied to a subscription to the topic."""
        self._line_up(self._new)
        ids = (id for _, id in self._by_line.all((topic, False)))
        return tuple(sorted(id for id in ids if id not in self.taken and self._mail[id].address is not None))

    def take_copies(self, topic: Topic) -> list[Mail]:
        """Remove and return the kept messages that were copied to a subscription to the topic."""
        copies = [self._mail[id] for id in self.copies_of(topic)]
        for mail in copies:
            self._take_out(mail)
        return copies

    def forget(self, delivery_ids: Iterable[str]) -> None:
        """Forget those of these messages that are kept: an append has removed them from the inbox."""
        for delivery_id in delivery_ids:
            if (mail := self._mail.get(delivery_id)) is not None:
                self._take_out(mail)

    def match(self) -> list[tuple[Mail, str]]:
        """Remove and return the messages that a wait fits or that need none, in the order of arrival.

        Each is paired with the oldest wait that it fits, and ends that wait. Whatever is no message
        of a user is returned with an empty wait id, and a place with the id of its demand.
        """
        new, self._new = self._new, []
        if len(new) == len(self._mail) == 1 and new[0].delivery_id in self._mail:
            self._asked.clear()
            self._looking.clear()
            found = self._give(new[0])
        elif self._in_turn:
            found = self._match_in_turn(new)
        else:
            found = self._match_all(new)
        if self._mail:
            self._line_up(new)
        return found

    def _match_all(self, new: list[Mail]) -> list[tuple[Mail, str]]:
        found: list[tuple[Mail, str]] = []
        ranks = count()
        looked: list[tuple[int, int, str, _Line | None]] = [
            (mail.number, next(ranks), mail.delivery_id, None) for mail in new
        ]
        looked += [(*first, line) for line in self._asked if (first := self._first(line, ranks))]
        for wanted in self._looking:
            looked += [(number, next(ranks), id, None) for number, id in self._by_line.all(wanted)]
        heapify(looked)
        self._asked.clear()
        self._looking.clear()
        while looked:
            _, _, delivery_id, line = heappop(looked)
            mail = self._mail.get(delivery_id)
            if mail is not None:
                found += self._give(mail)
            if line is not None and (first := self._first(line, ranks)):
                heappush(looked, (*first, line))
        return found

    def _match_in_turn(self, new: list[Mail]) -> list[tuple[Mail, str]]:
        """As `_match_all`, but stop before a message that another one precedes for which the run will wait again."""
        self._line_up(new)
        pressing = sorted((self._mail[id] for id in self.pressing), key=_number)
        found = [pair for mail in pressing for pair in self._give(mail)]
        chosen = self._chosen(new)
        self._asked.clear()
        self._looking.clear()
        held: list[_Line] = []
        while (number := self._next_fitting(chosen)) is not None:
            if any(ahead[0] < number[0] for line in held if (ahead := self._by_line.first(line)) is not None):
                self._look_again(chosen)
                break
            mail = self._mail[number[1]]
            wait = self._waits[self._wait_for(mail) or ""]
            found += self._give(mail)
            if wait.in_turn:
                held.append(_line(wait))
        return found

    def _look_again(self, chosen: list[tuple[int, str]]) -> None:
        """Let the next `match` look at what was held: the first messages of all lines, and those that are chosen."""
        self._asked.update(dict.fromkeys(self._waiting))
        self._new += [self._mail[id] for _, id in chosen if id in self._mail]

    def _chosen(self, new: list[Mail]) -> list[tuple[int, str]]:
        """The messages that meet the conditions of a wait, the first one first."""
        if not self._choosy:
            return []
        looked = [(mail.number, mail.delivery_id) for mail in new if isinstance(mail.message, Message)]
        for line in self._looking:
            looked += self._by_line.all(line)
        return sorted(one for one in set(looked) if self._still_fits(one[1]))

    def _next_fitting(self, chosen: list[tuple[int, str]]) -> tuple[int, str] | None:
        """The number and the id of the first message that fits a wait."""
        firsts = [first for line in self._waiting if (first := self._by_line.first(line)) is not None]
        firsts += islice((one for one in chosen if self._still_fits(one[1])), 1)
        return min(firsts, default=None)

    def _still_fits(self, delivery_id: str) -> bool:
        mail = self._mail.get(delivery_id)
        return mail is not None and self._wait_for(mail) is not None

    def _give(self, mail: Mail) -> list[tuple[Mail, str]]:
        """Give a message to the wait that it fits, and forget both. Nothing if it fits none."""
        wait_id = self._wait_for(mail)
        if wait_id is None:
            return []
        self._take_out(mail)
        self.stop_waiting(wait_id)
        return [(mail, wait_id)]

    def _first(self, line: _Line, ranks: Iterator[int]) -> tuple[int, int, str] | None:
        """The first message that fits the waits in a line, if there are any."""
        first = self._by_line.first(line)
        if first is None or line not in self._waiting:
            return None
        return first[0], next(ranks), first[1]

    def _wait_for(self, mail: Mail) -> str | None:
        """The oldest wait that this message ends; None if there is none, an empty id if the message needs none."""
        message = mail.message
        if not isinstance(message, Message):
            return mail.interest or ""  # a place is that of its interest
        lines = _lines(mail, message)
        if mail.interest is not None:
            own = self._waits.get(self._by_interest.get(mail.interest, mail.interest))
            if own is not None and _line(own) in lines:
                return own.id
        oldest: tuple[int, str] | None = None
        for line in lines:
            for wait_id, begun in self._waiting.get(line, NO_DICT).items():
                if oldest is None or begun < oldest[0]:
                    oldest = begun, wait_id
                break
        if self._choosy:
            for one in self._choosy_for(mail, lines):
                oldest = one if oldest is None else min(oldest, one)
        return None if oldest is None else oldest[1]

    def _choosy_for(self, mail: Mail, lines: tuple[_Line, ...]) -> Iterator[tuple[int, str]]:
        """For each line the oldest wait whose conditions the message meets."""
        data = _data(mail)
        for line in lines:
            for wait_id, begun in self._choosy.get(line, {}).items():
                if data.fits(bytes(self._waits[wait_id].where)):
                    yield begun, wait_id
                    break

    def _take_out(self, mail: Mail) -> None:
        del self._mail[mail.delivery_id]
        self.pressing.pop(mail.delivery_id, None)
        self.taken.pop(mail.delivery_id, None)
        if isinstance(mail.message, Message) and mail.delivery_id in self._by_line.numbers:
            self._by_line.take_out(mail.delivery_id, _lines(mail, mail.message))


def _number(mail: Mail) -> int:
    return mail.number


def _line(wait: MessageAwaited) -> _Line:
    """Where a wait stands."""
    return wait.topic, wait.mode == "direct"


def _lines(mail: Mail, message: Message) -> tuple[_Line, ...]:
    """The lines of the waits that a message fits.

    A message of a channel fits the waits on this channel: those for direct messages if it was sent to this instance,
    else the others. A request was sent to this instance, and so was an answer to a question. An event fits waits for
    its type without a key and with its key. One that was taken for a wait fits waits with its key, a copy fits waits
    without one.
    """
    topic = message.topic
    if topic.kind == "channel":
        return ((topic, mail.address is None),)
    if topic.kind in ("request", "question"):
        return ((topic, True),)
    if topic.key is None:
        return ((topic, False),)
    if mail.interest is not None:
        return ((topic, False),)
    anybody = (Topic(topic.name), False)
    return (anybody,) if mail.address is not None else (anybody, (topic, False))


def _data(mail: Mail) -> Searched:
    return Searched(project(bytes(getattr(mail.message, "data", b""))))


EMPTY_INBOX: Final = Inbox()
"""The read-only inbox of all instances that have no mail and wait for nothing."""


def in_order_of_arrival(rows: Sequence[InboxRow]) -> Sequence[InboxRow]:
    """Sort messages, which come sorted by delivery id, by arrival. One sender's ids overrule the clock."""
    if len(rows) < 2:  # noqa: PLR2004 - one is in order
        return rows
    latest: dict[str, int] = {}
    came: list[int] = []
    for row in rows:
        sender = row.delivery_id[-_SENDER:]
        latest[sender] = at = max(row.at, latest.get(sender, 0))
        came.append(at)
    return [rows[place] for place in sorted(range(len(rows)), key=came.__getitem__)]


class ConsumedMail:
    """Messages that appends have consumed since the last claim began.

    The store may have read the claim's answer before it wrote those appends. The answer then still holds the messages.
    """

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[str, set[str]] = {}

    def note(self, item: Append) -> None:
        """Remember the messages that an accepted append has consumed."""
        self._ids.setdefault(item.instance_id, set()).update(item.consumed)

    def of(self, instance_id: str) -> set[str] | frozenset[str]:
        """The delivery ids of the messages that this instance has consumed."""
        return self._ids.get(instance_id, _NONE)

    def forget(self) -> None:
        """A claim begins: messages consumed earlier cannot be in its answer."""
        self._ids.clear()
