"""Determines, once for each declared type, what writing and reading its values needs."""

from __future__ import annotations

import types
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import fields, is_dataclass
from functools import lru_cache, reduce
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    LiteralString,
    NamedTuple,
    Never,
    NoReturn,
    Union,
    get_args,
    get_origin,
    is_typeddict,
)

import msgspec
from msgspec import inspect

from romancy.serialization._anatomy import is_model, kind_of_type
from romancy.serialization._hooks import AnyOf, decode_hook
from romancy.serialization._value_at_fault import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_REFUSED_KEYS: Final = (
    inspect.BoolType, inspect.NoneType, inspect.ListType, inspect.TupleType, inspect.VarTupleType,
    inspect.SetType, inspect.FrozenSetType, inspect.DictType, inspect.StructType, inspect.DataclassType,
    inspect.NamedTupleType, inspect.TypedDictType,
)  # fmt: skip


_INSTEAD: Final[dict[type, str]] = {
    deque: "Declare `list[…]`, and make a deque of it where it is used",
    Counter: "Declare `dict[…, int]`, and make a Counter of it where it is used",
    defaultdict: "Declare `dict[…, …]`, and make a defaultdict of it where it is used",
    OrderedDict: "Declare `dict[…, …]`: a dict keeps its order",
}
"""What to declare in the place of classes of the standard library that JSON does not bring back."""


class UnsupportedTypeError(TypeError):
    """The declared type has no JSON form that can be read back. The text says why and what to use."""


class Traits(NamedTuple):
    """What to check, besides equality, before a value counts as unchanged."""

    loose: bool = False
    """Some part has no declared type and comes back as plain JSON."""
    sets: bool = False
    """There may be sets, whose order must not depend on the process's hash seed."""
    blind: bool = False
    """A class leaves a field out of its `==`, which therefore proves nothing."""

    def plus(self, other: Traits) -> Traits:
        return Traits(self.loose or other.loose, self.sets or other.sets, self.blind or other.blind)


def decoder_for(tp: Any) -> tuple[msgspec.json.Decoder[Any], Traits]:
    """The decoder of a type. Raises UnsupportedTypeError, or NameError if a class names a type that cannot be found."""
    try:
        ready = prepared(tp)
        traits = traits_of(ready)
        return msgspec.json.Decoder(ready, dec_hook=decode_hook), traits
    except UnsupportedTypeError:
        raise
    except TypeError as error:
        reason = str(error).split(" - type `", 1)[0]
        raise UnsupportedTypeError(f"{reason}.{_way_out(reason)}") from None


def _way_out(reason: str) -> str:
    if reason.startswith("Type unions"):
        return " Their JSON cannot be told apart: declare one of them, or make them msgspec.Structs with `tag=True`"
    if "Enum" in reason:
        return " Give all members values of one of the two types"
    if "InitVar" in reason:
        return " Make it an ordinary field"
    return " Use builtins, dataclasses, attrs, TypedDict, NamedTuple, Enum, msgspec.Struct or pydantic models"


def prepared(tp: Any) -> Any:
    """The type in the form that msgspec accepts."""
    if tp is LiteralString:
        return str
    if tp is Never or tp is NoReturn or tp is None:
        return type(None)
    if tp is object:
        return Any
    args, origin = get_args(tp), get_origin(tp)
    if origin is Union or origin is types.UnionType:
        return _prepared_union(tuple(prepared(member) for member in args))
    if origin is Annotated or hasattr(tp, "__metadata__"):
        return Annotated[(prepared(tp.__origin__), *tp.__metadata__)]
    if not args or not isinstance(origin, type) or kind_of_type(origin).is_record:
        return tp
    inside = tuple(arg if arg is ... else prepared(arg) for arg in args)
    return tp if inside == args else types.GenericAlias(origin, inside)


def _prepared_union(members: tuple[Any, ...]) -> Any:
    """The union. If msgspec cannot tell its members apart because of records, an `AnyOf`."""
    union = reduce(_either, members)
    try:
        msgspec.json.Decoder(union)
    except TypeError:
        records = [member for member in members if _is_record(member)]
        others = tuple(member for member in members if not _is_record(member))
        if not records:
            raise
        _check_distinct(records)
        tried = [*records, reduce(_either, others)] if others else records
        decoders = tuple(msgspec.json.Decoder(member, dec_hook=decode_hook) for member in tried)
        return type("AnyOf", (AnyOf,), {"decoders": decoders, "members": members, "tried": tuple(tried)})
    return union


def _check_distinct(records: Sequence[Any]) -> None:
    """Raise UnsupportedTypeError unless the fields of a document show which of the classes it is of."""
    seen: list[tuple[Any, Any]] = []
    for record in records:
        fields = _fields_of(record)
        other = next((other for other, others in seen if others == fields), None)
        if other is not None:
            raise UnsupportedTypeError(
                f"{type_name(other)} and {type_name(record)} have the same fields, and their JSON cannot be told "
                'apart. Give each a field that says which it is, such as `kind: Literal["a"] = "a"`, or make them '
                "msgspec.Structs with `tag=True`"
            )
        seen.append((record, fields))


