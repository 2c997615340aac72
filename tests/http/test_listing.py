"""`GET /instances`: pages, and what chooses the instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.http import asgi
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio


@workflow
async def tick(ctx: WorkflowContext) -> str:
    return "tick"


@workflow
async def private(ctx: WorkflowContext) -> None:
    await ctx.wait_event("paid")


@workflow
async def family(ctx: WorkflowContext) -> None:
    for number in range(2):
        await ctx.start(private.options(instance_id=f"{ctx.instance_id}/{number}"))


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[tick, private, family, order]) as app:
        yield app


@pytest.fixture
def client(app: Romancy) -> Client:
    return Client(asgi(app, auth="local"))


async def test_instances_are_listed_page_by_page(client: Client) -> None:
    for number in range(3):
        await client.post(f"/workflows/private?instance_id=p-{number}")

    first = await client.get("/instances?workflow=priv&status=waiting,running,pending&limit=2")
    second = await client.get(f"/instances?workflow=priv&status=pending,running,waiting&page={first.json['next_page']}")
    newest = (await client.get("/instances?limit=1")).json["instances"][0]
    bounds = [await client.get(f"/instances?started_{side}={newest['created_at']}") for side in ("after", "before")]

    assert ["p-2", "p-1"] == [each["instance_id"] for each in first.json["instances"]]
    assert (["p-0"], None) == ([each["instance_id"] for each in second.json["instances"]], second.json["next_page"])
    assert [["p-2"], ["p-1", "p-0"]] == [[each["instance_id"] for each in one.json["instances"]] for one in bounds]
    assert (await client.get("/instances/p-2")).json == {**newest, "headers": {}, "untaken": []}


async def test_instances_are_listed_by_the_time_of_their_end(client: Client) -> None:
    for number in range(3):
        await client.post(f"/workflows/tick?instance_id=t-{number}")
        await client.get(f"/instances/t-{number}/result?timeout=30")
    await client.post("/workflows/private?instance_id=p-1")
    middle = (await client.get("/instances/t-1")).json["updated_at"]

    after = await client.get(f"/instances?ended_after={middle}&limit=1")
    rest = await client.get(f"/instances?ended_after={middle}&page={after.json['next_page']}")
    before = await client.get(f"/instances?ended_before={middle}")

    assert [["t-2"], ["t-1"], ["t-0"]] == [
        [each["instance_id"] for each in one.json["instances"]] for one in (after, rest, before)
    ]


async def test_a_list_shows_results_where_it_is_asked_for_them(client: Client) -> None:
    await client.post("/workflows/tick?instance_id=t-1")
    await client.get("/instances/t-1/result?timeout=30")
    await client.post("/workflows/private?instance_id=p-1")

    with_them = await client.get("/instances?results=true")
    without = await client.get("/instances?results=false")

    assert {"t-1": "tick", "p-1": None} == {one["instance_id"]: one["result"] for one in with_them.json["instances"]}
    assert all("result" not in one for one in without.json["instances"])


async def test_headers_are_shown_and_choose_instances(client: Client, app: Romancy) -> None:
    await app.start(private.options(instance_id="h-1", headers={"tenant": "acme", "zone": "eu 1"}))
    await app.start(private.options(instance_id="h-2", headers={"tenant": "bolt"}))

    for query, ids in (
        ("header=tenant%3Dacme", ["h-1"]),
        ("header=tenant=acme&header=zone=eu+1", ["h-1"]),
        ("header=tenant=acme&header=zone=us", []),
        ("", ["h-2", "h-1"]),
    ):
        listed = (await client.get(f"/instances?{query}")).json["instances"]
        assert ids == [one["instance_id"] for one in listed], query
        assert all("headers" not in one for one in listed)
    with_them = (await client.get("/instances?headers=true")).json["instances"]
    assert [{"tenant": "bolt"}, {"tenant": "acme", "zone": "eu 1"}] == [one["headers"] for one in with_them]
    assert {"tenant": "bolt"} == (await client.get("/instances/h-2")).json["headers"]
    for query in ("header=tenant", "header=a=1&header=a=2", "headers=1", "headers=true&limit=101"):
        assert 400 == (await client.get(f"/instances?{query}")).status, query


@workflow
async def order(ctx: WorkflowContext, city: str, total: int) -> None:
    await ctx.wait_event("paid")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("where=city=Oslo", ["o-1", "o-0"]),
        ("where=city%3DOslo&where=total%3E%3D1", ["o-1"]),
        ("where=total%3C3&where=total%3E0&workflow=ORD&exact_id=o-1&exact_id=o-2", ["o-2", "o-1"]),
        ("where=city%5E%3DP&header=tenant=acme&top_level=true&status=waiting,running,pending", ["o-2"]),
        ("where=city=oslo", []),
    ],
)
async def test_paths_of_the_input_choose_instances(client: Client, app: Romancy, query: str, found: list[str]) -> None:
    for number, city in enumerate(("Oslo", "Oslo", "Paris")):
        await app.start(order.options(instance_id=f"o-{number}", headers={"tenant": "acme"}), city, number)

    assert found == [one["instance_id"] for one in (await client.get(f"/instances?{query}")).json["instances"]]
    assert len(found) == (await client.get(f"/count?{query}")).json["count"]


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("where=city", "where 'city': give a path"),
        ("where=total%3E%3Dtrue", "where: filter 'total', gte(): True has no order"),
        ("where=a..b=1", "where: path 'a..b', position 2"),
        ("header=baggage=1", "header: header 'baggage': headers of traces are not searched"),
        ("id=" + "x" * 256, "id: 256 bytes of UTF-8"),
        ("workflow=" + "x" * 256, "workflow: 256 bytes of UTF-8"),
        ("exact_id=", "exact_id: is empty"),
        ("status=done", "status: give one or several of"),
        ("started_after=2026-03-01", "started_after: a time with its offset"),
        ("page=x", "page: damaged or not a page token"),
        ("limit=1001", "limit: must be a whole number from 1 to 1000"),
    ],
)
async def test_an_error_names_the_parameter(client: Client, query: str, complaint: str) -> None:
    refused = await client.get(f"/instances?{query}")

    assert (400, True) == (refused.status, refused.json["error"].startswith(complaint)), refused.json


async def test_the_document_names_each_parameter_that_chooses(client: Client) -> None:
    """A parameter that may be repeated is an array there."""
    paths = (await client.get("/openapi.json")).json["paths"]
    for path in ("/instances", "/count"):
        for parameter in paths[path]["get"]["parameters"]:
            twice = await client.get(f"{path}?{parameter['name']}=&{parameter['name']}=")
            assert ("twice" in twice.json.get("error", "")) is (parameter["schema"]["type"] != "array")


@pytest.mark.parametrize("query", ["results=1", "results=", "results=true&limit=101", "results=true&results=true"])
async def test_a_wrong_request_for_results_is_refused(client: Client, query: str) -> None:
    assert 400 == (await client.get(f"/instances?{query}")).status


async def grown(client: Client) -> None:
    """Start a parent with two children."""
    await client.post("/workflows/family?instance_id=f")
    await client.get("/instances/f/result?timeout=30")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("parent=f&oldest_first=true", ["f/0", "f/1"]),
        ("parent=f", ["f/1", "f/0"]),
        ("top_level=true", ["f"]),
        ("exact_id=f/1&exact_id=f&exact_id=nobody&oldest_first=true", ["f", "f/1"]),
        ("exact_id=F", []),
        ("oldest_first=true&top_level=false", ["f", "f/0", "f/1"]),
    ],
)
async def test_instances_are_listed_by_parent_and_by_whole_ids(client: Client, query: str, found: list[str]) -> None:
    await grown(client)

    listed = await client.get(f"/instances?{query}")
    counted = await client.get(f"/count?{query.replace('&oldest_first=true', '').replace('oldest_first=true&', '')}")

    assert found == [one["instance_id"] for one in listed.json["instances"]]
    assert [None if one == "f" else "f" for one in found] == [one["parent_id"] for one in listed.json["instances"]]
    assert len(found) == counted.json["count"]


async def test_instances_are_counted_by_status_and_workflow(client: Client) -> None:
    await grown(client)

    counted = await client.get("/count")
    family_alone = await client.get("/count?workflow=AMIL&status=completed,failed")

    assert 3 == counted.json["count"] == sum(counted.json["by_status"].values())
    assert {"private": 2, "family": 1} == counted.json["by_workflow"]
    assert {"count": 1, "by_status": {"completed": 1}, "by_workflow": {"family": 1}} == family_alone.json
    assert {"count": 0, "by_status": {}, "by_workflow": {}} == (await client.get("/count?id=nobody")).json


@pytest.mark.parametrize(
    "query",
    [
        "parent=", "parent=f&top_level=true", "top_level=1", "parent=f&parent=f", "exact_id=",
        "&".join(f"exact_id=i-{number}" for number in range(1001)),
    ],
)  # fmt: skip
async def test_a_wrong_choice_of_instances_is_refused(client: Client, query: str) -> None:
    assert 400 == (await client.get(f"/instances?{query}")).status
    assert 400 == (await client.get(f"/count?{query}")).status
    assert 400 == (await client.get("/count?limit=1")).status
