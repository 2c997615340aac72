"""Forks and rewinds over HTTP: shown first, done once, refused by name with nothing written, by those who may."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, Status, WorkflowContext, activity, compensation, workflow
from romancy.http import Visitor, anyone, asgi
from romancy.serialization import Codecs
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import status_is
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.http.client import Answer

pytestmark = pytest.mark.anyio

done: list[str] = []


@dataclass
class Order:
    item: str
    count: int = 1


@activity
async def pack(what: str) -> str:
    done.append(what)
    return what


@workflow
async def parcel(ctx: WorkflowContext, order: Order) -> str:
    await pack("box")
    await pack("tape")
    return await pack(order.item)


@workflow
async def hears(ctx: WorkflowContext) -> Any:
    return (await ctx.wait_event("fork", model=int)).data


@compensation
async def unpack(what: str) -> None:
    done.append(f"unpack {what}")


@activity(compensation=unpack)
async def load(what: str) -> str:
    done.append(what)
    return what


@workflow
async def loads(ctx: WorkflowContext) -> str:
    await load("box")
    return await load("crate")


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    done.clear()
    async with Romancy(storage_url, workflows=[parcel, hears, loads]) as app:
        await app.run(parcel.options(instance_id="p-1"), Order("lamp"))
        yield app


@pytest.fixture
def client(app: Romancy) -> Client:
    return Client(asgi(app, auth=anyone))


async def ask(client: Client, verb: str, instance_id: str = "p-1", **body: Any) -> Answer:
    return await client.post(f"/instances/{instance_id}/{verb}", json.dumps(body).encode())


def ids(steps: list[dict[str, str]]) -> list[str]:
    return [one["id"] for one in steps]


async def unchanged(app: Romancy) -> bool:
    found = await app.get_instance("p-1")
    return found is not None and found.status is Status.COMPLETED and int(await app.count()) == 1


async def test_a_fork_is_shown_and_begun(app: Romancy, client: Client) -> None:
    shown = await ask(client, "fork", before="pack:2", dry_run=True)

    assert 200 == shown.status
    assert ("p-1", "parcel", None) == tuple(shown.json[name] for name in ("instance_id", "workflow", "refused"))
    assert (["pack:1"], [], ["pack:2", "pack:3"]) == tuple(ids(shown.json[one]) for one in ("kept", "again", "cut_off"))
    assert {"kind": "activities", "id": "pack:1", "name": "pack", "outcome": "completed"} == shown.json["kept"][0]
    assert await unchanged(app)

    input = {"order": {"item": "vase"}}
    forks = [await ask(client, "fork", before="pack:2", id="p-2", input=input) for _ in range(2)]
    alone = await ask(client, "fork", at=shown.json["commit"], input={"item": "bulb", "count": 2})
    plain = await ask(client, "fork", before="pack:3", input=None)

    assert [(202, {"status": "accepted", "instance_id": "p-2"})] * 2 == [(one.status, one.json) for one in forks]
    assert [202, 202] == [alone.status, plain.status]
    ends = [await app.handle(one.json["instance_id"]).result(timeout=60) for one in (forks[0], alone, plain)]
    assert ["vase", "bulb", "lamp"] == ends
    assert sorted(["box", "tape", "lamp", "tape", "vase", "tape", "bulb", "lamp"]) == sorted(done)


async def test_a_rewind_is_shown_refused_and_done(app: Romancy, client: Client) -> None:
    shown = await ask(client, "rewind", before="pack:2", dry_run=True)
    kept = await ask(client, "rewind", before="pack:2", undo="keep", dry_run=True)

    assert [200, 200] == [shown.status, kept.status]
    assert ["pack:2", "pack:3"] == ids(shown.json["stands"]) == ids(kept.json["stands"])
    assert ("pack:2, pack:3 did something" in shown.json["refused"], kept.json["refused"]) == (True, None)
    refused = await ask(client, "rewind", before="pack:2")
    assert (409, "UsageError", False) == (refused.status, refused.json["error_type"], refused.json["retryable"])
    assert "pack:2, pack:3 did something behind the point" in refused.json["error"]
    assert await unchanged(app)

    rewound = await ask(client, "rewind", before="pack:2", undo="keep")

    assert (200, "p-1") == (rewound.status, rewound.json["instance_id"])
    assert rewound.json["status"] in {"running", "completed"}
    assert "lamp" == await app.handle("p-1").result(timeout=60)
    assert ["box", "tape", "lamp", "tape", "lamp"] == done


async def test_what_is_undone_first(app: Romancy, client: Client) -> None:
    await app.run(loads.options(instance_id="l-1"))
    done.clear()

    shown = await ask(client, "rewind", "l-1", before="load:1", undo="compensate", dry_run=True)
    rewound = await ask(client, "rewind", "l-1", before="load:1", undo="compensate")

    assert ["load:2", "load:1"] == ids(shown.json["undone"])
    assert ([], None) == (shown.json["stands"], shown.json["refused"])
    assert (200, "l-1") == (rewound.status, rewound.json["instance_id"])
    assert "crate" == await app.handle("l-1").result(timeout=60)
    assert ["unpack crate", "unpack box", "box", "crate"] == done


async def test_a_paused_instance_stays_paused(app: Romancy, client: Client) -> None:
    await app.start(hears.options(instance_id="h-1"))
    await status_is(app, "h-1", Status.WAITING)
    await client.post("/pause/h-1")
    await status_is(app, "h-1", Status.PAUSED)

    rewound = await ask(client, "rewind", "h-1", before="fork:1")

    assert (200, {"status": "paused", "instance_id": "h-1"}) == (rewound.status, rewound.json)


async def test_a_rewind_has_time_for_a_worker_to_let_go(app: Romancy) -> None:
    """A write is given no time at all here."""
    hasty = Client(asgi(app, auth=anyone, write_timeout=0.0))

    assert 503 == (await ask(hasty, "fork", before="pack:2")).status
    assert 200 == (await ask(hasty, "rewind", before="pack:3", undo="keep")).status
    assert "lamp" == await app.handle("p-1").result(timeout=60)


@pytest.mark.parametrize(
    ("verb", "body", "status", "error"),
    [
        ("fork", b"", 400, "names one point"), ("rewind", b"", 400, "names one point"), ("fork", b"{", 400, "JSON"),
        ("fork", b"[]", 400, "the body: "), ("fork", b'{"before": "pack:1", "at": 1}', 400, "names one point"),
        ("fork", b'{"at": "1"}', 400, "$.at"), ("fork", b'{"before": 1}', 400, "$.before"),
        ("fork", b'{"at": 1, "children": "drop"}', 400, "$.children"), ("fork", b'{"at": NaN}', 400, "JSON"),
        ("fork", b'{"at": 1, "undo": "keep"}', 400, "undo"), ("rewind", b'{"at": 1, "id": "x"}', 400, "id"),
        ("rewind", b'{"at": 1, "undo": "all"}', 400, "$.undo"), ("rewind", b'{"at": 1, "input": {}}', 400, "input"),
        ("fork", b'{"at": 1, "id": ""}', 400, "id: must not be empty"), ("rewind", b'{"at": -1}', 400, "$.at"),
        ("fork", b'{"at": 1, "id": "' + b"x" * 300 + b'"}', 400, "at most 255"),
        ("fork", b'{"at": 1, "dry_run": "yes"}', 400, "$.dry_run"),
        ("fork", b'{"at": ' + b"9" * 40 + b"}", 400, "$.at"),
        ("fork", b'{"at": 9999999}', 409, "no commit 9999999"), ("rewind", b'{"at": 77}', 409, "commits 1 to 4"),
        ("fork", b'{"before": "pack:9"}', 409, "no step 'pack:9' in its last run. Its steps: pack:1, pack:2, pack:3"),
        ("rewind", b'{"before": "pack:9", "dry_run": true}', 409, "no step 'pack:9'"),
        ("fork", b'{"before": "pack:2", "input": {"order": {"item": 5}}}', 400, "'order' of workflow 'parcel'"),
        ("fork", b'{"before": "pack:2", "id": "p-1"}', 409, "exists already"),
        ("fork", b'{"before": "pack:2", "input": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400, ""),
    ],
)  # fmt: skip
async def test_requests_that_are_wrong_write_nothing(
    app: Romancy, client: Client, verb: str, body: bytes, status: int, error: str
) -> None:
    refused = await client.post(f"/instances/p-1/{verb}", body)

    assert (status, True) == (refused.status, error in refused.json["error"]), refused.json
    assert len(refused.json["error"]) < 1000
    assert await unchanged(app)


@pytest.mark.parametrize("verb", ["fork", "rewind"])
async def test_an_instance_that_is_not_there(client: Client, verb: str) -> None:
    for dry_run in (False, True):
        refused = await ask(client, verb, "nobody", before="pack:1", dry_run=dry_run)
        assert (404, "InstanceNotFoundError") == (refused.status, refused.json["error_type"])
        assert 400 == (await ask(client, verb, "x" * 300, before="pack:1", dry_run=dry_run)).status
    missing = await ask(client, "fork", "nobody", before="pack:1", input={})
    assert 404 == missing.status
    assert 400 == (await client.post(f"/instances/p-1/{verb}?before=pack:1", b'{"at": 1}')).status


async def test_a_workflow_that_the_app_does_not_know(storage_url: str, app: Romancy) -> None:
    async with Romancy(storage_url, workflows=[hears], worker=False) as other:
        client = Client(asgi(other, auth=anyone))
        for verb in ("fork", "rewind"):
            for more in ({}, {"dry_run": True}, {"input": 1} if verb == "fork" else {"undo": "keep"}):
                body = json.dumps({"before": "pack:2", **more}).encode()
                refused = await client.post(f"/instances/p-1/{verb}", body)
                assert (409, True) == (refused.status, "does not know" in refused.json["error"])
    assert await unchanged(app)


async def test_each_route_asks_whether_the_visitor_may(app: Romancy) -> None:
    looker = Client(asgi(app, auth=lambda _: Visitor("ann", actions=False)))
    clerk = Client(asgi(app, auth=lambda _: Visitor("bob", actions={"fork"})))
    chief = Client(asgi(app, auth=lambda _: Visitor("eve", actions={"rewind"})))

    for verb, client in (("fork", looker), ("rewind", looker), ("rewind", clerk), ("fork", chief)):
        for dry_run in (True, False):
            refused = await ask(client, verb, before="pack:2", undo="keep", dry_run=dry_run)
            assert (403, True) == (refused.status, f"you may not {verb}:" in refused.json["error"])
    assert await unchanged(app)
    assert 200 == (await ask(clerk, "fork", before="pack:2", dry_run=True)).status
    assert 202 == (await ask(clerk, "fork", before="pack:2")).status
    assert 200 == (await ask(chief, "rewind", before="pack:3", undo="keep")).status


async def test_a_log_that_is_sealed_is_for_those_who_see_payloads(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[parcel], codecs=Codecs(Masking())) as app:
        await app.run(parcel.options(instance_id="p-1"), Order("lamp"))
        blind = Client(asgi(app, auth=lambda _: Visitor("ann", payloads=False)))
        seeing = Client(asgi(app, auth=anyone))

        for verb in ("fork", "rewind"):
            for more in ({"before": "x"}, {"before": "pack:2", "dry_run": True}):
                refused = await blind.post(f"/instances/p-1/{verb}", json.dumps(more).encode())
                assert (403, True) == (refused.status, "you may not see payloads" in refused.json["error"])
                assert "pack" not in refused.json["error"]
        made = await ask(seeing, "fork", before="pack:2", input={"item": "vase"})
        assert "vase" == await app.handle(made.json["instance_id"]).result(timeout=60)


async def test_signals_may_have_these_names(app: Romancy, client: Client) -> None:
    await app.start(hears.options(instance_id="h/1"))
    await status_is(app, "h/1", Status.WAITING)

    shown = await ask(client, "fork", "h/1", before="fork:1", dry_run=True)
    sent = await client.post("/instances/h/1/signals/fork", b"7")

    assert (200, ["fork:1"]) == (shown.status, ids(shown.json["cut_off"]))
    assert 202 == sent.status
    assert 7 == await app.handle("h/1").result(timeout=60)


async def test_the_document_has_them(app: Romancy, client: Client) -> None:
    document = (await client.get("/openapi.json")).json
    plan = (await ask(client, "fork", before="pack:2", dry_run=True)).json

    for verb in ("fork", "rewind"):
        operation = document["paths"][f"/instances/{{instance_id}}/{verb}"]["post"]
        assert {"before", "at", "children", "dry_run"} < operation["requestBody"]["content"]["application/json"][
            "schema"
        ]["properties"].keys()
    assert set(document["components"]["schemas"]["ForkPlan"]["required"]) == plan.keys()
