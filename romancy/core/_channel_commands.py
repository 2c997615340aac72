"""What a workflow body can ask of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.core import _channel_events as ch
from romancy.core import _events as ev
from romancy.core._answers import JoinAnswer, ListAnswer
from romancy.core._asking import Asking
from romancy.core._channels import kept_id
from romancy.core._ids import derive
from romancy.core._loop import FAR_FUTURE
from romancy.core._memory import what_went_out
from romancy.core._shared_empty import NO_DICT
from romancy.errors import ChannelModeConflictError, UsageError

if TYPE_CHECKING:
    from msgspec import Raw

    from romancy.core._answers import WaitAnswer

__all__ = ["ChannelCommands", "mode_conflict"]


class ChannelCommands(Asking):
    """The requests of a run about channels."""

    __slots__ = ()

    def mode_of_channel(self, channel: str) -> ch.Mode | None:
        """The mode in which the instance has subscribed to the channel. None: it has not."""
        return self.state.channels.get(channel)

    def joining_of(self, channel: str) -> JoinAnswer | None:
        """The pending subscription to the channel: asked for, and neither granted nor refused."""
        return next((each for each in self.joining.values() if each.asked.channel == channel and not each.done()), None)

    def rejoin(self) -> None:
        """Make the answers to the subscriptions that a retry asks for when it begins."""
        if self.state.joining:
            self.joining = {asked.id: self._answer_to(asked) for asked in self.state.joining.values()}

    def rejoining_of(self, channel: str) -> JoinAnswer | None:
        """The answer to a subscription that a retry asked for when it began: pending, or refused."""
        return self.joining.get(kept_id(channel))

    def _answer_to(self, asked: ch.ChannelAsked) -> JoinAnswer:
        answer = JoinAnswer(loop=self.loop)
        answer.commands, answer.id, answer.asked = self, asked.id, asked
        return answer

    def join_channel(self, channel: str, mode: ch.Mode) -> JoinAnswer | None:
        """Subscribe to a channel. None: already subscribed. Raises ChannelModeConflictError for another mode."""
        self._require_open()
        under_way = self.joining_of(channel)
        existing = under_way.asked.mode if under_way is not None else self.mode_of_channel(channel)
        if existing is not None and existing != mode:
            raise mode_conflict(channel, existing, mode)
        if existing is not None:
            return under_way
        self.joining.pop(kept_id(channel), None)
        asked = self.ask(ch.ChannelAsked(self._ids.number("channel", channel), channel, mode))
        if asked.id not in self.state.joining:
            return None
        if self.joining is NO_DICT:
            self.joining = {}
        answer = self.joining[asked.id] = self._answer_to(asked)
        return answer

    def list_members(self, channel: str) -> ListAnswer:
        """Ask who has subscribed to the channel. The future brings `Listed` for each, in the order of subscribing."""
        self._require_open()
        asked = self.ask(ch.ChannelMembersAsked(self._ids.number("members", channel), channel))
        if self.listing is NO_DICT:
            self.listing = {}
        answer = self.listing[asked.id] = ListAnswer(loop=self.loop)
        answer.commands, answer.id, answer.channel = self, asked.id, channel
        return answer

    def leave_channel(self, channel: str) -> None:
        """Give the subscription up, if there is one. Waits for its messages end with UsageError."""
        self._require_open()
        mode = self.mode_of_channel(channel)
        if mode is None:
            self.joining.pop(kept_id(channel), None)
            return
        waiting = [wait for wait in self.state.waits.values() if isinstance(wait, ch.ChannelAwaited)]
        for wait in waiting:
            if wait.channel == channel and wait.mode == mode:
                answer = self.waits.pop(wait.id)
                self.ask(ev.EventWaitCancelled(wait.id))
                if not answer.done():
                    answer.set_exception(UsageError(f"the subscription to channel {channel!r} was given up"))
        self.ask(ch.ChannelLeft(channel, mode))

    def await_channel(self, channel: str, mode: ch.Mode, *, timeout: float | None = None) -> WaitAnswer:
        """Wait for a message. The future brings its `ChannelReceived`, or raises EventTimeoutError."""
        self._require_open()
        due = None if timeout is None or timeout > FAR_FUTURE else self.due(self.loop.now + timeout)
        return self._wait_on_channel(channel, mode, due)

    def _wait_on_channel(self, channel: str, mode: ch.Mode, due: int | None) -> WaitAnswer:
        return self._wait_for(ch.ChannelAwaited(self._ids.number("wait", channel), channel, mode, due))

    def send_on_channel(
        self, channel: str, data: Raw, metadata: Raw, headers: dict[str, str], to: str | None = None
    ) -> str:
        """Send a message once this activation is durable, and return its id."""
        self._require_open()
        id = self._ids.number("sent", channel)
        message_id = derive(self.instance_id, self.started.nonce, "message", id).hex()[:32]
        message = ch.ChannelSent(id, channel, message_id, data, metadata, headers, to)
        former = self._memory.look("messages", *what_went_out(message)) if self._remembers else None
        if former is not None:
            message = replace(message, message_id=former.asked.message_id, again=True)
        return self.ask(message).message_id

    def listed(self, event: ch.ChannelMembersListed) -> None:
        """Hand the input to the code that awaits the members."""
        answer = self.listing.pop(event.id)
        if answer.done():
            return
        if event.too_many:
            answer.set_exception(
                UsageError(
                    f"channel {answer.channel!r} has {event.too_many} members, too many for the log of a workflow; "
                    "ask for them in an activity, which keeps what it needs"
                )
            )
        else:
            answer.set_result(event.members)

    def joined(self, event: ch.ChannelJoined) -> None:
        """Hand the input to the code that awaits the subscription."""
        answer = self.joining.pop(event.id)
        if not answer.done():
            answer.set_result(None)

    def refused(self, event: ch.ChannelRefused) -> None:
        """Hand the input to the code that awaits the subscription.

        The code of a retry may ask later. The answer is kept until it subscribes or unsubscribes itself.
        """
        answer = self.joining[event.id]
        asked = answer.asked
        if event.id != kept_id(asked.channel):
            del self.joining[event.id]
        if not answer.done():
            answer.set_exception(mode_conflict(asked.channel, event.existing, asked.mode))
            answer.exception()  # asyncio complains of errors that nobody looks at


def mode_conflict(channel: str, existing: str, requested: str) -> ChannelModeConflictError:
    """The error for a subscription whose mode conflicts with that of the other subscribers."""
    return ChannelModeConflictError(
        f"channel {channel!r} has {existing} subscribers, so it accepts no {requested} subscriber; use the same "
        "mode or another channel, or end those subscriptions first (members() lists them, unsubscribe() ends one)",
        channel=channel,
        existing=existing,
        requested=requested,
    )
