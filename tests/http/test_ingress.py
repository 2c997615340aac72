"""The routes on an app: their answers, and what they have written by then."""

# Only private state shows what waits.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Event, EventType, Handle, Romancy, TerminalError, WorkflowContext, workflow
from romancy.errors import RegistrationError, StorageUnavailableError, UsageError
from romancy.http import Ingress, anyone, asgi, instance_id_of
from romancy.http._incoming import BATCH, STRUCTURED
from tests.event_waits import awaits_an_event
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

EVENT: dict[str, Any] = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "place_order"}
ORDER = {"item": "lamp", "count": 2}
Paid = EventType("paid", dict[str, int])


@workflow(event_handler=True)
async def place_order(ctx: WorkflowContext, item: str, count: int) -> str:
    await ctx.report({"item": item})
    return f"{count} × {item}"


@workflow(event_handler=True)
async def tick(ctx: WorkflowContext) -> str:
    return "tick"


@workflow
async def private(ctx: WorkflowContext, wanted: str = "paid") -> Any:
    event = await ctx.wait_event(wanted)
    return {"data": event.data, "id": event.id}


@workflow
async def extended(ctx: WorkflowContext) -> dict[str, Any]:
    return dict((await ctx.wait_event("paid")).extensions)


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[place_order, tick, private, extended]) as app:
        yield app


@pytest.fixture
def http(app: Romancy) -> Ingress:
    return asgi(app, auth="local", events=[Paid], max_batch=3)


@pytest.fixture
def client(http: Ingress) -> Client:
    return Client(http)


def event(**changes: Any) -> bytes:
    return json.dumps({**EVENT, **changes}).encode()


async def ids(app: Romancy) -> set[str]:
    return {found.instance_id async for found in app.iter_instances()}


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_starts_the_workflow_of_its_name_once(app: Romancy, client: Client) -> None:
    answers = [await client.post("/", event(data=ORDER), content_type=STRUCTURED) for _ in range(2)]
    binary = {f"ce_{name}": value for name, value in EVENT.items()}
    answers.append(await client.post("/", b'{"count": 2, "item": "lamp"}', content_type="application/json", **binary))

    expected = {"status": "accepted", "instance_id": instance_id_of("/shop", "e-1")}
    assert [(202, expected)] * 3 == [(answer.status, answer.json) for answer in answers]
    assert "application/json" == answers[0].headers["content-type"]
    assert "2 × lamp" == await app.handle(expected["instance_id"]).result(timeout=30)
    assert {expected["instance_id"]} == await ids(app)


async def test_other_sources_and_ids_are_other_instances() -> None:
    pairs = [
        ("/shop", "e-1"),
        ("/shop", "e-2"),
        ("/shope", "-1"),
        ("/sho", "pe-1"),
        ("", ""),
        ("1:a", "b"),
        ("1", ":ab"),
    ]

    assert len(pairs) == len({instance_id_of(*pair) for pair in pairs})
    assert re.fullmatch(r"ce-[0-9a-f]{40}", instance_id_of("/é", "\ud800"))


async def test_the_same_event_with_other_data_is_a_conflict(app: Romancy, client: Client) -> None:
    await client.post("/", event(data=ORDER), content_type=STRUCTURED)

    answer = await client.post("/", event(data={**ORDER, "count": 3}), content_type=STRUCTURED)

    assert (409, "InstanceConflictError", False) == (answer.status, answer.json["error_type"], answer.json["retryable"])
    assert 1 == len(await ids(app))


async def test_a_workflow_without_input_takes_an_event_without_data(app: Romancy, client: Client) -> None:
    answer = await client.post("/", event(type="tick"), content_type=STRUCTURED)

    assert "tick" == await app.handle(answer.json["instance_id"]).result(timeout=30)


