"""The parameters and the result of a workflow or an activity, and the stored form of a call.

The stored form of a call, which is also the document that queries search, is an object of parameter names and values,
`{}` for no parameters. Defaults are filled in. So a parameter with a default can be added later.

Where people write inputs (HTTP, the command line), the value of the *bare parameter* may stand for the object
(`read_given`): the only parameter, or the first one if all others have defaults.

Parameters that the engine supplies (the context, dependencies) are not part of it.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import msgspec

from romancy.errors import RegistrationError, SerializationError, UsageError
from romancy.serialization._names import TypesOf, signature_of
from romancy.serialization._plan import UnknownTypeError
from romancy.serialization._reasons import raise_unreadable
from romancy.serialization._types import may_be, members_of
from romancy.serialization._value_at_fault import Where, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from romancy.serialization._plan import Plan

_CLOSING: Final = ord("}")
_NO_DEFAULT: Final = inspect.Parameter.empty
_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument that a caller passes."""

    name: str
    keyword_only: bool
    default: object

    @property
    def required(self) -> bool:
        return self.default is _NO_DEFAULT


_Argument: TypeAlias = "tuple[Parameter, Plan, Where, bytes, bytes, Callable[[bytes | msgspec.Raw], Any]]"
"""A parameter with its plan, and where it is: the bytes before its value in a stored object, the same if it is the only
one, and what reads it. Python unpacks exact tuples faster than named ones.
"""


def _nothing_is_injected(_default: object) -> bool:
    return False


