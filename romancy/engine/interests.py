"""Derives an instance's interests from its open waits and its subscriptions.

Each append registers and drops the difference from what the database holds. So the log and the interests never
disagree, and a workflow that waits for the same type again and again writes nothing. A wait with a key has an interest
of its own, which the dispatch removes when it brings a message. The waits for a type without a key share one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from msgspec import Raw

from romancy.core import (
    NO_DICT,
    AwaitChannel,
    AwaitEvent,
    ChannelReceived,
    EventAwaited,
    EventReceived,
    EventTimedOut,
    EventWaitCancelled,
    LeaveChannel,
)
from romancy.engine.channels import subscription, taking
from romancy.storage.limits import MAX_ID_BYTES
from romancy.storage.routing import Interest, InterestKind, address_of_key, address_of_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.core import Activation, LogEvent, Mode, State
    from romancy.engine.instance import Live
    from romancy.engine.pending_append import Given

__all__ = [
    "NOTHING",
    "NO_DIFFERENCE",
    "Difference",
    "Interests",
    "difference",
    "interest_id_of",
    "interests_of",
    "nothing_more",
    "of_types",
    "subscribes",
]

Difference = tuple[tuple[Interest, ...], tuple[str, ...]]
"""The interests to register, and the ids of interests to drop."""

NOTHING: Final = Raw(b"null")
"""No conditions."""
NO_DIFFERENCE: Final[Difference] = ((), ())


def interest_id_of(wait_id: str) -> str:
    """The id of a wait's own interest: the id of the wait, if a row can hold it."""
    if len(wait_id) * 4 <= MAX_ID_BYTES or len(wait_id.encode()) <= MAX_ID_BYTES:
        return wait_id
    return hashlib.sha256(wait_id.encode()).hexdigest()


class Interests:
    """The interests of one run: those that the database holds, and those that the run needs."""

    __slots__ = (
        "_joined",
        "_left",
        "_needed",
        "_touched",
        "_users",
        "_waits",
        "asked_to_the_end",
        "registered",
        "subscriptions",
    )

    def __init__(self) -> None:
        self.registered: dict[str, Interest] = {}
        """The interests in the database, except those that a dispatch has removed since."""
        self.subscriptions: dict[str, None] = NO_DICT
        """The subscriptions to types of events as the last append that was followed has left them."""
        self.asked_to_the_end = False
        """Whether the instance ended during a wait. A dispatch may have taken a message for it that it never read."""
        self._needed: dict[str, Interest] = {}
        self._users: dict[str, int] = {}
        """How many waits and subscriptions need each interest."""
        self._waits: dict[str, str] = {}
        """The interest of each open wait."""
        self._joined: dict[str, Interest] = {}
        """The subscriptions to channels that are registered, or are being registered."""
        self._left: dict[str, None] = {}
        """Subscriptions that the run gave up in this activation. It may subscribe to the same channels at once."""
        self._touched: dict[str, None] = {}

    def answered(self, interest_id: str) -> None:
        """Record that a dispatch has found a message for this interest, and removed the interest."""
        self.registered.pop(interest_id, None)

    def follow(self, state: State, activation: Activation) -> Difference:
        """Update the interests for one activation of the run."""
        for effect in activation.effects:
            if isinstance(effect, AwaitEvent):
                self.open(effect.wait_id, effect.name, effect.key, effect.where)
            elif isinstance(effect, AwaitChannel):
                self._take_from(effect.wait_id, effect.channel, effect.mode)
        self._close(activation.events)
        if state.abandoned:
            for wait_id in list(self._waits):
                self._stop(wait_id)
        if state.subscriptions is not self.subscriptions:
            self._subscribe(state.subscriptions)
        self._join(state)
        return self._difference()

    def replaced_by(self, new: Interests) -> Difference:
        """The difference when another run takes the place of this one."""
        new._left = self._left
        new._touched |= dict.fromkeys(self.registered)
        asked = {one.interest_id: one for one in new._joined.values()}
        new.registered = self.registered | asked
        return new._difference()

    def give_up(self, left: Iterable[LeaveChannel]) -> None:
        """Remove the subscriptions that an activation gives up, before the rest of the activation is followed."""
        for effect in left:
            interest_id = subscription(effect.channel, effect.mode).interest_id
            if self._joined.pop(effect.channel, None) is not None:
                self._leave(interest_id)
            self._left[interest_id] = None

    def end(self, state: State) -> Difference:
        """The difference that drops all interests."""
        self._join(state)
        self.asked_to_the_end = any(one.kind is InterestKind.TAKE for one in self.registered.values())
        gone, self.registered = tuple(self.registered | self._left), {}
        return (), gone

    def open(self, wait_id: str, name: str, key: str | None, where: Raw) -> Interest:
        """Record that a wait has begun, and return the interest that it needs."""
        conditions = None if where == NOTHING else bytes(where)
        if key is None and conditions is None:
            interest = _of_type(name)
        else:
            interest = Interest(
                interest_id=interest_id_of(wait_id),
                address=address_of_type(name) if key is None else address_of_key(name, key),
                kind=InterestKind.COPY if key is None else InterestKind.TAKE,
                where=conditions,
            )
        self._waits[wait_id] = interest.interest_id
        self._use(interest)
        return interest

    def _subscribe(self, names: dict[str, None]) -> None:
        before, self.subscriptions = self.subscriptions, names
        for name in names:
            if name not in before:
                self._use(_of_type(name))
        for name in before:
            if name not in names:
                self._leave(_of_type(name).interest_id)

    def _take_from(self, wait_id: str, channel: str, mode: Mode) -> Interest | None:
        """Record a new wait for a message of a channel. Only a competing one has an interest of its own."""
        if mode != "competing":
            return None
        interest = taking(channel, interest_id_of(wait_id))
        self._waits[wait_id] = interest.interest_id
        self._use(interest)
        return interest

    def _join(self, state: State) -> None:
        """Record the subscriptions to channels. They are registered outside of appends, and dropped by appends."""
        if not (state.channels or state.joining or self._joined):
            return
        modes = {asked.channel: asked.mode for asked in state.joining.values()} | state.channels
        wanted = {name: subscription(name, mode) for name, mode in modes.items() if mode != "direct"}
        for name, interest in wanted.items():
            if name not in self._joined:
                self._use(interest)
                self.registered[interest.interest_id] = interest
        for name, interest in self._joined.items():
            if name not in wanted:
                self._leave(interest.interest_id)
        self._joined = wanted

    def _close(self, events: Iterable[LogEvent]) -> None:
        for event in events:
            if isinstance(event, (EventReceived, ChannelReceived, EventTimedOut, EventWaitCancelled)):
                self._stop(event.id)

    def _stop(self, wait_id: str) -> None:
        interest_id = self._waits.pop(wait_id, None)
        if interest_id is not None:
            self._leave(interest_id)

    def _use(self, interest: Interest) -> None:
        interest_id = interest.interest_id
        self._needed[interest_id] = interest
        self._users[interest_id] = self._users.get(interest_id, 0) + 1
        self._touched[interest_id] = None

    def _leave(self, interest_id: str) -> None:
        left = self._users[interest_id] - 1
        self._users[interest_id] = left
        if not left:
            del self._users[interest_id], self._needed[interest_id]
        self._touched[interest_id] = None

    def _difference(self) -> Difference:
        touched, self._touched = self._touched, {}
        needed, registered = self._needed, self.registered
        new = tuple(needed[one] for one in touched if one in needed and registered.get(one) != needed[one])
        gone = [one for one in touched if one not in needed and one in registered]
        registered.update((interest.interest_id, interest) for interest in new)
        for one in gone:
            del registered[one]
        if self._left:
            gone += [one for one in self._left if one not in gone]
            self._left = {}
        return new, tuple(gone)

    @classmethod
    def of(cls, state: State) -> Interests:
        """The interests of a replayed run: those that, by its log, the database holds."""
        interests = cls()
        for wait in state.waits.values():
            if ("waits", wait.id) in state.remembered:
                continue
            if isinstance(wait, EventAwaited):
                interest: Interest | None = interests.open(wait.id, wait.name, wait.key, wait.where)
                stands = wait.routed
            else:
                interest, stands = interests._take_from(wait.id, wait.channel, wait.mode), True
            if interest is not None and stands:
                interests.registered[interest.interest_id] = interest
        interests._subscribe(state.subscriptions)
        interests.registered.update((one.interest_id, one) for one in map(_of_type, state.subscriptions))
        interests._join(state)
        return interests