@pytest.mark.parametrize("data", [None, {"item": "lamp"}, {"item": "lamp", "count": "2"}, [], "lamp", 5])
async def test_data_that_does_not_fit_is_refused_and_nothing_written(app: Romancy, client: Client, data: Any) -> None:
    answer = await client.post("/", event(data=data), content_type=STRUCTURED)

    assert 400 == answer.status
    assert {"error", "error_type", "retryable"} == set(answer.json)
    assert ("SerializationError", False) == (answer.json["error_type"], answer.json["retryable"])
    assert set() == await ids(app)


async def test_a_batch_is_checked_before_any_of_it_is_written(app: Romancy, client: Client) -> None:
    good, bad = {**EVENT, "data": ORDER}, {**EVENT, "id": "e-2", "data": 5}

    refused = await client.post("/", json.dumps([good, bad]).encode(), content_type=BATCH)
    written = await ids(app)
    accepted = await client.post("/", json.dumps([good, {**good, "id": "e-2"}, good]).encode(), content_type=BATCH)
    empty = await client.post("/", b"[]", content_type=BATCH)

    assert (400, set()) == (refused.status, written)
    names = [instance_id_of("/shop", id) for id in ("e-1", "e-2", "e-1")]
    assert names == [each["instance_id"] for each in accepted.json["events"]]
    assert (202, "accepted", []) == (empty.status, empty.json["status"], empty.json["events"])


async def test_a_batch_with_an_event_that_is_refused_says_which(app: Romancy, client: Client) -> None:
    await app.start(private.options(instance_id="p-1"))
    events = [
        {**EVENT, "data": ORDER},
        {**EVENT, "id": "e-2", "type": "paid", "romancyinstanceid": "nobody", "data": {"cents": 1}},
        {**EVENT, "id": "e-3", "type": "paid", "romancyinstanceid": "p-1", "data": {"cents": 1}},
    ]

    answer = await client.post("/", json.dumps(events).encode(), content_type=BATCH)

    assert (404, "InstanceNotFoundError", False) == (answer.status, answer.json["error_type"], answer.json["retryable"])
    assert ["accepted", None, "accepted"] == [each.get("status") for each in answer.json["events"]]
    assert {"data": {"cents": 1}, "id": "e-3"} == await app.handle("p-1").result(timeout=30)


async def test_without_the_opt_in_an_event_starts_nothing(app: Romancy, client: Client) -> None:
    answer = await client.post("/", event(type="private", data="paid"), content_type=STRUCTURED)

    assert (202, {"status": "accepted"}) == (answer.status, answer.json)
    assert set() == await ids(app)


async def test_an_event_for_an_instance_is_delivered_once(app: Romancy, client: Client) -> None:
    await app.start(private.options(instance_id="p-1"))
    mine = event(type="paid", romancyinstanceid="p-1", data={"cents": 5})

    answers = [await client.post("/", mine, content_type=STRUCTURED) for _ in range(2)]
    await app.handle("p-1").result(timeout=30)
    late = await client.post("/", mine, content_type=STRUCTURED)
    other = await client.post("/", event(id="e-2", type="paid", romancyinstanceid="p-1"), content_type=STRUCTURED)

    assert [202, 202, 202] == [answer.status for answer in (*answers, late)]
    assert {"status": "accepted", "instance_id": "p-1"} == answers[0].json
    assert {"status": "accepted", "instance_id": "p-1", "duplicate": True} == answers[1].json
    assert (400, "SerializationError") == (other.status, other.json["error_type"])  # None is no dict[str, int]
    ended = await client.post(
        "/", event(id="e-2", type="paid", romancyinstanceid="p-1", data={}), content_type=STRUCTURED
    )
    assert (409, "InstanceEndedError", False) == (ended.status, ended.json["error_type"], ended.json["retryable"])


