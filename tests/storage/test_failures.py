"""What of the text of a failure counts for its group."""

from __future__ import annotations

import time
import unicodedata
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.storage.failures import About, decode_about, fold, is_group, member_of, unsaid

if TYPE_CHECKING:
    from uuid import UUID

texts = st.text(max_size=250)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("card 17 declined", "card … declined"),
        ("card '4111' of \"Ann\" declined", "card … of … declined"),
        ("order o-1, o-2, o-3 not found", "order … not found"),
        ("no route to 192.0.2.7:443", "no route to …"),
        ("<Card object at 0x7f3a10c0>", "<Card object at …>"),
        ("0f8fad5b-d9cb-469f-a165-70867728950e is gone", "… is gone"),
        ("mail to ann@example.org bounced!", "mail to … bounced!"),
        ("GET /orders/17/items: 503", "GET /orders/…/items: …"),
        ("at 2026-11-29T10:32:55.123+00:00", "at …"),
        ("can't reach the bank", "can't reach the bank"),
        ("it's Ann's card, isn't it", "it's Ann's card, isn't it"),
        ("key=17; other=18", "key=…; other=…"),
        ("KeyError: 'a'", "KeyError: …"),
        ("['a', 'b', 'c'] is not a number", "[…] is not a number"),
        ("deadbeefcafe is no commit", "… is no commit"),
        ("two\n\tlines\x00 of it\u202e", "two lines of it"),
        ("", ""),
        ("17", "…"),
    ],
)
def test_what_differs_from_instance_to_instance_is_folded(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.integers(), st.uuids(), st.ip_addresses(v=4), st.from_regex(r"\A[^'\n]{0,20}\Z"))
def test_two_failures_with_other_values_are_folded_alike(number: int, one: UUID, address: object, quoted: str) -> None:
    text = "charge {} of {} at {} with '{}' failed"
    values = (number, one, address, quoted)
    assert fold(text.format(*values)) == "charge … of … at … with … failed"


@given(texts)
def test_a_folded_text_is_folded(text: str) -> None:
    folded = fold(text)
    assert len(folded) <= 300
    assert fold(folded) == folded


@given(texts)
def test_a_folded_text_has_no_digits_and_no_control_characters(text: str) -> None:
    folded = fold(text)
    assert not any(one.isdecimal() for one in folded)
    assert not any(unicodedata.category(one)[0] == "C" for one in folded)
    assert folded == " ".join(folded.split())


@pytest.mark.parametrize(
    "part", ["'", '"', "....", "1.", "…", "a.", "' '", "0x", "\ud800", "(((", "@", "-:-", "\u202e"]
)
def test_hostile_texts_are_folded_in_a_moment(part: str) -> None:
    began = time.perf_counter()
    assert len(fold(part * 100_000)) <= 300
    assert time.perf_counter() - began < 1


@given(texts, texts, texts, texts)
def test_a_group_is_of_the_cause_alone(workflow: str, kind: str, activity: str, text: str) -> None:
    one = About(workflow, kind, activity, text, code="a", release="1")
    other = msgspec.structs.replace(one, code="b", release="2")
    assert one.group == other.group
    assert is_group(one.group)


def test_each_part_of_the_cause_makes_another_group() -> None:
    one = About("w", "E", "a", "t")
    others = [msgspec.structs.replace(one, **{name: "x"}) for name in ("workflow", "type", "activity", "text")]
    assert len({one.group, *(other.group for other in others)}) == 5


@given(texts)
def test_what_is_recorded_is_read_again(text: str) -> None:
    about = About("w", "E", "a", fold(text), "1", "2026.11")
    assert decode_about(member_of(about).where or b"") == about
    assert decode_about(unsaid(member_of(about)).where or b"").text == ""


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"\xff", b'{"workflow":1}'])
def test_what_another_version_has_recorded_is_passed_over(raw: bytes) -> None:
    assert decode_about(raw) == About("", "")


@pytest.mark.parametrize(
    "text", ["", "f-", "f-12345678901", "f-1234567890abc", "F-1234567890ab", "f-1234567890ag", "f-1234567890ab\n"]
)
def test_what_is_no_name_of_a_group_is_a_text(text: str) -> None:
    assert not is_group(text)
