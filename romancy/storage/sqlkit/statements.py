"""Operations on an SQL database, written once for all dialects, without input and output.

An operation is a generator. It yields requests, which ask for named scripts with values, receives the answers, and
returns its result. An interpreter, one for each dialect, carries it out in one of three ways (`Interpreter`).

**It begins anew.** An interpreter gets a function that begins the operation, not the operation. After a deadlock it
closes the generator and calls the function again. So an operation changes nothing but by its requests.

**It is given up.** If the call is cancelled, or a statement fails, the interpreter closes the generator at the request
where it waits, and ends the transaction without a commit. An operation must not yield while it is closed.

**A dialect's own way.** A dialect whose statements can do less answers a script with an operation of its own, which
asks for several scripts (`Running`). The operation that all dialects share does not see it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from romancy.errors import InternalError, StorageUnavailableError

__all__ = [
    "ROUNDS",
    "Answer",
    "Ask",
    "Composed",
    "Interpreter",
    "LockedError",
    "Operation",
    "OvertakenError",
    "Own",
    "Request",
    "Running",
    "Values",
    "ask",
    "ask_all",
    "ask_last",
    "look",
    "nothing",
    "tell",
]

T = TypeVar("T")

ROUNDS: Final = 10
"""How often an operation begins anew because another transaction was faster."""

Values: TypeAlias = Mapping[str, Any]
"""Texts, bytes, numbers, truth values, None, lists of these, and tables: lists of rows, whose columns the head of the
script names. A script takes those that its head names.
"""


class Composed(NamedTuple):
    """A statement that a dialect composes for each call."""

    columns: tuple[str, ...]
    text: Any
    """As the dialect sends it."""
    values: Sequence[object] = ()


class Ask(NamedTuple):
    """A script that is to be run, by its name, with values for its parameters."""

    script: str
    values: Values
    expected: int | None = None
    """Of `together`: how many rows the script must touch at least. Otherwise the transaction is undone, and the
    operation begins anew.
    """
    composed: Composed | None = None
    """What is sent in the place of a script. The name is then that of the statement in messages and tests."""


class Answer(NamedTuple):
    """What a script has returned or touched."""

    rows: Sequence[Sequence[Any]]
    touched: int
    """The number of rows that it changed; of a query, the number of its rows."""


class Request(NamedTuple):
    """What an operation asks for at a time. The answers are those to `asks`, then those to `then`."""

    asks: tuple[Ask, ...] = ()
    """Scripts of which none needs another's answer. They begin in this order, and a dialect may send them together.

    What is an operation there may end after the next ones (`Running`).
    """
    then: tuple[Ask, ...] = ()
    """Scripts to run after the commit, where `last`. They see what others have committed until then."""
    early: bool = False
    """Whether `asks` only read, and need not be part of the transaction if it has not begun yet."""
    last: bool = False
    """Whether the transaction ends after `asks`. A dialect may send them together with the commit, and with `then`."""
    news: frozenset[str] = frozenset()
    """What to report as changed, once it is committed."""


Operation: TypeAlias = Generator[Request, list[Answer], T]
Own: TypeAlias = Mapping[str, Callable[[Values], Operation[Answer]]]
"""The scripts that a dialect answers with operations of its own, by name."""
_NONE: Final[Own] = MappingProxyType({})
_SCRIPT: Final = attrgetter("script")


class LockedError(StorageUnavailableError):
    """Another transaction holds a lock for longer than the operation waits. Nothing was written."""


class OvertakenError(StorageUnavailableError):
    """Another transaction has changed the rows of an operation in every round. Nothing was written."""


class Interpreter(Protocol):
    """Carries out operations on the database of one dialect.

    `weight` is about how many pages the operation changes. `lock_waits`: how often it tries again after it has waited
    for a lock, for about a second, in vain; then `LockedError`. None: as often as is usual.
    """

    def read(self, begin: Callable[[], Operation[T]], /) -> Coroutine[Any, Any, T]:
        """An operation that changes nothing. Its requests may see different states."""
        ...

    def in_turn(
        self, begin: Callable[[], Operation[T]], /, *, weight: int = 3, lock_waits: int | None = None
    ) -> Coroutine[Any, Any, T]:
        """An operation of which each request is committed alone, and sees what was committed before it.

        Where one transaction writes at a time, all requests may be one transaction.
        """
        ...

    def together(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,
        lock_waits: int | None = None,
        lasting: bool = True,
        keys: Sequence[int] = (),
    ) -> Coroutine[Any, Any, T]:
        """An operation whose requests are one transaction, except for `Request.then`.

        A crash of the server may undo a transaction that is not `lasting`, but never without all later commits. The
        transaction begins with the locks of these `keys`, where a dialect has such locks.

        `OvertakenError` if a script touches fewer rows than expected in each of `ROUNDS` rounds.
        """
        ...


def ask(script: str, /, **values: Any) -> Operation[Answer]:
    """Ask for one script."""
    (answer,) = yield Request((Ask(script, values),))
    return answer


def ask_all(*asks: Ask) -> Operation[list[Answer]]:
    """Ask for scripts of which none needs another's answer."""
    return (yield Request(asks))


