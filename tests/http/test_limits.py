"""Limits over HTTP: listed, changed, paused, resumed, reset, and places given back, by those who may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import EventType, Limit, Romancy, WorkflowContext, workflow
from romancy.core import PlaceAsked, PlaceGranted
from romancy.http import Visitor, anyone, asgi
from romancy_conformance.behaviour.waiting import until
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy import Handle

pytestmark = pytest.mark.anyio

GO = EventType("go", str)


@workflow(limits=[Limit("a/shop", key="shop", concurrency=1)])
async def sell(ctx: WorkflowContext, shop: str) -> str:
    return (await ctx.wait_event(GO)).data


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[sell]) as app:
        yield app


async def sold(app: Romancy, *names: str) -> list[Handle[str]]:
    handles: list[Handle[str]] = []
    for name in names:
        handles.append(await app.start(sell.options(instance_id=name), "x"))
        await has(handles[-1], PlaceAsked if handles[1:] else PlaceGranted)
    return handles


async def has(handle: Handle[str], kind: type) -> None:
    async def there() -> bool:
        return any(isinstance(event, kind) for event in await handle.history())

    await until(there)


async def test_limits_are_listed(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    assert {"limits": []} == (await client.get("/limits")).json
    await sold(app, "first", "second")

    listed, one = [(await client.get(target)).json for target in ("/limits", "/limits/a/shop")]

    assert listed == one
    (lane,) = one["limits"]
    assert lane["oldest"].endswith("Z")
    assert lane | {"oldest": ""} == {
        "limit": "a/shop", "key": "x", "taken": 1, "waiting": 1, "oldest": "", "holders": ["first"],
        "concurrency": 1, "rate": None, "chosen": False, "paused": False,
    }  # fmt: skip
    assert {"limits": []} == (await client.get("/limits/another")).json


async def test_a_limit_is_told_what_holds(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    _, second, third = await sold(app, "first", "second", "third")

    changed = await client.post("/limits/a/shop/change", b'{"concurrency": 2, "rate": [100, 0.5]}')
    assert (200, {"status": "done", "limit": "a/shop"}) == (changed.status, changed.json)
    await has(second, PlaceGranted)
    (lane,) = (await client.get("/limits/a/shop")).json["limits"]
    assert (2, [100, 0.5], True) == (lane["concurrency"], lane["rate"], lane["chosen"])
    assert 200 == (await client.post("/limits/a/shop/pause")).status
    assert (await client.get("/limits/a/shop")).json["limits"][0]["paused"]
    assert 200 == (await client.post("/limits/a/shop/resume")).status
    assert 200 == (await client.post("/limits/a/shop/reset")).status
    for name in ("first", "second"):
        freed = await client.post(f"/free/{name}")
        assert (200, {"instance_id": name, "freed": ["a/shop"]}) == (freed.status, freed.json)
    await has(third, PlaceGranted)
    assert 404 == (await client.post("/free/nobody")).status


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/limits?key=1", b"", 400), ("POST", "/limits", b"", 405), ("POST", "/limits/shop", b"", 405),
        ("POST", "/limits/shop/change", b"", 400), ("POST", "/limits/shop/change", b"{}", 400),
        ("POST", "/limits/shop/change", b'{"concurrency": 0}', 400),
        ("POST", "/limits/shop/change", b'{"rate": 3}', 400), ("POST", "/limits/shop/change", b'{"rate": [3]}', 400),
        ("POST", "/limits/a~b/change", b'{"concurrency": 1}', 400), ("POST", "/limits/shop/pause?x=1", b"", 400),
    ],
)  # fmt: skip
async def test_requests_that_are_wrong(app: Romancy, method: str, target: str, body: bytes, status: int) -> None:
    answer = await Client(asgi(app, auth=anyone)).ask(method, target, body, [])

    assert (status, False) == (answer.status, answer.json["retryable"])
    assert [] == await app.limits()


async def test_each_route_asks_whether_the_visitor_may(app: Romancy) -> None:
    await sold(app, "first")
    clerk = Client(asgi(app, auth=lambda _: Visitor("ann", actions={"signal"})))
    chief = Client(asgi(app, auth=lambda _: Visitor("bob", actions={"limits"})))

    targets = [f"/limits/a/shop/{verb}" for verb in ("change", "pause", "resume", "reset")]
    for target in [*targets, "/free/first"]:
        refused = await clerk.post(target)
        assert (403, True) == (refused.status, refused.json["error"].startswith("you may not limits:"))
    assert 200 == (await clerk.get("/limits")).status
    assert 200 == (await chief.post("/limits/a/shop/pause")).status


@workflow(limits=[Limit("one report", key="shop", concurrency=1, full="skip")])
async def report(ctx: WorkflowContext, shop: str) -> str:
    return (await ctx.wait_event(GO)).data


async def test_a_start_that_is_skipped_is_a_conflict(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[report]) as app:
        client = Client(asgi(app, auth=anyone))
        first, second, third = [
            await client.post(f"/workflows/report?instance_id={number}{more}", b'{"shop": "x"}')
            for number, more in ((1, ""), (2, ""), (3, "&undecided=true"))
        ]

        assert (first.status, second.status, third.status) == (202, 409, 202)
        assert {
            "error_type": "StartSkippedError", "retryable": False, "instance_id": "2", "limit": "one report",
            "key": "x", "holders": ["1"],
        }.items() <= second.json.items()  # fmt: skip


async def test_a_start_that_nobody_decides_about_is_accepted(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[report], worker=False) as app:
        client = Client(asgi(app, auth=anyone, write_timeout=0.3))

        assert (await client.post("/workflows/report", b'{"shop": "x"}')).status == 202