async def test_an_event_is_a_repetition_only_of_one_of_its_type(app: Romancy, client: Client) -> None:
    instances = [await app.start(private.options(instance_id=id), id) for id in ("paid", "sent")]

    inside = [
        event(type=kind, romancyinstanceid=id, data={"cents": number})
        for id in ("paid", "sent")
        for number, kind in enumerate(("sent", "paid", "sent", "paid"))
    ]
    outside = [event(type=kind, subject="k", data={}) for kind in ("sent", "paid", "sent", "paid")]
    answers = [await client.post("/", each, content_type=STRUCTURED) for each in (*inside, *outside)]

    assert [None, None, True, True] * 3 == [answer.json.get("duplicate") for answer in answers]
    assert [1, 0] == [(await one.result(timeout=30))["data"]["cents"] for one in instances]


async def test_an_event_goes_to_whoever_waits_for_it(app: Romancy, client: Client) -> None:
    handle = await app.start(private, "paid")
    await awaits_an_event(app, handle.instance_id)

    answer = await client.post("/", event(type="paid", data={"cents": 7}), content_type=STRUCTURED)
    again = await client.post("/", event(type="paid", data={"cents": 7}), content_type=STRUCTURED)

    assert {"status": "accepted"} == answer.json
    assert {"status": "accepted", "duplicate": True} == again.json
    assert {"data": {"cents": 7}, "id": "e-1"} == await handle.result(timeout=30)


async def test_the_attributes_of_an_event_keep_the_types_of_its_json(app: Romancy, client: Client) -> None:
    await app.start(extended.options(instance_id="p-1"))

    await client.post(
        "/", event(type="paid", romancyinstanceid="p-1", data={}, tenant="t", flag=True, n=3), content_type=STRUCTURED
    )

    assert {"tenant": "t", "flag": True, "n": 3} == await app.handle("p-1").result(timeout=30)


async def test_handlers_of_the_user(app: Romancy, http: Ingress, client: Client) -> None:
    seen: list[Event[Any]] = []

    @http.on("thing")
    async def thing(event: Event[Any]) -> Handle[Any]:
        seen.append(event)
        return await app.start(tick.options(instance_id=instance_id_of(event.source, event.id)))

    @http.on(EventType("number", int))
    async def number(event: Event[int]) -> None:
        raise TerminalError("odd") if event.data % 2 else ZeroDivisionError("secret")

    started = await client.post("/", event(type="thing", data=[1], subject="s"), content_type=STRUCTURED)
    odd = await client.post("/", event(type="number", data=1), content_type=STRUCTURED)
    even = await client.post("/", event(type="number", data=2), content_type=STRUCTURED)
    text = await client.post("/", event(type="number", data="2"), content_type=STRUCTURED)

    assert (202, instance_id_of("/shop", "e-1")) == (started.status, started.json["instance_id"])
    assert ("e-1", "thing", "/shop", "s", [1]) == (
        seen[0].id, seen[0].type, seen[0].source, seen[0].subject, seen[0].data,
    )  # fmt: skip
    assert (400, "odd", "TerminalError", False) == (odd.status, *odd.json.values())
    assert (500, "InternalError", True) == (even.status, even.json["error_type"], even.json["retryable"])
    assert "secret" not in even.body.decode()
    assert 400 == text.status


async def test_handlers_that_cannot_be(http: Ingress) -> None:
    def plain(_: Event[Any]) -> None: ...

    with pytest.raises(UsageError, match="async def"):
        http.on("x")(plain)  # type: ignore[type-var]

    @http.on("y")
    async def handler(_: Event[Any]) -> None: ...

    with pytest.raises(RegistrationError, match="already"):
        http.on("y")


