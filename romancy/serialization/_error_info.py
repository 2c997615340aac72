"""Turns exceptions into data for the log. It never raises, whatever the exception's methods do.

The attributes of an exception are kept only for types that a workflow may catch as themselves. Its arguments are kept
for these, for the exception itself and for the root of its chain. All that only as far as it is JSON; everything else
about an exception is text of a bounded length.

An exception that was made from a record carries it: what is described again, in a parent or by another process, is what
was recorded where it was raised.
"""

from __future__ import annotations

import builtins
import itertools
import traceback
from contextlib import suppress
from textwrap import indent
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import Raw

from romancy.errors import ActivityError, Expected, TerminalError, WorkflowFailedError
from romancy.serialization._cause_first import around, called, one_line
from romancy.serialization._plan import dumps

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

NO_DATA: Final = Raw(b"")

_LONGEST_MESSAGE: Final = 4_000
_LONGEST_TRACE: Final = 8_000
_LONGEST_LINE: Final = 500
_LARGEST_DATA: Final = 16_000
_MOST_EXCEPTIONS: Final = 24
_MEMBERS_TOLD: Final = 3
_LONGEST_TOLD: Final = 500
_MOST_BASES: Final = 8
_FIRST_FRAMES: Final = 6
_LAST_FRAMES: Final = 14
_OWN_FOLDER: Final = __file__.rpartition("serialization")[0]
_RECORD: Final = "__romancy_record__"
_OURS: Final = (ActivityError, WorkflowFailedError)
_STAND_IN: Final = "romancy.errors.ActivityError"
"""The name of the class of exceptions that stand for one whose class is not here."""
_WRAPPERS: Final = frozenset(
    f"romancy.errors.{name}" for name in ("RetryExhaustedError", "WorkflowFailedError", "WorkflowTimeoutError")
)
"""Our errors about an exception that an activity or a child has raised, which is their cause."""


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """An exception as the log holds it."""

    type: str
    """`module.qualname` of its class, as `exception_name` returns it."""
    message: str = ""
    trace: str = ""
    """The frames of the code that raised it, without the frames of this library."""
    bases: tuple[str, ...] = ()
    """Its base classes up to `Exception`, nearest first: a declared base catches the exception as well."""
    data: Raw = NO_DATA
    """`{"args": […], "attributes": {…}}`; the attributes only if it is of a declared type."""
    cause: ErrorInfo | None = None
    """The exception it was raised from, or that was being handled when it was raised."""
    members: tuple[ErrorInfo, ...] = ()
    """The exceptions of an exception group."""
    expected: bool = False
    """Whether it belongs to the business, so that nobody is warned."""

    @property
    def raised(self) -> ErrorInfo:
        """What code of the user's raised: the exception behind our own errors about retries and children."""
        info = self
        while info.type in _WRAPPERS and info.cause is not None:
            info = info.cause
        return info

    @property
    def line(self) -> str:
        """Type and message in one line, without members. Of our own error about another, the other one's first."""
        told = self.told
        return ", ".join([one_line(told.type, told.message, told.trace), *self.added])

    @property
    def summary(self) -> str:
        """The line of the exception. For a group, also those of its first members."""
        members = self.told.members
        if not members:
            return self.line
        told = [_shortened(member.summary) for member in members[:_MEMBERS_TOLD]]
        more = len(members) - len(told)
        return f"{self.line} ({'; '.join(told)}{f'; and {more} more' if more else ''})"

    @property
    def added(self) -> list[str]:
        """What our own errors about what was raised add to it."""
        return around(f"{self.type}: {self.message}")[1] if self.raised is not self else []

    @property
    def told(self) -> ErrorInfo:
        """The exception to name first: what was raised, unless our own error says something else about it."""
        return self.raised if self.added else self

    @property
    def report(self) -> str:
        """Trace and message in some lines, with the cause and, for a group, the members."""
        lines = [self.line, *filter(None, [self.trace])] if self.added else [self.trace or self.line]
        for number, member in enumerate(self.members, 1):
            lines += [f"  member {number} of {len(self.members)}:", indent(member.report, "    ")]
        if self.cause is not None:
            lines += ["  caused by:", indent(self.cause.report, "    ")]
        return "\n".join(lines)


def failed_call(info: ErrorInfo) -> str:
    """The id of the activity or child whose failure this error is about. Empty: it is no error of ours about one."""
    return called(f"{info.type}: {info.message}")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}…"


class ErrorData(msgspec.Struct, frozen=True, omit_defaults=True):
    """The data of an exception of a declared type. Arguments that are not all JSON are left out as a whole."""

    args: list[Any] | None = None
    attributes: dict[str, Any] = {}


def exception_name(cls: type[BaseException]) -> str:
    """The name under which exceptions of this class are recorded and looked up.

    A class of a script has the same name in the processes that the script starts for its activities.
    """
    module = "__main__" if cls.__module__ == "__mp_main__" else cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def describe_exception(
    exc: BaseException, declared: tuple[type[BaseException], ...] = (), named: Collection[str] = ()
) -> ErrorInfo:
    """Turn an exception into data. Never raises, whatever its `__str__`, `__repr__` or attributes do.

    `declared` are the classes that may come back as themselves, and `named` the names of further ones. `TerminalError`
    is always one of them.
    """
    return _Describer((TerminalError, *declared), named).describe(exc)


