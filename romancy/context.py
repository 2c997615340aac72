"""The context of a workflow: what its body can ask for.

Only this file makes seeded random values. Numbers and ids drawn in a workflow derive from its instance, its run and the
number of the draw, so that a replay draws the same.
"""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, Unpack, overload
from uuid import UUID

from romancy._call_options import ActivityOptions, StepKeywords
from romancy._headers import scheduled_at
from romancy._logs import about
from romancy._message_conditions import stored_here
from romancy._microseconds import microseconds_of, moment_of
from romancy._outgoing import event_message, name_of_event
from romancy._sizes import written, written_by_class
from romancy.channel import Channel, WorkflowChannel, declared
from romancy.child import ChildHandle
from romancy.core import Topic, begun, current_commands, kept, mode_of_wait, undone_early, words_of
from romancy.declaring.condition import checked_condition
from romancy.declaring.expected_names import OF_CONTEXTS, answer_names
from romancy.declaring.limit_keys import check_queues, limit_of_name, units_of_section
from romancy.declaring.limited import Section
from romancy.declaring.log import BodyLog
from romancy.declaring.undo import Undo, checked_undo
from romancy.entity_calls import calls_in_body
from romancy.errors import SerializationError, UsageError
from romancy.event import Event, EventType, event_of
from romancy.handling import Handling, all_handled
from romancy.limit import text_of_key
from romancy.mapping import Many, all_ended, first_done, many
from romancy.other_instance import OtherInstance
from romancy.question import asked
from romancy.registry import declared_limits
from romancy.request import Request, misfit_answered, name_of_request, types_of_request
from romancy.retry import Duration, seconds
from romancy.serialization import loads, plan_for
from romancy.step import Step, Stepping
from romancy.storage.limits import check_id, check_key
from romancy.storage.query import encode_where
from romancy.stream import Stream, WorkflowStream, declared_stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
    from datetime import datetime

    from typing_extensions import TypeForm

    from romancy.activity import Activity
    from romancy.child import ChildWorkflow
    from romancy.core import Commands, MessageReceived
    from romancy.handler import Handler
    from romancy.limit import Limit
    from romancy.request import RequestType
    from romancy.retry import RetryPolicy
    from romancy.storage.query import FilterValue

__all__ = ["ChildHandle", "WorkflowContext", "current_workflow", "in_workflow"]

A = TypeVar("A")
E = TypeVar("E")
P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_LONG: Final = 4000
"""It stays: with another number, a replay would take another way than the log."""


