"""Payloads on a page: exact, folded, and of a bounded size whatever they hold."""

from __future__ import annotations

import json

import pytest

from romancy.dashboard.instance._payload import NARROW, WIDE, Piece, payload, summary


def kinds(raw: bytes) -> list[tuple[str, str, str]]:
    return [(piece.kind, piece.key, piece.text) for piece in payload(raw).pieces]


def test_an_object_folds_and_says_what_is_in_it() -> None:
    assert [
        ("open", "", "{ 2 fields }"),
        ("leaf", "id", "7"),
        ("open", "tags", "[ 1 item ]"),
        ("leaf", "0", '"new"'),
        ("close", "", ""),
        ("close", "", ""),
    ] == kinds(b'{"id": 7, "tags": ["new"]}')


def test_numbers_and_repeated_keys_stay_as_they_are_stored() -> None:
    assert [
        ("open", "", "{ 3 fields }"),
        ("leaf", "a", "1.10"),
        ("leaf", "a", "123456789012345678901234567890"),
        ("leaf", "b", "1e400"),
        ("close", "", ""),
    ] == kinds(b'{"a": 1.10, "a": 123456789012345678901234567890, "b": 1e400}')


def test_what_holds_nothing_does_not_fold() -> None:
    assert [("leaf", "", "{}")] == kinds(b"{}")
    assert not payload(b"{}").folds
    assert not payload(b"null").folds
    assert [Piece("leaf", "", "true", "word")] == list(payload(b"true").pieces)


@pytest.mark.parametrize("bounds", [NARROW, WIDE])
def test_of_two_megabytes_the_head_is_shown(bounds: object) -> None:
    raw = json.dumps(["x" * 100] * 20_000).encode()

    shown = payload(raw, bounds)  # type: ignore[arg-type]

    assert (len(raw), True, ()) == (shown.size, shown.cut, shown.pieces)
    assert raw.decode().startswith(shown.head)
    assert len(shown.head) == bounds.head  # type: ignore[attr-defined]


def test_many_levels_are_cut() -> None:
    shown = payload(b"[" * 200 + b"]" * 200)

    assert shown.cut
    assert 16 == [piece.kind for piece in shown.pieces].count("open")


def test_more_levels_than_python_reads_show_their_text() -> None:
    deep = b"[" * 30_000 + b"]" * 30_000

    try:
        json.loads(deep)
    except RecursionError:
        expected = deep[: WIDE.head].decode()
    else:
        expected = ""  # from 3.14 on, the size of the stack decides how deep Python reads; then it is cut at its level

    assert (expected, True) == (payload(deep).head, payload(deep).cut)


def test_many_values_and_long_texts_are_cut_and_counted() -> None:
    many = payload(json.dumps(list(range(5000))).encode())
    long = payload(json.dumps("y" * 3000).encode())

    assert ("… and 4,001 more", True) == (many.pieces[-2].text, many.cut)
    assert long.cut
    assert long.pieces[0].text.endswith("… (3,002 characters)")


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"nul", b'"\x00"'])
def test_what_is_no_json_is_shown_as_text(raw: bytes) -> None:
    assert raw.decode("utf-8", "replace") == payload(raw).head


def test_a_summary_is_one_short_line() -> None:
    assert '{"a": "b"}' == summary(b'{"a":\n "b"}')
    assert 110 == len(summary(json.dumps("z" * 9000).encode()))


def test_equal_payloads_alone_are_equal() -> None:
    assert payload(b"[1]").digest == payload(b"[1]").digest != payload(b"[2]").digest
