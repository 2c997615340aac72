"""The sender for HTTP: what it sends, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import UsageError
from romancy.outbox import HttpSender, OutboxEvent, Reject, Retry
from romancy.outbox._failures import failure
from romancy.outbox._http import retry_after
from romancy.outbox._signing import Signer
from romancy_conformance.receiver import Answer, Receiver, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.anyio

SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"


def event(key: str | None = 'kü "1"', headers: Mapping[str, str] | None = None) -> OutboxEvent:
    return OutboxEvent(
        id="e-1",
        type="order.paid",
        source="/shop/o-1",
        time=datetime(2026, 3, 1, 12, 30, 5, 250_000, UTC),
        json='{"name":"ü"}'.encode(),
        key=key,
        headers=headers or {},
    )


async def sent(one: OutboxEvent, answer: Answer | None = None, **options: Any) -> Request:
    """What the receiver gets."""
    async with Receiver(lambda _: answer or Answer()) as receiver, HttpSender(receiver.url, **options) as sender:
        await sender.send(one)
    (request,) = receiver.requests
    return request


async def test_structured_events_are_one_json_document() -> None:
    request = await sent(event(headers={"traceparent": "00-1", "id": "mine", "Tenant-Id": "t"}))
    assert "application/cloudevents+json" == request.headers["content-type"]
    assert json.loads(request.body) == {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/shop/o-1",
        "type": "order.paid",
        "subject": 'kü "1"',
        "time": "2026-03-01T12:30:05.250000Z",
        "datacontenttype": "application/json",
        "traceparent": "00-1",
        "data": {"name": "ü"},
    }


async def test_binary_events_are_their_data_with_headers() -> None:
    request = await sent(event(), mode="binary", headers={"authorization": "Bearer x"})
    own = {name: value for name, value in request.headers.items() if name.startswith("ce-")}
    assert '{"name":"ü"}' == request.body.decode()
    assert ("application/json", "Bearer x") == (request.headers["content-type"], request.headers["authorization"])
    assert own == {
        "ce-specversion": "1.0",
        "ce-id": "e-1",
        "ce-source": "/shop/o-1",
        "ce-type": "order.paid",
        "ce-subject": "k%C3%BC%20%221%22",
        "ce-time": "2026-03-01T12:30:05.250000Z",
    }


def test_a_signature_is_that_of_the_specification() -> None:
    headers = Signer([SECRET]).headers(
        "msg_loFOjxBNrRLzqYUf", 1731705121, b'{"event_type":"ping","data":{"success":true}}'
    )
    assert headers["webhook-signature"] == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


async def test_events_are_signed_by_each_secret_and_with_the_events_id() -> None:
    other = "whsec_" + base64.b64encode(b"x" * 24).decode()
    request = await sent(event(), secret=[SECRET, other], clock=lambda: 1700000000.5)
    both = request.headers["webhook-signature"].split()
    alone = [Signer([one]).headers("e-1", 1700000000, request.body)["webhook-signature"] for one in (SECRET, other)]
    assert both == alone
    assert ("e-1", "1700000000") == (request.headers["webhook-id"], request.headers["webhook-timestamp"])


@pytest.mark.parametrize("status", [200, 202, 204, 299])
async def test_answers_that_accept(status: int) -> None:
    await sent(event(), Answer(status))


@pytest.mark.parametrize("status", [400, 401, 404, 410, 413, 422, 499])
async def test_answers_that_reject(status: int) -> None:
    with pytest.raises(Reject, match=f"HTTP {status}"):
        await sent(event(), Answer(status))


@pytest.mark.parametrize("status", [301, 307, 408, 425, 429, 500, 502, 503, 599])
async def test_answers_that_ask_for_another_attempt(status: int) -> None:
    with pytest.raises(Retry, match=f"HTTP {status}") as raised:
        await sent(event(), Answer(status, {"Location": "/elsewhere"}))
    assert raised.value.after is None


async def test_a_wait_that_is_asked_for_is_kept_within_bounds() -> None:
    for told, after in (("7", 7.0), ("99999", 60.0), ("Sun, 01 Mar 2026 12:00:09 GMT", 9.0)):
        now = datetime(2026, 3, 1, 12, 0, 0, 0, UTC).timestamp()
        with pytest.raises(Retry) as raised:
            await sent(event(), Answer(429, {"Retry-After": told}), longest_wait=60, clock=lambda: now)  # noqa: B023 - awaited
        assert raised.value.after == after


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (None, None), ("", None), ("soon", None), ("-1", None), ("1.5", None), ("٣", None), (" 5 ", 5.0), ("0", 0.0),
        ("9" * 400, 999999999999.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(told: str | None, seconds: float | None) -> None:
    assert retry_after(told, 1000.0) == seconds


async def test_a_broken_connection_and_a_receiver_that_is_away_ask_for_another_attempt() -> None:
    with pytest.raises(Retry, match="Error"):
        await sent(event(), Answer("reset"))
    async with Receiver() as receiver:
        url = receiver.url
    async with HttpSender(url) as sender:
        with pytest.raises(Retry, match="ConnectError"):
            await sender.send(event())


async def test_a_receiver_that_is_away_is_told_with_its_place_and_the_cause() -> None:
    async def said(url: str) -> str:
        async with HttpSender(url) as sender:
            with pytest.raises(Retry) as caught:
                await sender.send(event())
        return str(caught.value)

    async def no_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(no_tls, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        plain = await said(f"https://ann:word@127.0.0.1:{port}/secret?token=secret")
    refused = await said(f"http://ann:word@127.0.0.1:{port}/secret?token=secret")
    unknown = await said("http://ann:word@no-such-host.invalid/secret?token=secret")

    assert refused == f"ConnectError at 127.0.0.1:{port}: connection refused"
    assert unknown.startswith("ConnectError at no-such-host.invalid:80: DNS: ")
    assert plain.startswith(f"ConnectError at 127.0.0.1:{port}: TLS: ")


def test_the_place_and_the_cause_of_a_failure_are_found_wherever_they_are() -> None:
    lost = OSError("All connection attempts failed")
    lost.__cause__ = ExceptionGroup("many", [ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")])
    silent = RuntimeError("https://x/?token=secret")
    silent.__cause__ = silent
    untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")

    assert failure(lost, "http://[::1]/a") == "OSError at [::1]:80: connection refused"
    assert failure(silent, "https://x/?token=secret") == "RuntimeError at x:443"
    assert failure(OSError(errno.ENETUNREACH, "x"), "http://x:7") == "OSError at x:7: Network is unreachable"
    assert failure(untrusted, "https://x").startswith("SSLCertVerificationError at x:443: TLS: ")


async def test_a_long_answer_is_not_read_to_its_end() -> None:
    await sent(event(), Answer(200, body=b"x" * 1_000_000))


async def test_a_connection_is_used_again() -> None:
    async with Receiver() as receiver, HttpSender(receiver.url) as sender:
        await asyncio.gather(sender.send(event()))
        await sender.send(event())
        assert len(receiver.connections) == 1


def test_mistakes_are_told_at_once() -> None:
    for wrong in ({"url": "ftp://x"}, {"mode": "batch"}, {"secret": "whsec_?"}, {"secret": "whsec_c2hvcnQ="}):
        with pytest.raises(UsageError):
            HttpSender(**{"url": "http://x", **wrong})  # type: ignore[arg-type]


def test_what_is_secret_is_not_shown() -> None:
    shown = repr(HttpSender("http://me:hunter2@shop.example/path?token=t", secret=SECRET))
    assert shown == "HttpSender('shop.example', mode='structured')"


async def test_an_answer_that_does_not_end_is_an_answer() -> None:
    """The status says what became of the event, whatever comes behind it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\nslow")
        await writer.drain()
        if reader.at_eof() or ended.is_set():
            writer.close()
        else:
            await ended.wait()
            writer.close()

    ended = asyncio.Event()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    async with HttpSender(f"http://{host}:{port}") as sender, asyncio.timeout(30):
        await sender.send(event())
        ended.set()
        await sender.send(event())
    server.close()
