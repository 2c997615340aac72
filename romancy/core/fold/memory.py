"""The memory of a retry: what stands of the runs before it, and how a request of the body finds its former answer.

A call matches the first call of a former run that has the same kind, name and arguments and that was not asked for yet.
The position in the former log does not matter. The result depends only on the former commits and on the requests since,
so a replay finds the same.
"""

from __future__ import annotations

import hashlib
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from romancy.core.words import events as ev
from romancy.core.words import message_events as ms
from romancy.core.words.messages import NULL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from romancy.core.words.definitions import ActivityDefinition, CalledWorkflow
    from romancy.core.words.messages import Message

__all__ = ["Kind", "Memory", "Remembered", "what_is_awaited", "what_of", "what_was_sent", "without_number"]

Kind: TypeAlias = Literal["activities", "children", "timers", "waits", "messages", "sends", "writes"]

_DIGEST_FROM: Final = 64
_MOST_OLDER: Final = 100
"""How many calls of one name by other versions are compared before a call counts as new."""
_NEW: Final = 1 << 62


class Remembered(Struct, eq=False, kw_only=True):
    """One request of a former run, and its outcome."""

    kind: Kind
    id: str
    """The id that it had in that run, and the number of the run: `charge:1@1`."""
    name: str
    what: bytes
    """What else must be equal: arguments, a chosen id, a delay."""
    key: str = ""
    """For an activity its idempotency key, for a child its instance id."""
    asked: Any = None
    """The command that asked for it."""
    answer: ev.Input | None = None
    """How it completed, if it did, or the failure for which it got its default."""
    default: Raw | None = None
    """What it got instead of that failure."""
    position: int = _NEW
    """Its position in the order of completion."""
    undone: bool = False
    """Whether its effect was undone: it is done again as if for the first time."""
    unsure: bool = False
    """Whether its compensation failed for good, or was cut off."""
    owed: bool = False
    """Whether its effect is to be undone if the run fails, even if the run does not ask for it."""
    registered: bool = False
    """Whether an undo that the body registered was tried. A retry registers its own undos."""
    declared: bool = False
    """Whether a person has said that its effect stands, although it has no result."""
    undo_key: str = ""
    """The idempotency key of the compensation that was tried."""
    given: bool = False
    """Whether the run has asked for it."""
    place: int = 0

    @property
    def stands(self) -> bool:
        """Whether it has an answer, and was not undone."""
        return self.answer is not None and not self.undone


def _canonical(raw: Raw) -> bytes:
    """Bytes that are equal for equal JSON, whatever the order of its keys."""
    plain = msgspec.json.encode(msgspec.json.decode(raw), order="sorted")
    return plain if len(plain) < _DIGEST_FROM else hashlib.sha256(plain).digest()


def without_number(name: str, id: str) -> str:
    """The id of an activity if the user chose it; empty if it was counted."""
    head, _, number = id.rpartition(":")
    return "" if head == name and number.isascii() and number.isdigit() else id


def what_of(raw: Raw, *more: object) -> bytes:
    """What identifies a call, besides its kind and name."""
    return repr(more).encode() + b"\0" + _canonical(raw)


def what_was_sent(message: Message, to: str, *, chosen: bool) -> bytes:
    """What identifies a message that was sent, besides the name of its topic. Headers are no part of it.

    With a `chosen` id, messages of other ids or sources are other messages, whatever their data.
    """
    topic = message.topic
    beside = b"" if message.beside == NULL else _canonical(message.beside)
    own = (message.source, message.id) if chosen else ()
    return what_of(message.data, topic.kind, topic.key, to, message.subject, beside, *own)


def what_is_awaited(wait: ms.MessageAwaited) -> bytes:
    """What identifies a wait, besides the name of its topic, whatever the mode of a subscription."""
    if wait.asks is not None:
        return what_of(wait.asks.schema, wait.asks.question, wait.asks.to)
    own = (wait.topic.kind, wait.topic.key, wait.mode == "direct", bytes(wait.where))
    return repr(own).encode("utf-8", "surrogatepass")


