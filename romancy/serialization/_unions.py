"""Unions whose members msgspec cannot tell apart, and the dataclasses that have such a union in a field.

A member of such a union is written with its name, `{"$type": "Circle", "radius": 2}`; a registered class is written as
`{"$type": "Money", "value": "12 EUR"}`. The name is that of the class without its module, so that a class can be moved.
A document without a name is one of a person, or was written before there were names. Its fields show which it is.
"""

from __future__ import annotations

import types
from collections import Counter
from dataclasses import MISSING, Field, fields
from functools import reduce
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    LiteralString,
    Never,
    NoReturn,
    Union,
    cast,
    get_args,
    get_origin,
    is_typeddict,
)

import msgspec
from msgspec import inspect

from romancy.serialization._anatomy import Kind, is_model, kind_of, kind_of_type
from romancy.serialization._generic import hints_of, is_alias
from romancy.serialization._hooks import MisfitError, Placeholder, decode_hook, encode
from romancy.serialization._order import with_sets_in_order
from romancy.serialization._own import own_type, own_type_of
from romancy.serialization._value_at_fault import type_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TAG: Final = "$type"
_VALUE: Final = "value"
_LONGEST_NAME: Final = 100


class UnsupportedTypeError(TypeError):
    """The declared type has no JSON form that can be read back. The text says why and what to use."""


def is_about_unions(error: TypeError) -> bool:
    """Whether msgspec refuses a type because of a union."""
    return str(error).startswith("Type unions")


def prepared(tp: Any) -> Any:
    """The type in the form that msgspec accepts, if it needs no stand-ins for dataclasses."""
    return _prepared(tp, None)


class Preparation:
    """Prepares a type in which dataclasses have unions that msgspec refuses."""

    def __init__(self) -> None:
        self._stand_ins: dict[Any, type[StandIn]] = {}
        self._aliases: list[object] = []
        self.in_record = False

    def of(self, tp: Any) -> Any:
        """The type in the form that msgspec accepts."""
        return _prepared(tp, self)

    def of_alias(self, alias: Any) -> Any:
        """What a `type` statement names."""
        if alias in self._aliases:
            raise UnsupportedTypeError(f"{alias} names itself, and no class is in between: declare a dataclass")
        self._aliases.append(alias)
        try:
            return self.of(alias.__value__)
        finally:
            self._aliases.remove(alias)

    def of_record(self, tp: Any) -> Any:
        """The class itself, or what stands for it. It may have arguments, as `Box[int]` has."""
        cls: Any = get_origin(tp) or tp
        if not isinstance(cls, type) or own_type(cls) is not None or not _has_fields(cls) or not _has_unions(tp):
            return tp
        if not hasattr(cls, "__dataclass_fields__"):
            _refuse_field(cls, hints_of(tp, cls, extras=False))
            return tp
        return self._stand_ins.get(tp) or self._stand_in(tp, cls)

    def _stand_in(self, tp: Any, cls: type) -> type[StandIn]:
        hints = hints_of(tp, cls)
        stand_in = cast("type[StandIn]", type("StandIn", (StandIn,), {"record": cls, "hints": hints}))
        self._stand_ins[tp] = stand_in  # before its fields, which may name it
        before, self.in_record = self.in_record, True
        aliases, self._aliases = self._aliases, []
        try:
            stand_in.types = {field.name: self.of(hints[field.name]) for field in fields(cast("Any", cls))}
        finally:
            self.in_record, self._aliases = before, aliases
        stand_in.complete()
        return stand_in


def _has_fields(cls: type) -> bool:
    """Whether it is a class of ours to look into: not a model of pydantic, which reads its fields itself."""
    return is_typeddict(cls) or hasattr(cls, "_fields") or (kind_of_type(cls).is_record and not is_model(cls))


def _has_unions(tp: Any) -> bool:
    """Whether msgspec refuses the type because of a union somewhere in it."""
    try:
        msgspec.json.Decoder(tp)
    except TypeError as error:
        if not is_about_unions(error):
            raise
        return True
    return False


def _refuse_field(cls: type, hints: Mapping[str, Any]) -> None:
    """Raise UnsupportedTypeError for the field of a class that is no dataclass, and has a union in it."""
    for name, hint in hints.items():
        if _has_unions(hint):
            raise UnsupportedTypeError(
                f"The field {name!r} of {type_name(cls)} is or holds a union of classes, which only a dataclass may "
                f"have in a field: make {cls.__name__} a dataclass, or the members of the union msgspec.Structs with "
                "`tag=True`"
            )


