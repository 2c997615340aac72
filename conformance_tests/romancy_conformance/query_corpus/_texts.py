"""Strings: exact, in any script, with everything a database might take for syntax, and in order."""

# ruff: noqa: FBT003 - a boolean is what is looked for

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from romancy.storage.query import contains, gt, gte, is_null, lt, lte, missing, ne, one_of, startswith
from romancy_conformance.query_corpus._case import by_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy_conformance.query_corpus._case import Case


__all__ = ["order_of_strings", "punctuation", "strings", "unicode"]


def strings() -> Iterator[Case]:
    yield from by_value(
        "string",
        '"pending"',
        ["pending", ne("Pending"), ne(1), ne(None), one_of("open", "pending"), one_of(1, None, "pending")],
        [
            "Pending",
            "PENDING",
            "pending ",
            " pending",
            "pendin",
            "pending\x00",
            "",
            None,
            ne("pending"),
            one_of("open"),
        ],
    )
    yield from by_value(
        "string",
        '"5"',
        ["5", ne(5), startswith("5"), gt("4"), lt("50")],
        [5, 5.0, gt(4), lt(6), gte(5), ne("5"), "5.0", one_of(5, 5.5, True)],
    )
    yield from by_value("string", '"true"', ["true", ne(True)], [True, 1, "True"])
    yield from by_value("string", '"null"', ["null", ne(None)], [None, is_null(), missing()])
    yield from by_value(
        "string", '""', ["", ne(None), startswith(""), contains(""), lt("a"), gte("")], [None, gt(""), " "]
    )
    yield from by_value("string", '"k "', ["k ", ne("k"), gt("k")], ["k", "k  ", lte("k")])
    yield from by_value("string", '" "', [" ", ne("")], ["", "  "])
    yield from by_value("string", '"{}"', ["{}", startswith("{")], ["[]", missing()])
    yield from by_value("string", '"s:x"', ["s:x", startswith("s:"), contains(":")], ["x", startswith("x")])
    yield from by_value("string", '"z"', ["z", ne(None)], [None, is_null()])
    yield from by_value("string", '"c"', ["c"], ["s:c", missing()])
    yield from by_value("string", '"100abc"', ["100abc"], [100, "100"])


def unicode() -> Iterator[Case]:
    yield from by_value(
        "unicode", '"\u00e9"', ["\u00e9", ne("e"), gt("z"), contains("\u00e9")], ["e", "E\u0301", "e\u0301", "\u00c9"]
    )
    yield from by_value(
        "unicode", '"e\u0301"', ["e\u0301", startswith("e"), contains("\u0301")], ["\u00e9", contains("\u00e9")]
    )
    yield from by_value(
        "unicode", '"stra\u00dfe"', ["stra\u00dfe", contains("\u00df")], ["strasse", "STRASSE", contains("ss")]
    )
    yield from by_value("unicode", '"\u0130"', ["\u0130"], ["i", "I", "\u0131", "i\u0307"])
    yield from by_value(
        "unicode",
        '"\U0001f600"',
        ["\U0001f600", gt("\uffff"), gt("\ue000"), lt("\U0001f601"), contains("\U0001f600")],
        ["?", "\U0001f601", contains("\uf600"), lt("\uffff")],
    )
    yield from by_value("unicode", r'"\ud83d\ude00"', ["\U0001f600"], ["\U0001f601", ""])
    yield from by_value(
        "unicode", '"\U0010ffff"', ["\U0010ffff", gt("\U0010fffe"), gt("\U0003ffff")], [lt("~"), "\uffff"]
    )
    yield from by_value(
        "unicode",
        '"\u65e5\u672c\u8a9e"',
        [contains("\u672c"), startswith("\u65e5")],
        ["\u65e5\u672c", contains("\u672d")],
    )
    yield from by_value("unicode", '"a\u200bb"', ["a\u200bb", contains("\u200b")], ["ab", "a b"])
    yield from by_value(
        "unicode", r'"x\u0000y"', ["x\x00y", contains("\x00"), contains("y"), gt("x")], ["x", "xy", "x\x00"]
    )
    yield from by_value("unicode", r'"\u0000"', ["\x00", gt(""), lt("\x01")], ["", None, ne("\x00")])
    yield from by_value("unicode", r'"\u001f\u007f\n"', ["\x1f\x7f\n", contains("\x7f\n")], ["\x1f\x7f", "\x1f\x7f "])
    yield from by_value("unicode", '"\u0664\u0662"', ["\u0664\u0662"], [42, "42"])


