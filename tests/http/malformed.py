"""Requests that are wrong, each by its name: in their events, their headers, their paths, or as HTTP."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.http.clients import BATCH, STRUCTURED

__all__ = ["GOOD", "REQUESTS", "request"]

EVENT: Final = {"specversion": "1.0", "id": "e-1", "source": "/s", "type": "tick"}
GOOD: Final = json.dumps({**EVENT, "subject": "k"}).encode()
"""An event that is accepted."""


def request(body: bytes, *headers: str, target: str = "/", method: str = "POST") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "host: localhost", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def structured(body: Any, content_type: str = STRUCTURED) -> bytes:
    return request(encoded(body), f"content-type: {content_type}")


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def binary(body: bytes = b"{}", content_type: str = "application/json", **changes: str) -> bytes:
    attributes = {**EVENT, **changes}
    return request(
        body, f"content-type: {content_type}", *(f"ce-{name}: {value}" for name, value in attributes.items())
    )


def changed(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**EVENT, **changes}.items() if value is not ...}


NO_TIMES: Final = (
    "yesterday", "2026-02-30T25:00:00Z", "2026-03-01T10:00:00+00:60", "2026-03-01T10:00:00+24:00",
    "2026-03-01T24:00:00Z", "2026-03-01T10:60:00Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
)  # fmt: skip
"""No times of RFC 3339, or in no year of UTC."""
NO_TEXTS: Final[list[Any]] = [5, None, [], {}, True]
EVENTS: Final = {
    **{f"no {name}": changed(**{name: ...}) for name in EVENT},
    **{f"empty {name}": changed(**{name: ""}) for name in EVENT},
    **{f"{name} is {value!r}": changed(**{name: value}) for name in EVENT for value in NO_TEXTS},
    **{f"{name} with NUL": changed(**{name: "a\0b"}) for name in EVENT},
    "another version": changed(specversion="0.3"),
    "a long type": changed(type="t" * 300),
    "a long id": changed(id="i" * 70_000),
    **{f"the time {time}": changed(time=time) for time in NO_TIMES},
    "an upper-case name": changed(Upper="x"),
    "an extension that is an object": changed(ext={}),
    "a large number": changed(ext=1 << 40),
    "data twice": changed(data=1, data_base64="MQ=="),
    "no base64": changed(data_base64="*"),
    "an instance of no name": changed(romancyinstanceid=""),
    "an instance that is not there": changed(romancyinstanceid="nobody"),
    "a start that does not fit": changed(type="order.placed", data={"item": 5}),
    "a type that does not fit": changed(type="order.paid", subject="x", data="much"),
    "half a surrogate pair": json.dumps(changed(id="\ud800")).encode(),
    "no object": b"5",
    "nothing": b"",
    "a list": b"[]",
    "no JSON": b"{",
    "more than JSON": GOOD + b"}",
    "NaN": GOOD.replace(b'"e-1"', b"NaN"),
    "a number without end": GOOD[:-1] + b', "data": 1' + b"0" * 5000 + b"}",
    "no UTF-8": GOOD.replace(b"e-1", b"\xff\xfe"),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "a mark": b"\xef\xbb\xbf" + GOOD,
    "deep lists": GOOD[:-1] + b', "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": GOOD[:-1] + b', "data": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "deep and cut off": b"[" * 900_000,
}
REQUESTS: Final = {
    **{f"structured: {name}": structured(event) for name, event in EVENTS.items()},
    **{
        f"batch: {name}": structured(b"[%b, %b]" % (GOOD, encoded(event)), BATCH)
        for name, event in EVENTS.items()
        if name != "an instance that is not there"  # that one alone is refused, and the good one accepted
    },
    "batch: too many": structured([EVENT] * 1001, BATCH),
    "batch: an object": structured(EVENT, BATCH),
    **{f"type {each!r}": structured(GOOD, each) for each in (
        "", "application/json", "text/plain", "application/cloudevents+xml", "application/cloudevents+avro",
        "application/cloudevents", f"{STRUCTURED}; charset=utf-16", "/", "a", "a/b/c", "*/*", "é/é", ";" * 9000,
        "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
    )},
    "binary: a form": binary(b"a=1", "application/x-www-form-urlencoded"),
    "binary: no JSON": binary(b"{"),
    "binary: no UTF-8": binary(b'"\xff"'),
    "binary: no text": binary(b"\xff", "text/plain; charset=utf-8"),
    **{f"binary: the time {time}": binary(time=time) for time in NO_TIMES},
    "binary: half a percent": binary(id="a%"),
    "binary: no UTF-8 behind percents": binary(id="%ff"),
    "binary: NUL behind percents": binary(id="a%00"),
    "binary: Latin": binary(id="é"),
    "binary: no id": binary(id=""),
    "binary: too long a subject": binary(subject="s" * 80_000),
    "an id twice": binary(id="e-1\r\nce-id: e-2"),
    "two content types": request(GOOD, f"content-type: {STRUCTURED}", f"content-type: {BATCH}"),
    "compressed": request(GOOD, f"content-type: {STRUCTURED}", "content-encoding: gzip"),
    "a megabyte of header": request(GOOD, f"content-type: {STRUCTURED}", f"x: {'x' * 1_048_576}"),
    "many headers": request(GOOD, f"content-type: {STRUCTURED}", *(f"x-{number}: x" for number in range(20_000))),
    "a long path": request(b"", target=f"/{'x' * 200_000}"),
    **{f"GET {each}": request(b"", target=each, method="GET") for each in (
        "/instances/%00", "/instances/%ff", "/instances/../x", "/instances/" + "x" * 5000,
        "/instances/x/result?timeout=x", "/instances/x/result?timeout=1e999",
        "/instances/x/result?timeout=-1", "/nothing", "/instances/", "//",
        "/instances/x/progress", "/instances?limit=9e9", "/?%ff=%", "/cancel/x", "http://[::1/", "*",
    )},
    **{f"POST {each}": request(b"{", target=each) for each in (
        "/workflows/order.placed", "/workflows/%00", "/workflows/nothing", "/workflows/collect?delay=x", "/cancel/x",
        "/workflows/collect?delay=1e300",
        "/cancel/%00", "/instances/x/signals/y", "/instances/x/signals/%00", "/instances/x/requests/y",
        "/instances/x/requests/%00", "/instances/x/fork",
        "/instances/%00/rewind", "/instances/%ff/fork", "/hooks/mail", "/hooks/stripe",
        "/hooks/github", "/hooks/nothing", "/health/live", "/openapi.json",
    )},
    **{f"method {each}": request(GOOD, f"content-type: {STRUCTURED}", method=each) for each in (
        "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "GET", "X" * 5000,
    )},
    "a stream of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "zeros": bytes(70_000),
    "two lengths": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 5\r\n\r\n12345",
    "a negative length": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n12345",
    "a length and pieces": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n"
    b"transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
    "pieces of no size": b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "a body that ends early": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500\r\n\r\n{",
    "no host": b"POST / HTTP/1.1\r\n\r\n",
    "a foreign host": b"POST / HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 0\r\n\r\n",
    "a host that is none": b"POST / HTTP/1.1\r\nhost: [::1\r\ncontent-length: 0\r\n\r\n",
    "a socket for the web": b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
}  # fmt: skip
