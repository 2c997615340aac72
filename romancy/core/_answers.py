"""The futures of a run's requests. Cancelling a future tells the run that its answer is no longer wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.core import _events as ev
from romancy.core import _message_events as ms
from romancy.core._stable import StableFuture

if TYPE_CHECKING:
    from contextvars import Context

    from romancy.core._asking import Asking
    from romancy.core._definitions import ActivityDefinition, WorkflowDefinition
    from romancy.core._messages import Topic
    from romancy.retry import RetryPolicy

__all__ = ["ActivityAnswer", "Answer", "ChildAnswer", "JoinAnswer", "ListAnswer", "SleepAnswer", "WaitAnswer"]


class SleepAnswer(StableFuture[None]):
    """The future of a sleep of the workflow's context."""

    __slots__ = ()


class Answer(StableFuture[Any]):
    """The future of a command. Cancelling it tells the run that its answer is no longer wanted."""

    __slots__ = ("commands", "id")

    commands: Asking
    id: str

    def cancel(self, msg: Any = None) -> bool:
        if not super().cancel(msg):
            return False
        if not self.commands.loop.dead:
            self.give_up()
        return True

    def give_up(self) -> None:
        """Tell the run that the answer is no longer wanted."""


class ActivityAnswer(Answer):
    """The future of an activity, and the details of its call that its log entry does not hold."""

    __slots__ = ("context", "definition", "failures", "retry", "since", "timeout")

    context: Context | None
    """The context variables of the call; None if the body has set none."""
    definition: ActivityDefinition
    retry: RetryPolicy | None
    timeout: float | None
    failures: tuple[str, ...]
    """The failures of its attempts; not set before the first one."""
    since: int
    """The number of the activation that asked for it."""

    def give_up(self) -> None:
        commands = self.commands
        if self.id in commands.state.activities:
            never_started = self.since == commands.activation
            commands.ask(ev.ActivityCancelRequested(self.id, never_started))
            if never_started:
                del commands.activities[self.id]


class WaitAnswer(Answer):
    """The future of a wait for a message."""

    __slots__ = ("awaited",)

    awaited: ms.MessageAwaited

    def give_up(self) -> None:
        commands = self.commands
        if self.id in commands.state.waits:
            del commands.waits[self.id]
            commands.ask(ms.WaitCancelled(self.id))


class ChildAnswer(Answer):
    """The future of a child workflow's end."""

    __slots__ = ("definition",)

    definition: WorkflowDefinition

    def give_up(self) -> None:
        commands = self.commands
        child = commands.state.children.get(self.id)
        if child is not None and not child.cancel_requested:
            commands.ask(ev.ChildCancelRequested(self.id))

    def stop(self) -> None:
        """Ask the child to stop, and keep waiting for its end."""
        if not self.commands.loop.dead:
            self.give_up()


class ListAnswer(Answer):
    """The future of a question for the members of a channel. Cancelling it leaves the question."""

    __slots__ = ("topic",)

    topic: Topic


class JoinAnswer(Answer):
    """The future of a subscription. Cancelling it does not cancel the subscription."""

    __slots__ = ("asked",)

    asked: ms.Subscribed
