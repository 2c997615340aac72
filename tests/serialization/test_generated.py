"""The promises for generated values: generated trees, generated faults, generated JSON."""

from __future__ import annotations

import contextlib
import json
import math
import re
from datetime import datetime, time, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.errors import SerializationError
from romancy.serialization import _plan, dumps, loads
from tests.serialization import models as m


def zone(minutes: int) -> timezone:
    return timezone(timedelta(minutes=minutes))


def clock_in(clock: time, tz: timezone | None) -> time:
    return clock.replace(tzinfo=tz)


offsets = st.integers(-14 * 60, 14 * 60).map(zone)
moments = st.datetimes(timezones=st.none() | offsets)
clocks = st.builds(clock_in, st.times(), st.none() | offsets)
finite = st.floats(allow_nan=False, allow_infinity=False)
exact_decimals = st.decimals(allow_nan=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
trees: st.SearchStrategy[m.Tree] = st.deferred(
    lambda: st.builds(m.Tree, name=st.text(max_size=4), children=st.lists(trees, max_size=2))
)

everything = st.builds(
    m.Everything,
    text=st.text(),
    number=st.integers(),
    ratio=finite,
    flag=st.booleans(),
    nothing=st.none(),
    raw=st.binary(),
    moment=moments,
    day=st.dates(),
    clock=clocks,
    delay=st.timedeltas(),
    key=st.uuids(),
    amount=exact_decimals,
    colour=st.sampled_from(m.Colour),
    size=st.sampled_from(m.Size),
    names=st.sets(st.text(max_size=4), max_size=5),
    marks=st.frozensets(st.integers(), max_size=5),
    pair=st.tuples(st.integers(), st.text()),
    many=st.lists(finite, max_size=3).map(tuple),
    by_number=st.dictionaries(st.integers(), st.text(), max_size=4),
    maybe=st.none() | st.integers() | st.text(),
    tree=st.none() | trees,
    plain=plain,
)

typed: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (m.Everything, everything),
    (list[m.Everything | None], st.lists(everything | st.none(), max_size=2)),
    (m.Page[m.Point], st.builds(m.Page, st.lists(st.builds(m.Point, st.integers(), st.integers())), st.booleans())),
    (m.Crate, st.builds(m.Crate, exact_decimals, st.sets(st.text()))),
    (m.Address, st.fixed_dictionaries({"street": st.text()}, optional={"zip": st.text()})),
    (m.Place, st.builds(m.Place, finite, finite)),
    (m.Renamed, st.builds(m.Renamed, st.text(), st.text(), st.none() | finite)),
    (m.Card | m.Cash, st.builds(m.Card, st.text()) | st.builds(m.Cash, exact_decimals)),
    (m.Approved | m.Rejected, st.builds(m.Approved, st.text()) | st.builds(m.Rejected, st.text(), st.integers())),
    (m.Packed, st.builds(m.Packed, plain, st.sets(st.text()))),
    (dict[m.Colour, set[m.Point]], st.dictionaries(
        st.sampled_from(m.Colour), st.sets(st.builds(m.Point, st.integers(), st.integers()), max_size=4))),
    (m.Model, st.builds(m.Model, name=st.text(), at=st.none() | st.datetimes(), tags=st.sets(st.text()),
                        ratio=st.none() | finite, Alias=st.integers())),
    (m.HoldsModels, st.builds(m.HoldsModels, st.none() | st.builds(m.Model, name=st.text()), st.dictionaries(
        st.text(), st.builds(m.Model, name=st.text()), max_size=2))),
    (dict[str, object], st.dictionaries(st.text(), plain)),
    (Any, plain),
]  # fmt: skip


@given(st.sampled_from(typed).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1])))
def test_typed_values_come_back(pair: tuple[Any, Any]) -> None:
    declared, value = pair

    raw = dumps(value, "value", declared)
    back = loads(raw, declared, "value")

    assert value == back
    assert type(value) is type(back)
    assert raw == dumps(back, "value", declared)
    json.loads(raw, parse_constant=pytest.fail)  # valid JSON for all other parsers


