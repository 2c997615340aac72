"""Numbers to the edges of their range, booleans, null, absence, containers, and types stored as strings."""

# ruff: noqa: FBT003 - a boolean is what is looked for

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from romancy.storage.query import contains, gt, gte, is_null, lt, lte, missing, ne, one_of, startswith
from romancy_conformance.query_corpus._case import by_filters, by_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy_conformance.query_corpus._case import Case


__all__ = ["booleans_and_null", "containers", "large_numbers", "numbers", "stored_forms"]


class _Colour(StrEnum):
    RED = "red"


class _Level(IntEnum):
    HIGH = 3


class _Day(Enum):
    FIRST = date(2024, 1, 31)


def numbers() -> Iterator[Case]:
    yield from by_value(
        "number",
        "1",
        [
            1,
            1.0,
            gt(0),
            gte(1),
            lte(1.0),
            lt(1.5),
            ne(2),
            ne("1"),
            ne(True),
            one_of(2, 1),
            one_of(None, 1.0),
            lt(_Level.HIGH),
        ],
        [
            True,
            "1",
            "1.0",
            0,
            2,
            gt(1),
            lt(1),
            ne(1),
            ne(1.0),
            None,
            is_null(),
            missing(),
            gt(""),
            contains("1"),
            startswith(""),
        ],
    )
    yield from by_value("number", "1.0", [1, 1.0, gte(1)], [True, "1.0", 1.0000000000000002, ne(1)])
    yield from by_value("number", "1e0", [1], ["1e0", 10])
    yield from by_value(
        "number", "0", [0, 0.0, -0.0, lt(1), gt(-1), gte(-0.0)], [False, "0", "", None, gt(0), lt(0), lt(-5e-324)]
    )
    yield from by_value("number", "-0.0", [0, 0.0, -0.0, lte(0), gte(0)], [ne(0), lt(0), gt(0), "-0.0"])
    yield from by_value("number", "-0", [0, -0.0], [lt(0)])
    yield from by_value("number", "-5", [-5, lt(-4), gt(-6), lt(0), gt(-5.5)], [5, gt(-4), lt(-6), "-5"])
    yield from by_value(
        "number", "10", [10, gt(9), gt(9.99), lt(11), lt(100), gte(2) & lte(10)], [lt(9), gt(100), gt(10) & lt(20)]
    )
    yield from by_value("number", "0.1", [0.1, gt(0), lt(0.2)], [0.1000000000000001, "0.1", 1])
    yield from by_value("number", "0.30000000000000004", [0.1 + 0.2, gt(0.3)], [0.3])
    yield from by_value("number", "1.5e2", [150, 150.0], [15, "1.5e2"])
    yield from by_value("number", "3", [_Level.HIGH, one_of(_Level.HIGH)], ["3", "HIGH"])
    yield from by_value("number", "100", [100, gte(100.0)], ["100", "100abc", 1, 1000])


def large_numbers() -> Iterator[Case]:
    yield from by_value(
        "large",
        "9007199254740993",
        [9007199254740993, gt(9007199254740992), lt(9007199254740994), gt(2.0**53)],
        [
            9007199254740992,
            9007199254740994,
            9007199254740992.0,
            ne(9007199254740993),
            lte(9007199254740992),
            gte(9007199254740994),
        ],
    )
    yield from by_value("large", "9007199254740992", [2**53, 2.0**53, lt(2**53 + 1)], [2**53 + 1, 2**53 - 1, gt(2**53)])
    yield from by_value(
        "large", "-9007199254740993", [-9007199254740993, lt(-(2**53)), gt(-(2**53) - 2)], [-(2**53), -(2.0**53)]
    )
    yield from by_value(
        "large",
        "9223372036854775807",
        [2**63 - 1, gt(2**63 - 2), lt(2.0**63), gte(2**63 - 1), gt(0)],
        [2**63 - 2, 2.0**63, 2**63, gt(2**63 - 1), gte(2.0**63)],
    )
    yield from by_value(
        "large",
        "-9223372036854775808",
        [-(2**63), -(2.0**63), lt(-(2**63) + 1), lt(0)],
        [-(2**63) + 1, lt(-(2.0**63)), -(2**63) - 1],
    )
    yield from by_value("large", "1152921504606846976", [2**60, 2.0**60], [2**60 + 1, 2**60 - 1, 1152921504606847000])
    yield from by_value(
        "beyond 64 bits",
        "9223372036854775808",
        [2**63, ne(2.0**63), ne(2**63 + 1), one_of(1, 2**63)],
        [2.0**63, gt(0), lt(1e300), lte(2.0**63), ne(2**63)],
    )
    yield from by_value(
        "beyond 64 bits", "18446744073709551617", [2**64 + 1], [2**64, 2.0**64, gt(0), "18446744073709551617"]
    )
    yield from by_value("beyond 64 bits", "-18446744073709551617", [-(2**64) - 1], [-(2**64), 2**64 + 1, lt(0)])
    yield from by_value("beyond 64 bits", "1e19", [1e19, gt(2**63 - 1), lt(2e19)], [10**19, "1e19"])
    yield from by_value("beyond 64 bits", "1" + "0" * 400, [10**400], [10**399, gt(0), 1e300])
    yield from by_value("beyond 512 digits", "1" + "0" * 600, [ne(1), ne(None)], [1, gt(0), None, missing()])
    yield from by_value("float", "1e308", [1e308, gt(2**63 - 1), gt(9e307), lt(1.7976931348623157e308)], [1e307, lt(0)])
    yield from by_value("float", "-1e308", [-1e308, lt(-(2**63)), gt(-1.7976931348623157e308)], [1e308, gt(-1e307)])
    yield from by_value("float", "5e-324", [5e-324, gt(0), lt(1e-323)], [0, 1e-323, lte(0)])
    yield from by_value("float", "-5e-324", [-5e-324, lt(0)], [0, 5e-324, gte(0)])
    yield from by_value("float", "1e-400", [0, lte(0)], [gt(0), ne(0)])
    yield from by_value(
        "beyond floats",
        "1e400",
        [ne(1), ne("1e400"), ne(None)],
        [1.7976931348623157e308, gt(0), lt(0), 10**400, "1e400", None, missing()],
    )
    yield from by_value("beyond floats", "-1e400", [ne(0)], [lt(0), gt(0), -(10**400)])