# ── instances ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_start_signal_status_and_result(client: Client) -> None:
    started = await client.post("/workflows/private?instance_id=p-1", b'"go"')
    again = await client.post("/workflows/private?instance_id=p-1", b'"go"')
    other = await client.post("/workflows/private?instance_id=p-1", b'"stop"')
    early = await client.get("/instances/p-1/result?timeout=0")
    waits = asyncio.create_task(client.get("/instances/p-1/result?timeout=30"))
    signalled = [await client.post("/instances/p-1/signals/go?id=s-1", b'{"a": 1}') for _ in range(2)]
    result = await waits
    status = await client.get("/instances/p-1")
    late = await client.post("/instances/p-1/signals/go?id=s-2", b'{"a": 1}')

    assert [(202, {"status": "accepted", "instance_id": "p-1"})] * 2 == [
        (each.status, each.json) for each in (started, again)
    ]
    assert (409, "InstanceConflictError") == (other.status, other.json["error_type"])
    assert 202 == early.status
    assert [202, 202] == [each.status for each in signalled]
    expected = {"instance_id": "p-1", "status": "completed", "result": {"data": {"a": 1}, "id": "s-1"}}
    assert (200, expected) == (result.status, result.json)
    assert (200, "private", "completed") == (status.status, status.json["workflow"], status.json["status"])
    assert (409, "InstanceEndedError") == (late.status, late.json["error_type"])


