"""The calls of a test app that put fakes and faults in the place of activities, with types that check the fakes.

A fake that is a function takes the parameters of its activity without the dependencies. A type checker cannot leave
parameters out of a list of parameters, so activities with dependencies are checked by how many arguments they take.
"""

# pyright: reportOverlappingOverload=false
# The overloads with `_Of` are narrower than the others, which are for activities with dependencies.

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from romancy.errors import ActivityTimeoutError, UsageError
from romancy.retry import whole_number
from romancy.testing._calls import name_of_activity
from romancy.testing._mocks import Fault, fake_of, fake_of_step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from contextlib import AbstractContextManager

    from romancy.activity import CompensationOf, Exactly
    from romancy.testing._calls import Calls
    from romancy.testing._mocks import Stage

    Raised: TypeAlias = BaseException | type[BaseException]
    Block: TypeAlias = AbstractContextManager[None]

__all__ = ["Faking"]

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


class _Of(Protocol[P, T]):
    """An activity with exactly these parameters and this result."""

    @property
    def _exactly(self) -> Exactly[P, T]: ...


class _Of0(Protocol[T]):
    """An activity that can be called without an argument."""

    @property
    def _exactly(self) -> Exactly[..., T]: ...
    def __call__(self) -> Coroutine[Any, Any, T]: ...


class _Of1(Protocol[A, T]):  # type: ignore[misc] # invariant, so that a subtype is no fit
    """An activity that can be called with one argument, of exactly this type."""

    @property
    def _exactly(self) -> Exactly[Concatenate[A, ...], T]: ...
    def __call__(self, a: A, /) -> Coroutine[Any, Any, T]: ...


class _Of2(Protocol[A, B, T]):  # type: ignore[misc] # invariant, so that a subtype is no fit
    """An activity that can be called with two arguments, of exactly these types."""

    @property
    def _exactly(self) -> Exactly[Concatenate[A, B, ...], T]: ...
    def __call__(self, a: A, b: B, /) -> Coroutine[Any, Any, T]: ...


class _Of3(Protocol[A, B, C, T]):  # type: ignore[misc] # invariant, so that a subtype is no fit
    """An activity that can be called with three arguments, of exactly these types."""

    @property
    def _exactly(self) -> Exactly[Concatenate[A, B, C, ...], T]: ...
    def __call__(self, a: A, b: B, c: C, /) -> Coroutine[Any, Any, T]: ...