class WorkflowContext:
    """The first parameter of every workflow."""

    __slots__ = ("_commands", "_opened", "_workflow", "workflow_name")

    def __init__(self, commands: Commands, workflow_name: str, workflow: Stepping) -> None:
        self._commands = commands
        self._workflow = workflow
        self.workflow_name = workflow_name

    @property
    def instance_id(self) -> str:
        return self._commands.instance_id

    @property
    def parent(self) -> str | None:
        """The id of the instance that has started this one as its child. None: a program or a schedule has."""
        parent = self._commands.started.parent
        return None if parent is None else parent.instance_id

    @property
    def run(self) -> int:
        """1 for the first run of the instance, one more after every `recur` and every retry."""
        return self._commands.started.run

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the starter sent."""
        return dict(self._commands.started.headers)

    @property
    def scheduled_at(self) -> datetime | None:
        """For which time a schedule has started this instance. None: no schedule has."""
        return scheduled_at(self._commands.started.headers)

    @property
    def is_replaying(self) -> bool:
        """Whether this code is being replayed. Log and print only while it is False.

        Of several programs that start one new id at the same moment, each may run the body up to its first wait with
        False, and one of these runs counts. A start of an id that exists already runs nothing.
        """
        return self._commands.replaying

    @property
    def log(self) -> BodyLog:
        """A logger, `romancy.workflow`, that is silent while the body is replayed.

        Its records have the fields `romancy_instance_id`, `romancy_workflow` and `romancy_run`. A line can come twice:
        if the worker dies before the step is recorded in which it was logged.
        """
        return BodyLog({**about(self), "romancy_run": self.run}, self._commands)

    @property
    def log_length(self) -> int:
        """How many events the log of this run has by now. The same on replay."""
        return self._commands.log_length

    @property
    def should_recur(self) -> bool:
        """Whether the log of this run is so long that a new run would be better: it has 4,000 events or more.

        Each take-over reads and replays the log of the run. `recur` begins an empty one.
        """
        return self._commands.log_length >= _LONG

    def now(self) -> datetime:
        """The time of the latest event of this workflow. The same on replay."""
        return moment_of(self._commands.state.time)

    def uuid4(self) -> UUID:
        """A random UUID. The same on replay, another in every run."""
        return UUID(bytes=self._commands.draw("uuid4")[:16], version=4)

    def random(self) -> Random:
        """A new random generator at every call. It yields the same numbers on replay."""
        return Random(int.from_bytes(self._commands.draw("random"), "big"))  # noqa: S311 - seeded on purpose

    @kept("ctx")
    async def sleep(self, delay: Duration) -> None:
        """Wait durably. A restart does not begin the wait again. A negative delay ends at once, as asyncio's does."""
        length = seconds(delay, "the delay", least=None)
        await (self._commands.sleep(length) if length > 0 else asyncio.sleep(0))

    @kept("ctx")
    async def sleep_until(self, moment: datetime) -> None:
        """Wait durably until this moment, which needs a time zone. A moment that is over ends at once.

        A retry waits for the same moment, and not again for a length of time.
        """
        due = microseconds_of(moment, "the moment of sleep_until")
        await (self._commands.sleep_until(due) if due > self._commands.state.time else asyncio.sleep(0))

    @kept("ctx")
    async def until(self, condition: Callable[[], T], *, timeout: Duration | None = None) -> T:
        """Wait until a condition holds, and return what it has returned. Raises TimeoutError if it does not in time.

        The condition is a function of the body's own state: `await ctx.until(lambda: len(votes) >= 3)`. It is asked
        again whenever the body has acted on something, never by polling, and must only look. It leaves nothing in the
        log but the timer of its `timeout`.
        """
        checked_condition(condition)
        limit = None if timeout is None else seconds(timeout, "the timeout")
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                return await self._commands.until(condition)
        except TimeoutError:
            if not timer.expired():
                raise  # the condition has raised it
        raise TimeoutError(f"{words_of(condition)} did not hold within {limit:g} s")

    def handling(self, *handlers: Handler[Any]) -> Handling:
        """Handle messages while a block runs: `async with ctx.handling(Add.by(add), Stop.by(stop)):`.

        Each message is handled in a task of its own, begun in the order in which they came. The end of the block waits
        for the handlers that are at work. Messages that come later are kept, also for the next run. A handler of events
        that raises an error ends the block with it; what a handler of requests returns or raises is the answer.
        """
        return Handling(self._commands, self._handlings, handlers)

    @overload
    def step(
        self,
        name: str,
        fn: Callable[[], Coroutine[Any, Any, T]],
        *,
        model: None = None,
        **options: Unpack[StepKeywords],
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(
        self,
        name: str,
        fn: Callable[[], T],
        *,
        model: None = None,
        **options: Unpack[StepKeywords],
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(
        self,
        name: str,
        fn: Callable[[], object],
        *,
        model: TypeForm[T],
        **options: Unpack[StepKeywords],
    ) -> Coroutine[Any, Any, T]: ...
    def step(
        self,
        name: str,
        fn: Callable[[], Any],
        *,
        model: Any = None,
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        raises: Sequence[type[Exception]] = (),
        about: object = None,
    ) -> Coroutine[Any, Any, Any]:
        """Run a function without arguments as an activity that nothing declares: `await ctx.step("ask", ask)`.

        An `async def` runs on the event loop, a plain function on a thread, with the context variables of the caller
        and with `activity_context()`; a parameter with `Depends(…)` gets what is provided. Its result is in the log
        under `name`, and a replay returns that. `model` or the annotation of the function is its type. After a crash or
        a pause, the replay makes the function again, and the next attempt calls that one: what it takes from the code
        around it has to follow from the log.

        `about` is JSON of at most 16 kB that the history and the dashboard show with the step. No replay compares it.

        Raises UsageError outside of the body, as in another step, and for the name of an activity of the workflow.
        """
        commands = self._commands
        given = ActivityOptions.of_step(name, retry, timeout, heartbeat_timeout, raises)
        step = Step(name, fn, model, given, about)
        step.check_place(commands, self._workflow)
        calls = commands.calls
        calls.number += 1
        call: Any = step.durably(calls.number, commands)
        if calls.kept:
            calls.keep(call, name)
        call.__qualname__ = name
        return call  # type: ignore[no-any-return]

    def map(
        self,
        call: Callable[[A], Coroutine[Any, Any, T]],
        inputs: Iterable[A],
        /,
        *,
        at_once: int | None = None,
        enough: int | None = None,
        may_fail: int | str | None = None,
    ) -> Many[T]:
        """Call an activity, a workflow or a function of the body for each input, `at_once` of them at the same time.

        `await` it for the results, in the order of the inputs, or receive `async for` how each call ends. `may_fail` is
        how many may fail, or a share of them as "20%"; by default none, and the failure is raised. `enough` is how many
        have to succeed. When enough have, or too many failed, the others are stopped, and have ended when this returns.
        """
        made, calls = many(call, inputs, at_once, enough, may_fail), self._commands.calls
        if calls.all:
            calls.number += 1
            made.made = begun(calls.number, calls, all_ended, made, (), {})
            calls.keep(made.made, "ctx.map")
        return made

    @kept("ctx")
    async def first(self, *calls: Awaitable[T]) -> T:
        """The result of the first of these calls, waits or timers that succeeds. The others are stopped and undone.

        They have ended when this returns, and what they had completed is undone. If all fail, TooManyFailedError says
        so, behind the undos. RetryExhaustedError tells of an undo that has failed for good.
        """
        return await first_done(calls, partial(undone_early, self._commands))

    @kept("ctx")
    async def all_handled(self) -> None:
        """Wait until no handler of `handling` is at work: before the body uses what they do, or goes on with `recur`.

        Nothing comes in between: the handler of the next message begins after the body has awaited something.
        """
        await all_handled(self._commands, self._handlings)

    @property
    def _handlings(self) -> list[Handling]:
        """The open blocks of `handling`."""
        try:
            return self._opened
        except AttributeError:
            self._opened: list[Handling] = []
            return self._opened

    @overload
    async def wait_event(
        self,
        type: str,
        *,
        timeout: Duration | None = None,
        key: str | None = None,
        where: Mapping[str, FilterValue] | None = None,
    ) -> Event[Any]: ...
    @overload
    async def wait_event(
        self,
        type: str,
        *,
        model: TypeForm[T],
        timeout: Duration | None = None,
        key: str | None = None,
        where: Mapping[str, FilterValue] | None = None,
    ) -> Event[T]: ...
    @overload
    async def wait_event(
        self,
        type: EventType[T],
        *,
        timeout: Duration | None = None,
        key: str | None = None,
        where: Mapping[str, FilterValue] | None = None,
    ) -> Event[T]: ...
    @kept("ctx")
    async def wait_event(
        self,
        type: str | EventType[Any],
        *,
        model: Any = Any,
        timeout: Duration | None = None,
        key: str | None = None,
        where: Mapping[str, FilterValue] | None = None,
    ) -> Event[Any]:
        """Wait for an event or a signal of this type. Raises EventTimeoutError if none arrives in time.

        With a `key`, one event that was sent with this key comes to this wait alone, also if it was sent before.
        Without a key, every event of the type comes that is sent while the workflow waits. `where` excludes events
        whose data do not meet these conditions, in the form of `app.find_instances`.

        An event whose data do not fit the declared type is put aside, which the log records, and the wait continues.
        """
        name = name_of_event(type)
        if isinstance(type, EventType):
            model = type.data
        elif model is not Any:
            plan_for(model, f"data of event {name!r}")  # before the wait begins, and not when the event comes
        check_key(key)
        limit = None if timeout is None else seconds(timeout, "the timeout")
        commands = self._commands
        topic, conditions = Topic(name, key), stored_here(encode_where(where), commands)
        wait = commands.wait(topic, mode_of_wait(topic), timeout=limit, where=conditions)
        while True:
            received: MessageReceived = await wait
            try:
                return event_of(received.message, received.at, model)
            except SerializationError as misfit:
                again = commands.wait_on(wait, received.message, str(misfit))
                if again is None:
                    raise
                wait = again

    @overload
    async def wait_request(self, type: str, *, timeout: Duration | None = None) -> Request[Any, Any]: ...
    @overload
    async def wait_request(self, type: RequestType[T, R], *, timeout: Duration | None = None) -> Request[T, R]: ...
    @kept("ctx")
    async def wait_request(
        self, type: str | RequestType[Any, Any], *, timeout: Duration | None = None
    ) -> Request[Any, Any]:
        """Wait for a request of this type, to be answered with `await request.reply(value)`.

        Raises EventTimeoutError if none arrives in time. A request whose data do not fit the declared type is refused,
        which its sender learns, and the wait continues.
        """
        topic, (data, reply) = Topic(name_of_request(type), kind="request"), types_of_request(type)
        limit = None if timeout is None else seconds(timeout, "the timeout")
        commands = self._commands
        due = None if limit is None else commands.loop.time() + limit
        while True:
            left = None if due is None else max(0.0, due - commands.loop.time())
            received: MessageReceived = await commands.wait(topic, mode_of_wait(topic), timeout=left)
            request = received.message
            try:
                return Request(commands, request, loads(request.data, data, f"data of {request.words}"), reply)
            except SerializationError as misfit:
                misfit_answered(commands, request, misfit)

    @overload
    async def ask(
        self, question: str, *, name: str = "question", to: str | None = None, timeout: Duration | None = None
    ) -> bool: ...
    @overload
    async def ask(
        self,
        question: str,
        *,
        model: TypeForm[T],
        name: str = "question",
        to: str | None = None,
        timeout: Duration | None = None,
    ) -> T: ...
    @kept("ctx")
    async def ask(
        self,
        question: str,
        *,
        model: Any = bool,
        name: str = "question",
        to: str | None = None,
        timeout: Duration | None = None,
    ) -> Any:
        """Ask people, and wait for the answer, which fits `model`: `if await ctx.ask("Pay 500 €?", to="finance"):`.

        `app.questions()` lists what is open, and `app.answer(token, data)` answers. The first answer counts. Raises
        RefusedError if somebody refuses, and EventTimeoutError if nobody answers in time. `to` says who is asked, and
        `name` what kind of question it is. A retry of the instance gets the same answer to the same question.
        """
        return await asked(self._commands, question, model, name, to, timeout)

    @kept("ctx")
    async def subscribe(self, type: str | EventType[Any]) -> None:
        """Keep every event of this type for this workflow from now on, also while it does not wait for one.

        `wait_event` without a key receives them in the order in which they were sent. The subscription is durable
        before anything begins that the workflow asks for after it. It lasts until `unsubscribe` or the end of the
        instance, through `recur`. A retry of the instance subscribes again.
        """
        self._commands.subscribe(Topic(name_of_event(type)), "broadcast")

    @kept("ctx")
    async def unsubscribe(self, type: str | EventType[Any]) -> None:
        """End a subscription. The events that came by it and were not received are dropped."""
        self._commands.unsubscribe(Topic(name_of_event(type)))

    @kept("ctx")
    async def send(
        self,
        type: str | EventType[Any],
        data: object = None,
        *,
        to: str | None = None,
        key: str | None = None,
        source: str | None = None,
        id: str | None = None,
        subject: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Send an event to workflows, as `app.send` does, once this step is durable. Returns the event's id.

        A replay sends nothing, and a retry of the instance sends nothing that a former run has sent. `to` names an
        instance. If it does not exist or has ended, that is logged, and `romancy undelivered` lists the event.
        """
        if to is not None:
            check_id(to)
        source = source or f"/{self.workflow_name}/{self.instance_id}"
        message = event_message(type, data, key=key, source=source, id=id, subject=subject, headers=headers)
        return self._commands.send(message, to or "")

    @overload
    def channel(self, channel: Channel[T], /) -> WorkflowChannel[T]: ...
    @overload
    def channel(self, channel: str, /) -> WorkflowChannel[Any]: ...
    @overload
    def channel(self, channel: str, /, *, model: TypeForm[T]) -> WorkflowChannel[T]: ...
    def channel(self, channel: Channel[Any] | str, /, *, model: Any = Any) -> WorkflowChannel[Any]:
        """A channel, to subscribe to, to receive from and to publish on."""
        return WorkflowChannel(self._commands, declared(channel, model))

    @overload
    def stream(self, stream: Stream[T], /) -> WorkflowStream[T]: ...
    @overload
    def stream(self, stream: str, /) -> WorkflowStream[Any]: ...
    @overload
    def stream(self, stream: str, /, *, model: TypeForm[T]) -> WorkflowStream[T]: ...
    def stream(self, stream: Stream[Any] | str, /, *, model: Any = Any) -> WorkflowStream[Any]:
        """A stream of the instance, to write to with the commit of the step."""
        return WorkflowStream(self._commands, declared_stream(stream, model))

    def limit(self, limit: Limit | str, key: str | int | None = None, /, *, units: int | None = None) -> Section:
        """A part of the body that runs with a place under a limit: `async with ctx.limit(PRINTER):`.

        The body waits for the place, durably, and gives it back at the end of the block. `key` makes a limit of its
        own for each value, and takes the place of the limit's `key=`. A text is the name of a limit that a workflow or
        an activity of the program declares in its `limits=`. `units` says as how many places the section counts.
        """
        if isinstance(limit, str):
            limit = limit_of_name(limit, declared_limits())
        if key is None and limit.key is not None:
            raise UsageError(
                f"limit {limit.name!r} has a key: say which one, as in ctx.limit({limit.name!r}, customer)"
            )
        check_queues(limit, "ctx.limit()")
        return Section(
            self._commands,
            limit.place("" if key is None else text_of_key(key, limit.name), units_of_section(limit, units)),
        )

    def on_undo(self, activity: Activity[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Undo:
        """Register an activity, with its arguments, to be carried out if this workflow fails or is cancelled.

        It has its place among the compensations: what was done last is undone first.
        """
        checked_undo(activity)
        return Undo(self._commands, self._commands.on_undo(activity, activity.written(*args, **kwargs)))

    def patched(self, name: str) -> bool:
        """True for histories that began after this call was added: take the new branch. False for older ones."""
        check_id(name, "name of the patch")
        return self._commands.patched(name)

    @kept("ctx")
    async def start(self, wf: ChildWorkflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> ChildHandle[T]:
        """Start a child workflow and continue. The child is cancelled if this workflow fails or is cancelled."""
        return wf.launch(self._commands, args, kwargs)

    def instance(self, instance_id: str, /) -> OtherInstance:
        """Another instance, to ask, to tell, to cancel and to wait for: `await ctx.instance(id).request(Change)`."""
        return OtherInstance(self._commands, instance_id, f"/{self.workflow_name}/{self.instance_id}")

    def entity(self, kind: type[E], key: str, /, *, timeout: Duration | None = None) -> E:
        """The entity with this key, to be called: `await ctx.entity(Cart, "7").add("lamp")`.

        A call is made once, also through crashes of this instance, and returns what the method returned. Raises
        RequestFailedError if the method raised an error, InstanceEndedError if the entity was cancelled, terminated or
        has failed, and RequestTimeoutError if no answer came within `timeout`: the call stays. A retry that finds an
        error calls anew. Raises EntityCircleError if an entity would wait for itself.
        """
        return calls_in_body(self._commands, kind, key, None if timeout is None else seconds(timeout, "timeout"))

    @kept("ctx")
    async def publish(self, type: str | EventType[Any], data: object = None, *, key: str | None = None) -> None:
        """Send an event once this step is durable. A replay sends nothing."""
        name = name_of_event(type)
        check_key(key)
        self._commands.publish(name, written(data, f"event {name!r}"), key=key)

    @kept("ctx")
    async def report(self, state: object, /) -> None:
        """Set the workflow's progress, which handles can read. The last report counts."""
        self._commands.report(written_by_class(state, "report"))

    def __repr__(self) -> str:
        return f"<context of {self.workflow_name} {self.instance_id}>"


answer_names(WorkflowContext, OF_CONTEXTS, "workflow_name")


def current_workflow() -> WorkflowContext:
    """The context of the workflow in whose body this code runs. Raises UsageError elsewhere, as in an activity."""
    commands = current_commands()
    if commands is None or commands.ctx is None:
        raise UsageError(
            "current_workflow() is only available in the body of a workflow. An activity has activity_context(), and "
            "gets what it needs as arguments; code that runs in both asks in_workflow() first"
        )
    ctx: WorkflowContext = commands.ctx
    return ctx


def in_workflow() -> bool:
    """Whether this code runs in the body of a workflow, and not in an activity or outside."""
    commands = current_commands()
    return commands is not None and commands.ctx is not None
