"""pydantic models, when pydantic is installed; without it, none of the code for them is loaded."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Any

import pydantic
import pytest

from romancy.errors import SerializationError
from romancy.serialization import Where, dumps, loads
from tests.serialization import models as m

MODELS: list[tuple[Any, Any, str]] = [
    (m.Model(name="a", Alias=2), m.Model, '{"name":"a","at":null,"tags":[],"ratio":null,"Alias":2}'),
    (m.Model(name="a", tags={"c", "a", "b"}), m.Model,
     '{"name":"a","at":null,"tags":["a","b","c"],"ratio":null,"Alias":1}'),
    (m.Model(name="a", at=datetime(2024, 1, 1, tzinfo=UTC)), m.Model | None,
     '{"name":"a","at":"2024-01-01T00:00:00Z","tags":[],"ratio":null,"Alias":1}'),
    (m.StrictModel.model_validate({"day": date(2024, 1, 1), "more": 5}), m.StrictModel,
     '{"day":"2024-01-01","more":5}'),
    (m.ByName(Inner={"a": [1]}), m.ByName, '{"inner":{"a":[1]}}'),
    (m.Names({"b", "a"}), m.Names, '["a","b"]'),
    (m.Site(url=pydantic.HttpUrl("http://a.b"), words=frozenset({"y", "x"})), m.Site,
     '{"url":"http://a.b/","words":["x","y"]}'),
    (m.HoldsModels(None, {"x": m.Model(name="a")}), m.HoldsModels,
     '{"first":null,"others":{"x":{"name":"a","at":null,"tags":[],"ratio":null,"Alias":1}}}'),
    ([m.Names({"b", "a"})], list[m.Names], '[["a","b"]]'),
    (m.Names({"b"}), m.Names | m.Model | None, '["b"]'),
    (m.Site(url=pydantic.HttpUrl("http://a.b"), words=frozenset()), m.Site | m.Model | int,
     '{"$type":"Site","url":"http://a.b/","words":[]}'),
]  # fmt: skip


@pytest.mark.parametrize(("value", "declared", "text"), MODELS, ids=m.label)
def test_models_come_back(value: Any, declared: Any, text: str) -> None:
    raw = dumps(value, "value", declared)

    assert text == raw.decode()
    assert value == loads(raw, declared, "value")
    assert type(value) is type(loads(raw, declared, "value"))


def test_without_a_declared_type_plain_json_comes_back() -> None:
    site = m.Site(url=pydantic.HttpUrl("http://a.b"), words=frozenset({"y", "x"}))

    raw = dumps([site, m.Names({"b", "a"})], "value")

    assert [{"url": "http://a.b/", "words": ["x", "y"]}, ["a", "b"]] == loads(raw, Any, "value")


REFUSED: list[tuple[Any, Any, str]] = [
    (m.Model(name="a", ratio=float("nan")), m.Model, "value at $.ratio: NaN is not JSON"),
    ({"x": [m.Model(name="a", ratio=float("nan"))]}, Any, "value at $.x[0].ratio: NaN is not JSON"),
    (m.Model(name="\ud800"), m.Model, "value at $.name: the text holds half of a surrogate pair"),
    (m.ByName(Inner=b"\xff"), m.ByName, "value: pydantic could not write it (UnicodeDecodeError)"),
    (m.ByName(Inner={1: 2}), m.ByName, "value at $.inner: a key of type int would come back as str"),
    (m.Hidden(password=pydantic.SecretStr("x")), m.Hidden, "value at $.password: an object of type"),
    ({"name": "a"}, m.Model, "value: dict was given where tests.serialization.models.Model is declared"),
    ({"name": 5}, m.Model, "value at $.name: Input should be a valid string"),
    (m.Model.model_construct(name=5), m.Model, "value at $.name: Input should be a valid string"),
]


@pytest.mark.parametrize(
    ("value", "declared", "message"), REFUSED, ids=lambda part: part if isinstance(part, str) else ""
)
def test_what_would_not_come_back_is_refused(value: Any, declared: Any, message: str) -> None:
    with pytest.raises(SerializationError) as caught:
        dumps(value, "value", declared)

    assert message in str(caught.value)


def test_each_fault_is_told_with_its_path() -> None:
    raw = b'[{"first":{"name":1,"tags":[true]},"others":{}}]'

    with pytest.raises(SerializationError) as caught:
        loads(raw, list[m.HoldsModels], Where("result", "activity 'list models'"))

    assert str(caught.value).startswith(
        "result of activity 'list models' at $[0].first.name: Input should be a valid string; "
        "at $[0].first.tags[0]: Input should be a valid"
    )


def test_its_errors_hold_no_values() -> None:
    with pytest.raises(SerializationError) as caught:
        loads(b'{"first":null,"others":{"x":{"name":["secret"]}}}', m.HoldsModels, "value")

    assert "at $.others[...].name: Input should be a valid string" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_pydantic_and_attrs_are_not_loaded_by_romancy() -> None:
    program = "import romancy.serialization, sys; print(sorted({'pydantic', 'attrs', 'attr'} & set(sys.modules)))"

    assert "[]" == subprocess.check_output([sys.executable, "-c", program], text=True).strip()
