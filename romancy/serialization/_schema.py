"""The JSON schema of a declared type, and whether a value fits one.

It tells people and forms what to write, and refuses what does not fit before it is sent. It may say less than the type:
whoever reads the value as its type has the last word. So a type without a schema has the one that everything fits.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Schema: TypeAlias = "Mapping[str, Any]"

_DEEPEST: Final = 64
_FORMATS: Final[Mapping[str, Any]] = {
    "date-time": datetime, "date": date, "time": time, "duration": timedelta, "uuid": UUID, "decimal": Decimal,
}  # fmt: skip
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
}  # fmt: skip


def schema_of(declared: Any) -> dict[str, Any]:
    """The JSON schema of what is stored for a type. Empty: everything fits it."""
    try:
        if hasattr(declared, "model_json_schema"):
            return cast("dict[str, Any]", declared.model_json_schema())
        return msgspec.json.schema(declared, schema_hook=_of_others)
    except Exception:  # noqa: BLE001 - a class of the user's may raise anything; the type itself still decides
        return {}


def _of_others(_declared: type) -> dict[str, Any]:
    return {}


def misfit(schema: Schema, value: object) -> str | None:
    """Why a JSON value does not fit a schema, with the place. None: it fits, as far as the schema says."""
    return next(_Check(schema).faults(schema, value, "$", 0), None)


class _Check:
    """Compares values with the parts of one schema."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    def faults(self, schema: Any, value: Any, where: str, depth: int) -> Iterator[str]:
        """What does not fit, the first one first."""
        if depth > _DEEPEST or not isinstance(schema, dict):
            if schema is False:
                yield f"nothing is allowed at {where}"
            return
        part = cast("Schema", schema)
        if "$ref" in part:
            yield from self.faults(self._part(str(part["$ref"])), value, where, depth + 1)
        yield from _of_type(part, value, where)
        yield from self._of_several(part, value, where, depth + 1)
        if isinstance(value, dict):
            yield from self._in_object(part, cast("dict[str, Any]", value), where, depth + 1)
        elif isinstance(value, list):
            yield from self._in_array(part, cast("Sequence[Any]", value), where, depth + 1)
        elif isinstance(value, str):
            yield from _in_text(part, value, where)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield from _in_number(part, value, where)

    def _part(self, reference: str) -> Any:
        found: Any = self._root
        for name in reference.removeprefix("#/").split("/"):
            found = cast("Schema", found).get(name.replace("~1", "/").replace("~0", "~"), {})
        return found

    def _fits(self, schema: Any, value: Any, depth: int) -> bool:
        return next(self.faults(schema, value, "", depth), None) is None

    def _of_several(self, schema: Schema, value: Any, where: str, depth: int) -> Iterator[str]:
        for each in schema.get("allOf", ()):
            yield from self.faults(each, value, where, depth)
        for name in ("anyOf", "oneOf"):
            options = schema.get(name)
            if options and not any(self._fits(each, value, depth) for each in options):
                yield f"{_shown(value)} is none of what is expected at {where}"

    def _in_object(self, schema: Schema, value: dict[str, Any], where: str, depth: int) -> Iterator[str]:
        known: Mapping[str, Any] = schema.get("properties", {})
        yield from (f"{name!r} is missing at {where}" for name in schema.get("required", ()) if name not in value)
        others = schema.get("additionalProperties", True)
        for name, each in value.items():
            if name not in known and others is False:
                yield f"{name!r} is not expected at {where}"
            yield from self.faults(known.get(name, others), each, f"{where}.{name}", depth)
        yield from _of_length(schema, len(value), ("minProperties", "maxProperties"), where)

    def _in_array(self, schema: Schema, value: Sequence[Any], where: str, depth: int) -> Iterator[str]:
        first: list[Any] = schema.get("prefixItems", [])
        for place, each in enumerate(value):
            part = first[place] if place < len(first) else schema.get("items", True)
            yield from self.faults(part, each, f"{where}[{place}]", depth)
        yield from _of_length(schema, len(value), ("minItems", "maxItems"), where)


def _of_type(schema: Schema, value: Any, where: str) -> Iterator[str]:
    wanted = schema.get("type")
    types = [wanted] if isinstance(wanted, str) else wanted or []
    if types and not any(_is(each, value) for each in types):
        yield f"{' or '.join(types)} is expected at {where}, not {_shown(value)}"
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        yield f"{_shown(value)} is none of the choices at {where}"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{_shown(schema['const'])} is expected at {where}, not {_shown(value)}"


def _is(name: str, value: Any) -> bool:
    if name in ("integer", "number"):
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole or (name == "number" and isinstance(value, float))
    return isinstance(value, _TYPES.get(name, (object,)))


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _in_text(schema: Schema, value: str, where: str) -> Iterator[str]:
    yield from _of_length(schema, len(value), ("minLength", "maxLength"), where)
    pattern, form = schema.get("pattern"), str(schema.get("format"))
    if pattern is not None and re.search(pattern, value) is None:
        yield f"the text at {where} does not match {pattern!r}"
    if form in _FORMATS:
        try:
            msgspec.convert(value, _FORMATS[form])
        except msgspec.ValidationError:
            yield f"the text at {where} is no {form}"


_BOUNDS: Final[Mapping[str, tuple[str, Callable[[Any, Any], bool]]]] = {
    "minimum": ("at least", lambda value, bound: bool(value >= bound)),
    "maximum": ("at most", lambda value, bound: bool(value <= bound)),
    "exclusiveMinimum": ("more than", lambda value, bound: bool(value > bound)),
    "exclusiveMaximum": ("less than", lambda value, bound: bool(value < bound)),
    "multipleOf": ("a multiple of", lambda value, bound: bool(value % bound == 0)),
}


def _in_number(schema: Schema, value: float, where: str) -> Iterator[str]:
    for name, (words, holds) in _BOUNDS.items():
        bound = schema.get(name)
        if isinstance(bound, (int, float)) and not holds(value, bound):
            yield f"{_shown(value)} at {where} is not {words} {bound}"


def _of_length(schema: Schema, length: int, names: tuple[str, str], where: str) -> Iterator[str]:
    least, most = (schema.get(name) for name in names)
    if least is not None and length < least:
        yield f"what is at {where} has fewer than {least}"
    if most is not None and length > most:
        yield f"what is at {where} has more than {most}"


def _shown(value: Any) -> str:
    """A value in an error: its kind, since errors carry no payloads."""
    if value is None or isinstance(value, bool):
        return msgspec.json.encode(value).decode()
    names: dict[Any, str] = {
        str: "a text",
        int: "a whole number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "another value")
