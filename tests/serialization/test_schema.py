"""What the schema of a type refuses: what cannot be read as the type. It may accept more, and never less."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy import SerializationError
from romancy.serialization import loads, misfit, schema_of


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Line:
    item: str
    count: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1


@dataclass
class Order:
    lines: list[Line]
    colour: Colour
    at: datetime | None = None
    tags: dict[str, float] = field(default_factory=dict[str, float])
    kind: Literal["a", "b"] = "a"


TYPES: list[Any] = [
    bool, int, float, str, None, bool | None, list[int], tuple[int, str], dict[str, bool], Line, Order, Colour, Any,
    Annotated[str, msgspec.Meta(min_length=2, max_length=4, pattern="^a")], Literal[1, "one"], bytes, datetime,
]  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", "ab", "abcde", "red", "one", "2026-01-01T00:00:00Z", "aGk="]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["item", "count", "lines", "colour", "at", "tags", "kind", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(declared=st.sampled_from(TYPES), value=VALUES)
def test_a_value_that_its_type_accepts_fits_the_schema(declared: Any, value: object) -> None:
    raw = msgspec.json.encode(value)
    try:
        loads(raw, declared, "value")
    except SerializationError:
        return
    assert misfit(schema_of(declared), msgspec.json.decode(raw)) is None


@pytest.mark.parametrize(
    ("declared", "value", "words"),
    [
        (bool, 1, "boolean is expected at $, not a whole number"),
        (bool, "secret", "boolean is expected at $, not a text"),
        (int, True, "integer is expected at $, not true"),
        (Line, {"count": 2}, "'item' is missing at $"),
        (Line, {"item": "x", "count": 10}, "a whole number at $.count is not at most 9"),
        (Order, {"lines": [{"item": "x"}, {"item": 3}], "colour": "red"}, "string is expected at $.lines[1].item"),
        (Order, {"lines": [], "colour": "green"}, "a text is none of the choices at $.colour"),
        (date, "today", "the text at $ is no date"),
        (list[int], [1, None], "integer is expected at $[1], not null"),
        (Annotated[str, msgspec.Meta(min_length=2)], "a", "fewer than 2"),
    ],
)
def test_a_misfit_is_told_with_its_place_and_without_its_value(declared: Any, value: object, words: str) -> None:
    said = misfit(schema_of(declared), value)
    assert said is not None
    assert words in said
    assert "secret" not in said


def test_a_type_without_a_schema_is_fitted_by_everything() -> None:
    class Unknown:
        pass

    assert schema_of(Unknown) == {}
    assert misfit({}, {"any": ["thing"]}) is None