def punctuation() -> Iterator[Case]:
    yield from by_value(
        "punctuation",
        r'"100% _off_"',
        ["100% _off_", contains("%"), contains("_off")],
        ["100%", contains("0_"), startswith("%")],
    )
    yield from by_value(
        "punctuation",
        r'"a\\b\"c"',
        ['a\\b"c', contains("\\"), contains('"'), contains('\\b"')],
        ["ab", 'a\\\\b"c', contains("\\\\")],
    )
    yield from by_value("punctuation", '"it\'s"', ["it's", contains("'")], ["it''s", "its", contains("''")])
    yield from by_value("punctuation", "\"' OR '1'='1\"", ["' OR '1'='1", contains("OR")], ["1", "' or '1'='1"])
    yield from by_value(
        "punctuation",
        '"!#$&()*+,~{|}"',
        ["!#$&()*+,~{|}", contains("#$"), contains("|")],
        [contains("#&"), "!#$&()*+, {|}"],
    )
    yield from by_value(
        "punctuation",
        '"! "',
        [contains("!"), contains(" ")],
        [contains("!)"), contains(")#"), contains("#"), contains(")")],
    )
    yield from by_value(
        "punctuation",
        '"[x]"',
        ["[x]", contains("["), lt("\\"), lt("]"), gt("Z")],
        [contains("[#"), contains("#"), contains("\\")],
    )
    yield from by_value(
        "punctuation", '":name %s ? $1"', [":name %s ? $1", contains("%s ?")], [":name", contains("%s?")]
    )


def order_of_strings() -> Iterator[Case]:
    yield from by_value(
        "order",
        '"m"',
        [gt("l"), gte("m"), lte("m"), lt("n"), gt("M"), lt("ma"), gt("Z"), gt(" "), lt("\u00e0"), gte("a") & lt("n")],
        [gt("m"), lt("m"), gt("n"), lt("l"), lt("M"), gt(0), lt(10**9), gte("a") & lt("m"), gt("m") & lt("n")],
    )
    yield from by_value("order", '"10"', [lt("9"), gt("1")], [gt("9"), gt(9), lt(11)])
    yield from by_value(
        "order",
        '"2024-03-01T09:30:00Z"',
        [gte("2024-03-01"), lt("2024-03-02"), gte(date(2024, 3, 1)), startswith("2024-03")],
        [lt("2024-03-01"), lte(date(2024, 3, 1)), startswith("2024-04"), gt("2024-03-01T09:30:00Z")],
    )
    for low, high in (
        ("!", '\\"'),
        ("/", "0"),
        ("Z", "["),
        ("[", "\\\\"),
        ("\\\\", "]"),
        ("z", "{"),
        ("{", "|"),
        ("|", "}"),
        ("}", "~"),
    ):
        yield from _order_of_two(low, high)
    yield from _order_of_two("~", "\u007f")
    yield from _order_of_two("\u007f", "\u0080")
    yield from _order_of_two("\u0fff", "\u1000")
    yield from _order_of_two("\uffff", "\U00010000")
    yield from _order_of_two("\U0003ffff", "\U00040000")


def _order_of_two(low: str, high: str) -> Iterator[Case]:
    first, second = (text.replace("\\\\", "\\").replace('\\"', '"') for text in (low, high))
    yield from by_value(
        f"order before U+{ord(second):04X}", f'"a{low}z"', [lt(f"a{second}"), gt(f"a{first}")], [gt(f"a{second}")]
    )
    yield from by_value(
        f"order after U+{ord(first):04X}", f'"a{high}"', [gt(f"a{first}z"), gte(f"a{second}")], [lt(f"a{first}z")]
    )