class Signature:
    """The parameters and the result of one function. Their types are resolved when first needed.

    Immutable from outside and safe to share between threads.
    """

    def __init__(
        self,
        fn: Callable[..., object],
        subject: str,
        parameters: tuple[Parameter, ...],
        injected: Mapping[str, object],
        leading: tuple[str, ...] = (),
    ) -> None:
        self.subject = subject
        self.leading = leading
        """The names of the leading parameters, which the engine supplies."""
        self.parameters = parameters
        self.injected = injected
        """The names of the dependencies with their defaults."""
        self._types = TypesOf(fn)
        self._positional = tuple(parameter for parameter in parameters if not parameter.keyword_only)
        self._plain = len(parameters) if len(parameters) == len(self._positional) else -1
        """The number of parameters if all are positional; -1 if some are keyword-only."""
        self._argument_plans: tuple[_Argument, ...] | None = None
        self._result_where = Where("result", subject)
        self._arguments_where = Where("arguments", subject)
        self.names = tuple(parameter.name for parameter in parameters)
        self._known = frozenset(self.names)

    @classmethod
    def of(
        cls,
        fn: Callable[..., object],
        skip_first: int = 0,
        *,
        subject: str | None = None,
        is_injected: Callable[[object], bool] = _nothing_is_injected,
    ) -> Signature:
        """Read a function while it is being decorated.

        `skip_first`: how many leading parameters the engine supplies (the context, `self`); `True` is one. `subject`:
        the function's name in errors, such as "activity 'charge'". `is_injected`: whether a default marks a dependency,
        which must then be keyword-only.

        Raises RegistrationError for a function that cannot be called from a stored call. Its types are not resolved
        here; `check` does so.
        """
        method = fn if inspect.ismethod(fn) else None
        original = inspect.unwrap(fn if method is None else method.__func__)
        subject = subject or f"function {original.__qualname__!r}"
        given = list(signature_of(method or original).parameters.values())
        if len(given) < skip_first or any(not _is_leading(parameter) for parameter in given[:skip_first]):
            raise RegistrationError(
                f"{subject} must take {int(skip_first)} leading parameter(s), which Romancy supplies; "
                f"it takes {len(given)}. Put the context first, as in (ctx, …)"
            )
        parameters: list[Parameter] = []
        injected: dict[str, object] = {}
        for parameter in given[skip_first:]:
            _refuse_collector(parameter, subject)
            if is_injected(parameter.default):
                _refuse_positional_dependency(parameter, subject)
                injected[parameter.name] = parameter.default
            else:
                parameters.append(
                    Parameter(parameter.name, parameter.kind is parameter.KEYWORD_ONLY, parameter.default)
                )
        return cls(original, subject, tuple(parameters), injected, tuple(each.name for each in given[:skip_first]))

    def check(self) -> None:
        """Resolve every type now. Raises RegistrationError for a type that is not found or has no JSON form."""
        self._plans()
        self._plan_of_result()

    def check_known(self) -> None:
        """Like `check`, for the types that can be found now."""
        for checked in (self._plans, self._plan_of_result):
            with suppress(UnknownTypeError):
                checked()

    def declared(self) -> dict[str, object]:
        """The types of the parameters and of the result, as far as they can be found now."""
        found: dict[str, object] = {}
        for name in (*self.names, "return"):
            with suppress(RegistrationError):
                found[name] = self._types.declared(name, Where(f"parameter {name!r}", self.subject))
        return found

    def is_declared_as(self, name: str, *kinds: type) -> bool:
        """Whether values of a parameter can be of one of these classes. True if its type cannot be found."""
        try:
            declared = self._types.declared(name, Where(f"parameter {name!r}", self.subject))
        except UnknownTypeError:
            return True
        return any(may_be(member, kinds) for member in members_of(declared))

    def encode_arguments(self, args: Sequence[object], kwargs: Mapping[str, object]) -> bytes:
        """The stored form of this call, proved to read back as the same arguments.

        Raises UsageError if the arguments do not fit the parameters, SerializationError if one is not of its declared
        type or cannot be written.
        """
        values = args if not kwargs and len(args) == self._plain else self._bind(args, kwargs)
        plans = self._argument_plans or self._plans()
        if len(plans) == 1:
            _, plan, where, _, opening, _ = plans[0]
            return opening + plan.write(values[0], where) + b"}"
        members = [
            prefix + plan.write(value, where)
            for value, (_, plan, where, prefix, _, _) in zip(values, plans, strict=True)
        ]
        return b"{%b}" % b",".join(members)

    def decode_arguments(self, raw: bytes | msgspec.Raw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments of a stored call. A parameter added since has its default.

        Raises SerializationError if the arguments are of another shape, or if the function does not take one of them.
        """
        plans = self._argument_plans or self._plans()
        if len(plans) == 1:
            parameter, plan, _, _, opening, _ = plans[0]
            text = bytes(raw)
            if text.startswith(opening) and text[-1] == _CLOSING:
                try:
                    value = plan.decode(text[len(opening) : -1])  # a second member makes this no JSON
                except Exception:  # noqa: BLE001, S110 - it is read again below, and the error names the place
                    pass
                else:
                    return ((), {parameter.name: value}) if parameter.keyword_only else ((value,), {})
        stored = self._read_members(raw)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter, _, where, _, _, read in plans:
            member = stored.get(parameter.name)
            if member is None and parameter.required:
                raise refusal(where, "$", f"it is not among those stored ({_listed(stored)}), and has no default")
            value = parameter.default if member is None else read(member)
            if parameter.keyword_only:
                kwargs[parameter.name] = value
            else:
                args.append(value)
        return tuple(args), kwargs

    def read_given(self, raw: bytes | msgspec.Raw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call that was written by hand: as it is stored, or the value of the bare parameter alone.

        An object whose members are all names of parameters is read by name, if it fits. Raises SerializationError.
        """
        if self.bare is None:
            return self.decode_arguments(raw)
        try:
            names = _read_object(raw).keys()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            names = None
        named = b"{%b%b}" % (msgspec.json.encode(self.bare) + b":", bytes(raw))
        if names is None or not names <= self._known:
            return self.decode_arguments(named)
        try:
            return self.decode_arguments(raw)
        except SerializationError:
            with suppress(SerializationError):
                return self.decode_arguments(named)
            raise

    def by_name(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call that fits, by their names."""
        return dict(zip((parameter.name for parameter in self._positional), args, strict=False)) | dict(kwargs)

    @cached_property
    def bare(self) -> str | None:
        """The name of the bare parameter: the only one, or the first if all others have defaults."""
        first, others = self.parameters[:1], self.parameters[1:]
        return first[0].name if first and not any(other.required for other in others) else None

    def is_same_call(self, older: bytes | msgspec.Raw, newer: bytes | msgspec.Raw) -> bool:
        """Whether the newer stored call differs from the older one only by arguments with the function's defaults."""
        try:
            if not _is_within(msgspec.json.decode(older), msgspec.json.decode(newer)):
                return False
            return bool(self.decode_arguments(older) == self.decode_arguments(newer))
        except Exception:  # noqa: BLE001 (it cannot be read, or the user's `__eq__` raises)
            return False

    @cached_property
    def encode_result(self) -> Callable[[object], bytes]:
        """Writes a result, proved to read back equal. Raises SerializationError otherwise."""
        return partial(self._plan_of_result().write, where=self._result_where)

    def encode_default(self, default: object) -> bytes:
        """Write what a call returns instead of an error, as a result. Raises SerializationError, which names it."""
        return self._plan_of_result().write(default, where=Where("default", self.subject))

    @cached_property
    def decode_result(self) -> Callable[[bytes | msgspec.Raw], Any]:
        """Reads a result as its declared type. Raises SerializationError if it is of another shape."""
        return self._plan_of_result().reader(self._result_where)

    def _plans(self) -> tuple[_Argument, ...]:
        if self._argument_plans is None:
            wheres = [Where(f"parameter {name!r}", self.subject) for name in self.names]
            prefixes = [msgspec.json.encode(name) + b":" for name in self.names]
            plans = [self._types.plan(name, where) for name, where in zip(self.names, wheres, strict=True)]
            self._argument_plans = tuple(
                (parameter, plan, where, prefix, b"{" + prefix, plan.reader(where))
                for parameter, plan, where, prefix in zip(self.parameters, plans, wheres, prefixes, strict=True)
            )
        return self._argument_plans

    def _plan_of_result(self) -> Plan:
        return self._types.plan("return", self._result_where)

    def _read_members(self, raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
        try:
            stored = _read_object(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise_unreadable(error, self._arguments_where, Any)
        if not stored.keys() <= self._known:
            unknown = sorted(stored.keys() - self._known)
            raise refusal(
                self._arguments_where,
                "$",
                f"there is no parameter {_listed(unknown)}; there is {_listed(self.names)}",
            )
        return stored

    def _bind(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Sequence[object]:
        if len(args) > len(self._positional):
            raise UsageError(
                f"{self.subject} takes {len(self._positional)} positional argument(s) "
                f"({_listed(p.name for p in self._positional)}), and {len(args)} were given"
            )
        given = self.by_name(args, {})
        for name, value in kwargs.items():
            if name in given:
                raise UsageError(f"{self.subject} was given its argument {name!r} twice")
            if name not in self.names:
                raise UsageError(f"{self.subject} has no parameter {name!r}; it has {_listed(self.names)}")
            given[name] = value
        missing = [p.name for p in self.parameters if p.required and p.name not in given]
        if missing:
            raise UsageError(f"{self.subject} needs the argument(s) {_listed(missing)}")
        return [given.get(parameter.name, parameter.default) for parameter in self.parameters]


def _is_within(older: object, newer: object) -> bool:
    """Whether the newer value is equal, except that objects may have more members."""
    alike = type(older) is type(newer)  # 1 is neither True nor 1.0
    if isinstance(older, dict) and isinstance(newer, dict):
        before, after = cast("dict[str, object]", older), cast("dict[str, object]", newer)
        return all(name in after and _is_within(value, after[name]) for name, value in before.items())
    if isinstance(older, list) and isinstance(newer, list):
        items, others = cast("list[object]", older), cast("list[object]", newer)
        return len(items) == len(others) and all(map(_is_within, items, others))
    return alike and bool(older == newer)


def _is_leading(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)


def _is_collector(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def _refuse_collector(parameter: inspect.Parameter, subject: str) -> None:
    if _is_collector(parameter):
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        raise RegistrationError(
            f"{subject} takes {stars}{parameter.name}, whose values have no name and type to be stored by; "
            "declare each parameter, or one that is a list or a dict"
        )
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise RegistrationError(
            f"{subject} takes {parameter.name!r} by position only, but arguments are stored by name; remove the `/`"
        )


def _refuse_positional_dependency(parameter: inspect.Parameter, subject: str) -> None:
    if parameter.kind is not parameter.KEYWORD_ONLY:
        raise RegistrationError(
            f"{subject}: the dependency {parameter.name!r} must be keyword-only; put `*,` before it"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
