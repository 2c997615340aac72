"""Visitors who may look and not act, or do some things only: what pages offer them, and what the server refuses."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.dashboard import Dashboard, Visitor, asgi
from romancy.dashboard.bulk._job import CONFIRMED
from romancy.errors import WorkflowCancelledError
from romancy.status import Status
from tests.dashboard.browsing import Browser
from tests.event_waits import awaits_an_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

pytestmark = pytest.mark.anyio

HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
LOG = "romancy.dashboard.audit"
GIVEN: dict[str, Any] = {"looker": False, "clerk": {"signal", "cancel"}, "chief": True}


@workflow
async def wait(ctx: WorkflowContext, city: str) -> Any:
    return (await ctx.wait_event("paid")).data


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[wait]) as app:
        for number in range(2):
            await app.start(wait.options(instance_id=f"w-{number}"), "Paris")
        yield app


@pytest.fixture
async def dashboard(app: Romancy) -> AsyncGenerator[Dashboard]:
    def who(request: Request) -> Visitor:
        name = request.headers["x-user"]
        return Visitor(name, actions=GIVEN[name])

    dashboard = asgi(app, auth=who)
    yield dashboard
    await dashboard.close()


class As(Browser):
    """The browser of one visitor."""

    def __init__(self, dashboard: Dashboard, name: str) -> None:
        super().__init__(dashboard)
        self._name = name

    async def ask(self, method: str, target: str, body: bytes, headers: Any) -> Any:
        return await super().ask(method, target, body, [*headers, ("x-user", self._name)])


async def links(browser: Browser, target: str) -> set[str]:
    """The actions that a page offers."""
    page = await browser.get(target)
    assert 200 == page.status
    words = page.body.decode().split('href="')
    return {word.partition('"')[0].partition("?")[0] for word in words[1:]} & OFFERED


OFFERED = {
    *("/start", "/act/signal/w-0", "/act/cancel/w-0", "/act/terminate/w-0"),
    *("/bulk/signal", "/bulk/cancel", "/bulk/terminate"),
}


async def offered(browser: Browser) -> set[str]:
    return await links(browser, "/instances/w-0") | await links(browser, "/instances?workflow=wait")


async def test_pages_offer_what_the_visitor_may_do(dashboard: Dashboard) -> None:
    chief, clerk, looker = (As(dashboard, name) for name in ("chief", "clerk", "looker"))

    assert OFFERED == await offered(chief)
    assert {one for one in OFFERED if "signal" in one or "cancel" in one} == await offered(clerk)
    assert set() == await offered(looker)
    assert "read-only" in looker.text(await looker.get("/instances"))
    assert "read-only" not in clerk.text(await clerk.get("/instances"))


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("looker", ["signal", "cancel", "resume", "retry", "pause", "unpause", "terminate", "purge"]),
        ("clerk", ["resume", "retry", "pause", "unpause", "terminate", "purge"]),
    ],
)
async def test_the_server_refuses_the_rest_by_name(
    app: Romancy, dashboard: Dashboard, name: str, refused: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    browser, chief = As(dashboard, name), As(dashboard, "chief")
    token = await chief.token("/act/cancel/w-0")
    browser.cookies |= chief.cookies
    caplog.set_level(logging.INFO, LOG)

    for verb in refused:
        for target in (f"/act/{verb}/w-0", f"/bulk/{verb}?workflow=wait"):
            asked = await browser.get(target)
            sent = await browser.post(target, {"csrf": token, "reason": "x", "once": "o" * 20, "asked": "9" * 18})
            assert [403, 403] == [asked.status, sent.status], target
            assert f"You may not {verb}" in browser.text(sent)
        assert f"'{name}': {verb} 'w-0': refused (not allowed)" in caplog.messages
    for way in ("fork", "rewind"):
        target = f"/go-back/w-0?before=paid%3A1&as={way}"
        assert [403, 403] == [(await browser.get(target)).status, (await browser.post(target, {"csrf": token})).status]
        assert f"'{name}': {way} 'w-0': refused (not allowed)" in caplog.messages
    for target in ("/start", "/start?workflow=wait"):
        assert 403 == (await browser.get(target)).status
        assert 403 == (await browser.post(target, {"csrf": token, "in-city": "Graz"})).status
    assert 404 == (await chief.get("/act/drop/w-0")).status
    assert 2 == len((await app.list_instances()).instances)
    assert Status.CANCELLED not in {one.status for one in (await app.list_instances()).instances}


async def test_what_is_allowed_is_done(app: Romancy, dashboard: Dashboard) -> None:
    clerk = As(dashboard, "clerk")
    await awaits_an_event(app, "w-0")

    assert 303 == (await clerk.submit("/act/cancel/w-0", {"reason": ""})).status
    assert 303 == (await clerk.submit("/act/signal/w-1", {"event": "paid", "data": "7"})).status

    with pytest.raises(WorkflowCancelledError):
        await app.handle("w-0").result()
    assert 7 == await app.handle("w-1").result()


async def test_a_job_goes_on_only_for_those_who_may_do_what_it_does(app: Romancy, dashboard: Dashboard) -> None:
    """A signal, a retry or a confirmation is what the job waits for, and it would do the job's action."""
    chief, clerk = As(dashboard, "chief"), As(dashboard, "clerk")
    page = await chief.get("/bulk/terminate?workflow=wait")
    hidden = dict(HIDDEN.findall(page.body.decode()))
    begun = await chief.post("/bulk/terminate?workflow=wait", {**hidden, "expected": "1", "reason": ""})
    assert 303 == begun.status
    job = begun.headers["location"].partition("id=")[2]
    await awaits_an_event(app, job)
    clerk.cookies |= chief.cookies
    token = hidden["csrf"]

    confirmed = await clerk.post(f"/confirm?id={job}", {"csrf": token, "number": "2"})
    signalled = await clerk.post(f"/act/signal/{job}", {"csrf": token, "event": CONFIRMED, "data": "2"})
    shown = (await clerk.get(f"/job?id={job}")).body.decode()

    assert [403, 403] == [confirmed.status, signalled.status]
    assert "You may not terminate" in clerk.text(confirmed)
    assert ("/confirm?" in shown, f"/act/cancel/{job}" in shown) == (False, True)
    assert 303 == (await chief.post(f"/confirm?id={job}", {"csrf": token, "number": "2"})).status
    await app.handle(job).result()


async def test_a_name_that_is_no_action_is_a_fault_of_the_hook(app: Romancy, caplog: pytest.LogCaptureFixture) -> None:
    browser = Browser(asgi(app, auth=lambda _: Visitor("ann", actions={"look"})))  # type: ignore[arg-type]

    page = await browser.get("/")

    assert (500, False) == (page.status, "look" in browser.text(page))
    assert "a set of answer, cancel, failures, fork, limits, pause, purge, resume, retry, rewind" in caplog.text
