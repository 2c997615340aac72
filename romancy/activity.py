"""Activities and compensations: the decorators, and what a call does inside and outside of a workflow.

Inside a workflow a call is a command: the engine writes it to the log, carries it out and answers it from the log on
replay. Outside of a workflow the call runs the plain function, so that unit tests need nothing else.
"""

from __future__ import annotations

import copy
from functools import partial, update_wrapper
from operator import attrgetter
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from msgspec import Raw
from msgspec.structs import replace

from romancy._call_options import (
    ActivityKeywords,
    ActivityOptions,
    CallKeywords,
    DeclaredKeywords,
    UndoKeywords,
    UndoneKeywords,
)
from romancy._expected_options import OF_ACTIVITY, OF_ACTIVITY_CALLS, answer_options, refuse_unknown
from romancy._sizes import check_large, fitting
from romancy.attempt_context import ActivityContext, entered_activity
from romancy.core import current_commands
from romancy.declaring.callables import (
    check_context,
    check_function,
    declared_at,
    is_async,
    is_method,
    name_of,
)
from romancy.declaring.compensation import Compensation
from romancy.declaring.expected_names import OF_ACTIVITIES, answer_names
from romancy.declaring.inner_calls import say_called_by_an_activity
from romancy.declaring.limit_keys import limits_of, place_of_call
from romancy.declaring.limited import within
from romancy.declaring.undo import UndoByActivity
from romancy.depends import dependencies_of, is_dependency
from romancy.errors import RegistrationError, UsageError
from romancy.registry import declare
from romancy.serialization import Signature
from romancy.storage.limits import MEASURED_BYTES, check_event, check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from romancy.core import Commands
    from romancy.limit import Limit
    from romancy.retry import RetryPolicy

__all__ = ["Activity", "Compensation", "activity", "compensation"]

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
D = TypeVar("D")
_NULL: Final = Raw(b"null")


class Exactly(Protocol[P, T]):
    """For type checkers: the parameters and the result of an activity, with no subtype in their place."""

    def __call__(self, result: T, /, *args: P.args, **kwargs: P.kwargs) -> T: ...