async def test_an_end_that_comes_with_the_end_of_the_wait_is_told(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is over, and the instance ends before its status is read."""
    await client.post("/workflows/private?instance_id=p-1", b'"go"')
    await client.post("/instances/p-1/signals/go?id=s-1", b'{"a": 1}')
    await client.get("/instances/p-1/result?timeout=30")
    wait, waits = Handle[Any].result, [1.0, 30.0]

    async def too_late(handle: Handle[Any], timeout: Any = None) -> Any:
        if timeout == waits.pop(0) == 1:
            raise TimeoutError
        return await wait(handle, timeout=timeout)

    monkeypatch.setattr(Handle, "result", too_late)
    answer = await client.get("/instances/p-1/result?timeout=1")

    assert (200, {"data": {"a": 1}, "id": "s-1"}) == (answer.status, answer.json.get("result"))


async def test_a_cancellation_over_http_ends_the_instance_with_its_reason(client: Client) -> None:
    await client.post("/workflows/private?instance_id=p-1")

    asked = await client.post("/cancel/p-1", b'{"reason": "sold out"}')
    result = await client.get("/instances/p-1/result?timeout=30")
    again = await client.post("/cancel/p-1")
    missing = await client.post("/cancel/p-2")
    none = await client.post("/cancel/")
    wrong = await client.post("/cancel/p-1", b'{"reason": 5}')

    assert (200, "p-1") == (asked.status, asked.json["instance_id"])
    assert (200, "cancelled") == (result.status, result.json["status"])
    assert "sold out" in result.json["error"]
    assert (409, "InstanceEndedError", False) == (again.status, again.json["error_type"], again.json["retryable"])
    assert (404, "InstanceNotFoundError") == (missing.status, missing.json["error_type"])
    assert (400, 400) == (none.status, wrong.status)


async def test_progress_goes_on_behind_the_last_event_id(client: Client) -> None:
    started = await client.post("/workflows/place_order?instance_id=o-1", json.dumps(ORDER).encode())
    assert 202 == started.status

    whole = await client.get("/instances/o-1/progress")
    events = [
        dict(re.findall(r"^(\w+): (.*)$", each, re.MULTILINE)) for each in whole.body.decode().split("\n\n") if each
    ]
    rest = await client.get("/instances/o-1/progress", last_event_id=events[0]["id"])

    assert ("text/event-stream; charset=utf-8", "no-store") == (
        whole.headers["content-type"], whole.headers["cache-control"],
    )  # fmt: skip
    assert ["step", "report", "step", "end"] == [each["event"] for each in events]
    assert ['{"item":"lamp"}', '{"status":"completed"}'] == [events[1]["data"], events[3]["data"]]
    assert "count" not in whole.body.decode()  # inputs and results are not shown
    assert whole.body.split(b"\n\n", 1)[1] == rest.body
    assert 400 == (await client.get("/instances/o-1/progress", last_event_id="x")).status


async def test_a_start_waits_until_its_moment(app: Romancy, client: Client) -> None:
    started = await client.post("/workflows/tick?instance_id=later&at=2999-12-31T23:00:00%2B01:00")

    found = await app.get_instance("later")
    assert 202 == started.status
    assert found is not None
    assert datetime(2999, 12, 31, 22, tzinfo=UTC) == found.wakes_at


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/instances/nobody", b"", 404), ("GET", "/instances/nobody/result", b"", 404),
        ("GET", "/instances/nobody/progress", b"", 404), ("POST", "/instances/nobody/signals/x", b"", 404),
        ("POST", "/workflows/nothing", b"", 404), ("POST", "/workflows/place_order", b"[1]", 400),
        ("POST", "/workflows/place_order", b"{", 400), ("POST", "/workflows/place_order", b"", 400),
        ("POST", "/workflows/tick?delay=-1", b"", 400), ("POST", "/workflows/tick?delay=nan", b"", 400),
        ("POST", "/workflows/tick?delay=1e300", b"", 400), ("POST", "/workflows/tick?delay=3162240001", b"", 400),
        ("POST", "/workflows/tick?delay=1&delay=2", b"", 400), ("POST", "/workflows/tick?x=1", b"", 400),
        ("POST", "/workflows/tick?at=2030-01-01T12:00:00", b"", 400), ("POST", "/workflows/tick?at=60", b"", 400),
        ("POST", "/workflows/tick?at=2030-01-01T12:00:00Z&delay=0", b"", 400),
        ("POST", "/workflows/tick?instance_id=", b"", 400),
        ("POST", f"/workflows/tick?instance_id={'x' * 256}", b"", 400),
        ("POST", "/workflows/tick?instance_id=a%00", b"", 400), ("GET", "/instances/a\0b", b"", 404),
        ("GET", "/instances?limit=0", b"", 400), ("GET", "/instances?limit=x", b"", 400),
        ("GET", "/instances?status=done", b"", 400), ("GET", "/instances?page=x", b"", 400),
        ("GET", "/instances?started_after=2026-03-01T12:30", b"", 400),
        ("GET", "/instances?started_before=soon", b"", 400),
        ("GET", "/instances?ended_after=2026-03-01T12:30", b"", 400), ("GET", "/instances?ended_before=", b"", 400),
        ("POST", "/instances", b"", 405),
        ("GET", "/", b"", 405), ("PUT", "/", b"", 405), ("GET", "/cancel/x", b"", 405), ("POST", "/x", b"", 404),
        ("POST", "//", b"", 404), ("OPTIONS", "/", b"", 405), ("GET", "/workflows/tick", b"", 405),
    ],
)  # fmt: skip
async def test_requests_that_are_wrong(
    app: Romancy, client: Client, method: str, target: str, body: bytes, status: int
) -> None:
    answer = await client.ask(method, target, body, [])

    assert (status, False) == (answer.status, answer.json["retryable"])
    assert "location" not in answer.headers
    assert set() == await ids(app)


# ── health, draining, outages ───────────────────────────────────────────────────────────────────────────────────────


async def test_draining_ends_what_waits_and_refuses_what_would_write(http: Ingress, client: Client) -> None:
    await client.post("/workflows/private?instance_id=p-1")
    waits = [asyncio.create_task(client.get(f"/instances/p-1/{what}")) for what in ("result?timeout=60", "progress")]
    async with asyncio.timeout(30):
        while http._waits._now < 2:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0)

    http.drain()
    result, progress = await asyncio.gather(*waits)
    posted = await client.post("/", event(data=ORDER), content_type=STRUCTURED)
    ready, live, status = [await client.get(path) for path in ("/health/ready", "/health/live", "/instances/p-1")]

    assert (202, 200) == (result.status, progress.status)
    assert [503, 503, 200, 200] == [each.status for each in (posted, ready, live, status)]
    assert posted.json["retryable"] is True
    assert "5" == posted.headers["retry-after"]


@pytest.mark.parametrize("what", ["result?timeout=60", "progress"])
async def test_a_client_that_leaves_holds_no_place(http: Ingress, client: Client, what: str) -> None:
    await client.post("/workflows/private?instance_id=p-1")
    left = asyncio.Event()
    asked = asyncio.create_task(client.ask("GET", f"/instances/p-1/{what}", b"", [], left=left))
    async with asyncio.timeout(30):
        while not http._waits._now:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0)
        left.set()
        await asked

    assert 0 == http._waits._now


async def test_an_app_that_drains_or_is_closed(app: Romancy, client: Client) -> None:
    await app.drain()
    draining = await client.post("/", event(data=ORDER), content_type=STRUCTURED)
    closed = Client(asgi(Romancy("memory://", workflows=[]), auth="local"))

    answers = [await closed.post("/", event(), content_type=STRUCTURED), await closed.get("/instances/x")]
    assert [503, 503, 503] == [each.status for each in (draining, *answers, await closed.get("/health/ready"))][:3]
    assert 200 == (await closed.get("/health/live")).status


async def test_a_database_that_is_away_or_hangs(app: Romancy, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **__: object) -> None:
        raise StorageUnavailableError("postgresql://user:password@host is away")

    async def hangs(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    assert (200, {"status": "ready"}) == ((found := await client.get("/health/ready")).status, found.json)
    monkeypatch.setattr(app, "start_many", away)
    monkeypatch.setattr(app, "get_instance", hangs)
    monkeypatch.setattr("romancy.http._ingress._READY_WITHIN", 0.01)
    answers = [await client.post("/", event(data=ORDER), content_type=STRUCTURED), await client.get("/health/ready")]

    assert [(503, "5", True)] * 2 == [
        (each.status, each.headers["retry-after"], each.json["retryable"]) for each in answers
    ]
    assert not any(b"password" in each.body for each in answers)


async def test_a_write_that_takes_too_long(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(app, "start_many", hangs)
    answer = await Client(asgi(app, auth="local", write_timeout=0.01)).post(
        "/", event(data=ORDER), content_type=STRUCTURED
    )

    assert (503, True) == (answer.status, answer.json["retryable"])


# ── placing it ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_path_of_its_own(app: Romancy) -> None:
    client = Client(asgi(app, auth="local", path="/events/"))

    answers = [
        await client.post(path, event(data=ORDER), content_type=STRUCTURED) for path in ("/events", "/events/", "/")
    ]

    assert [202, 202, 404] == [answer.status for answer in answers]
    assert 200 == (await client.get("/events/health/live")).status
    with pytest.raises(UsageError, match="slash"):
        asgi(app, auth="local", path="events")


async def test_mounted_in_fastapi_and_in_starlette(app: Romancy) -> None:
    from fastapi import FastAPI  # noqa: PLC0415 - slow to import
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.routing import Mount  # noqa: PLC0415

    api = FastAPI()
    api.mount("/romancy", asgi(app, auth=anyone))
    for host in (api, Starlette(routes=[Mount("/romancy", asgi(app, auth=anyone))])):
        client = Client(host, peer=("192.0.2.1", 5))
        accepted = await client.post("/romancy/", event(data=ORDER), content_type=STRUCTURED)
        missing = await client.get("/romancy/nothing")
        wrong = await client.get("/romancy/cancel/x")

        assert (202, 404, 405) == (accepted.status, missing.status, wrong.status)
        assert "NotFound" == missing.json["error_type"]


async def test_its_lifespan_opens_the_app_unless_that_is_open(app: Romancy) -> None:
    other = Romancy("memory://", workflows=[tick])
    for one, after in ((other, False), (app, True)):
        messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        sent: asyncio.Queue[Any] = asyncio.Queue()
        running = asyncio.create_task(asgi(one, auth="local")({"type": "lifespan"}, messages.get, sent.put))
        messages.put_nowait({"type": "lifespan.startup"})
        assert "lifespan.startup.complete" == (await sent.get())["type"]
        assert one.is_open
        messages.put_nowait({"type": "lifespan.shutdown"})
        await running
        assert after is one.is_open


async def test_a_websocket_is_closed(http: Ingress) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await http({"type": "websocket", "path": "/"}, asyncio.Queue[Any]().get, send)

    assert ["websocket.close"] == [message["type"] for message in sent]
