"""Webhooks on an app: verified before anything is read, sent as events once, or given to a function."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from romancy import EventType, Handle, Romancy, WorkflowContext, workflow
from romancy.errors import RegistrationError, UsageError
from romancy.http import (
    Delivery,
    GitHub,
    Ingress,
    StandardWebhooks,
    Stripe,
    VerificationError,
    Verified,
    Verifier,
    asgi,
)
from tests.event_waits import awaits_an_event
from tests.http.client import Answer, Client
from tests.http.signing import NEW, standard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

pytestmark = pytest.mark.anyio

SECRET = "hush"


@workflow
async def waits(ctx: WorkflowContext, wanted: str, key: str | None = None) -> Any:
    event = await ctx.wait_event(wanted, key=key)
    return [event.id, event.source, event.data]


@workflow
async def deploy(ctx: WorkflowContext, commit: str) -> str:
    return commit


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[waits, deploy]) as app:
        yield app


@pytest.fixture
def http(app: Romancy) -> Ingress:
    return asgi(app, auth="local")


async def github(client: Client, body: bytes, *, guid: str = "guid-1", event: str = "push", **more: str) -> Answer:
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"x_hub_signature_256": signature, "x_github_delivery": guid, "x_github_event": event, **more}
    return await client.post("/hooks/github", body, **headers)


async def waiting(app: Romancy, wanted: str, key: str | None = None) -> Handle[Any]:
    """An instance that waits for the event."""
    handle = await app.start(waits, wanted, key)
    await awaits_an_event(app, handle.instance_id)
    return handle


async def test_a_delivery_is_sent_as_an_event_of_the_providers_type_once(app: Romancy, http: Ingress) -> None:
    http.webhook("/hooks/github", verify=GitHub(SECRET))
    handle, client = await waiting(app, "push"), Client(http)

    answers = [await github(client, b'{"ref": "main"}') for _ in range(2)]

    assert [{"status": "accepted"}, {"status": "accepted", "duplicate": True}] == [answer.json for answer in answers]
    assert [202, 202] == [answer.status for answer in answers]
    assert ["guid-1", "/hooks/github", {"ref": "main"}] == await handle.result(timeout=30)


async def test_the_type_and_the_key_of_the_event_can_be_chosen(app: Romancy, http: Ingress) -> None:
    paid = EventType("paid", dict[str, Any], key="data.order")
    http.webhook("/hooks/stripe", verify=Stripe(SECRET), event=paid)
    other, mine = await waiting(app, "paid", "o-2"), await waiting(app, "paid", "o-1")
    body = json.dumps({"id": "evt_1", "type": "invoice.paid", "data": {"order": "o-1"}}).encode()
    now = f"{time.time():.0f}"
    signed = hmac.new(SECRET.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()

    answer = await Client(http).post("/hooks/stripe", body, stripe_signature=f"t={now},v1={signed}")

    assert 202 == answer.status
    assert ["evt_1", "/hooks/stripe"] == (await mine.result(timeout=30))[:2]
    assert "waiting" == await other.status()


async def test_a_function_chooses_and_leaves_out(app: Romancy, http: Ingress) -> None:
    def which(delivery: Delivery) -> str | None:
        return None if delivery.type == "ping" else f"github.{delivery.type}"

    http.webhook("/hooks/github", verify=GitHub(SECRET), event=which, id=lambda each: f"{each.data['n']}")
    handle, client = await waiting(app, "github.push"), Client(http)

    ignored = await github(client, b'{"n": 1}', event="ping")
    accepted = [await github(client, b'{"n": 2}', guid=guid) for guid in ("a", "b")]

    assert (200, {"status": "ignored"}) == (ignored.status, ignored.json)
    assert [None, True] == [each.json.get("duplicate") for each in accepted]
    assert "2" == (await handle.result(timeout=30))[0]


async def test_a_function_of_the_users_gets_each_delivery_and_a_redelivery_starts_nothing(
    app: Romancy, http: Ingress
) -> None:
    seen: list[Delivery] = []

    @http.webhook("/hooks/standard", verify=StandardWebhooks(NEW))
    async def standards(delivery: Delivery) -> Handle[str]:
        seen.append(delivery)
        return await app.start(deploy.options(instance_id=delivery.instance_id), delivery.data["commit"])

    body = b'{"type": "pushed", "commit": "abc"}'
    client = Client(http)
    headers = {name.replace("-", "_"): value for name, value in standard(body=body, at=time.time()).items()}
    answers = [await client.post("/hooks/standard", body, **headers) for _ in range(2)]

    assert [202, 202] == [answer.status for answer in answers]
    assert 2 == len(seen)
    assert {seen[0].instance_id} == {answer.json["instance_id"] for answer in answers}
    assert ("msg_1", "pushed", "/hooks/standard", body) == (seen[0].id, seen[0].type, seen[0].source, seen[0].body)
    assert "abc" == await app.handle(seen[0].instance_id).result(timeout=30)


async def test_nothing_is_read_before_it_is_verified(http: Ingress) -> None:
    http.webhook("/hooks/github", verify=GitHub(SECRET))
    client = Client(http)

    forged = [await client.post("/hooks/github", body) for body in (b"{", b"[" * 9999, b"\xff", b"")]
    genuine = [await github(client, body) for body in (b"{", b"[" * 9999, b"\xff", b"")]
    twice = await client.ask("POST", "/hooks/github", b"{}", [(b"x-hub-signature-256", b"sha256=00")] * 2)

    assert {401} == {answer.status for answer in forged}
    assert {("VerificationError", False)} == {(each.json["error_type"], each.json["retryable"]) for each in forged}
    assert {(400, "ParseError")} == {(each.status, each.json["error_type"]) for each in genuine}
    assert (400, "ParseError") == (twice.status, twice.json["error_type"])


async def test_a_verifier_of_the_users_and_what_it_may_return(app: Romancy, http: Ingress) -> None:
    async def later(body: bytes, headers: Mapping[str, str]) -> None:
        if headers.get("x-secret") != SECRET:
            raise VerificationError("no secret")

    def typed(body: bytes, headers: Mapping[str, str]) -> Verified:
        return Verified(None, "typed")

    def broken(body: bytes, headers: Mapping[str, str]) -> None:
        raise ZeroDivisionError

    http.webhook("/later", verify=later, event="x")  # type: ignore[arg-type]
    http.webhook("/typed", verify=typed, id="X-Id")
    http.webhook("/broken", verify=broken)
    http.webhook("/untyped", verify=lambda _body, _headers: "id")
    client = Client(http)

    answers = [
        await client.post("/later", b"{}", x_secret=SECRET), await client.post("/later", b"{}", x_secret=SECRET),
        await client.post("/later", b"{}"), await client.post("/typed", b"1", x_id="a"),
        await client.post("/typed", b"2", x_id="a"), await client.post("/typed", b"3"),
        await client.post("/broken"), await client.post("/untyped", b"{}"),
    ]  # fmt: skip

    assert [202, 202, 401, 202, 202, 400, 500, 400] == [answer.status for answer in answers]
    assert [None, True, None, True] == [answers[at].json.get("duplicate") for at in (0, 1, 3, 4)]


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (False, 401), (True, 500), (5, 500), (b"id", 500), (object(), 500), (GitHub, 500), (GitHub("x"), 500),
        (("id", "type"), 500), (Verified(5), 500), (Verified("id", b"push"), 500),  # type: ignore[arg-type]
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
async def test_a_verifier_that_says_nothing_sensible_admits_nothing(
    http: Ingress, caplog: pytest.LogCaptureFixture, result: Any, status: int
) -> None:
    calls: list[Delivery] = []

    async def later(_body: bytes, _headers: Mapping[str, str]) -> Any:
        return result

    async def called(delivery: Delivery) -> None:
        calls.append(delivery)

    http.webhook("/now", verify=lambda _body, _headers: result)(called)
    http.webhook("/later", verify=later)(called)  # type: ignore[arg-type]

    answers = [await Client(http).post(path, b'{"forged": "payload"}') for path in ("/now", "/later")]

    assert ([status, status], []) == ([answer.status for answer in answers], calls)
    assert {status == 500} == {answer.json["retryable"] for answer in answers}
    assert (status == 500) == ("verify= of the webhook /now returned" in caplog.text)
    assert "payload" not in caplog.text


async def test_what_is_no_verifier_is_refused_at_once(http: Ingress) -> None:
    for wrong, written in [
        (GitHub, r"verify=GitHub\(secret\)"),
        (Verified, "verify="),
        (None, "verify="),
        (SECRET, "verify="),
    ]:
        with pytest.raises(UsageError, match=written) as caught:
            http.webhook("/hooks/x", verify=wrong)  # type: ignore[arg-type]
        assert SECRET not in str(caught.value)
    http.webhook("/hooks/x", verify=GitHub(SECRET))  # nothing of the refused ones is left


async def test_the_log_names_the_route_that_failed_and_nothing_of_the_request(
    http: Ingress, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    @http.webhook("/hooks/x", verify=lambda _body, _headers: None)
    async def broken(_delivery: Delivery) -> None:
        raise ZeroDivisionError

    async def away(_id: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(http.app, "get_instance", away)
    client = Client(http)

    answers = [await client.post("/hooks/x?token=hush", b'"hush"'), await client.get("/instances/mine", x_token="hush")]

    assert [500, 500] == [answer.status for answer in answers]
    routes = ["POST /hooks/x", "GET /instances/{instance_id:path}"]
    assert [f"the request {route} failed" for route in routes] == [record.getMessage() for record in caplog.records]
    assert "hush" not in caplog.text
    assert "mine" not in caplog.text


async def test_routes_that_cannot_be(http: Ingress) -> None:
    http.webhook("/hooks/x", verify=GitHub(SECRET))

    for path, error in [("/hooks/x/", RegistrationError), ("/openapi.json", RegistrationError), ("x", UsageError)]:
        with pytest.raises(error):
            http.webhook(path, verify=GitHub(SECRET))
    with pytest.raises(UsageError, match="async def"):
        http.webhook("/hooks/y", verify=GitHub(SECRET))(lambda delivery: None)  # type: ignore[type-var]


PROXIES = [
    ("via", "1.1 a"), ("via", "1.1 b"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "192.0.2.2"),
    ("Via", "1.1 c"), ("cookie", "a=1"), ("cookie", "b=2"), ("warning", "x"), ("warning", "x"),
]  # fmt: skip


def signed_by(name: str) -> list[tuple[str, str]]:
    """The headers of a genuine request of a provider, with the body `BODY`."""
    now = str(int(time.time()))
    key = KEY if name == "standard" else SECRET.encode()
    match name:
        case "standard":
            text = f"m1.{now}.".encode() + BODY
            mac = base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()
            return [("webhook-id", "m1"), ("webhook-timestamp", now), ("webhook-signature", f"v1,{mac}")]
        case "github":
            mac = hmac.new(key, BODY, hashlib.sha256).hexdigest()
            return [("x-github-delivery", "d1"), ("x-github-event", "push"), ("x-hub-signature-256", f"sha256={mac}")]
        case _:
            mac = hmac.new(key, f"{now}.".encode() + BODY, hashlib.sha256).hexdigest()
            return [("stripe-signature", f"t={now},v1={mac}")]


KEY = b"0123456789abcdef"
BODY = b'{"type": "mail.sent", "id": "e1"}'
VERIFIERS: dict[str, Verifier] = {"standard": StandardWebhooks(KEY), "github": GitHub(SECRET), "stripe": Stripe(SECRET)}


@pytest.mark.parametrize("name", VERIFIERS)
async def test_lines_that_proxies_add_do_not_matter(http: Ingress, name: str) -> None:
    http.webhook("/proxied", verify=VERIFIERS[name])
    client = Client(http)

    async def sent(headers: list[tuple[str, str]]) -> int:
        given = [(one.encode(), value.encode()) for one, value in headers]
        return (await client.ask("POST", "/proxied", BODY, given)).status

    genuine = signed_by(name)
    assert 202 == await sent([*PROXIES, *genuine])
    for header in genuine:
        assert 400 == await sent([*genuine, header]), header[0]
    assert 401 == await sent([*PROXIES, *((one, value + "x") for one, value in genuine)])


async def test_a_header_for_the_id_occurs_once(http: Ingress) -> None:
    http.webhook("/mine", verify=lambda _body, headers: headers["via"], event="x", id="X-Id")
    client = Client(http)
    twice = [(b"via", b"1.1 a"), (b"via", b"1.1 b"), (b"x-id", b"1")]

    assert 202 == (await client.ask("POST", "/mine", b"{}", twice)).status
    assert 400 == (await client.ask("POST", "/mine", b"{}", [*twice, (b"x-id", b"1")])).status
