"""What a workflow body can ask of messages: waits, subscriptions, the members of a channel, and sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.core.fold.answers import JoinAnswer, ListAnswer, WaitAnswer
from romancy.core.fold.memory import what_was_sent
from romancy.core.fold.message_rules import kept_id
from romancy.core.loop.deterministic_loop import FAR_FUTURE
from romancy.core.run.asking import Asking
from romancy.core.words import message_events as ms
from romancy.core.words.complaints import Complaint
from romancy.core.words.ids import derive
from romancy.core.words.messages import NULL, Inquiry, Message, Mode, Topic
from romancy.core.words.shared_empty import NO_DICT
from romancy.errors import ChannelModeConflictError, EventTimeoutError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec import Raw

    from romancy.serialization import ErrorInfo

__all__ = ["MessageCommands", "mode_conflict"]


class MessageCommands(Asking):
    """The requests of a run about messages."""

    __slots__ = ()

    # ── waits ───────────────────────────────────────────────────────────────────────────────────────────────────

    def wait(
        self,
        topic: Topic,
        mode: Mode,
        *,
        timeout: float | None = None,
        where: Raw = NULL,
        in_turn: bool = False,
        judge: Callable[[Message], ErrorInfo | None] | None = None,
    ) -> WaitAnswer:
        """Wait for a message. The future brings its `MessageReceived`, or raises EventTimeoutError."""
        self._require_open()
        due = None if timeout is None or timeout > FAR_FUTURE else self.due(self.loop.now + timeout)
        id = self._ids.number("wait", topic.name)
        answer = self._wait(ms.MessageAwaited(id, topic, mode, due, where, in_turn, judge is not None))
        if judge is not None:
            answer.judge = judge
        return answer

    def inquire(self, name: str, asks: Inquiry, *, timeout: float | None) -> WaitAnswer:
        """Wait for what people say to a question. Its secret is another one in each run, and nobody can guess it."""
        self._require_open()
        due = None if timeout is None or timeout > FAR_FUTURE else self.due(self.loop.now + timeout)
        id = self._ids.number("wait", name)
        secret = derive(self.instance_id, self.started.nonce, "question", id).hex()[:32]
        return self._wait(
            ms.MessageAwaited(id, Topic(name, secret, "question"), "direct", due, asks=replace(asks, due=due))
        )

    def inquire_on(self, waited: WaitAnswer) -> WaitAnswer:
        """Wait on for what people say to a question whose time is over: it may have been said before that."""
        self._require_open()
        asked = waited.awaited
        return self._wait(
            ms.MessageAwaited(self._ids.number("wait", asked.topic.name), asked.topic, "direct", asks=asked.asks)
        )

    def can_ask_for(self, where: bytes) -> bool:
        """Whether a wait can have these conditions: where data is hidden from the database, it cannot.

        In a replay: whether it had them.
        """
        return not self.hides if self.matcher is None else self.matcher.holds(where)

    def _wait(self, wait: ms.MessageAwaited) -> WaitAnswer:
        awaited = self.ask(wait)
        if self.waits is NO_DICT:
            self.waits = {}
        answer = self.waits[awaited.id] = WaitAnswer(loop=self.loop)
        answer.commands = self
        answer.id = awaited.id
        answer.awaited = awaited
        answer.put_off = self.state.put_off
        return answer

    def wait_on(
        self, waited: WaitAnswer, received: Message, misfit: str, asks: Inquiry | None = None
    ) -> WaitAnswer | None:
        """Put aside a message whose data does not fit, and wait for the next one until the same due time.

        Returns None in a replay of a history in which the message was not put aside: there, the workflow got the error.
        """
        if self.matcher is not None and not self.matcher.holds_put_aside(waited.id):
            return None
        self._require_open()
        asked = waited.awaited
        self.ask(ms.MessagePutAside(waited.id, received.topic, received.id, misfit))
        if self.matcher is None:
            which = f" (id {received.id!r})" if received.id else ""
            brief = f"{received.words}{which} does not fit and was put aside"
            self.loop.complaints += (Complaint(f"{brief}: {misfit}", brief),)
        due, later = asked.due, self.state.put_off - waited.put_off
        if due is not None and later:
            due += later
            asks = None if asks is None else replace(asks, due=due)
        return self._wait(replace(asked, id=self._ids.number("wait", asked.topic.name), due=due, asks=asks))

    def drop_wait(self, wait: WaitAnswer) -> None:
        """Wait no more, if no message has come."""
        if wait.id in self.state.waits:
            del self.waits[wait.id]
            self.ask(ms.WaitCancelled(wait.id))

    def refusal_of(self, wait_id: str, message: Message) -> ErrorInfo | None:
        """Why the body refuses a message that a wait fits. None: it takes it.

        Called between activations. Raises UsageError if the body does more than look.
        """
        answer = self.waits.get(wait_id)
        if answer is None or not answer.awaited.judged or not hasattr(answer, "judge"):
            return None
        before = self.loop.effects
        error = answer.judge(message)
        if self.loop.effects != before:
            raise UsageError(
                f"validate= of {message.words} asks for something or wakes a task: it is asked before the request is "
                "recorded, so it must only look at what the body knows"
            )
        return error

    def answer(
        self, request: Message, reply: Raw = NULL, error: ErrorInfo | None = None, *, refused: bool = False
    ) -> None:
        """Answer a request. Its sender finds the answer in the log."""
        if self.loop.dead or self.over:
            return  # the sender learns of the end
        name, again = request.topic.name, (request.topic.name, request.id) in self.state.requests
        self.ask(ms.RequestAnswered(request.id, name, reply, error, refused, again))

    def received(self, event: ms.MessageReceived) -> None:
        """Hand the message to the code that waits for it."""
        answer = self.waits.pop(event.id)
        if not answer.done():
            answer.set_result(event)

    def timed_out(self, event: ms.WaitTimedOut) -> None:
        """Tell the code that waits."""
        answer = self.waits.pop(event.id)
        if not answer.done():
            answer.set_exception(EventTimeoutError(f"no event came for {event.id} in time"))

    # ── subscriptions ───────────────────────────────────────────────────────────────────────────────────────────

    def mode_of(self, topic: Topic) -> Mode | None:
        """The mode in which the instance has subscribed to the topic. None: it has not."""
        return self.state.subscriptions.get(topic)

    def joining_of(self, topic: Topic) -> JoinAnswer | None:
        """The pending subscription to the topic: asked for, and neither granted nor refused."""
        return next((each for each in self.joining.values() if each.asked.topic == topic and not each.done()), None)

    def rejoin(self) -> None:
        """Make the answers to the subscriptions that a retry asks for when it begins."""
        self.joining = {asked.id: self._answer_to(asked) for asked in self.state.joining.values()}

    def rejoining_of(self, topic: Topic) -> JoinAnswer | None:
        """The answer to a subscription that a retry asked for when it began: pending, or refused."""
        return self.joining.get(kept_id(topic))

    def _forget_the_kept(self, topic: Topic) -> None:
        """Forget the refusal of a subscription that a retry asked for when it began."""
        if topic.kind == "channel":  # a type of events may have the same name
            self.joining.pop(kept_id(topic), None)

    def _answer_to(self, asked: ms.Subscribed) -> JoinAnswer:
        answer = JoinAnswer(loop=self.loop)
        answer.id, answer.asked = asked.id, asked
        return answer

    def subscribe(self, topic: Topic, mode: Mode) -> JoinAnswer | None:
        """Subscribe. None: it holds with this commit. Raises ChannelModeConflictError for another mode."""
        self._require_open()
        under_way = self.joining_of(topic)
        existing = under_way.asked.mode if under_way is not None else self.mode_of(topic)
        if existing is not None and existing != mode:
            raise mode_conflict(topic.name, existing, mode)
        if existing is not None:
            return under_way
        self._forget_the_kept(topic)
        asked = self.ask(ms.Subscribed(self._ids.number("subscription", topic.name), topic, mode))
        if asked.id not in self.state.joining:
            return None
        if self.joining is NO_DICT:
            self.joining = {}
        answer = self.joining[asked.id] = self._answer_to(asked)
        return answer

    def unsubscribe(self, topic: Topic) -> None:
        """Give the subscription up, if there is one. Waits on a channel end with UsageError."""
        self._require_open()
        mode = self.mode_of(topic)
        if mode is None:
            self._forget_the_kept(topic)
            return
        if topic.kind == "channel":
            self._end_waits(topic, mode)
        self.ask(ms.Unsubscribed(topic, mode))

    def _end_waits(self, topic: Topic, mode: Mode) -> None:
        for wait in [one for one in self.state.waits.values() if one.topic == topic and one.mode == mode]:
            answer = self.waits.pop(wait.id)
            self.ask(ms.WaitCancelled(wait.id))
            if not answer.done():
                answer.set_exception(UsageError(f"the subscription to {topic.words} was given up"))

    def granted(self, event: ms.SubscriptionGranted) -> None:
        """Tell the code that awaits the subscription."""
        answer = self.joining.pop(event.id)
        if not answer.done():
            answer.set_result(None)

    def refused(self, event: ms.SubscriptionRefused) -> None:
        """Tell the code that awaits the subscription.

        The code of a retry may ask later. The answer is kept until it subscribes or unsubscribes itself.
        """
        answer = self.joining[event.id]
        asked = answer.asked
        if event.id != kept_id(asked.topic):
            del self.joining[event.id]
        if not answer.done():
            answer.set_exception(mode_conflict(asked.topic.name, event.existing, asked.mode))
            answer.exception()  # asyncio complains of errors that nobody looks at

    def members(self, topic: Topic) -> ListAnswer:
        """Ask who has subscribed. The future brings `Listed` for each, in the order of subscribing."""
        self._require_open()
        asked = self.ask(ms.MembersAsked(self._ids.number("members", topic.name), topic))
        if self.listing is NO_DICT:
            self.listing = {}
        answer = self.listing[asked.id] = ListAnswer(loop=self.loop)
        answer.id, answer.topic = asked.id, topic
        return answer

    def listed(self, event: ms.MembersListed) -> None:
        """Hand the members to the code that awaits them."""
        answer = self.listing.pop(event.id)
        if answer.done():
            return
        if event.too_many:
            answer.set_exception(
                UsageError(
                    f"{answer.topic.words} has {event.too_many} members, too many for the log of a workflow; "
                    "ask for them in an activity, which keeps what it needs"
                )
            )
        else:
            answer.set_result(event.members)

    # ── sends ───────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, message: Message, to: str = "") -> str:
        """Send a message once this activation is durable, and return the id that its receivers see.

        Its `sender` is this instance. Without an id, it gets one.
        """
        self._require_open()
        number = self._ids.number("send", message.topic.name)
        chosen = bool(message.id)
        message_id = message.id or derive(self.instance_id, self.started.nonce, "send", number).hex()[:32]
        message = replace(message, id=message_id, sender=self.instance_id)
        former = None
        if self._remembers:
            former = self._memory.look("sends", message.topic.name, what_was_sent(message, to, chosen=chosen))
        if former is not None:
            message = former.asked.message
        return self.ask(ms.MessageSent(number, message, to, again=former is not None, chosen=chosen)).message.id


def mode_conflict(channel: str, existing: str, requested: str) -> ChannelModeConflictError:
    """The error for a subscription whose mode conflicts with that of the other subscribers."""
    return ChannelModeConflictError(
        f"channel {channel!r} has {existing} subscribers, so it accepts no {requested} subscriber; use the same "
        "mode or another channel, or end those subscriptions first (members() lists them, unsubscribe() ends one)",
        channel=channel,
        existing=existing,
        requested=requested,
    )