class CompensationOf(Protocol[P, R_co]):
    """For type checkers: what `@compensation` makes of a function."""

    @property
    def kind(self) -> Literal["compensation"]: ...
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class Activity(Generic[P, R_co]):
    """A unit of work. Awaiting a call in a workflow runs it durably; elsewhere the call runs the function."""

    kind = "activity"

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        undo: Callable[..., object] | None = None,
        **options: Unpack[DeclaredKeywords],
    ) -> None:
        check_function(fn, "activity")
        self.name = name_of(fn, options.pop("name", None), "activity")
        where = f"@activity on {fn.__qualname__}"
        if "limits" in options:
            options["limits"] = limits_of(options["limits"], where, callable_keys=True)
        self.declared = ActivityOptions.declared(options, self.name, where)
        """Its options. Copies made by `options` share them."""
        self.given = self.declared
        """The options of a call: those of the declaration, and what `options` and `or_default` have changed."""
        self._undo: list[Compensation] = []
        self.is_async = is_async(fn)
        self.declared_at = declared_at(fn)
        self.dependencies = dependencies_of(fn)
        self.signature = Signature.of(
            fn, int(self.declared.pass_context), subject=f"activity {self.name!r}", is_injected=is_dependency
        )
        if self.declared.pass_context:
            check_context(self.signature, ActivityContext)
        self._check_no_other_context(fn)
        self.signature.check_known()
        self._arguments = f"arguments of activity {self.name}"
        update_wrapper(self, fn)
        self.fn: Callable[P, Any] = fn
        """The decorated function."""
        if self.declared.executor == "process":
            self._check_process()
        if undo is not None:
            self._undo_with(undo)

    @property
    def undo(self) -> Compensation | None:
        """The compensation, if there is one. Copies made by `options` share it, also when it is declared after them."""
        return self._undo[0] if self._undo else None

    @property
    def as_undo(self) -> UndoByActivity:
        """This activity as an undo that a body has registered with `ctx.on_undo`."""
        return UndoByActivity(self)

    def written(self, *args: P.args, **kwargs: P.kwargs) -> Raw:
        """The arguments of a call, as they are stored. Raises as a call in a workflow does."""
        return Raw(fitting(self.signature.encode_arguments(args, kwargs), self._arguments))

    if TYPE_CHECKING:
        # Each option of the declaration can be read under its name.
        retry: RetryPolicy | None
        timeout: float | None
        heartbeat_timeout: float | None
        executor: Literal["thread", "process"]
        transactional: bool
        raises: tuple[type[Exception], ...]
        pass_context: bool
        compensate: Literal["completed", "attempted"]
        lazy: bool
        at_most_once: bool
        limits: tuple[Limit, ...]

        @property
        def _exactly(self) -> Exactly[P, R_co]: ...
        async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    else:

        def __call__(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
            """Return a coroutine under the activity's name, so that Python reports a forgotten `await` by that name."""
            commands = current_commands()
            if commands is None:
                if (outer := entered_activity()) is not None:
                    say_called_by_an_activity(self.name, outer)
                call = self._plainly(args, kwargs)
            else:
                calls = commands.calls
                calls.number += 1
                call = self._durably(calls.number, commands, args, kwargs)
                if calls.kept:
                    calls.keep(call, self.name)
            call.__qualname__ = self.name
            return call

    async def _plainly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            outcome = self.fn(*args, **kwargs)
            return await outcome if self.is_async else outcome
        except Exception:
            if self.given.default is None:
                raise
            return self.read_default(self.given.default)

    async def _durably(self, number: int, commands: Commands, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        commands.calls.made.pop(number, None)
        encoded = Raw(self.signature.encode_arguments(args, kwargs))
        if len(encoded) > MEASURED_BYTES:
            check_large(encoded, self._arguments)
        if limits := self.given.limits:
            wanted = [place_of_call(limit, encoded, args, kwargs) for limit in limits]
            del args, kwargs
            return await within(commands, wanted, partial(commands.activity, self, encoded))
        del args, kwargs  # free the arguments: the call may wait for days
        return await commands.activity(self, encoded)

    def options(self, **options: Unpack[CallKeywords]) -> Self:
        """The same activity for one call, under your own id, policy or timeout."""
        if (id := options.get("id")) is not None:
            check_id(id, f"activity id of {self.name}")
        changed = copy.copy(self)
        changed.given = self.given.called(options, self.name)
        return changed

    def or_default(self, default: D, /) -> Activity[P, R_co | D]:
        """The same activity for calls that return `default` when they have failed for good, instead of raising.

        The default is None, or a value of the type that the activity returns. The log keeps it beside the error, and a
        replay or a retry of the workflow gets what the log has. The call has failed all the same: only
        `compensate="attempted"` undoes it. A cancelled call does not return.
        """
        changed = cast("Activity[P, R_co | D]", copy.copy(self))
        stored = _NULL if default is None else Raw(self.signature.encode_default(default))
        checked = Raw(check_event(stored, f"default of activity {self.name}"))
        changed.given = replace(self.given, default=checked)
        return changed

    @overload
    def compensation(self, fn: Callable[Concatenate[R_co, P], object], /) -> Compensation: ...
    @overload
    def compensation(self, fn: Callable[P, object], /) -> Compensation: ...
    def compensation(self, fn: Callable[..., object], /) -> Compensation:
        """Decorator: `fn` undoes this activity."""
        return self._undo_with(fn)

    def _check_no_other_context(self, fn: Callable[..., Any]) -> None:
        for name, written in fn.__annotations__.items():
            kind = written if isinstance(written, str) else getattr(written, "__name__", "")
            if kind not in ("WorkflowContext", "ActivityContext") or name not in self.signature.names:
                continue
            raise RegistrationError(
                f"activity {self.name} takes a {kind} as {name!r}, and is called without one: declare it with "
                "@activity(pass_context=True) and `ctx: ActivityContext` first, or make it a @workflow"
            )

    def _check_process(self) -> None:
        """Check a function for another process, which finds it by its name and shares nothing with this one."""
        if self.is_async:
            raise RegistrationError(f"activity {self.name}: executor='process' is for plain functions, not async ones")
        if "<locals>" in self.fn.__qualname__ or is_method(self.fn):
            raise RegistrationError(
                f"activity {self.name}: executor='process' needs a function at the top of a module, "
                "where another process can find it, and no method of an object"
            )
        if self.declared.pass_context or self.dependencies:
            raise RegistrationError(
                f"activity {self.name}: executor='process' shares nothing with the app: it has neither a context "
                "nor dependencies"
            )
        if self.declared.lazy:
            raise RegistrationError(
                f"activity {self.name}: executor='process' takes longer than the commit that commit='lazy' saves; "
                "leave commit= out"
            )
        if self.declared.heartbeat_timeout is not None:
            raise RegistrationError(
                f"activity {self.name}: executor='process' has no context to give a heartbeat with; "
                "use timeout=, which ends the process"
            )

    def _undo_with(self, fn: Callable[..., object]) -> Compensation:
        if self.undo is not None:
            raise RegistrationError(f"activity {self.name} already has the compensation {self.undo.name}")
        if self.declared.lazy:
            raise RegistrationError(
                f"activity {self.name}: with commit='lazy', a crash can lose the record that it ran, and nothing would "
                "undo it; leave commit= out, or the compensation"
            )
        if isinstance(fn, Compensation):
            undo = fn
        else:
            undo = declare(Compensation(fn, name=f"{self.name}.{fn.__name__}" if is_method(fn) else None))
        if self.declared.compensate == "attempted" and undo.takes_result:
            raise RegistrationError(
                f"activity {self.name}: an attempt that did not complete has no result, which the compensation "
                f"{undo.name} asks for; leave its `result` out, or compensate only what completed"
            )
        undo.check_fits(self)
        self._undo.append(undo)
        return undo

    def check(self) -> None:
        """Raise RegistrationError for a type that cannot be found or stored."""
        if self.declared.pass_context:
            check_context(self.signature, ActivityContext)
        self.signature.check()

    def read_result(self, result: Any, /) -> object:
        """Decode a stored result as its declared type."""
        return self.signature.decode_result(result)

    def read_default(self, default: Raw, /) -> object:
        """Decode a stored default."""
        return None if default == _NULL else self.read_result(default)

    def is_same_call(self, recorded: Raw, asked: Raw, /) -> bool:
        return self.signature.is_same_call(recorded, asked)

    def __get__(self, instance: object, owner: type | None = None, /) -> Self:
        if instance is not None:
            raise UsageError(
                f"activity {self.name} was taken from an instance of {type(instance).__name__}, whose class holds it: "
                "it would run without the instance. Make an activity of the object's method, as in "
                f'`self.{self.name.rpartition(".")[2]} = activity(self.method, name="{self.name}")` in __init__, or '
                "put @staticmethod above @activity"
            )
        return self

    def __repr__(self) -> str:
        return f"<activity {self.name}>"


for _option in [*(DeclaredKeywords.__annotations__.keys() - {"name", "commit"}), "lazy"]:
    setattr(Activity, _option, property(attrgetter(f"declared.{_option}")))
answer_names(Activity, OF_ACTIVITIES, "__name__")
answer_options(Activity, OF_ACTIVITY_CALLS, method="options", called="options(…) of an activity", takes=CallKeywords)

_OPTIONS: Final = ("compensation", *DeclaredKeywords.__annotations__)


class _ActivityDecorator(Protocol):
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Activity[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Activity[P, T]: ...


class _ContextActivityDecorator(Protocol):
    @overload
    def __call__(self, fn: Callable[Concatenate[ActivityContext, P], Coroutine[Any, Any, T]], /) -> Activity[P, T]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[ActivityContext, P], T], /) -> Activity[P, T]: ...


class _CompensatedDecorator(Protocol[Q]):
    """The compensation takes the activity's parameters, or `result` and then those."""

    @overload
    def __call__(self, fn: Callable[Q, Coroutine[Any, Any, T]], /) -> Activity[Q, T]: ...
    @overload
    def __call__(self, fn: Callable[Q, T], /) -> Activity[Q, T]: ...
    @overload
    def __call__(
        self: _CompensatedDecorator[Concatenate[T, P]], fn: Callable[P, Coroutine[Any, Any, T]], /
    ) -> Activity[P, T]: ...
    @overload
    def __call__(self: _CompensatedDecorator[Concatenate[T, P]], fn: Callable[P, T], /) -> Activity[P, T]: ...


@overload
def activity(
    fn: Callable[P, Coroutine[Any, Any, T]],
    /,
    *,
    compensation: Callable[P, object] | Callable[Concatenate[T, P], object] | None = None,
    compensate: Literal["completed", "attempted"] = "completed",
    **options: Unpack[ActivityKeywords],
) -> Activity[P, T]: ...
@overload
def activity(
    fn: Callable[P, T],
    /,
    *,
    compensation: Callable[P, object] | Callable[Concatenate[T, P], object] | None = None,
    compensate: Literal["completed", "attempted"] = "completed",
    **options: Unpack[ActivityKeywords],
) -> Activity[P, T]: ...
@overload
def activity(
    fn: Callable[Concatenate[ActivityContext, P], Coroutine[Any, Any, T]],
    /,
    *,
    pass_context: Literal[True],
    **options: Unpack[ActivityKeywords],
) -> Activity[P, T]: ...
@overload
def activity(
    fn: Callable[Concatenate[ActivityContext, P], T],
    /,
    *,
    pass_context: Literal[True],
    **options: Unpack[ActivityKeywords],
) -> Activity[P, T]: ...
@overload
def activity(
    *,
    compensation: Callable[Q, object],
    compensate: Literal["completed", "attempted"] = "completed",
    **options: Unpack[UndoneKeywords],
) -> _CompensatedDecorator[Q]: ...
@overload
def activity(*, pass_context: Literal[True], **options: Unpack[ActivityKeywords]) -> _ContextActivityDecorator: ...
@overload
def activity(**options: Unpack[ActivityKeywords]) -> _ActivityDecorator: ...
def activity(fn: Any = None, /, *, compensation: Callable[..., object] | None = None, **options: Any) -> Any:
    """Declare a function, async or not, or the method of an object as an activity.

    A method needs a `name=` of yours: `charge = activity(billing.charge, name="billing.charge")`. The log holds the
    name and the arguments, never the object; a worker calls the method of its own object.

    `compensate="attempted"` also undoes an activity that failed or was cancelled, because it may have had an effect
    outside of the database. The compensation must then accept that there is nothing to undo.

    `timeout` limits one attempt. `heartbeat_timeout` limits the time between two heartbeats, which the attempt gives
    with `activity_context().heartbeat()`. Either one ends the attempt, which then counts as failed. A function in a
    process (`executor="process"`) is killed. A function on a thread gets a CancelledError at its next heartbeat.

    `commit="lazy"` is for a quick activity that may run again: its result is committed together with the next commit of
    its workflow, after some milliseconds at the latest. A crash before that runs it again.

    `at_most_once=True` is for work that must rather not happen than happen twice. An attempt that may have begun, and
    of which nobody knows how it ended, is never begun again: the call raises ActivityUnknownError. An attempt that has
    raised has ended, and the retry policy decides. Such an activity has no session.

    Raises RegistrationError if the function cannot be an activity.
    """
    refuse_unknown("@activity", options, _OPTIONS, OF_ACTIVITY)

    def decorate(fn: Any) -> Activity[..., Any]:
        return declare(Activity(fn, undo=compensation, **options))

    return decorate if fn is None else decorate(fn)


class _CompensationDecorator(Protocol):
    def __call__(self, fn: Callable[P, T], /) -> CompensationOf[P, T]: ...


@overload
def compensation(fn: Callable[P, T], /, **options: Unpack[UndoKeywords]) -> CompensationOf[P, T]: ...
@overload
def compensation(**options: Unpack[UndoKeywords]) -> _CompensationDecorator: ...
def compensation(fn: Any = None, /, **options: Any) -> Any:
    """Declare a function, or a method, that undoes an activity, to be named in `@activity(compensation=…)`."""
    refuse_unknown("@compensation", options, tuple(UndoKeywords.__annotations__), OF_ACTIVITY)

    def decorate(fn: Any) -> Compensation:
        return declare(Compensation(fn, **options))

    return decorate if fn is None else decorate(fn)