def _prepared(tp: Any, preparation: Preparation | None) -> Any:
    if tp is LiteralString:
        return str
    if tp is Never or tp is NoReturn or tp is None:
        return type(None)
    if tp is object:
        return Any
    args, origin = get_args(tp), get_origin(tp)
    if preparation is not None and is_alias(tp):
        return preparation.of_alias(tp)
    if preparation is not None and is_alias(origin):
        return _prepared(origin.__value__[args], preparation)
    if origin is Union or origin is types.UnionType:
        members = tuple(_prepared(member, preparation) for member in args)
        return _prepared_union(members, in_record=preparation is not None and preparation.in_record)
    if origin is Annotated or hasattr(tp, "__metadata__"):
        return Annotated[(_prepared(tp.__origin__, preparation), *tp.__metadata__)]
    if not args or not isinstance(origin, type) or kind_of_type(origin).is_record:
        return tp if preparation is None else preparation.of_record(tp)
    inside = tuple(arg if arg is ... else _prepared(arg, preparation) for arg in args)
    return tp if inside == args else types.GenericAlias(origin, inside)


def _prepared_union(members: tuple[Any, ...], *, in_record: bool) -> Any:
    """The union. If msgspec cannot tell its members apart because of records, an `AnyOf`."""
    union = reduce(_either, members)
    try:
        msgspec.json.Decoder(union)
    except TypeError:
        if not any(_is_record(member) for member in members):
            raise
        return _any_of(members, in_record=in_record)
    return union


def _any_of(members: tuple[Any, ...], *, in_record: bool) -> type[AnyOf]:
    records = [member for member in members if _is_record(member)]
    others = tuple(member for member in members if not _is_record(member))
    names = _names_of(records)
    unnamed = [record for record in records if id(record) not in names]
    if in_record and unnamed:
        raise UnsupportedTypeError(
            f"A field of a dataclass is a union with {type_name(unnamed[0])}, which cannot be told apart from the "
            "others: make it a dataclass with a name of its own"
        )
    alike = _find_alike(records)
    if alike is not None and any(id(record) in map(id, unnamed) for record in alike):
        raise UnsupportedTypeError(
            f"{type_name(alike[0])} and {type_name(alike[1])} have the same fields, and their JSON cannot be told "
            'apart. Give each a field that says which it is, such as `kind: Literal["a"] = "a"`, or make them '
            "msgspec.Structs with `tag=True`"
        )
    parts = [_Part(record, names.get(id(record), "")) for record in records]
    if others:
        parts.append(_Part(reduce(_either, others), ""))
    made = type("AnyOf", (AnyOf,), {
        "members": members, "parts": tuple(parts), "in_record": in_record, "has_alike": alike is not None,
        "by_name": {part.name: part for part in parts if part.name},
        "by_class": {part.cls: part for part in parts if part.name},
    })  # fmt: skip
    return cast("type[AnyOf]", made)


class _Part:
    """A member of a union with its decoder and its name, or all members that are no records."""

    def __init__(self, declared: Any, name: str) -> None:
        self.declared: Any = declared
        self.name = name
        self.cls: type = _class_of(declared)
        self.is_own = isinstance(declared, type) and own_type(declared) is not None
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(declared, dec_hook=decode_hook)

    def read(self, plain: object) -> Any:
        if _is_a(self.declared, StandIn):
            return self.declared.read(plain)
        return self.decoder.decode(encode(plain))

    def fits(self, plain: Mapping[str, object]) -> bool:
        """Whether the names of a document are those of this class."""
        known = _fields_of(self.declared)
        return isinstance(known, dict) and plain.keys() <= known.keys() and self.required() <= plain.keys()

    def required(self) -> set[str]:
        if _is_a(self.declared, StandIn):
            return {field.name for field in fields(cast("Any", self.cls)) if _is_required(field)}
        info: Any = inspect.type_info(self.declared)
        return {field.encode_name for field in getattr(info, "fields", ()) if field.required}


