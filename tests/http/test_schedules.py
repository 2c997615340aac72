"""Schedules over HTTP: listed, looked at, paused, resumed and triggered, by those who may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Codecs, Romancy, WorkflowContext, workflow
from romancy.http import Visitor, anyone, asgi
from romancy_conformance.behaviour.coded import Masking
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from romancy import ScheduleHandle

pytestmark = pytest.mark.anyio

LIMIT = 30


@workflow
async def close_books(ctx: WorkflowContext, ledger: str) -> str:
    return ledger


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[close_books]) as app:
        yield app


async def nightly(app: Romancy, schedule_id: str = "nightly") -> ScheduleHandle:
    handle = await app.schedule(schedule_id, close_books.bind("main"), cron="30 2 * * *", tz="Europe/Berlin")
    await told(app, handle, lambda progress: progress.get("next"))
    return handle


async def told(app: Romancy, handle: ScheduleHandle, holds: Callable[[Any], object]) -> None:
    await app.report(handle.instance_id, wait=lambda report: holds(report["progress"]), timeout=LIMIT)


async def test_schedules_are_listed_and_shown(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    assert {"schedules": []} == (await client.get("/schedules")).json
    for schedule_id in ("nightly", "a/b"):
        await nightly(app, schedule_id)

    listed = (await client.get("/schedules")).json["schedules"]
    one = await client.get("/schedules/a/b")

    assert ["a/b", "nightly"] == [each["schedule_id"] for each in listed]
    assert listed[0] | {"runs": []} == one.json
    assert one.json | {"next": ""} == {
        "schedule_id": "a/b", "workflow": "close_books", "due": "cron '30 2 * * *' in Europe/Berlin",
        "overlap": "skip", "catchup": "one", "pause_on_failure": False, "paused": None, "next": "", "started": 0,
        "skipped": 0, "failed": 0, "runs": [],
    }  # fmt: skip
    assert one.json["next"].endswith("30:00Z")


async def test_a_schedule_is_told_what_to_do(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    handle = await nightly(app)

    paused = await client.post("/schedules/nightly/pause", b'{"note": "locked"}')
    assert (202, {"status": "accepted", "schedule_id": "nightly"}) == (paused.status, paused.json)
    await told(app, handle, lambda progress: progress.get("paused") == "locked")
    assert "locked" == (await client.get("/schedules/nightly")).json["paused"]
    assert 202 == (await client.post("/schedules/nightly/trigger?overlap=allow")).status
    await told(app, handle, lambda progress: [one["outcome"] for one in progress.get("runs", [])] == ["completed"])
    (run,) = (await client.get("/schedules/nightly")).json["runs"]
    assert ("completed", True) == (run["outcome"], run["instance_id"].startswith("nightly@"))
    assert 202 == (await client.post("/schedules/nightly/resume")).status
    await told(app, handle, lambda progress: "paused" not in progress)
    times = "from=2026-03-01T00:00:00Z&to=2026-03-03T23:00:00Z"
    assert 202 == (await client.post(f"/schedules/nightly/backfill?{times}")).status
    await told(app, handle, lambda progress: progress.get("started") == 4)
    ids = [one["instance_id"] for one in (await client.get("/schedules/nightly")).json["runs"]]
    assert "nightly@2026-03-02T01:30:00Z" in ids


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/schedules/none", b"", 404), ("POST", "/schedules/none/pause", b"", 404),
        ("POST", "/schedules/none/resume", b"", 404), ("POST", "/schedules/none/trigger", b"", 404),
        ("GET", "/schedules?limit=1", b"", 400), ("POST", "/schedules/nightly/pause?x=1", b"", 400),
        ("POST", "/schedules/nightly/pause", b"[1]", 400), ("POST", "/schedules/nightly/pause", b"{", 400),
        ("POST", "/schedules/nightly/trigger?overlap=never", b"", 400), ("POST", "/schedules", b"", 405),
        ("POST", "/schedules/nightly", b"", 405), ("GET", f"/schedules/{'x' * 201}", b"", 400),
        ("POST", "/schedules/nightly/delete", b"", 405), ("POST", "/schedules/nightly/backfill", b"", 400),
        ("POST", "/schedules/nightly/backfill?from=2026-03-01T00:00:00Z", b"", 400),
        ("POST", "/schedules/nightly/backfill?from=2026-03-01&to=2026-03-02", b"", 400),
        ("POST", "/schedules/nightly/backfill?from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", b"", 400),
        ("POST", "/schedules/none/backfill?from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z", b"", 404),
    ],
)  # fmt: skip
async def test_requests_that_are_wrong(app: Romancy, method: str, target: str, body: bytes, status: int) -> None:
    handle = await nightly(app)

    answer = await Client(asgi(app, auth=anyone)).ask(method, target, body, [])

    assert (status, False) == (answer.status, answer.json["retryable"])
    found = await handle.get()
    assert found is not None
    assert (found.paused, found.started) == (None, 0)


async def test_each_route_asks_whether_the_visitor_may(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[close_books], codecs=Codecs(Masking())) as app:
        await nightly(app)
        clerk = Client(asgi(app, auth=lambda _: Visitor("ann", actions={"signal"}, payloads=False)))
        chief = Client(asgi(app, auth=lambda _: Visitor("bob", actions={"schedules"})))

        for verb in ("pause", "resume", "trigger", "backfill"):
            refused = await clerk.post(f"/schedules/nightly/{verb}")
            assert (403, True) == (refused.status, refused.json["error"].startswith("you may not schedules:"))
        assert [403, 403] == [(await clerk.get(one)).status for one in ("/schedules", "/schedules/nightly")]
        assert 403 == (await clerk.post("/instances/schedule:nightly/signals/romancy.schedule", b"{}")).status
        assert 200 == (await chief.get("/schedules/nightly")).status
        assert 202 == (await chief.post("/schedules/nightly/pause")).status