def ask_last(*asks: Ask, then: tuple[Ask, ...] = ()) -> Operation[list[Answer]]:
    """Ask for the last scripts of a transaction, and for others after its commit."""
    return (yield Request(asks, then, last=True))


def look(*asks: Ask) -> Operation[list[Answer]]:
    """Ask for scripts that only read, and that a transaction which has not begun need not begin for."""
    return (yield Request(asks, early=True))


def tell(*news: str) -> Operation[None]:
    """Report these as changed after the commit."""
    yield Request(news=frozenset(news))


class Running(Generic[T]):
    """An operation under way, for an interpreter. Close it, however the call ends.

    Where the dialect has operations of its `own` for scripts, they answer a request in the place of these scripts.
    """

    result: T

    def __init__(self, operation: Operation[T], own: Own = _NONE) -> None:
        self._operation = operation
        self._own = own
        self._instead: Operation[list[Answer]] | None = None
        """What answers the present request of the operation, if its scripts are operations."""
        self.news: set[str] = set()
        """What it has told so far."""
        self.request: Request | None = None
        """What it waits for. None: it has ended, and `result` is its result."""
        self.answer(None)

    def answer(self, answers: list[Answer] | None) -> None:
        """Give it the answers to its request. None: it begins."""
        try:
            while True:
                if self._instead is not None:
                    request, answers = self._from_instead(answers)
                    if request is None:
                        continue
                else:
                    request = self._operation.send(answers)  # type: ignore[arg-type]  # None begins it
                    if not self._own.keys().isdisjoint(map(_SCRIPT, request.asks)):
                        self._instead, answers = _answers(request, self._own), None
                        continue
                    answers = []
                if request.news:
                    self.news |= request.news
                if request.asks or request.then or request.last:
                    self.request = request
                    return
        except StopIteration as end:
            self.request = None
            self.result = end.value

    def _from_instead(self, answers: list[Answer] | None) -> tuple[Request | None, list[Answer]]:
        """The next request of what answers the present one, or its answers if it has ended."""
        assert self._instead is not None  # noqa: S101 - the caller has looked
        try:
            return self._instead.send(answers), []  # type: ignore[arg-type]  # None begins it
        except StopIteration as end:
            self._instead = None
            return None, end.value

    def close(self) -> None:
        """Give it up where it waits, if it has not ended."""
        if self._instead is not None:
            self._instead.close()
        self._operation.close()


def nothing(_: Values) -> Operation[Answer]:
    """The answer to a script that a dialect does not need."""
    yield Request()
    return Answer((), 0)


def _answers(request: Request, own: Own) -> Operation[list[Answer]]:
    parts = [own[each.script](each.values) if each.script in own else _alone(each) for each in request.asks]
    if not request.last:
        return (yield from _side_by_side(parts, early=request.early))
    if len(parts) > 1:
        raise InternalError("a last request has several scripts, of which one is an operation here")
    return (yield from _answers_last(parts[0], request.then))


def _alone(each: Ask) -> Operation[Answer]:
    (answer,) = yield Request((each,))
    return answer


def _side_by_side(parts: list[Operation[Answer]], *, early: bool) -> Operation[list[Answer]]:
    """The answers of several operations, whose first requests are one, and so on."""
    with ExitStack() as stack:
        running = [stack.enter_context(closing(Running(one))) for one in parts]
        while under_way := [(one, one.request.asks) for one in running if one.request is not None]:
            free = early or all(one.request is not None and one.request.early for one, _ in under_way)
            answers = yield Request(tuple(each for _, asks in under_way for each in asks), early=free)
            for one, asks in under_way:
                one.answer(answers[: len(asks)])
                answers = answers[len(asks) :]
        yield Request(news=frozenset[str]().union(*(one.news for one in running)))
        return [one.result for one in running]


def _answers_last(parts: Operation[Answer], then: tuple[Ask, ...]) -> Operation[list[Answer]]:
    """The answer of an own operation whose last request ends the transaction, and those to `then`."""
    with closing(Running(parts)) as running:
        while (inner := running.request) is not None and not inner.last:
            running.answer((yield inner))
        asks, first = (inner.asks, inner.then) if inner is not None else ((), ())
        answers = yield Request(asks, first + then, last=True, news=frozenset(running.news))
        count = len(asks) + len(first)
        if inner is not None:
            running.answer(answers[:count])
        if running.request is not None:
            raise InternalError("an operation goes on after its last request")
        return [running.result, *answers[count:]]
