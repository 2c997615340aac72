"""Derives an instance's interests from its open waits and its subscriptions.

Each append registers and drops the difference from what the database holds. So the log and the interests never
disagree, and a workflow that waits for the same type again and again writes nothing. A wait with a key has an interest
of its own, which the dispatch removes when it brings a message. The waits for a type without a key share one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from romancy.core import (
    MessageAwaited,
    MessageReceived,
    PlaceAsked,
    PlaceFreed,
    PlaceGranted,
    PlaceNotWanted,
    PlaceRefused,
    Subscribed,
    SubscriptionGranted,
    SubscriptionRefused,
    Unsubscribed,
    WaitCancelled,
    WaitTimedOut,
    may_be_refused,
)
from romancy.engine.messages import PlaceGiven, PlaceLost
from romancy.engine.places import NO_LANES, Asks, Lanes, asks_there, demand_of, lane_changed, place_of
from romancy.engine.topics import interest_of_subscription, interest_of_wait
from romancy.storage.routing import Interest, InterestKind, is_lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.core import Activation, LogEvent, Mode, Run, State, Topic
    from romancy.engine.inbox import Given

__all__ = ["NO_DIFFERENCE", "Difference", "Interests", "difference", "interests_of", "nothing_more"]


class Difference(NamedTuple):
    """What an append changes."""

    new: tuple[Interest, ...] = ()
    """The interests to register."""
    gone: tuple[str, ...] = ()
    """The ids of interests to drop."""
    lanes: Lanes = NO_LANES
    """The lanes at which it asks for places, or gives them back."""


NO_DIFFERENCE: Final = Difference()


class Interests:
    """The interests of one run: those that the database holds, and those that the run needs."""

    __slots__ = (
        "_joined",
        "_joining",
        "_lanes",
        "_left",
        "_needed",
        "_taken",
        "_touched",
        "_users",
        "_waits",
        "asked_to_the_end",
        "registered",
    )

    def __init__(self) -> None:
        self.registered: dict[str, Interest] = {}
        """The interests in the database, except those that a dispatch has removed since."""
        self.asked_to_the_end = False
        """Whether the instance ended during a wait. A dispatch may have taken a message for it that it never read."""
        self._needed: dict[str, Interest] = {}
        self._users: dict[str, int] = {}
        """How many waits and subscriptions need each interest."""
        self._waits: dict[str, str] = {}
        """The interest of each open wait."""
        self._joined: dict[Topic, str] = {}
        """The interests of subscriptions, also of those that are being registered."""
        self._joining: dict[str, Topic] = {}
        """The subscriptions that were asked for, by the ids of the requests."""
        self._left: dict[str, None] = {}
        """Interests that an append drops even if the run needs them again: they are registered anew after it."""
        self._touched: dict[str, None] = {}
        self._taken: dict[str, Interest] = {}
        """The places that the next append takes, whether the run has them behind it or not."""
        self._lanes: dict[str, Asks] = {}
        """The lanes at which something has changed since the last append, as in `Lanes`."""

    def answered(self, interest_id: str) -> None:
        """Record that a dispatch has found a message for this interest, and removed the interest."""
        self.registered.pop(interest_id, None)

    def follow(self, state: State, activation: Activation) -> Difference:
        """Update the interests for one activation of the run."""
        self._follow(activation)
        if state.abandoned:
            for wait_id in list(self._waits):
                self._stop(wait_id)
            for topic in list(self._joined):
                self._leave(self._joined.pop(topic))
        return self._difference()

    def _follow(self, activation: Activation) -> None:
        self._follow_events(activation.events)
        for effect in activation.effects:
            if isinstance(effect, MessageAwaited):
                self._wait(effect)
            elif isinstance(effect, Subscribed):
                self._subscribe(effect)
            elif isinstance(effect, Unsubscribed):
                self._unsubscribe(effect)
        for event in activation.events:
            if isinstance(event, (MessageReceived, WaitTimedOut, WaitCancelled)):
                self._stop(event.id)

    def _follow_events(self, events: Iterable[LogEvent]) -> None:
        for event in events:
            if isinstance(event, SubscriptionGranted):
                self._joining.pop(event.id, None)
            elif isinstance(event, SubscriptionRefused) and (topic := self._joining.pop(event.id, None)) is not None:
                self._leave(self._joined.pop(topic))  # before the effects: the run may have asked again
            elif isinstance(event, _OF_PLACES):
                self._follow_places(event)

    def _follow_places(self, event: _OfPlaces) -> None:
        if isinstance(event, PlaceAsked):
            self._use(demand_of(event))
        elif isinstance(event, PlaceGranted):
            self._needed[event.id] = place = place_of(self._needed[event.id])
            if event.id in self.registered:  # a dispatch has registered the place in the stead of the demand
                self.registered[event.id] = place
            else:
                self._taken[event.id] = place
        else:
            self._leave(event.id)

    def replaced_by(self, new: Interests, activation: Activation) -> Difference:
        """The difference when another run takes the place of this one, after what the activation gives up."""
        for effect in activation.effects:
            if isinstance(effect, Unsubscribed):
                self._unsubscribe(effect)
        new._left = self._left
        new._touched |= dict.fromkeys(self.registered)
        asked = {one: new._needed[one] for one in (new._joined[topic] for topic in new._joining.values())}
        new.registered = self.registered | asked
        return new._difference()

    def end(self, activation: Activation | None) -> Difference:
        """The difference that drops all interests."""
        if activation is not None:
            self._follow(activation)
        for one in self.registered.values():
            if one.kind is InterestKind.TAKE or is_lane(one.address):
                self.asked_to_the_end = True
        for one in self.registered.values():
            self._changes(one)
        gone, self.registered = tuple(self.registered | self._left | self._taken), {}
        return Difference(tuple(self._taken.values()), gone, self._changed_lanes())

    def _wait(self, wait: MessageAwaited) -> None:
        """Record that a wait has begun."""
        interest = interest_of_wait(wait)
        if interest is not None:
            self._waits[wait.id] = interest.interest_id
            self._use(interest)

    def _subscribe(self, asked: Subscribed) -> None:
        """Record a subscription. One that may be refused is registered after the append, and dropped by appends."""
        interest = self._join(asked.topic, asked.mode)
        if interest is not None and may_be_refused(asked.topic, asked.mode):
            self._joining[asked.id] = asked.topic
            self.registered[interest.interest_id] = interest

    def _join(self, topic: Topic, mode: Mode) -> Interest | None:
        """Record a subscription, and return its interest. None: a direct one needs none."""
        if mode == "direct":
            return None
        interest = interest_of_subscription(topic, mode)
        self._joined[topic] = interest.interest_id
        self._use(interest)
        return interest

    def _unsubscribe(self, left: Unsubscribed) -> None:
        interest_id = self._joined.pop(left.topic, None)
        if interest_id is not None:
            self._leave(interest_id)
        if may_be_refused(left.topic, left.mode):
            self._left[interest_of_subscription(left.topic, left.mode).interest_id] = None

    def _stop(self, wait_id: str) -> None:
        interest_id = self._waits.pop(wait_id, None)
        if interest_id is not None:
            self._leave(interest_id)

    def _changes(self, interest: Interest, *, new: bool = False) -> None:
        lane = lane_changed(interest)
        takes_place = new and interest.kind is InterestKind.MEMBER  # which brings nobody nearer to one
        if lane is not None and not takes_place:
            asks = asks_there(interest) if new else Asks.NOTHING
            self._lanes[lane] = max(self._lanes.get(lane, Asks.NOTHING), asks)

    def _changed_lanes(self) -> Lanes:
        if not self._lanes:
            return NO_LANES
        lanes, self._lanes = self._lanes, {}
        return lanes

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
        new: list[Interest] = []
        gone: list[str] = []
        for one in touched:
            wanted = needed.get(one)
            if wanted is None:
                if (left := registered.pop(one, None)) is not None:
                    gone.append(one)
                    self._changes(left)
            elif registered.get(one) != wanted:
                registered[one] = wanted
                new.append(wanted)
                self._changes(wanted, new=True)
        if self._left:
            gone += [one for one in self._left if one not in gone]
            self._left = {}
        if self._taken:
            over = [one for one in self._taken if one not in needed]
            new += [self._taken[one] for one in over]
            gone += over
            self._taken = {}
        return Difference(tuple(new), tuple(gone), self._changed_lanes())

    @classmethod
    def of(cls, state: State) -> Interests:
        """The interests of a replayed run: those that, by its log, the database holds."""
        interests = cls()
        for wait in state.waits.values():
            if ("waits", wait.id) not in state.remembered:
                interests._wait(wait)
        for topic, mode in state.subscriptions.items():
            interests._join(topic, mode)
        for asked in state.joining.values():
            interests._subscribe(asked)
        for wanted in state.places.values():
            interests._use(demand_of(wanted))
        for has in state.held.values():
            interests._use(place_of(demand_of(has)))
        interests.registered.update(interests._needed)
        return interests


_OfPlaces: TypeAlias = PlaceAsked | PlaceGranted | PlaceRefused | PlaceNotWanted | PlaceFreed
_OF_PLACES: Final = (PlaceAsked, PlaceGranted, PlaceRefused, PlaceNotWanted, PlaceFreed)
_OF_KEPT: Final = (PlaceGiven, PlaceLost)
"""Messages of which the interest is still registered: it is now a place."""
_LEAVING: Final = (Unsubscribed, PlaceNotWanted)
"""Effects that change interests although the state has none left."""


class Registers(Protocol):
    """What this module needs of a loaded instance."""

    interests: Interests | None
    run: Run

    def registers(self, interests: Interests, /) -> None:
        """Set the interests that the next appends update."""
        ...


def difference(live: Registers, activation: Activation, inputs: Sequence[Given], *, anew: bool) -> Difference:
    """The interests that the append of this activation registers and drops. `anew`: another run has begun."""
    state = live.run.state
    before = live.interests
    if before is None:
        if not (_wants(state) or any(isinstance(one, _LEAVING) for one in activation.effects)):
            return NO_DIFFERENCE
        before = Interests()
        live.registers(before)
    for _, mail in inputs:
        if mail is not None and mail.interest is not None and not isinstance(mail.message, _OF_KEPT):
            before.answered(mail.interest)
    if activation.outcome is not None:
        return before.end(activation)
    if anew:
        after = Interests.of(state)
        live.registers(after)
        return before.replaced_by(after, activation)
    return before.follow(state, activation)


def interests_of(state: State) -> Interests | None:
    """The interests of a replayed run; None if it has none."""
    return Interests.of(state) if _wants(state) else None


def _wants(state: State) -> bool:
    return bool(state.waits or state.subscriptions or state.joining or state.places or state.held)


def nothing_more(live: Registers) -> Difference:
    """The interests that the last append of an instance drops."""
    interests = live.interests or interests_of(live.run.state)
    return NO_DIFFERENCE if interests is None else interests.end(None)