class AnyOf(Placeholder):
    """Stands for a union of several record types, which msgspec cannot tell apart."""

    members: ClassVar[tuple[Any, ...]]
    parts: ClassVar[tuple[_Part, ...]]
    by_name: ClassVar[dict[str, _Part]]
    by_class: ClassVar[dict[type, _Part]]
    in_record: ClassVar[bool]
    has_alike: ClassVar[bool]
    """Whether two of the members have the same fields, so that only their names tell them apart."""

    @classmethod
    def read(cls, plain: object) -> object:
        if kind_of(plain) is Kind.MAPPING and cls.by_name and TAG in (document := cast("dict[str, Any]", plain)):
            return cls._read_named(document[TAG], document)
        return cls._read_in_record(plain) if cls.in_record else cls._try_all(plain)

    @classmethod
    def _read_named(cls, name: object, document: dict[str, Any]) -> object:
        part = cls.by_name.get(name) if isinstance(name, str) else None
        if part is None:
            known = isinstance(name, str) and name.isidentifier() and len(name) <= _LONGEST_NAME
            raise MisfitError(
                f"it was stored as {name if known else 'another class'}, and the declared ones are "
                f"{' | '.join(cls.by_name)}: if the class has a new name, add a subclass of the old name to the union"
            )
        if part.is_own:
            return _read(part, document.get(_VALUE))
        return _read(part, {key: value for key, value in document.items() if key != TAG})

    @classmethod
    def _read_in_record(cls, plain: object) -> object:
        """By the names of its fields alone: whoever tries all members, at each depth, tries without end."""
        if kind_of(plain) is Kind.MAPPING:
            document = cast("dict[str, object]", plain)
            fitting = [part for part in cls.parts if part.name and not part.is_own and part.fits(document)]
            if len(fitting) == 1:
                return _read(fitting[0], plain)
        others = [part for part in cls.parts if not part.name]
        if not others:
            expected = " | ".join(f'"{name}"' for name in cls.by_name)
            raise MisfitError(f'expected an object with "{TAG}": {expected}')
        return _read(others[0], plain)

    @classmethod
    def _try_all(cls, plain: object) -> object:
        """The member that uses every part of the document, else the only member that accepts it."""
        exact, accepted = cls._accepting([part for part in cls.parts if not part.is_own], plain)
        if not accepted:
            exact, accepted = cls._accepting([part for part in cls.parts if part.is_own], plain)
        if len(exact) == 1 or (exact and not cls.has_alike):
            return exact[0]
        if not exact and len(accepted) == 1:
            return accepted[0]
        names = " | ".join(type_name(_class_of(member)) for member in cls.members)
        raise MisfitError(f"expected exactly one of {names}, and {len(exact or accepted)} fit")

    @classmethod
    def _accepting(cls, parts: Sequence[_Part], plain: object) -> tuple[list[object], list[object]]:
        """What uses every part of the document, and all that accept it."""
        exact: list[object] = []
        accepted: list[object] = []
        for part in parts:
            try:
                candidate = part.read(plain)
            except (msgspec.ValidationError, MisfitError, RecursionError):
                continue
            accepted.append(candidate)
            if _same_document(candidate, plain):
                exact.append(candidate)
        return exact, accepted

    @classmethod
    def tagged(cls, value: object, plain: Any) -> Any:
        own = own_type_of(type(value))
        part = cls.by_class.get(type(value) if own is None else own.cls)
        if part is None:
            others = [part for part in cls.parts if not part.name]
            return reduce(lambda document, part: with_tags(part.declared, value, document), others, plain)
        if part.is_own:
            return {TAG: part.name, _VALUE: plain}
        return {TAG: part.name, **with_tags(part.declared, value, plain)}

    @classmethod
    def tags(cls) -> bool:
        return bool(cls.by_name)

    @classmethod
    def inside(cls) -> Iterator[Any]:
        return (part.declared for part in cls.parts)


class StandIn(Placeholder):
    """Stands for a dataclass with a field that msgspec does not read. It makes the object as msgspec does."""

    hints: ClassVar[dict[str, Any]]
    """The types of the fields, as they are declared."""
    types: ClassVar[dict[str, Any]]
    """The types of the fields, as they are prepared."""
    decoder: ClassVar[msgspec.json.Decoder[Any]]

    @classmethod
    def complete(cls) -> None:
        """Make the decoder. The types of the fields are known."""
        if any(type(each).__name__ == "InitVar" for each in cast("Any", cls.record).__annotations__.values()):
            raise TypeError("dataclasses with `InitVar` fields are not supported")
        declared = [
            (field.name, cls.types[field.name])
            if _is_required(field)
            else (field.name, cls.types[field.name], msgspec.UNSET)
            for field in fields(cast("Any", cls.record))
        ]
        cls.twin = msgspec.defstruct(cast("Any", cls.record).__name__, declared, kw_only=True)
        cls.decoder = msgspec.json.Decoder(cls.twin, dec_hook=decode_hook)

    twin: ClassVar[type[msgspec.Struct]]
    """A struct of the same fields, of which the object is made."""

    @classmethod
    def read(cls, plain: object) -> object:
        twin = cls.decoder.decode(encode(plain))
        record: Any = cls.record
        made: Any = record.__new__(record)
        for field in fields(cast("Any", cls.record)):
            value = getattr(twin, field.name)
            object.__setattr__(made, field.name, _default(field) if value is msgspec.UNSET else value)
        after = getattr(made, "__post_init__", None)
        if after is not None:
            after()
        return made

    @classmethod
    def tagged(cls, value: object, plain: Any) -> Any:
        if type(value) is not cls.record:
            return plain
        return {name: with_tags(cls.types[name], getattr(value, name), inner) for name, inner in plain.items()}

    @classmethod
    def tags(cls) -> bool:
        return True

    @classmethod
    def inside(cls) -> Iterator[Any]:
        return iter(cls.types.values())


