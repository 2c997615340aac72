"""Writing and reading values by their declared type: `dumps` and `loads`, and the plan behind both.

The usual path is three calls into C and two counts: encode, decode by the declared type, compare. An equal value proves
that it was of its type and that nothing was lost. Only a value that does not come back equal is walked, to locate the
fault or to accept a promised conversion.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from romancy.errors import RegistrationError, SerializationError
from romancy.serialization._culprit import MAX_DEPTH
from romancy.serialization._fidelity import compare
from romancy.serialization._hooks import encode
from romancy.serialization._order import with_sets_in_order
from romancy.serialization._own import own_type_of
from romancy.serialization._reasons import raise_unreadable, raise_unwritable
from romancy.serialization._types import decoder_for
from romancy.serialization._unions import UnsupportedTypeError, written_with_tags
from romancy.serialization._value_at_fault import refusal, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from romancy.serialization._value_at_fault import Where

_EXACT: Final[tuple[object, ...]] = (int, str, bool)
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_ONLY_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


class Plan:
    """How values of one declared type are written and read. Immutable and safe to share between threads."""

    __slots__ = ("_exact", "_loose", "_suspicious", "_tagged", "declared", "decode", "may_hold_sets")

    def __init__(self, declared: Any) -> None:
        decoder, traits, ready = decoder_for(declared)
        self.declared = declared
        self.decode = decoder.decode
        """Decodes without locating an error. If it raises, `read` finds the path and the reason."""
        self._exact: Any = declared if declared in _EXACT else None
        """A type that JSON has: what can be written of it comes back equal, and need not be read to prove it."""
        self._loose = traits.loose
        self._tagged: Any = ready if traits.tagged else None
        """The type as it is prepared, if documents may have tags."""
        self._suspicious = traits.sets or traits.blind
        self.may_hold_sets = traits.sets or traits.loose

    def write(self, value: object, where: Where | str) -> bytes:
        """Compact JSON that `read` turns into an equal value. Raises SerializationError naming the culprit."""
        raw = b""
        try:
            raw = encode(value)
            if type(value) is self._exact:
                return raw
            if self._tagged is not None:
                raw = written_with_tags(self._tagged, value, raw)
            back = self.decode(raw)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 (a serialiser of the user's may raise anything)
            raise_unwritable(value, where, error, encoded=bool(raw))
        try:
            same = not self._suspicious and bool(value == back)
        except Exception:  # noqa: BLE001 (an __eq__ of the user's; the walk below decides instead)
            same = False
        if not same:
            raw = self._look_closer(value, back, raw, where)
        if len(raw) > MAX_DEPTH and raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and is_too_deep(raw):
            raise_unwritable(value, where, None)
        return raw

    def read(self, raw: bytes | msgspec.Raw, where: Where | str) -> Any:
        """The value. Raises SerializationError with the path and what was expected there."""
        return self.reader(where)(raw)

    def reader(self, where: Where | str) -> Callable[[bytes | msgspec.Raw], Any]:
        """The function that reads values that stand there, as `read` does."""
        decode, declared = self.decode, self.declared

        def read(raw: bytes | msgspec.Raw) -> Any:
            try:
                return decode(raw)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 (a class of the user's may raise anything when it is made)
                raise_unreadable(error, where, declared)

        return read

    def _look_closer(self, value: object, back: object, raw: bytes, where: Where | str) -> bytes:
        comparison = compare(value, back, loose=self._loose, by_itself=_may_hold_sets)
        if comparison.loss is not None:
            raise refusal(where, *comparison.loss)
        return with_sets_in_order(value, raw) if comparison.has_sets else raw


def _may_hold_sets(record: object) -> bool | None:
    """Whether there may be sets in a record that its own class brings back equal. None if it does not."""
    try:
        own = own_type_of(type(record))
        plan = plan_for(type(record) if own is None else own.cls, "")
        plan.write(record, "")
    except (SerializationError, RegistrationError):
        return None
    return bool(plan.may_hold_sets)


@lru_cache(maxsize=1024)
def _cached_plan(declared: Any) -> Plan:
    return Plan(declared)


class UnknownTypeError(RegistrationError):
    """An annotation names a type that cannot be found yet. It may be defined before it is needed."""


def plan_for(declared: Any, where: Where | str) -> Plan:
    """The plan of a type, made once. Raises RegistrationError if the type has no JSON form."""
    make: Callable[[Any], Plan] = _cached_plan
    try:
        hash(declared)
    except TypeError:
        make = Plan
    try:
        return make(declared)
    except UnsupportedTypeError as error:
        raise RegistrationError(f"{where}, declared as {type_name(declared)}, cannot be stored: {error}") from None
    except NameError as error:
        raise UnknownTypeError(
            f"{where}, declared as {type_name(declared)}, cannot be stored: {error} in the annotations of a class "
            "it is made of; import it outside `if TYPE_CHECKING`, or define it before it is needed"
        ) from None


def dumps(value: object, where: Where | str, type: Any = Any) -> bytes:
    """Write a value as compact JSON.

    The bytes are the same in every process for equal values: fields and dict keys in their order, sets sorted. Raises
    SerializationError, naming `where` and the JSON path, for a value that would not come back equal.
    """
    return plan_for(type, where).write(value, where)


def loads(raw: bytes | msgspec.Raw, type: Any, where: Where | str) -> Any:
    """Read a value of this type. Raises SerializationError if the JSON is damaged or of another shape."""
    return plan_for(type, where).read(raw, where)


def is_too_deep(raw: bytes) -> bool:
    """Whether containers are nested more than MAX_DEPTH deep.

    Each pass removes the innermost pairs of brackets. Brackets in strings can leave some over; only then are the
    strings removed as well.
    """
    brackets = raw.translate(_ONLY_BRACKETS, _ALL_BUT_BRACKETS)
    return _is_left_over(brackets) and _is_left_over(_STRING.sub(b"", raw).translate(_ONLY_BRACKETS, _ALL_BUT_BRACKETS))


def _is_left_over(brackets: bytes) -> bool:
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True
