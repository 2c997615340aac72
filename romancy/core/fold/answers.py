"""The futures of a run's requests. Cancelling a future tells the run that its answer is no longer wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from romancy.core.loop.answer import Answer
from romancy.core.loop.stable import StableFuture

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from msgspec import Raw

    from romancy.core.words import events as ev
    from romancy.core.words import message_events as ms
    from romancy.core.words.definitions import CalledWorkflow
    from romancy.core.words.messages import Message, Topic
    from romancy.serialization import ErrorInfo

__all__ = [
    "ActivityCall", "Caller", "ChildAnswer", "JoinAnswer", "ListAnswer", "PlaceAnswer", "PlaceTaker", "SleepAnswer",
    "WaitAnswer", "Waiter",
]  # fmt: skip


class SleepAnswer(StableFuture[None]):
    """The future of a sleep of the workflow's context."""

    __slots__ = ()


class Caller(Protocol):
    """Has called activities and children, and hears whose ends are no longer wanted."""

    def drop_activity(self, call: ActivityCall, /) -> None: ...

    def drop_child(self, child: ChildAnswer, /) -> None: ...

    def stop_child(self, child: ChildAnswer, /) -> None: ...


class Waiter(Protocol):
    """Waits for messages, and hears which are no longer wanted."""

    def drop_wait(self, wait: WaitAnswer, /) -> None: ...


class PlaceTaker(Protocol):
    """Asks for places, and hears which are no longer wanted."""

    def drop_place(self, place: PlaceAnswer, /) -> None: ...


class ActivityCall(Answer):
    """The call of an activity, from when it is scheduled until its outcome is known, and the future of that outcome.

    The rule of `ActivityScheduled` makes it. Where no code awaits it (a log is folded, a run has no code), it is only
    its entry in the state: it has no loop, and nothing that the body has given it.
    """

    __slots__ = (
        "cancel_requested", "commands", "context", "definition", "details", "failures", "idle", "lost", "next_at",
        "scheduled", "since", "told", "unheard", "unknown",
    )  # fmt: skip

    commands: Caller
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
        self.commands.drop_activity(self)


class WaitAnswer(Answer):
    """The future of a wait for a message."""

    __slots__ = ("awaited", "commands", "judge", "put_off")

    commands: Waiter
    awaited: ms.MessageAwaited
    put_off: int
    """By how much pauses had put off what the run waited for when it began to wait."""
    judge: Callable[[Message], ErrorInfo | None]
    """Why the body refuses a message, if it does. Set where the wait is `judged`."""

    def give_up(self) -> None:
        self.commands.drop_wait(self)


class PlaceAnswer(Answer):
    """The future of a place under a limit."""

    __slots__ = ("commands", "expires", "refusal")

    commands: PlaceTaker
    refusal: str
    """What is said if there is no place, and the run does not wait for one."""
    expires: int
    """For how many microseconds the run waits, by its log. 0: as long as it takes."""

    def give_up(self) -> None:
        self.commands.drop_place(self)


class ChildAnswer(Answer):
    """The future of a child workflow's end."""

    __slots__ = ("commands", "definition")

    commands: Caller
    definition: CalledWorkflow

    def give_up(self) -> None:
        self.commands.drop_child(self)

    def stop(self) -> None:
        """Ask the child to stop, and keep waiting for its end."""
        loop: Any = self.get_loop()
        if not loop.dead:
            self.commands.stop_child(self)


class ListAnswer(Answer):
    """The future of a question for the members of a channel. Cancelling it leaves the question."""

    __slots__ = ("topic",)

    topic: Topic


class JoinAnswer(Answer):
    """The future of a subscription. Cancelling it does not cancel the subscription."""

    __slots__ = ("asked",)

    asked: ms.Subscribed