def difference(live: Live, activation: Activation, inputs: Sequence[Given], *, anew: bool) -> Difference:
    """The interests that the append of this activation registers and drops. `anew`: another run has begun."""
    state = live.run.state
    before = live.interests
    left = [one for one in activation.effects if isinstance(one, LeaveChannel) and one.mode != "direct"]
    if before is None:
        if not (left or _wants(state)):
            return NO_DIFFERENCE
        before = Interests()
        live.registers(before)
    before.give_up(left)
    for _, mail in inputs:
        if mail is not None and mail.interest is not None:
            before.answered(mail.interest)
    if activation.outcome is not None:
        return before.end(state)
    if anew:
        after = Interests.of(state)
        live.registers(after)
        return before.replaced_by(after)
    return before.follow(state, activation)


def interests_of(state: State) -> Interests | None:
    """The interests of a replayed run; None if it has none."""
    return Interests.of(state) if _wants(state) else None


def _wants(state: State) -> bool:
    return bool(state.waits or state.subscriptions or state.channels or state.joining)


def nothing_more(live: Live) -> Difference:
    """The interests that the last append of an instance drops."""
    interests = live.interests or interests_of(live.run.state)
    return NO_DIFFERENCE if interests is None else interests.end(live.run.state)


def subscribes(live: Live) -> bool:
    """Whether the run has subscribed to a type of events, or unsubscribed, since its last append was prepared."""
    known = live.interests
    return live.run.state.subscriptions is not (NO_DICT if known is None else known.subscriptions)


def of_types(names: Iterable[str]) -> tuple[Interest, ...]:
    """The interests of subscriptions to types of events."""
    return tuple(map(_of_type, names))


def _of_type(name: str) -> Interest:
    """The interest that all waits for a type without a key, and a subscription to it, share."""
    interest_id = interest_id_of(f"{name}/*")
    return Interest(interest_id=interest_id, address=address_of_type(name), kind=InterestKind.COPY)
