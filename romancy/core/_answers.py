"""The futures of a run's requests. Cancelling a future tells the run that its answer is no longer wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.core import _events as ev
from romancy.core import _message_events as ms
from romancy.core._stable import StableFuture

if TYPE_CHECKING:
    from contextvars import Context

    from msgspec import Raw

    from romancy.core._asking import Asking
    from romancy.core._definitions import CalledWorkflow
    from romancy.core._messages import Topic

__all__ = ["ActivityCall", "Answer", "ChildAnswer", "JoinAnswer", "ListAnswer", "SleepAnswer", "WaitAnswer"]


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


class ActivityCall(Answer):
    """The call of an activity, from when it is scheduled until its outcome is known, and the future of that outcome.

    The rule of `ActivityScheduled` makes it. Where no code awaits it (a log is folded, a run has no code), it is only
    its entry in the state: it has no loop, and nothing that the body has given it.
    """

    __slots__ = (
        "cancel_requested", "context", "definition", "details", "failures", "idle", "lost", "next_at",
        "scheduled", "since", "told", "unheard", "unknown",
    )  # fmt: skip

    scheduled: ev.ActivityScheduled
    failures: int
    """How many attempts have failed."""
    unheard: int
    """How many more may have begun: at owners that have not recorded how they ended."""
    next_at: int | None
    """When the next one is due, after a failure."""
    details: Raw | None
    """Those of the last heartbeat."""
    unknown: bool
    """Whether an attempt was given up without an answer, so that nobody knows what it did."""
    lost: bool
    """Whether an attempt may have begun at a former owner, which has not recorded how it ended."""
    cancel_requested: bool
    idle: bool
    """Whether it was asked to stop while no attempt ran: it waited for its next attempt."""
    definition: Any
    """The `ActivityDefinition` that the body has called; None where no code awaits the outcome."""
    context: Context | None
    """The context variables of the call; None if the body has set none."""
    since: int
    """The number of the activation that asked for it."""
    told: tuple[str, ...]
    """The failures of its attempts, in words."""

    def give_up(self) -> None:
        commands = self.commands
        if self.id in commands.state.activities:
            commands.ask(ev.ActivityCancelRequested(self.id, self.since == commands.activation))


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

    definition: CalledWorkflow

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