class Faking:
    """Fakes and faults of a test app."""

    _stage: Stage

    @property
    def calls(self) -> Calls:
        """The attempts at activities and compensations so far, in the order in which they began."""
        return self._stage.calls

    @overload
    def mock(self, activity: _Of[..., Any], fake: Raised, /) -> None: ...
    @overload
    def mock(self, activity: _Of[..., T], fake: T, /) -> None: ...
    @overload
    def mock(self, activity: _Of[P, T], fake: Callable[P, T], /) -> None: ...
    @overload
    def mock(self, activity: _Of[P, T], fake: Callable[P, Awaitable[T]], /) -> None: ...
    @overload
    def mock(self, activity: _Of0[T], fake: Callable[[], T], /) -> None: ...
    @overload
    def mock(self, activity: _Of0[T], fake: Callable[[], Awaitable[T]], /) -> None: ...
    @overload
    def mock(self, activity: _Of1[A, T], fake: Callable[[A], T], /) -> None: ...
    @overload
    def mock(self, activity: _Of1[A, T], fake: Callable[[A], Awaitable[T]], /) -> None: ...
    @overload
    def mock(self, activity: _Of2[A, B, T], fake: Callable[[A, B], T], /) -> None: ...
    @overload
    def mock(self, activity: _Of2[A, B, T], fake: Callable[[A, B], Awaitable[T]], /) -> None: ...
    @overload
    def mock(self, activity: _Of3[A, B, C, T], fake: Callable[[A, B, C], T], /) -> None: ...
    @overload
    def mock(self, activity: _Of3[A, B, C, T], fake: Callable[[A, B, C], Awaitable[T]], /) -> None: ...
    @overload
    def mock(self, activity: CompensationOf[P, object], fake: Callable[P, object] | Raised | None, /) -> None: ...
    @overload
    def mock(self, activity: str, fake: object, /) -> None: ...
    def mock(self, activity: Any, fake: Any, /) -> None:
        """Call a fake in the place of an activity or a compensation from now on.

        `fake` is what it returns, an exception that it raises, or a function (async or not) with the parameters of the
        activity, without its context and dependencies. Its result is stored and read as the activity's own.

        A step is given by its name, and its fake is called without arguments. An activity is given itself, since its
        types are compared.
        """
        name = self._name(activity)
        self._stage.fakes[name] = fake_of_step(name, fake) if isinstance(activity, str) else fake_of(activity, fake)

    def unmock(self, activity: _Of[..., Any] | CompensationOf[..., object] | str, /) -> None:
        """Run the activity as it is again."""
        self._stage.fakes.pop(name_of_activity(activity), None)

    @overload
    def mocked(self, activity: _Of[..., Any], fake: Raised, /) -> Block: ...
    @overload
    def mocked(self, activity: _Of[..., T], fake: T, /) -> Block: ...
    @overload
    def mocked(self, activity: _Of[P, T], fake: Callable[P, T], /) -> Block: ...
    @overload
    def mocked(self, activity: _Of[P, T], fake: Callable[P, Awaitable[T]], /) -> Block: ...
    @overload
    def mocked(self, activity: _Of0[T], fake: Callable[[], T], /) -> Block: ...
    @overload
    def mocked(self, activity: _Of0[T], fake: Callable[[], Awaitable[T]], /) -> Block: ...
    @overload
    def mocked(self, activity: _Of1[A, T], fake: Callable[[A], T], /) -> Block: ...
    @overload
    def mocked(self, activity: _Of1[A, T], fake: Callable[[A], Awaitable[T]], /) -> Block: ...
    @overload
    def mocked(self, activity: _Of2[A, B, T], fake: Callable[[A, B], T], /) -> Block: ...
    @overload
    def mocked(self, activity: _Of2[A, B, T], fake: Callable[[A, B], Awaitable[T]], /) -> Block: ...
    @overload
    def mocked(self, activity: _Of3[A, B, C, T], fake: Callable[[A, B, C], T], /) -> Block: ...
    @overload
    def mocked(self, activity: _Of3[A, B, C, T], fake: Callable[[A, B, C], Awaitable[T]], /) -> Block: ...
    @overload
    def mocked(self, activity: CompensationOf[P, object], fake: Callable[P, object] | Raised | None, /) -> Block: ...
    @overload
    def mocked(self, activity: str, fake: object, /) -> Block: ...
    def mocked(self, activity: Any, fake: Any, /) -> Block:
        """Call a fake in the place of an activity inside the block, as with `mock`."""
        return self._mocked(activity, fake)

    @contextmanager
    def _mocked(self, activity: Any, fake: Any) -> Generator[None]:
        fakes, name = self._stage.fakes, name_of_activity(activity)
        before = fakes.get(name)
        self.mock(activity, fake)
        try:
            yield
        finally:
            fakes.pop(name, None)
            if before is not None:
                fakes[name] = before

    def fail(
        self,
        activity: _Of[..., Any] | CompensationOf[..., object] | str,
        error: Raised = ConnectionError,
        /,
        *,
        times: int = 1,
    ) -> None:
        """Let the next attempts at an activity raise an error, before its function or fake is called."""
        self._disturb(activity, times, lambda: error if isinstance(error, BaseException) else error(), after=False)

    def time_out(self, activity: _Of[..., Any] | CompensationOf[..., object] | str, /, *, times: int = 1) -> None:
        """Let the next attempts at an activity time out, before its function or fake is called."""
        name = name_of_activity(activity)
        error = f"activity {name} took longer than its timeout: the test let it time out"
        self._disturb(activity, times, lambda: ActivityTimeoutError(error), after=False)

    def lose_answer(self, activity: _Of[..., Any] | CompensationOf[..., object] | str, /, *, times: int = 1) -> None:
        """Let the next attempts at an activity do their work and then fail, as if the answer had been lost."""
        error = "the test lost the answer: what was to be done has been done"
        self._disturb(activity, times, lambda: ConnectionError(error), after=True)

    def _disturb(self, activity: object, times: int, error: Callable[[], BaseException], *, after: bool) -> None:
        fault = Fault(whole_number(times, "times"), error, after=after)
        self._stage.faults.setdefault(self._name(activity), []).append(fault)

    def _name(self, activity: object) -> str:
        """The name of the activity or the step. Raises UsageError if an activity is given by its name."""
        name = name_of_activity(activity)
        if isinstance(activity, str) and self._stage.is_declared(name):
            raise UsageError(f"a fake needs the activity itself, not its name {activity!r}: its types are asked")
        return name