def booleans_and_null() -> Iterator[Case]:
    yield from by_value(
        "boolean",
        "true",
        [True, ne(False), ne(1), ne(None), one_of("x", True)],
        [False, 1, 1.0, "true", "1", None, gt(0), contains("t")],
    )
    yield from by_value(
        "boolean",
        "false",
        [False, ne(True), ne(0), one_of(False)],
        [True, 0, -0.0, "false", "", "0", None, lt(1), is_null()],
    )
    yield from by_value(
        "null",
        "null",
        [None, is_null(), ne("x"), ne(0), ne(False), one_of("x", None), one_of(None)],
        [missing(), "null", "", 0, False, ne(None), gt(0), lt("z"), contains(""), startswith(""), one_of("null", 0)],
    )
    yield from by_filters(
        "absent",
        '{"a":{"b":1}}',
        [
            {"x": None},
            {"x": missing()},
            {"a.x": None},
            {"a.x": missing()},
            {"x.y.z": None},
            {"x": one_of("q", None)},
            {"a.b.c": missing()},
            {"a.0": None},
        ],
        [
            {"x": is_null()},
            {"x": ne("q")},
            {"x": ne(None)},
            {"x": ""},
            {"x": 0},
            {"x": False},
            {"x": one_of("q")},
            {"x": lt("z")},
            {"x": contains("")},
            {"a.b": None},
        ],
    )


def containers() -> Iterator[Case]:
    for value in ("{}", "[]", '{"k":null}', "[null]", '["pending"]', '{"0":"pending"}', "[[]]"):
        yield from by_value(
            "container",
            value,
            [ne(None), ne("pending"), ne(0), ne(value)],
            [
                "pending",
                value,
                None,
                is_null(),
                missing(),
                True,
                1,
                "",
                contains(""),
                startswith("["),
                gt(0),
                lt("~"),
                one_of("pending", None),
            ],
        )


def stored_forms() -> Iterator[Case]:
    identity = UUID("12345678-abcd-5678-1234-567812345678")
    yield from by_value(
        "stored", '"red"', [_Colour.RED, one_of(_Colour.RED), startswith(_Colour.RED)], ["RED", ne(_Colour.RED)]
    )
    yield from by_value(
        "stored", f'"{identity}"', [identity, str(identity), gte(identity)], [str(identity).upper(), lt(identity)]
    )
    yield from by_value(
        "stored",
        '"2024-01-31"',
        [date(2024, 1, 31), _Day.FIRST, lt(date(2024, 2, 1)), lte(_Day.FIRST)],
        [datetime(2024, 1, 31, tzinfo=UTC)],
    )
    yield from by_value(
        "stored",
        '"2024-01-31T08:00:00Z"',
        [datetime(2024, 1, 31, 8, tzinfo=UTC)],
        # The same moment, but another text: the query compares the stored text.
        [datetime(2024, 1, 31, 9, tzinfo=timezone(timedelta(hours=1))), date(2024, 1, 31)],
    )
    yield from by_value("stored", '"19.90"', [Decimal("19.90"), "19.90"], [Decimal("19.9"), 19.9])
    yield from by_value("stored", '"P1D"', [timedelta(days=1)], [timedelta(hours=1)])
    yield from by_value("stored", '"aGk="', [b"hi"], [b"ho", "hi"])