def with_tags(tp: Any, value: Any, plain: Any) -> Any:
    """The document of a value of this type, with a tag wherever a member of an `AnyOf` stands.

    Where the value is of another type, the document stays as it is.
    """
    if _is_a(tp, Placeholder):
        return tp.tagged(value, plain)
    args, origin = get_args(tp), get_origin(tp)
    if hasattr(tp, "__metadata__"):
        return with_tags(tp.__origin__, value, plain)
    if origin in (Union, types.UnionType):
        return reduce(lambda document, member: with_tags(member, value, document), args, plain)
    if not args or not isinstance(origin, type) or kind_of_type(origin).is_record:
        return plain
    kind = kind_of(value)
    if kind in (Kind.ARRAY, Kind.SET) and kind_of(plain) is Kind.ARRAY:
        items: list[Any] = plain
        inner = args if issubclass(origin, tuple) and args[-1] is not ... else (args[0],) * len(items)
        return [with_tags(each, part, item) for each, part, item in zip(inner, value, items, strict=False)]
    if kind is Kind.MAPPING and len(args) == 2 and kind_of(plain) is Kind.MAPPING:  # noqa: PLR2004 - keys and values
        items_by_name: dict[str, Any] = plain
        pairs = zip(value.values(), items_by_name.items(), strict=False)
        return {name: with_tags(args[1], part, item) for part, (name, item) in pairs}
    return plain


def written_with_tags(tp: Any, value: object, raw: bytes) -> bytes:
    """The JSON of a value with its tags."""
    return encode(with_tags(tp, value, msgspec.json.decode(raw)))


def _read(part: _Part, plain: object) -> Any:
    try:
        return part.read(plain)
    except msgspec.ValidationError as error:
        raise MisfitError("it does not fit") from error


def _is_a(tp: Any, base: type) -> bool:
    return isinstance(tp, type) and issubclass(tp, base)


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _same_document(candidate: object, plain: object) -> bool:
    raw = encode(plain)
    written = with_sets_in_order(candidate, encode(candidate))
    return bool(msgspec.json.decode(written) == msgspec.json.decode(with_sets_in_order(candidate, raw)))


def _class_of(declared: Any) -> Any:
    record = getattr(declared, "record", None) if isinstance(declared, type) else None
    return record if isinstance(record, type) else declared


def _names_of(records: Sequence[Any]) -> dict[int, str]:
    """The names of those that can be written with one."""
    names = {id(record): _class_of(record).__name__ for record in records if _takes_a_name(record)}
    counted = Counter(names.values())
    return {key: name for key, name in names.items() if counted[name] == 1}


def _takes_a_name(record: Any) -> bool:
    """Whether its documents are objects that can have another member, which tells its class."""
    cls = _class_of(record)
    if not isinstance(cls, type) or is_typeddict(cls):
        return False
    kind = kind_of_type(cls)
    if kind is Kind.STRUCT:
        config = cast("type[msgspec.Struct]", cls).__struct_config__
        return not config.array_like and config.tag is None
    if kind is Kind.MODEL and getattr(cls, "__pydantic_root_model__", False):
        return False
    return kind is Kind.OWN or (kind.is_record and TAG not in _fields_of(record))


def _find_alike(records: Sequence[Any]) -> tuple[Any, Any] | None:
    """Two classes whose documents have the same fields."""
    seen: list[tuple[Any, Any]] = []
    for record in records:
        if isinstance(record, type) and own_type(record) is not None:
            continue
        found = _fields_of(record)
        other = next((other for other, others in seen if others == found), None)
        if other is not None:
            return other, record
        seen.append((record, found))
    return None


def _fields_of(record: Any) -> Any:
    """The shape of a class's documents, for comparison."""
    if _is_a(record, StandIn):
        return record.hints
    if is_model(get_origin(record) or record):
        return {
            field.serialization_alias or field.alias or name: field.annotation
            for name, field in record.model_fields.items()
        }
    info: Any = inspect.type_info(record)
    fields = {field.encode_name: field.type for field in info.fields}
    in_order = isinstance(info, inspect.NamedTupleType) or getattr(info, "array_like", False)
    return list(fields.values()) if in_order else fields


def _either(one: Any, other: Any) -> Any:
    return one | other


def _is_record(member: Any) -> bool:
    tp: Any = get_origin(member) or member
    if not _is_a(tp, object):
        return False
    if _is_a(tp, StandIn):
        return True
    return is_typeddict(tp) or kind_of_type(tp).is_record or hasattr(tp, "_fields") or own_type(tp) is not None