class _Describer:
    """Follows causes and members, each exception once, up to the number that an event can hold."""

    def __init__(self, declared: tuple[type[BaseException], ...], named: Collection[str]) -> None:
        self._declared = declared
        self._named = named
        self._seen: set[int] = set()
        self._recorded = 0
        """The exceptions in records that were taken over."""

    def describe(self, exc: BaseException) -> ErrorInfo:
        record = record_of(exc)
        if record is not None and exc.__traceback__ is None:
            return self._taken_over(exc, record)
        first, cause = not self._seen, cause_of(exc)
        if record is not None and cause is not None and _is_the_same(record, record_of(cause)):
            cause = cause_of(cause)  # an activity's own error, caused by itself as the last attempt raised it
        self._seen.add(id(exc))
        name, message = exception_name(type(exc)), _message(exc)
        if record is not None and name == _STAND_IN:
            name, message = record.type, record.message  # it stands for an exception of a class that is not here
        trace = _trace(exc, f"{name}: {message}")
        if record is not None and record.trace:
            trace = f"{record.trace}\n  raised again:\n{trace}"
        return ErrorInfo(
            type=name,
            message=message,
            trace=_bounded(trace, _LONGEST_TRACE if first else _LONGEST_TRACE // 4),
            bases=_bases(type(exc)) if record is None else record.bases,
            data=self._data(exc, record, is_end=first or cause is None),
            members=tuple(self.describe(member) for member in members_of(exc) if self._has_room_for(member)),
            cause=self._cause(cause),
            expected=isinstance(exc, Expected) or (record is not None and record.expected),
        )

    def _cause(self, cause: BaseException | None) -> ErrorInfo | None:
        """The cause. If there is room for one more exception only, it is the root of the chain."""
        if cause is None or not self._has_room_for(cause):
            return None
        if self._room == 1:
            chain = {id(cause): cause}
            while (following := cause_of(cause)) is not None and id(following) not in chain:
                chain[id(following)] = cause = following
        return self.describe(cause) if self._has_room_for(cause) else None

    def _taken_over(self, exc: BaseException, record: ErrorInfo) -> ErrorInfo:
        self._seen.add(id(exc))
        taken = _within(record, self._room + 1)
        self._recorded += _count(taken) - 1
        return taken

    def _data(self, exc: BaseException, record: ErrorInfo | None, *, is_end: bool) -> Raw:
        """Arguments and attributes of a type that may come back, and only arguments at both ends of a chain."""
        if record is not None and record.data != NO_DATA:
            return record.data
        if self._may_come_back(exc):
            return _data(exc)
        return _plain_arguments(exc) if is_end and not isinstance(exc, _OURS) else NO_DATA

    def _may_come_back(self, exc: BaseException) -> bool:
        if isinstance(exc, self._declared):
            return True
        return bool(self._named) and any(exception_name(cls) in self._named for cls in type(exc).__mro__)

    @property
    def _room(self) -> int:
        return _MOST_EXCEPTIONS - len(self._seen) - self._recorded

    def _has_room_for(self, exc: BaseException) -> bool:
        return id(exc) not in self._seen and self._room > 0


def remember(exc: BaseException, record: ErrorInfo) -> None:
    """Let an exception that was made from a record carry it."""
    with suppress(AttributeError, TypeError):
        object.__setattr__(exc, _RECORD, record)


def record_of(exc: BaseException) -> ErrorInfo | None:
    """The record that the exception was made from."""
    try:
        record = object.__getattribute__(exc, "__dict__").get(_RECORD)
    except AttributeError:
        return None
    return record if isinstance(record, ErrorInfo) else None


def with_frames(exc: Exception) -> Exception:
    """The exception with notes, so that a traceback shows where it and its causes were raised."""
    following: BaseException | None = exc
    while following is not None:
        record = record_of(following)
        frames = "" if record is None else record.trace
        if frames and not getattr(following, "__notes__", None):
            with suppress(AttributeError, TypeError):
                object.__setattr__(following, "__notes__", [f"It was raised there:\n{frames}"])
        following = following.__cause__
    return exc


def cause_of(exc: BaseException) -> BaseException | None:
    """The exception it was raised from, or that was being handled when it was raised."""
    return exc.__cause__ if exc.__cause__ is not None or exc.__suppress_context__ else exc.__context__


def _is_the_same(one: ErrorInfo, other: ErrorInfo | None) -> bool:
    """Whether both records are of one exception, whatever they say of its causes."""
    return other is not None and (one.type, one.message, one.trace) == (other.type, other.message, other.trace)


def _count(info: ErrorInfo) -> int:
    return 1 + sum(map(_count, info.members)) + (0 if info.cause is None else _count(info.cause))


def _within(info: ErrorInfo, room: int) -> ErrorInfo:
    """The record with at most so many exceptions: the first ones of its chain, and the root."""
    if _count(info) <= room:
        return info
    chain: list[ErrorInfo] = []
    following: ErrorInfo | None = info
    while following is not None:
        chain.append(following)
        following = following.cause
    kept = chain if len(chain) <= room else [*chain[: max(1, room - 1)], chain[-1]][: max(1, room)]
    shortened: ErrorInfo | None = None
    for one in reversed(kept):
        shortened = msgspec.structs.replace(one, members=(), cause=shortened)
    return shortened or info


def members_of(exc: BaseException) -> tuple[BaseException, ...]:
    """The exceptions of a group, which has at least one. Empty for any other exception."""
    return cast("BaseExceptionGroup[BaseException]", exc).exceptions if is_group(type(exc)) else ()


def is_group(cls: type[BaseException]) -> bool:
    return issubclass(cls, BaseExceptionGroup)


def _bases(cls: type[BaseException]) -> tuple[str, ...]:
    between = (base for base in cls.__mro__[1:] if issubclass(base, Exception) and base is not Exception)
    names = tuple(exception_name(base) for base in itertools.islice(between, _MOST_BASES))
    terminal = exception_name(TerminalError)
    return (
        (*names, terminal)
        if issubclass(cls, TerminalError) and terminal not in (*names, exception_name(cls))
        else names
    )


def _message(exc: BaseException) -> str:
    try:
        text = str(exc.args[0]) if members_of(exc) else str(exc)  # str() of a group also counts its members
    except Exception as error:  # noqa: BLE001 (the user's __str__ may do anything)
        return f"<no message: its __str__ raised {type(error).__name__}>"
    return _bounded(text, _LONGEST_MESSAGE)


def _bounded(text: str, limit: int) -> str:
    """Text that every database can store. Cut text states the full length."""
    if len(text) > limit:
        text = f"{text[:limit]}… ({len(text):,} characters)"
    return text.encode(errors="backslashreplace").decode()


def _trace(exc: BaseException, last_line: str) -> str:
    try:
        frames = traceback.extract_tb(exc.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith(_OWN_FOLDER)]
        lines = _some_of(traceback.format_list(own or frames))
        notes = [str(note) for note in getattr(exc, "__notes__", ())]
    except Exception:  # noqa: BLE001 (a source file that cannot be read, notes that are no list)
        return ""
    text = "".join(_bounded(line, _LONGEST_LINE) for line in lines)
    return "\n".join([text + last_line.partition("\n")[0][:_LONGEST_LINE], *notes]) if text else ""


def _some_of(lines: list[str]) -> list[str]:
    left_out = len(lines) - _FIRST_FRAMES - _LAST_FRAMES
    if left_out <= 0:
        return lines
    return [*lines[:_FIRST_FRAMES], f"  [{left_out} frames left out]\n", *lines[-_LAST_FRAMES:]]


def _data(exc: BaseException) -> Raw:
    args = () if members_of(exc) else _arguments(exc)
    attributes = {name: value for name, value in _attributes(exc) if _as_json(value) is not None}
    return _bounded_data(ErrorData(args=list(args) if _as_json(args) is not None else None, attributes=attributes))


def _plain_arguments(exc: BaseException) -> Raw:
    """The arguments, if they come back as they are without a declaration."""
    args = [] if members_of(exc) else list(_arguments(exc))
    raw = _as_json(args)
    if not args or raw is None or msgspec.json.decode(raw) != args:
        return NO_DATA
    return _bounded_data(ErrorData(args=args))


def _bounded_data(data: ErrorData) -> Raw:
    raw = _as_json(data)
    return Raw(raw) if raw is not None and len(raw) <= _LARGEST_DATA else NO_DATA


def _arguments(exc: BaseException) -> tuple[Any, ...]:
    """The arguments to make it again: its `args`, and further data of a built-in class, such as a file's name."""
    try:
        made_of = builtin_base(type(exc)).__reduce__(exc)[1]
    except Exception:  # noqa: BLE001 (attributes of the user's)
        return exc.args
    return cast("tuple[Any, ...]", made_of)


def builtin_base(cls: type[BaseException]) -> type[BaseException]:
    """The nearest base class that is written in C and so keeps its data in C."""
    builtin: Mapping[str, object] = vars(builtins)
    for base in cls.__mro__:
        if issubclass(base, BaseException) and builtin.get(base.__name__) is base:
            return base
    return BaseException


def _as_json(value: object) -> bytes | None:
    try:
        return dumps(value, "exception data")
    except Exception:  # noqa: BLE001 (the exception itself must be kept)
        return None


def _attributes(exc: BaseException) -> list[tuple[str, Any]]:
    held: dict[str, Any] = {}
    for name in (*vars(exc), *_slots(type(exc))):
        if name == "__notes__" or not name.startswith("__"):
            try:
                held[name] = getattr(exc, name)
            except Exception:  # noqa: BLE001, S112 (an empty slot, or a descriptor of the user's)
                continue
    return list(held.items())


def _slots(cls: type) -> Iterator[str]:
    for base in cls.__mro__:
        names = vars(base).get("__slots__", ())
        yield from (names,) if isinstance(names, str) else names