class Memory:
    """What former runs left behind, in the order in which they asked for it."""

    __slots__ = ("_by_id", "_by_key", "_groups", "_names", "_next", "_order", "given", "items", "to_answer")

    def __init__(self, items: Iterable[Remembered] = ()) -> None:
        self.items = list(items)
        self.given: dict[tuple[Kind, str], Remembered] = {}
        """What the run has asked for, by its own ids."""
        self.to_answer: dict[tuple[Kind, str], Remembered] = {}
        """Those of them that are to be answered from the memory and were not answered yet."""
        self._order: list[tuple[int, Kind, str]] = []
        """A heap of these, ordered by completion. Requests that were given up stay until they reach the top."""
        self._groups: dict[tuple[Kind, str, bytes], list[Remembered]] = {}
        self._names: dict[tuple[Kind, str], list[tuple[Kind, str, bytes]]] = {}
        self._next: dict[tuple[Kind, str, bytes], int] = {}
        self._by_key: dict[tuple[Kind, str], Remembered] = {}
        self._by_id: dict[tuple[Kind, str], Remembered] = {}
        for item in self.items:
            item.given = False
            group = (item.kind, item.name, item.what)
            members = self._groups.get(group)
            if members is None:
                members = self._groups[group] = []
                self._names.setdefault((item.kind, item.name), []).append(group)
            item.place = len(members)
            members.append(item)
            self._by_id[item.kind, item.id] = item
            if item.key and not item.undone:
                self._by_key[item.kind, item.key] = item

    # ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────

    def look(self, kind: Kind, name: str, what: bytes) -> Remembered | None:
        """The first matching item that was not asked for yet."""
        group = (kind, name, what)
        members = self._groups.get(group, ())
        place = self._next.get(group, 0)
        while place < len(members) and members[place].given:
            place += 1
        if place:
            self._next[group] = place
        return members[place] if place < len(members) else None

    def call(
        self, kind: Kind, name: str, raw: Raw, *more: object, of: ActivityDefinition | CalledWorkflow
    ) -> Remembered | None:
        """The same call of a former run. A call of an older version is the same if today's defaults fill its gaps."""
        what = what_of(raw, *more)
        found = self.look(kind, name, what)
        if found is not None or (kind, name, what) in self._groups:
            return found
        before = what[: what.index(b"\0") + 1]
        for group in self._names.get((kind, name), ())[:_MOST_OLDER]:
            older = self.look(*group) if group[2].startswith(before) else None
            if older is not None and of.is_same_call(_payload(older.asked), raw):
                return older
        return None

    def message(self, wait: ms.MessageAwaited) -> Remembered | None:
        """The message of the same wait or, if there is none, the first undelivered one that the wait would get.

        So a wait without a key leaves to a wait with one what that had got.
        """
        same = self.look("waits", wait.topic.name, what_is_awaited(wait))
        if same is not None:
            return same
        found = [self.look(*group) for group in self._names.get(("waits", wait.topic.name), ())]
        fitting = [one for one in found if one is not None and _would_get(wait, one.asked)]
        return min(fitting, key=lambda one: one.position, default=None)

    # ── taking ──────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, command: Any, found: Remembered | None) -> Remembered | None:
        """Record that the run has asked for it, by this command."""
        if found is not None:
            found.given = True
            asked: tuple[Kind, str] = (found.kind, command.id)
            self.given[asked] = found
            if found.stands:
                self.to_answer[asked] = found
                heappush(self._order, (found.position, found.kind, command.id))
        return found

    def by_key(self, kind: Kind, key: str) -> Remembered | None:
        """The item that has this key."""
        return self._by_key.get((kind, key))

    def by_id(self, kind: Kind, id: str) -> Remembered | None:
        """The item that a former run had under this id."""
        return self._by_id.get((kind, id))

    def give_back(self, kind: Kind, id: str) -> None:
        """Release the item that the run asked for under this id and gave up before the answer."""
        self.to_answer.pop((kind, id), None)
        item = self.given.pop((kind, id), None)
        if item is not None:
            item.given = False
            group = (kind, item.name, item.what)
            self._next[group] = min(self._next.get(group, 0), item.place)

    def of_another(self) -> None:
        """The runs were those of an instance from which this one was forked: what had no answer is not this one's."""
        for item in self.left():
            if item.kind in ("activities", "children") and item.answer is None and not item.declared:
                item.undone = True

    def forget(self) -> set[str]:
        """The instance was rewound: what the run had not asked for by then is not remembered any more. Their ids."""
        forgotten = list(self.left())
        for item in forgotten:
            item.given = True
        return {item.id for item in forgotten}

    def was_undone(self, activity_id: str) -> None:
        """Record that an activity of a former run was undone."""
        owed = self.by_id("activities", activity_id)
        if owed is not None:
            owed.undone = True

    # ── answering ───────────────────────────────────────────────────────────────────────────────────────────────

    def next_answer(self, at: int) -> ev.Input | None:
        """The answer to a pending request that came first in the former run.

        It stays the next until it is applied.
        """
        while self._order:
            _, kind, id = self._order[0]
            former = self.to_answer.get((kind, id))
            if former is not None and former.answer is not None:
                return _again(former.answer, id, at)
            heappop(self._order)
        return None

    def unclaimed(self) -> tuple[str, ...]:
        """The activities and children that stand and that the run has not asked for, for people to read."""
        standing = (item for item in self.left() if (item.stands and item.default is None) or item.declared)
        return tuple(item.id for item in standing if item.kind in ("activities", "children"))

    def standing_without_result(self) -> tuple[str, ...]:
        """The activities that the run has not asked for, and whose effects stand as a person has said."""
        return tuple(item.id for item in self.left() if item.declared)

    def left(self) -> Iterator[Remembered]:
        """The items that the run has not asked for."""
        return (item for item in self.items if not item.given)


def _again(answer: ev.Input, id: str, at: int) -> ev.Input:
    """The answer that a former run got, adapted to this run."""
    if isinstance(answer, ms.MessageReceived):
        message = answer.message
        if message.time is None:
            message = replace(message, time=answer.at)
        return ms.MessageReceived(at, id, message)
    if isinstance(answer, ev.TimerFired):
        return ev.TimerFired(at, id, again=True)
    return replace(answer, at=at, id=id)


def _would_get(wait: ms.MessageAwaited, former: ms.MessageAwaited) -> bool:
    """Whether a wait gets what a wait of a former run got, which had the same name."""
    topic, before = wait.topic, former.topic
    if topic.kind != before.kind or (wait.mode == "direct") != (former.mode == "direct"):
        return False
    if wait.where not in (NULL, former.where):
        return False  # whether its data meet other conditions, nobody can say here
    return topic.key is None or topic.key == before.key


def _payload(command: Any) -> Raw:
    """The arguments or the input of a call."""
    return command.args if hasattr(command, "args") else command.input  # type: ignore[no-any-return]
