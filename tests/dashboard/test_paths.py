"""Completion of the paths in inputs, and what a visitor without permission sees of sealed inputs."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Codecs, Romancy, WorkflowContext, workflow
from romancy.dashboard import Visitor, asgi
from romancy.dashboard._paths_page import paths_in
from romancy.storage.query import parse_path
from romancy_conformance.behaviour.coded import Masking
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from starlette.requests import Request

pytestmark = pytest.mark.anyio


@workflow(index=["customer.id"])
async def order(ctx: WorkflowContext, request: dict[str, Any]) -> Any:
    return (await ctx.wait_event("paid")).data


def test_paths_are_those_that_a_condition_can_be_written_with() -> None:
    found = paths_in(
        [
            b'{"a": {"b": 1, "c.d": "x", "": true}, "items": [{"sku": "s"}, {"late": 1}], "e=f": 1, "01": null}',
            b'"text"',
            b"[[1.5]]",
            b"{broken",
            b'{"a": {"b": "text now"}, "g": []}',
            ("[" * 50 + "]" * 50).encode(),
        ]
    )

    assert {
        "0.0": "number", "a.b": "number", 'a["c.d"]': "text", 'a[""]': "true or false", "items.0.sku": "text",
        '["01"]': "null",
    } == found  # fmt: skip
    assert all(parse_path(path) for path in found)


def test_paths_are_bounded() -> None:
    wide = b"{" + b",".join(b'"k%d": 1' % number for number in range(5000)) + b"}"

    assert len(paths_in([wide] * 3)) <= 300


async def test_the_paths_that_exist_are_offered() -> None:
    async with Romancy("memory://", workflows=[order]) as app:
        await app.start(order, {"customer": {"id": "<c-1>", "<city>": "Paris"}, "total": 5})
        browser = Browser(asgi(app, auth="local"))

        assert 'hx-get="/paths?status=waiting"' in (await browser.get("/instances?status=waiting")).body.decode()
        offered = await browser.get("/paths")

        values = [unescape(each) for each in re.findall(r'value="([^"]*)"', offered.body.decode())]
        assert [
            "customer.id=",
            "request.customer.id=",
            "request.total=",
        ] == values  # a name with an operator in it cannot be written
        assert [] == re.findall("<option", (await browser.get("/paths?workflow=none")).body.decode())
        assert 400 == (await browser.get("/paths?status=lost")).status


def _clerk(request: Request) -> Visitor:
    return Visitor(request.headers["x-user"], payloads=request.headers["x-user"] == "ann")


async def test_payloads_behind_codecs_need_permission(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "romancy.dashboard.audit")
    async with Romancy("memory://sealed", workflows=[order], codecs=Codecs(Masking())) as app:
        handle = await app.start(order.options(instance_id="o-1"), {"secret": "swordfish"})
        browser = Browser(asgi(app, auth=_clerk))
        pages = ["/", "/instances", "/instances/o-1", "/paths", "/act/signal/o-1"]
        pages += [
            f"/instances/o-1?view={view}" for view in ("graph", "family", "state", "log", "compare&with=o-1", "raw")
        ]

        async def texts(who: str) -> str:
            return "".join([(await browser.get(page, x_user=who)).body.decode() for page in pages])

        assert "swordfish" in await texts("ann")
        assert "swordfish" not in (hidden := await texts("bob"))
        assert "secret" not in hidden
        assert "sealed" in hidden
        assert 403 == (await browser.get("/instances?where=secret%3Dswordfish", x_user="bob")).status
        assert 403 == (await browser.get("/bulk/cancel?where=secret%3Dswordfish", x_user="bob")).status
        assert 403 == (await browser.get("/instances?header=tenant%3Dacme", x_user="bob")).status
        assert 200 == (await browser.get("/instances?where=secret%3Dswordfish", x_user="ann")).status
        shown = await browser.get("/act/signal/o-1", x_user="bob")
        csrf = re.findall(r'name="csrf" value="(\w+)"', shown.body.decode())[0]
        sent = await browser.post("/act/signal/o-1", {"csrf": csrf, "event": "paid", "data": "1"}, x_user="bob")
        assert 303 == sent.status
        assert 1 == await handle.result()
    assert "'bob': signal 'o-1': done" in caplog.text
