"""Workflows: the decorator, what a call in another workflow does, and what an app needs to start one."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property, partial, update_wrapper
from inspect import Parameter, signature
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    NoReturn,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from msgspec import Raw

from romancy._expected_options import OF_STARTS, OF_WORKFLOW, answer_options, refuse_unknown
from romancy._headers import headers_of
from romancy._schedule_options import ScheduleOptions
from romancy._sizes import check_large
from romancy._start_options import StartKeywords, StartOptions
from romancy.child import ChildHandle
from romancy.context import WorkflowContext
from romancy.core import ContinueAsNew, current_commands
from romancy.declaring.callables import (
    check_context,
    check_function,
    is_async,
    label_of,
    name_of,
    options_of,
)
from romancy.declaring.expected_names import OF_WORKFLOWS, answer_names
from romancy.declaring.fingerprint import fingerprint
from romancy.declaring.limit_keys import key_of, limits_of, place_of_call
from romancy.declaring.limited import within_all
from romancy.errors import QueryError, RegistrationError, UsageError
from romancy.registry import declare, names_of_activities
from romancy.retention import retention_of
from romancy.serialization import Signature
from romancy.storage.admission import SKIP
from romancy.storage.limits import MEASURED_BYTES, check_id
from romancy.storage.query import path_key
from romancy.storage.turns import check_key

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from romancy._schedule_options import Drops, ScheduleKeywords
    from romancy.core import Commands
    from romancy.limit import Limit
    from romancy.retention import Retention

__all__ = ["Call", "Workflow", "workflow"]

P = ParamSpec("P")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

_OPTIONS: Final = {
    "instance_id": "instance_id", "id": "instance_id", "workflow_id": "instance_id", "delay": "delay",
    "at": "at", "headers": "headers", "timeout": "timeout", "execution_timeout": "timeout",
    "priority": "priority", "fair_key": "fair_key", "fairness_key": "fair_key", "weight": "weight",
}  # fmt: skip
"""What people give like an argument, and the option that it is."""


@dataclass(frozen=True, slots=True)
class Call(Generic[R_co]):
    """A workflow with its arguments, to be started later or together with others."""

    workflow: Workflow[..., R_co]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def encode(self, stored: Callable[[bytes], int] | None = None) -> Raw:
        """The input as stored. Raises SerializationError naming the parameter and the path.

        `stored` tells how many bytes are stored for it, by default with the codecs of the worker at hand.
        """
        return self.workflow.encode(self.args, self.kwargs, stored)


class Workflow(Generic[P, R_co]):
    """A durable function. Start it with an app, or await it in another workflow to run it as a child."""

    kind = "workflow"

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str | None = None,
        event_handler: bool = False,
        index: Sequence[str] = (),
        version: str | None = None,
        schedule: ScheduleKeywords | None = None,
        limits: Sequence[Limit] = (),
        retention: Retention | None = None,
    ) -> None:
        check_function(fn, "workflow")
        if not is_async(fn):
            raise RegistrationError(f"@workflow on {fn.__qualname__}: a workflow is an `async def`")
        if isinstance(index, str):
            raise RegistrationError(f"@workflow on {fn.__qualname__}: index= takes a list of paths, not a text")
        self._fn = fn
        self.name = name_of(fn, name, "workflow")
        self.event_handler = event_handler
        self.index = _declared(fn, index)
        self.version = None if version is None else label_of(fn, version, "workflow", "version")
        self.signature = Signature.of(fn, 1, subject=f"workflow {self.name!r}")
        check_context(self.signature, WorkflowContext)
        self.signature.check_known()
        self.schedule = None if schedule is None else _schedule(fn, schedule)
        """When a worker that knows this workflow starts it, without arguments."""
        self.drops: Callable[[bytes], Drops | None] | None = None
        """What hooks hear of a report of the library's workflow of schedules. None: this is another workflow."""
        self.declines: Callable[[bytes], str | None] | None = None
        """Why a worker leaves an instance with this input to others. None: it does not, or (unset) takes all."""
        self.mail_first = False
        """Whether a run is fed what has come before what is due, whatever the times: for the library's own."""
        self.beside: tuple[Callable[..., Any], ...] = ()
        """Functions of the user's that the body runs and does not name: the methods of an entity."""
        self.keeps_state = False
        """Whether an instance that did not complete has a state that its next life needs: that of an entity."""
        self.limits = limits_of(limits, f"@workflow on {fn.__qualname__}", callable_keys=False) if limits else ()
        """The limits under which the body runs, in the order in which it gets its places."""
        self.skips = any(limit.full == SKIP for limit in self.limits)
        """Whether a start is skipped if no place is free."""
        self.retention = _retention(fn, retention)
        """How long ended instances are kept. None: as the app says."""
        self.given = StartOptions()
        """The options of a start."""
        self._fingerprint: list[str] = []
        """Empty until it is needed. Copies made by `options` share it."""
        update_wrapper(self, fn)

    @property
    def instance_id(self) -> str | None:
        return self.given.instance_id

    @property
    def delay(self) -> float:
        return self.given.delay / 1_000_000

    @property
    def headers(self) -> dict[str, str]:
        return self.given.headers

    @property
    def limit(self) -> int:
        return self.given.limit

    @property
    def fn(self) -> Callable[Concatenate[WorkflowContext, P], Coroutine[Any, Any, R_co]]:
        """The decorated function."""
        return self._fn

    @cached_property
    def code(self) -> str:
        """The declared version, or a fingerprint of everything that a replay depends on. It identifies the code."""
        if self.version is not None:
            return self.version
        if not self._fingerprint:
            self._fingerprint.append(fingerprint(self))
        return self._fingerprint[0]

    if TYPE_CHECKING:

        async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    else:

        def __call__(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
            """Return a coroutine under the workflow's name, so that Python reports a forgotten `await` by that name."""
            commands = self._commands_of_the_parent()
            calls = commands.calls
            calls.number += 1
            call = self._as_a_child(calls.number, commands, args, kwargs)
            if calls.kept:
                calls.keep(call, self.name)
            call.__qualname__ = self.name
            return call

    def _commands_of_the_parent(self) -> Commands:
        commands = current_commands()
        if commands is None:
            raise UsageError(
                f"workflow {self.name} was called outside of a workflow: start it with "
                f"`await app.start({self.name}, …)`, or await `app.run(…)` for its result"
            )
        return commands

    async def _as_a_child(self, number: int, commands: Commands, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        commands.calls.made.pop(number, None)
        _, answer = self._child(commands, args, kwargs)
        return await answer

    def options(self, **options: Unpack[StartKeywords]) -> Self:
        """The same workflow for one start, under an id of yours, or at a later time: a message ends the wait early.

        The workflow reads the `headers` as `ctx.headers`. `timeout` limits the whole instance, whatever becomes of its
        workers: from when its body begins to its end, over all runs that `recur` begins. An instance that reaches it is
        stopped as by `cancel`, undoes its work, and has failed with WorkflowTimeoutError. Of those that wait for a
        worker or for a place under a limit, a higher `priority` goes first. Of one priority, those that wait for a
        worker take turns by their `fair_key`, and a key with a `weight` of 2 has two turns. A child with
        `detached=True` goes on when its parent fails, is cancelled or gives up waiting for it. With
        `paused`, it begins once it is unpaused.
        """
        if (instance_id := options.get("instance_id")) is not None:
            check_id(instance_id)
        if (headers := options.get("headers")) is not None:
            options["headers"] = headers_of(headers, f"the start of workflow {self.name}")
        if (fair_key := options.get("fair_key")) is not None:
            check_key(fair_key, f"the fair_key of the start of workflow {self.name}")
        changed = copy.copy(self)
        changed.given = self.given.changed(options, self.name)
        return changed

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """The workflow with its arguments, for `start_many` and schedules."""
        return Call(self, args, kwargs)

    def recur(self, *args: P.args, **kwargs: P.kwargs) -> NoReturn:
        """End this run and begin the next one with these arguments, under the same id and with a fresh history."""
        commands = current_commands()
        if commands is None:
            raise UsageError(f"{self.name}.recur() ends a run of the workflow: call it in the workflow's body")
        if commands.started.workflow != self.name:
            raise UsageError(
                f"{self.name}.recur() was called in workflow {commands.started.workflow}: a run is continued by the "
                "same workflow; start another one with ctx.start"
            )
        raise ContinueAsNew(self.encode(args, kwargs))

    def launch(self, commands: Commands, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> ChildHandle[R_co]:
        """Start it as a child of the run that `commands` belongs to."""
        started, answer = self._child(commands, args, kwargs)
        return ChildHandle(started.instance_id, answer, answer.stop)

    def _child(self, commands: Commands, args: Any, kwargs: Any) -> Any:
        if self.given.paused:
            raise UsageError(
                f"workflow {self.name} was called by {commands.started.workflow} with paused=True, which is for starts "
                "from outside; start the child, and pause it with app.pause"
            )
        input = self.encode(args, kwargs)
        for limit in self.limits:
            if commands.has_for_the_whole(limit.name, key_of(limit, input)):
                raise UsageError(
                    f"workflow {self.name} was called by {commands.started.workflow}, which has the place under limit "
                    f"{limit.name!r} until it ends: parent and child would wait for each other; give them limits of "
                    "two names"
                )
        return commands.child(self, input)

    @property
    def activities(self) -> frozenset[str]:
        """The names of the activities that its code names."""
        return self._named

    @cached_property
    def _named(self) -> frozenset[str]:
        return names_of_activities(self)

    def encode(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], stored: Callable[[bytes], int] | None = None, /
    ) -> Raw:
        """The stored form of an input. Raises what `Signature.encode_arguments` does, and PayloadTooLargeError."""
        try:
            raw = self.signature.encode_arguments(args, kwargs)
        except UsageError as error:
            raise self._with_options_in_place(error, kwargs) from None
        if len(raw) > MEASURED_BYTES:
            check_large(raw, f"input of workflow {self.name}", stored)
        for limit in self.limits:
            place_of_call(limit, raw)
        return Raw(raw)

    def _with_options_in_place(self, error: UsageError, given: Mapping[str, Any]) -> UsageError:
        """The error, or one that says where an option belongs that was given like an argument."""
        for name, option in _OPTIONS.items():
            if name in given and name not in self.signature.names:
                return UsageError(f"{error}. An option is given by {self.name}.options({option}=…)")
        return error

    def check(self) -> None:
        """Raise RegistrationError for a type that cannot be found or stored."""
        check_context(self.signature, WorkflowContext)
        self.signature.check()

    # ── for the core ────────────────────────────────────────────────────────────────────────────────────────────

    def body(self, commands: Commands, input: Raw, /) -> Coroutine[Any, Any, object]:
        args, kwargs = self.signature.decode_arguments(input)
        context = commands.ctx = WorkflowContext(commands, self.name, self)
        if self.limits or commands.matcher is not None:
            replays = commands.matcher is not None
            declared = [] if replays else [place_of_call(limit, input, fits=False) for limit in self.limits]
            if commands.next_of_the_whole(declared, (False, "")) is not None:
                return within_all(commands, declared, partial(self._fn, context, *args, **kwargs))
        return self._fn(context, *args, **kwargs)  # type: ignore[no-any-return]

    def write_result(self, result: object, /) -> Raw:
        raw = self.signature.encode_result(result)
        if len(raw) > MEASURED_BYTES:
            check_large(raw, f"result of workflow {self.name}")
        return Raw(raw)

    def read_result(self, result: Raw, /) -> object:
        return self.signature.decode_result(result)

    def is_same_call(self, recorded: Raw | bytes, asked: Raw, /) -> bool:
        return bytes(recorded) == bytes(asked) or self.signature.is_same_call(recorded, asked)

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"


answer_names(Workflow, OF_WORKFLOWS, "__name__")
answer_options(Workflow, OF_STARTS, method="options", called="options(…) of a workflow", takes=StartKeywords)


class _WorkflowDecorator(Protocol):
    def __call__(self, fn: Callable[Concatenate[WorkflowContext, P], Coroutine[Any, Any, T]], /) -> Workflow[P, T]: ...


@overload
def workflow(fn: Callable[Concatenate[WorkflowContext, P], Coroutine[Any, Any, T]], /) -> Workflow[P, T]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    event_handler: bool = False,
    index: Sequence[str] = (),
    version: str | None = None,
    schedule: ScheduleKeywords | None = None,
    limits: Sequence[Limit] = (),
    retention: Retention | None = None,
) -> _WorkflowDecorator: ...
def workflow(fn: Any = None, /, **options: Any) -> Any:
    """Declare an `async def` whose first parameter is the WorkflowContext as a workflow.

    Raises RegistrationError if the function cannot be a workflow.
    """
    refuse_unknown("@workflow", options, options_of(Workflow), OF_WORKFLOW)

    def decorate(fn: Any) -> Workflow[..., Any]:
        return declare(Workflow(fn, **options))

    return decorate if fn is None else decorate(fn)


def _retention(fn: Callable[..., Any], given: Any) -> Retention | None:
    try:
        return retention_of(given, f"@workflow on {fn.__qualname__}: retention=")
    except UsageError as error:
        raise RegistrationError(str(error)) from None


def _schedule(fn: Callable[..., Any], options: Any) -> ScheduleOptions:
    """The options, for a workflow that needs no arguments. Raises RegistrationError."""
    what = f"@workflow on {fn.__qualname__}: schedule="
    if not isinstance(options, dict):
        raise RegistrationError(
            f'{what} takes the options of app.schedule by their names, such as {{"cron": "0 2 * * *"}}'
        )
    needed = [each.name for each in list(signature(fn).parameters.values())[1:] if _is_needed(each)]
    if needed:
        raise RegistrationError(
            f"{what} starts the workflow without arguments, and it needs {needed[0]!r}: give it a default, or use "
            "app.schedule(id, workflow.bind(…))"
        )
    try:
        return ScheduleOptions.of(what, cast("ScheduleKeywords", options))
    except UsageError as error:
        raise RegistrationError(str(error)) from None


def _is_needed(parameter: Parameter) -> bool:
    return parameter.default is Parameter.empty and parameter.kind not in (
        Parameter.VAR_POSITIONAL,
        Parameter.VAR_KEYWORD,
    )


def _declared(fn: Callable[..., Any], paths: Sequence[str]) -> tuple[str, ...]:
    """The declared paths, each once: two texts may name one place."""
    found: dict[str, str] = {}
    for path in paths:
        try:
            found.setdefault(path_key(path), path)
        except QueryError as error:
            raise RegistrationError(f"@workflow on {fn.__qualname__}: index=: {error}") from None
    return tuple(found.values())