def _fields_of(record: Any) -> Any:
    """The shape of a class's documents, for comparison."""
    if is_model(get_origin(record) or record):
        return {
            field.serialization_alias or field.alias or name: field.annotation
            for name, field in record.model_fields.items()
        }
    info: Any = inspect.type_info(record)
    fields = {field.encode_name: field.type for field in info.fields}
    in_order = isinstance(info, inspect.NamedTupleType) or getattr(info, "array_like", False)
    return list(fields.values()) if in_order else fields


def members_of(declared: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    is_union = get_origin(declared) in (Union, types.UnionType)
    return get_args(declared) if is_union else (declared,)


def may_be(declared: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a value of this type can be of one of these classes. True if the type is not a class."""
    tp = get_origin(declared) or declared
    if not isinstance(tp, type) or tp is Any or tp is object or getattr(tp, "_is_protocol", False):
        return True
    return issubclass(tp, kinds)


def _either(one: Any, other: Any) -> Any:
    return one | other


def _is_record(member: Any) -> bool:
    tp = get_origin(member) or member
    if not isinstance(tp, type):
        return False
    return is_typeddict(tp) or kind_of_type(tp).is_record or hasattr(tp, "_fields")


def traits_of(tp: Any) -> Traits:
    """Look at every type that can occur in it. Raises UnsupportedTypeError for a type that cannot be read back."""
    found = Traits()
    seen: set[int] = set()
    waiting: list[Any] = [inspect.type_info(tp)]
    keep_alive: list[Any] = []
    while waiting:
        info = waiting.pop()
        if id(info) in seen:
            continue
        seen.add(id(info))
        keep_alive.append(info)
        if isinstance(info, inspect.CustomType):
            found = found.plus(_traits_of_custom(info.cls))
            continue
        _check_keys(info)
        found = found.plus(
            Traits(
                loose=isinstance(info, inspect.AnyType),
                sets=isinstance(info, inspect.SetType | inspect.FrozenSetType),
                blind=_is_blind(getattr(info, "cls", None)),
            )
        )
        waiting.extend(_inner_types(info))
    return found


def _inner_types(info: Any) -> Iterator[Any]:
    for name in ("type", "item_type", "key_type", "value_type"):
        if isinstance(inner := getattr(info, name, None), inspect.Type):
            yield inner
    yield from getattr(info, "item_types", ())
    yield from getattr(info, "types", ())
    for field in getattr(info, "fields", ()):
        yield field.type


def _check_keys(info: object) -> None:
    if isinstance(info, inspect.DictType) and isinstance(info.key_type, _REFUSED_KEYS):
        raise UnsupportedTypeError(
            "The keys of a JSON object are text: declare str, int or another type with one text form, "
            "or a list of pairs"
        )


def _is_blind(cls: Any) -> bool:
    if is_dataclass(cls):
        return any(not field.compare for field in fields(cls))
    return any(not attribute.eq for attribute in getattr(cls, "__attrs_attrs__", ()))


def _traits_of_custom(cls: Any) -> Traits:
    if cls is object:
        return Traits(loose=True)
    if issubclass(cls, AnyOf):
        return reduce(Traits.plus, map(traits_of, cls.tried))
    if is_model(cls):
        _complete(cls)
        return traits_of_model(cls)
    if hasattr(cls, "__fspath__"):
        raise UnsupportedTypeError(
            f"{type_name(cls)} cannot be read back from JSON. Declare `str`, pass `str(path)`, and make a Path of it "
            "where it is used"
        )
    for kind, advice in _INSTEAD.items():
        if issubclass(cls, kind):
            raise UnsupportedTypeError(f"{type_name(cls)} cannot be read back from JSON. {advice}")
    raise UnsupportedTypeError(
        f"{type_name(cls)} cannot be read back from JSON. "
        "Use builtins (list for any iterable), dataclasses, attrs, TypedDict, NamedTuple, Enum, msgspec.Struct "
        "or pydantic models"
    )


def _complete(model: Any) -> None:
    """Complete a model that names types which were defined after it. Raises NameError if some are still missing."""
    if not getattr(model, "__pydantic_complete__", True) and not model.model_rebuild(raise_errors=False):
        raise NameError(f"not all types that {type_name(model)} names are defined")


def _read_core_schema(model: Any) -> Traits:
    """The traits of a model, from pydantic's schema: nested dicts in which every type has its name."""
    schema = repr(model.__pydantic_core_schema__)
    loose = "'type': 'any'" in schema
    return Traits(loose=loose, sets=loose or "'type': 'set'" in schema or "'type': 'frozenset'" in schema)


traits_of_model: Final[Callable[[Any], Traits]] = lru_cache(maxsize=1024)(_read_core_schema)
