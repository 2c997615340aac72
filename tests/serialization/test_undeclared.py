"""Records where nothing is declared: what their own class declares comes back, so it may be written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum, StrEnum
from typing import Any, Generic, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from romancy.errors import SerializationError
from romancy.serialization import dumps, loads


class Language(IntEnum):
    EN = 1
    FR = 2


class Word(StrEnum):
    HELLO = "hello"


@dataclass
class State:
    greetings: dict[Language, str]
    counts: dict[int, set[str]] = field(default_factory=dict[int, set[str]])


@attrs.define
class Attrs:
    days: dict[date, int]


class Structure(msgspec.Struct):
    words: dict[Word, list[State]]


class Model(pydantic.BaseModel):
    by_number: dict[int, str]


T = TypeVar("T")


@dataclass
class Holds(Generic[T]):
    value: T
    anything: Any = None


STATE = State({Language.EN: "hello", Language.FR: "salut"}, {2: {"b", "a"}})
RECORDS: list[object] = [
    STATE,
    Attrs({date(2026, 11, 24): 1}),
    Structure({Word.HELLO: [STATE]}),
    Model(by_number={1: "one"}),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_written_as_its_own_class_declares_it(record: Any) -> None:
    declared = dumps(record, "it", type(record))

    assert declared == dumps(record, "it")
    assert record == loads(dumps(record, "it"), type(record), "it")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_so_is_one_inside_of_others(record: Any) -> None:
    inside: list[Any] = [
        [record],
        {"key": record},
        (1, record),
        Holds(record),
        Holds(1, [record]),
        [Holds(Holds(record))],
    ]
    for one in inside:
        assert msgspec.json.decode(dumps(record, "it")) in list(_all_in(msgspec.json.decode(dumps(one, "it"))))


def _all_in(value: Any) -> Any:
    yield value
    if isinstance(value, (list, dict)):
        for one in value if isinstance(value, list) else value.values():  # pyright: ignore[reportUnknownVariableType]
            yield from _all_in(one)


def test_sets_in_it_are_sorted() -> None:
    many = {f"{number:03}" for number in range(50)}
    for record in (State({}, {1: many}), Holds(many), Holds(1, {"x": many}), [Holds(State({}, {1: many}))]):
        text = dumps(record, "it").decode()
        assert text.count('"') > 100
        assert sorted(many) == [part for part in text.split('"') if part in many]


def test_keys_that_no_class_declares_are_refused_as_before() -> None:
    for value in ({Language.EN: "hello"}, {1: "one"}, Holds({1: "one"}), Holds(1, {1: "one"}), [STATE, {1: 1}]):
        with pytest.raises(SerializationError, match="would come back as str"):
            dumps(value, "it")


def test_a_record_that_is_not_what_it_declares_is_judged_by_its_parts() -> None:
    assert b'{"greetings":{"a":"b"},"counts":{}}' == dumps(State({"a": "b"}), "it")  # type: ignore[dict-item]  # on purpose
    with pytest.raises(SerializationError, match=r"\$\.greetings"):
        dumps(State({1.5: "b"}), "it")  # type: ignore[dict-item]  # on purpose
