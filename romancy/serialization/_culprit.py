"""Finds the part of a value that could not be written, the reason, and what to do about it."""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from types import BuiltinFunctionType, CoroutineType, FunctionType, MethodType
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

import msgspec

from romancy.serialization._anatomy import Kind, json_children, kind_of
from romancy.serialization._hooks import dump_model, dump_own
from romancy.serialization._value_at_fault import Segment, render_path, type_name

MAX_DEPTH: Final = 128
"""How many containers may be nested. The limit is independent of the interpreter's, so that each process can read what
another could write, whatever its own stack depth.
"""

SCALARS: Final = (
    str, int, float, bytes, bytearray, memoryview, date, time, timedelta, UUID, Decimal,
    msgspec.Raw, msgspec.UnsetType,
)  # fmt: skip
_KEYS: Final = (str, int, float, bytes, date, time, timedelta, UUID, Decimal, Enum)

_FUNCTIONS: Final = (FunctionType, BuiltinFunctionType, MethodType)

SURROGATE: Final = (
    "the text holds half of a surrogate pair, which no database stores; decode it with errors='replace', "
    "or pass it as bytes"
)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A part of a value, with its path."""

    value: Any
    segment: Segment = ""
    parent: Node | None = None
    depth: int = 1

    def child(self, segment: Segment, value: object) -> Node:
        return Node(value, segment, self, self.depth + 1)

    def instead(self, value: object) -> Node:
        return Node(value, self.segment, self.parent, self.depth)

    def encoded(self, plain: object) -> Node:
        """The form of a registered class, which may hold others: as deep as a child, at the same path."""
        return Node(plain, self.segment, self.parent, self.depth + 1)

    def lineage(self) -> list[Node]:
        """The nodes from the root to this one."""
        nodes: list[Node] = []
        node: Node | None = self
        while node is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    @property
    def path(self) -> str:
        return render_path(node.segment for node in self.lineage()[1:])


Culprit: TypeAlias = tuple[str, str]
"""The JSON path and the reason."""


def find_unwritable(value: object) -> Culprit | None:
    """The first part that JSON cannot hold, in the order of writing."""
    stack = [Node(value)]
    while stack:
        node = stack.pop()
        kind = kind_of(node.value)
        if kind is Kind.LEAF:
            if reason := reason_of_leaf(node.value):
                return node.path, reason
        elif node.depth > MAX_DEPTH:
            return _too_deep(node)
        elif kind is Kind.OWN:
            try:
                stack.append(node.encoded(dump_own(node.value)))
            except Exception as error:  # noqa: BLE001 (a function of the user's)
                return (
                    node.path,
                    f"the encode= of {type_name(type(cast('object', node.value)))} failed ({type_name(type(error))})",
                )
        elif kind is Kind.MODEL:
            try:
                stack.append(node.instead(dump_model(node.value)))
            except Exception as error:  # noqa: BLE001 (pydantic's own, or a serialiser of the user's)
                return node.path, f"pydantic could not write it ({type_name(type(error))})"
        elif kind is Kind.MAPPING and (culprit := _bad_key(node)):
            return culprit
        else:
            stack.extend(reversed([node.child(segment, child) for segment, child in json_children(node.value)]))
    return None


def _too_deep(node: Node) -> Culprit:
    seen: set[int] = set()
    for ancestor in node.lineage():
        if id(ancestor.value) in seen:
            return ancestor.path, "the value contains itself; break the cycle, for example by an id in its place"
        seen.add(id(ancestor.value))
    return "$", f"it is nested deeper than {MAX_DEPTH} levels; flatten it"


def _bad_key(node: Node) -> Culprit | None:
    keys: list[object] = [*node.value]
    for key in keys:
        if not _has_text_form(key):
            what = f"a key is of type {type_name(type(key))}"
            return node.path, f"{what}; JSON keys are text: use str, int, UUID or another type with one text form"
        if reason := reason_of_leaf(key):
            return node.path, f"in a key, {reason}"
    return None


def _has_text_form(key: object) -> bool:
    return issubclass(type(key), _KEYS) and type(key) is not bool


def reason_of_leaf(value: object) -> str | None:
    """The reason why this leaf cannot be written, or None. Looks only at the type: a proxy may report another class."""
    tp = type(value)
    if issubclass(tp, Enum):
        inner = cast("Enum", value).value
        return None if kind_of(inner) is not Kind.LEAF else reason_of_leaf(inner)
    if issubclass(tp, float):
        return _reason_of_float(cast("float", value))
    if issubclass(tp, str):
        return None if _is_text(cast("str", value)) else SURROGATE
    if issubclass(tp, int):
        return _reason_of_int(cast("int", value))
    return None if value is None or issubclass(tp, SCALARS) else _reason_of_type(tp)


def _reason_of_float(value: float) -> str | None:
    if math.isfinite(value):
        return None
    return f"{'NaN' if math.isnan(value) else 'Infinity'} is not JSON; use None, a Decimal or a string"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _reason_of_int(value: int) -> str | None:
    digits = sys.get_int_max_str_digits()
    if digits and abs(value).bit_length() > digits * 3.33 and abs(value) >= 10**digits:
        return f"the integer has more than {digits} digits; pass it as bytes or as hexadecimal text"
    return None


_ADVICE: Final[tuple[tuple[Callable[[type], bool], str], ...]] = (
    (lambda tp: issubclass(tp, CoroutineType), "a coroutine is not a value: was an `await` forgotten?"),
    (lambda tp: hasattr(tp, "_asyncio_future_blocking"), "a task or future is not a value: await it first"),
    (
        lambda tp: issubclass(tp, AsyncIterator),
        "an async generator is not a value: collect it with `[x async for x in …]`",
    ),
    (
        lambda tp: hasattr(tp, "__fspath__"),
        "a path is not stored: pass `str(…)` of it, and make a Path of it where it is used",
    ),
    (lambda tp: hasattr(tp, "fileno"), "an open file or connection cannot be stored: pass its path or its content"),
    (lambda tp: issubclass(tp, Iterator), "an iterator can be read only once: pass `list(…)` of it"),
    (lambda tp: issubclass(tp, _FUNCTIONS), "a function cannot be stored: pass its name"),
    (lambda tp: issubclass(tp, type), "a class cannot be stored: pass its name"),
    (lambda tp: issubclass(tp, BaseException), "an exception is raised, not returned: pass its text"),
    (lambda tp: issubclass(tp, Collection), "a collection of this type has no JSON form: pass `list(…)` of it"),
    (lambda tp: issubclass(tp, complex), "a complex number cannot be stored: pass a pair of floats"),
)


def _reason_of_type(tp: type) -> str:
    for applies, advice in _ADVICE:
        if applies(tp):
            return advice
    return (
        f"an object of type {type_name(tp)} cannot be written as JSON; "
        "use a dataclass, an attrs class, a msgspec.Struct or a pydantic model, or pass its fields"
    )