@given(st.lists(st.text(max_size=3) | st.integers(), unique=True), st.randoms())
def test_a_set_is_written_the_same_however_it_was_built(elements: list[Any], chance: Any) -> None:
    shuffled = list(elements)
    chance.shuffle(shuffled)

    assert dumps(set(elements), "value") == dumps(set(shuffled), "value")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)) | st.binary()
    | st.datetimes() | st.uuids() | st.decimals() | st.complex_numbers() | st.sampled_from(m.Size),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 9) | st.booleans(), inner, max_size=3)
        | st.builds(m.ByIdentity, st.integers(), inner)
        | st.builds(m.Unequal, st.text(), inner)
    ),
    max_leaves=10,
)  # fmt: skip


@given(anything)
def test_anything_is_written_stably_or_refused(value: Any) -> None:
    try:
        raw = dumps(value, "value")
    except SerializationError:
        return

    back = loads(raw, Any, "value")

    assert raw == dumps(back, "value")
    assert back == json.loads(raw)


@given(anything, st.sampled_from([declared for declared, _ in typed]))
def test_a_value_of_another_type_is_refused_or_equal(value: Any, declared: Any) -> None:
    try:
        raw = dumps(value, "value", declared)
    except SerializationError:
        return

    back = loads(raw, declared, "value")
    assert back == loads(dumps(back, "value", declared), declared, "value")


@given(st.binary())
def test_reading_any_bytes_gives_a_value_or_one_error(raw: bytes) -> None:
    with contextlib.suppress(SerializationError):
        assert loads(raw, Any, "value") == json.loads(raw)


@given(plain, st.sampled_from([declared for declared, _ in typed]))
def test_reading_any_json_as_a_type_gives_a_value_or_one_error(document: Any, declared: Any) -> None:
    with contextlib.suppress(SerializationError):
        value = loads(msgspec.json.encode(document), declared, "value")
        assert value == loads(dumps(value, "value", declared), declared, "value")


@st.composite
def trees_with_a_fault(draw: st.DrawFn) -> Any:
    """Return plain data with one NaN somewhere in it."""
    value: Any = math.nan
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            around = draw(st.lists(plain, max_size=3))
            around.insert(draw(st.integers(0, len(around))), value)
            value = around
        else:
            name = draw(st.text(max_size=6))
            value = {**draw(st.dictionaries(st.text(max_size=6), plain, max_size=3)), name: value}
    return value


STEP = re.compile(r"\[(\d+)\]|\[(\"(?:[^\"\\]|\\.)*\")\]|\.(\w+)")


@given(trees_with_a_fault())
def test_the_path_leads_to_the_fault(value: Any) -> None:
    with pytest.raises(SerializationError) as caught:
        dumps(value, "value")

    path = str(caught.value).partition(": NaN is not JSON")[0].removeprefix("value").removeprefix(" at $")
    for index, quoted, name in STEP.findall(path):
        value = value[int(index)] if index else value[json.loads(quoted) if quoted else name]
    assert isinstance(value, float)
    assert math.isnan(value)


def depth_of(value: Any) -> int:
    if type(value) not in (list, dict):
        return 0
    children: list[Any] = [*(value.values() if type(value) is dict else value)]
    return 1 + max(map(depth_of, children), default=0)


def containers_of(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=15
    )


def is_too_deep(value: Any, limit: int) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_plan, "MAX_DEPTH", limit)
        return _plan.is_too_deep(msgspec.json.encode(value))


@given(containers_of(st.text("ab", max_size=3)), st.integers(1, 5))
def test_depth_is_exact(value: Any, limit: int) -> None:
    assert (depth_of(value) > limit) == is_too_deep(value, limit)


@given(containers_of(st.text('[]{}"\\a', max_size=6)), st.integers(1, 5))
def test_brackets_in_strings_make_nothing_deeper(value: Any, limit: int) -> None:
    assert depth_of(value) > limit or not is_too_deep(value, limit)


@given(moments, clocks)
def test_times_keep_their_offset(moment: datetime, clock: time) -> None:
    assert moment.isoformat() == loads(dumps(moment, "value", datetime), datetime, "value").isoformat()
    assert clock.isoformat() == loads(dumps(clock, "value", time), time, "value").isoformat()
