"""The cost of the ordinary path, as a count: plain values are never walked in Python."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from romancy.serialization import Signature, _plan, dumps
from tests.serialization import models as m

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def nothing_is_walked() -> Iterator[None]:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a plain value was walked")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("compare", "with_sets_in_order", "is_too_deep"):
            patch.setattr(_plan, name, fail)
        yield


PLAIN: list[tuple[Any, Any]] = [
    ({"id": "o-1", "amount": 1.5, "count": 3, "ok": True, "none": None}, Any),
    ([{"a": [1, 2, {"b": None}]}] * 20, Any),
    (m.Order([m.Item(1.5)]), m.Order),
    ({"at": datetime(2024, 1, 1, tzinfo=UTC)}, dict[str, datetime]),
    ([Decimal(1), Decimal(2)], list[Decimal]),
    (m.Renamed("Ada"), m.Renamed),
    (m.Place(1.0), m.Place),
    ({UUID(int=1): m.Size.SMALL}, dict[UUID, m.Size]),
    ("x", str),
    (None, None),
]


@pytest.mark.usefixtures("nothing_is_walked")
@pytest.mark.parametrize(("value", "declared"), PLAIN, ids=lambda part: str(part)[:30])
def test_plain_values_are_written_without_a_walk(value: Any, declared: Any) -> None:
    assert dumps(value, "value", declared)


@pytest.mark.usefixtures("nothing_is_walked")
def test_calls_are_written_without_a_walk() -> None:
    def charge(order: m.Order, amount: Decimal = Decimal(1), *, note: str | None = None) -> None: ...

    assert Signature.of(charge).encode_arguments((m.Order([]),), {"note": "x"})


def test_types_are_resolved_once() -> None:
    def charge(order: m.Order) -> m.Item: ...  # type: ignore[empty-body]

    stored = Signature.of(charge)
    stored.check()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_plan, "Plan", None)
        assert stored.encode_arguments((m.Order([]),), {})
        assert stored.encode_result(m.Item(1.0))
        assert dumps(m.Order([]), "value", m.Order)
