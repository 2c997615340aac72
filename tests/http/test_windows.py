"""Windows over HTTP: calls are made, and windows are listed, looked at, flushed and dropped, by those who may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import Struct

from romancy import Codecs, Romancy, WorkflowContext, workflow
from romancy.http import Visitor, anyone, asgi
from romancy_conformance.behaviour.coded import Masking
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

LIMIT = 30


class Row(Struct):
    number: int


@workflow
async def reindex(ctx: WorkflowContext, document: str, version: int = 0) -> str:
    return f"{document} {version}"


@workflow
async def store(ctx: WorkflowContext, rows: list[Row]) -> int:
    return sum(row.number for row in rows)


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[reindex, store]) as app:
        yield app


async def test_calls_come_to_a_start(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    for version in range(2):
        body = b'{"document": "d", "version": %d}' % version
        called = await client.post("/workflows/reindex/debounce?key=a/b&wait=3600&priority=3", body)
        assert (called.status, called.json) == (202, {"status": "accepted", "window_id": "debounce:reindex:a/b"})
    await app.report("debounce:reindex:a/b", wait=lambda told: told.get("since"), timeout=LIMIT)
    (listed,) = (await client.get("/windows")).json["windows"]
    assert (listed["kind"], listed["workflow"], listed["key"], listed["calls"]) == ("debounce", "reindex", "a/b", 2)
    assert listed["since"] < listed["due"]
    assert (await client.get("/windows/debounce:reindex:a/b")).json == {**listed, "starts": []}
    assert (await client.post("/windows/debounce:reindex:a/b/flush")).status == 202
    await app.report("debounce:reindex:a/b", wait=lambda told: told.get("started"), timeout=LIMIT)
    shown = (await client.get("/windows/debounce:reindex:a/b")).json
    (start,) = shown["starts"]
    assert (shown["calls"], shown["due"], shown["started"], start["calls"]) == (0, None, 1, 2)
    assert await app.handle(start["instance_id"]).result(LIMIT) == "d 1"
    assert (await client.get("/windows")).json == {"windows": [], "next_page": None}


async def test_windows_are_listed_page_by_page(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    for key in "abc":
        await client.post(f"/workflows/reindex/debounce?key={key}&wait=3600", b'"d"')
    first = (await client.get("/windows?limit=2")).json
    second = (await client.get(f"/windows?limit=2&page={first['next_page']}")).json
    assert [[one["key"] for one in page["windows"]] for page in (first, second)] == [["c", "b"], ["a"]]
    assert second["next_page"] is None
    assert (await client.get("/windows?page=nonsense")).status == 400
    assert (await client.get("/windows?limit=1000")).status == 400


async def test_items_come_to_a_batch(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    for number in (1, 2, 2):
        again = f"&id=call{number}"
        await client.post(f"/workflows/store/batch?key=&size=2&within=3600{again}", b'{"number": %d}' % number)
    window = await app.report("batch:store:", wait=lambda told: told.get("started"), timeout=LIMIT)
    assert await app.handle(window["starts"][0]["instance_id"]).result(LIMIT) == 3
    assert (await client.get("/windows/batch:store:")).json["started"] == 1


@pytest.mark.parametrize(
    ("route", "body", "status", "said"),
    [
        ("/workflows/none/debounce?key=a&wait=1", b'"d"', 404, "no workflow"),
        ("/workflows/reindex/debounce?wait=1", b'"d"', 400, "key= is needed"),
        ("/workflows/reindex/debounce?key=a", b'"d"', 400, "wait= is needed"),
        ("/workflows/reindex/debounce?key=a&wait=0", b'"d"', 400, "wait= must be more than 0 seconds"),
        ("/workflows/reindex/debounce?key=a&wait=-1", b'"d"', 400, "a number of seconds"),
        ("/workflows/reindex/debounce?key=a&wait=nan", b'"d"', 400, "a number of seconds"),
        ("/workflows/reindex/debounce?key=a&wait=2&max_wait=1", b'"d"', 400, "max_wait= is shorter"),
        ("/workflows/reindex/debounce?key=a&wait=1&delay=3", b'"d"', 400, "unknown parameter"),
        ("/workflows/reindex/debounce?key=a&wait=1&priority=50", b'"d"', 400, "priority"),
        ("/workflows/reindex/debounce?key=a&wait=1&id=", b'"d"', 400, "id="),
        ("/workflows/reindex/debounce?key=a&wait=1", b"5", 400, "reindex"),
        ("/workflows/reindex/debounce?key=a&wait=1", b"{", 400, "JSON"),
        ("/workflows/reindex/debounce?key=a&wait=1", b"", 400, "document"),
        (f"/workflows/reindex/debounce?key={'k' * 300}&wait=1", b'"d"', 400, "key"),
        ("/workflows/reindex/batch?key=a&size=2&within=1", b'"d"', 400, "one list"),
        ("/workflows/store/batch?key=a&size=0&within=1", b'{"number": 1}', 400, "size="),
        ("/workflows/store/batch?key=a&within=1", b'{"number": 1}', 400, "size= is needed"),
        ("/workflows/store/batch?key=a&size=2&within=0", b'{"number": 1}', 400, "within="),
        ("/workflows/store/batch?key=a&size=2&within=1", b'{"number": "x"}', 400, "number"),
        ("/workflows/store/batch?key=a&size=2&within=1", b'{"number": 1}, {"number": 2}', 400, "JSON"),
        ("/workflows/store/batch?key=a&size=2&within=1", b"", 400, "rows"),
        ("/windows/debounce:reindex:none/flush", b"", 404, "no window"),
        ("/windows/mine/drop", b"", 404, "no window"),
    ],
)
async def test_what_makes_no_sense_is_refused(app: Romancy, route: str, body: bytes, status: int, said: str) -> None:
    await app.start(reindex.options(instance_id="mine"), "d")
    refused = await Client(asgi(app, auth=anyone)).post(route, body)
    assert refused.status == status, refused.json
    assert said in str(refused.json)
    assert (await app.windows()).windows == []


async def test_a_window_that_is_over_is_told_nothing(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    await client.post("/workflows/reindex/debounce?key=a&wait=3600", b'"d"')
    await app.terminate("debounce:reindex:a")
    assert (await client.post("/windows/debounce:reindex:a/flush")).status == 409
    shown = await client.get("/windows/debounce:reindex:a")
    assert (shown.status, shown.json["calls"]) == (200, 0)
    await app.purge("debounce:reindex:a")
    assert (await client.get("/windows/debounce:reindex:a")).status == 404


async def test_only_those_who_may_call_and_tell(app: Romancy) -> None:
    await app.debounce(reindex.bind("d"), "a", wait=3600)
    reader = Client(asgi(app, auth=lambda request: Visitor("ann", actions=False)))
    assert (await reader.post("/workflows/reindex/debounce?key=a&wait=1", b'"d"')).status == 403
    assert (await reader.post("/windows/debounce:reindex:a/drop")).status == 403
    assert (await reader.get("/windows")).status == 200
    starter = Client(asgi(app, auth=lambda request: Visitor("bob", actions={"start"})))
    assert (await starter.post("/workflows/reindex/debounce?key=a&wait=3600", b'"d"')).status == 202
    assert (await starter.post("/windows/debounce:reindex:a/drop")).status == 403


async def test_who_sees_no_sealed_payloads_sees_no_windows(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[reindex], codecs=Codecs(Masking())) as app:
        client = Client(asgi(app, auth=lambda request: Visitor("ann", payloads=False)))
        assert (await client.post("/workflows/reindex/debounce?key=a&wait=3600", b'"secret"')).status == 202
        assert [(await client.get(route)).status for route in ("/windows", "/windows/debounce:reindex:a")] == [403, 403]
