"""CloudEvents from headers and a body: every mode, and every way to be invalid."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from romancy.http._fields import Fields
from romancy.http._incoming import BATCH, STRUCTURED, Incoming, events_of
from romancy.http._refusal import Refused

EVENT: dict[str, Any] = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "paid"}
HEADERS = {f"ce-{name}": value for name, value in EVENT.items()}


def read(headers: dict[str, str] | list[tuple[str, str]], body: bytes = b"", most: int = 3) -> list[Incoming]:
    pairs = headers.items() if isinstance(headers, dict) else headers
    return events_of(Fields((name.encode(), value.encode("latin-1")) for name, value in pairs), body, most=most)[0]


def structured(**changes: Any) -> Incoming:
    body = json.dumps({name: value for name, value in {**EVENT, **changes}.items() if value is not ...})
    (event,) = read({"content-type": STRUCTURED}, body.encode())
    return event


def data_of(event: Incoming) -> Any:
    return json.loads(bytes(event.data))


def refused(headers: dict[str, str] | list[tuple[str, str]], body: bytes = b"") -> Refused:
    with pytest.raises(Refused) as caught:
        read(headers, body)
    assert caught.value.retryable is False
    return caught.value


# ── what is accepted ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_structured_event() -> None:
    event = structured(
        subject="order-1", time="2026-03-01T10:00:00.5+02:00", dataschema="/s", tenant="t", retry=True, part=7,
        nothing=None, romancyinstanceid="order-1", data={"cents": 4900},
    )  # fmt: skip

    assert ("e-1", "/shop", "paid", "order-1", "order-1") == (
        event.id, event.source, event.type, event.subject, event.instance_id,
    )  # fmt: skip
    assert datetime(2026, 3, 1, 8, 0, 0, 500_000, UTC) == event.time
    assert {"dataschema": "/s"} == event.headers
    assert {"tenant": "t", "retry": True, "part": 7} == event.extensions
    assert bool is type(event.extensions["retry"])
    assert {"cents": 4900} == data_of(event)


def test_a_binary_event() -> None:
    headers = {**HEADERS, "ce-id": "e%201%C3%A9", "ce-time": "2026-03-01T10:00:00Z", "ce-tenant": "t"}

    (event,) = read({**headers, "content-type": "application/json; charset=utf-8"}, b'{"cents": 4900}')

    assert ("e 1é", datetime(2026, 3, 1, 10, tzinfo=UTC)) == (event.id, event.time)
    assert {"tenant": "t"} == event.extensions
    assert {"datacontenttype": "application/json; charset=utf-8"} == event.headers
    assert {"cents": 4900} == data_of(event)


def test_the_id_of_an_instance_is_text() -> None:
    assert ["7", "true"] == [structured(romancyinstanceid=each).instance_id for each in (7, True)]


def test_a_batch_keeps_its_order() -> None:
    events = read({"content-type": BATCH}, json.dumps([EVENT, {**EVENT, "id": "e-2"}]).encode())

    assert ["e-1", "e-2"] == [event.id for event in events]
    assert [] == read({"content-type": BATCH}, b"[]")


def test_the_content_type_decides_before_the_headers() -> None:
    body = json.dumps({**EVENT, "id": "in the body"}).encode()

    (event,) = read({**HEADERS, "content-type": f"{STRUCTURED}; charset=UTF-8"}, body)

    assert "in the body" == event.id


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"data": None}, None),
        ({}, None),
        ({"data": "text"}, "text"),
        ({"data": "<a/>", "datacontenttype": "application/xml"}, "<a/>"),
        ({"data_base64": base64.b64encode(b"\0\xff").decode()}, base64.b64encode(b"\0\xff").decode()),
        ({"data_base64": base64.b64encode(b'{"a": 1}').decode(), "datacontenttype": "application/json"}, {"a": 1}),
        ({"data_base64": base64.b64encode("é".encode()).decode(), "datacontenttype": "text/plain"}, "é"),
        ({"data_base64": None, "data": 5}, 5),
    ],
)
def test_data_of_structured_events(more: dict[str, Any], expected: Any) -> None:
    assert expected == data_of(structured(**more))


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b"", None),
        ("application/vnd.shop+json", b"[1]", [1]),
        ("", b'{"a": 1}', {"a": 1}),
        ("text/plain", "é".encode(), "é"),
        ("text/plain; charset=iso-8859-1", "é".encode("latin-1"), "é"),
        ("application/octet-stream", b"\0\xff", base64.b64encode(b"\0\xff").decode()),
    ],
)
def test_data_of_binary_events(content_type: str, body: bytes, expected: Any) -> None:
    (event,) = read({**HEADERS, **({"content-type": content_type} if content_type else {})}, body)

    assert expected == data_of(event)


NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20).filter(
    lambda name: name not in {*EVENT, "data", "time", "subject", "datacontenttype", "dataschema", "romancyinstanceid"}
)
TEXTS = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=50)


@settings(max_examples=30)
@given(st.dictionaries(NAMES, TEXTS, max_size=4), TEXTS, st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=3))
def test_what_the_official_sdk_writes_is_read(extensions: dict[str, str], id: str, data: dict[str, Any]) -> None:
    time = datetime(2026, 3, 1, 10, 0, 0, 250, tzinfo=UTC)
    attributes = {**extensions, **EVENT, "id": id, "time": time, "datacontenttype": "application/json"}

    for write in (to_structured_event, to_binary_event):
        message = write(CloudEvent(dict(attributes), data))
        (event,) = read({name.lower(): value for name, value in message.headers.items()}, message.body)

        assert (id, time, data) == (event.id, event.time, data_of(event))
        assert extensions == event.extensions


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", EVENT)
def test_a_required_attribute_is_missing(name: str) -> None:
    """The SDK would make up an id and a specversion."""
    with pytest.raises(Refused, match=rf"the event: it has no {name}$"):
        structured(**{name: ...})
    without = {header: value for header, value in HEADERS.items() if header != f"ce-{name}"}
    assert f"the event: it has no {name}" == refused(without).error


@pytest.mark.parametrize(
    "changes",
    [
        {"specversion": "0.3"}, {"specversion": "2.0"}, {"specversion": "1"}, {"specversion": 1.0},
        {"id": ""}, {"id": 5}, {"id": "a\nb"}, {"id": "a\u0000"}, {"source": ""}, {"type": ""}, {"type": ["x"]},
        {"subject": ""}, {"time": "yesterday"}, {"time": "2026-02-30T00:00:00Z"}, {"time": "2026-01-01T00:00:00"},
        {"time": "2026-W01"}, {"time": 5}, {"datacontenttype": ""}, {"datacontenttype": "json"},
        {"__class__": "x"}, {"constructor\n": "x"}, {"Upper": "x"}, {"": "x"}, {"x" * 65: "x"}, {"é": "x"},
        {"half": 1.5}, {"large": 1 << 31}, {"list": []}, {"object": {}}, {"long": "x" * 70_000},
        {"data": 1, "data_base64": "aGk="}, {"data_base64": "!"}, {"data_base64": "aGk"}, {"data_base64": 5},
        {"data_base64": "ew==", "datacontenttype": "application/json"},
        {"data_base64": "/w==", "datacontenttype": "text/plain"},
    ],
    ids=lambda changes: repr(changes)[:40],
)  # fmt: skip
def test_structured_events_that_are_none(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        structured(**changes)

    assert 400 == caught.value.status


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"5", b"[]", b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b'{"a":', b'{"a": NaN}',
        b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"[" * 100_000, b'{"data": ' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"data": 1e400}', b'{"data": ' + b"1" * 5000 + b"}", b"{} {}", b"\0",
    ],
    ids=lambda body: repr(body)[:20],
)  # fmt: skip
def test_bodies_that_are_no_event(body: bytes) -> None:
    assert 400 == refused({"content-type": STRUCTURED}, body).status
    assert 400 == refused({"content-type": BATCH}, body if body != b"[]" else b"[5]").status


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"ce-id": "%ff"}, 400), ({"ce-id": "50%"}, 400), ({"ce-id": "é"}, 400), ({"ce-id": "%00"}, 400),
        ({"ce-id": "a%0d%0ab"}, 400), ({"ce-time": "2026"}, 400), ({"ce-time": "2026-99-01T00:00:00Z"}, 400),
        ({"ce-": "x"}, 400), ({"ce-a_b": "x"}, 400), ({"ce-specversion": "0.3"}, 400), ({"ce-id": "x" * 70_000}, 400),
        ({"content-type": "json"}, 400), ({"content-type": "application/json; charset=utf-16"}, 415),
        ({"content-type": "text/plain; charset=ebcdic"}, 415), ({"content-type": "multipart/form-data; x"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415), ({"content-type": "application/json"}, 400),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_binary_events_that_are_none(changes: dict[str, str], status: int) -> None:
    assert status == refused({**HEADERS, **changes}, b"{").status


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"content-type": "application/json"}, {"content-type": "application/cloudevents+avro"},
        {"content-type": "application/cloudevents"}, {"content-type": f"{STRUCTURED}; charset=utf-16"},
    ],
    ids=repr,
)  # fmt: skip
def test_other_content_types(headers: dict[str, str]) -> None:
    assert 415 == refused(headers, json.dumps(EVENT).encode()).status


def test_a_header_that_occurs_twice() -> None:
    assert "ce-id" in refused([*HEADERS.items(), ("ce-id", "e-2")]).error
    assert "content-type" in refused([("content-type", STRUCTURED), ("content-type", BATCH)]).error


def test_a_batch_with_one_that_is_none_and_a_batch_that_is_too_long() -> None:
    some = refused({"content-type": BATCH}, json.dumps([EVENT, {**EVENT, "id": ""}]).encode())
    many = refused({"content-type": BATCH}, json.dumps([EVENT] * 4).encode())

    assert (400, True) == (some.status, some.error.startswith("event 1 of the batch: "))
    assert 413 == many.status


HEADER = st.sampled_from([*HEADERS, "ce-x", "ce-time", "content-type", "x"])
VALUE = st.sampled_from([STRUCTURED, BATCH, *HEADERS.values()]) | st.text(
    st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*EVENT, "data", "time"]), inner),
    max_leaves=5,
)


@settings(max_examples=50)
@given(st.lists(st.tuples(HEADER, VALUE), max_size=8), st.binary(max_size=50) | JSON.map(json.dumps).map(str.encode))
def test_whatever_comes_is_read_or_refused(headers: list[tuple[str, str]], body: bytes) -> None:
    try:
        read(headers, body)
    except Refused as error:
        assert error.status in {400, 413, 415}  # noqa: PT017 - most examples are refused, some are not
