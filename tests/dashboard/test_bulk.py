"""Actions on all that a search finds, as a job: on every database, and attempts to act on unconfirmed instances."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from romancy import Romancy, TerminalError, WorkflowContext, activity, workflow
from romancy.dashboard import asgi
from romancy.dashboard._search import Search
from romancy.dashboard.bulk._job import CONFIRMED
from romancy.errors import WorkflowCancelledError, WorkflowFailedError
from romancy.status import Status
from tests.dashboard.browsing import Browser
from tests.dashboard.jobs import HIDDEN, begun, form_of, job_of, statuses
from tests.event_waits import awaits_an_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.dashboard import Dashboard

pytestmark = pytest.mark.anyio

LOG = "romancy.dashboard.audit"
tries = {"left": 0}


@activity
async def charge() -> str:
    tries["left"] -= 1
    if tries["left"] >= 0:
        raise TerminalError("declined")
    return "charged"


@workflow
async def place_order(ctx: WorkflowContext, city: str) -> str:
    return await charge()


@workflow
async def wait(ctx: WorkflowContext, city: str, pieces: int = 1) -> Any:
    return (await ctx.wait_event("paid")).data


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[place_order, wait]) as app:
        yield app


@pytest.fixture
async def dashboard(app: Romancy) -> AsyncGenerator[Dashboard]:
    dashboard = asgi(app, auth=lambda _request: "ann")
    yield dashboard
    await dashboard.close()


async def waiting(app: Romancy, *ids: str, city: str = "Paris") -> None:
    for one in ids:
        await app.start(wait.options(instance_id=one), city)


async def failed(app: Romancy, *ids: str) -> None:
    tries["left"] = len(ids)
    for one in ids:
        with pytest.raises(WorkflowFailedError):
            await app.run(place_order.options(instance_id=one), "Paris")


async def test_all_that_a_search_finds_are_cancelled(app: Romancy, dashboard: Dashboard) -> None:
    browser = Browser(dashboard)
    await waiting(app, "w-1", "w-2", "w-3")
    await waiting(app, "x-1", city="Rome")
    page = "/bulk/cancel?where=city%3DParis"
    assert "Cancel 3 instances?" in browser.text(await browser.get(page))
    assert "/bulk/cancel?where=city%3DParis" in (await browser.get("/instances?where=city%3DParis")).body.decode()

    job = await begun(browser, page, {"reason": "closed"})
    assert {"phase": "done", "total": 3, "done": 3, "skipped": 0, "failed": 0, "notes": []} == await app.handle(
        job
    ).result()

    for one in ("w-1", "w-2", "w-3"):
        with pytest.raises(WorkflowCancelledError):
            await app.handle(one).result()
    assert [Status.CANCELLED] * 3 == await statuses(app, "w-1", "w-2", "w-3")
    assert (await statuses(app, "x-1"))[0] in (Status.PENDING, Status.RUNNING, Status.WAITING)
    shown = browser.text(await browser.get(f"/job?id={job}"))
    assert "Cancel 3 instances" in shown
    assert "Cancel requested 3" in shown
    assert "ann" in shown
    assert "Cancel" in browser.text(await browser.get("/jobs"))


async def test_all_that_a_search_finds_are_retried_and_purged(app: Romancy, dashboard: Dashboard) -> None:
    browser = Browser(dashboard)
    await failed(app, "o-1", "o-2")

    job = await begun(browser, "/bulk/retry?workflow=place_order&status=failed&status=waiting")
    assert 2 == (await app.handle(job).result())["done"]
    assert ["charged", "charged"] == [await app.handle(one).result() for one in ("o-1", "o-2")]

    purging = await begun(browser, "/bulk/purge?status=completed&within=1h")
    assert 2 == (await app.handle(purging).result())["done"]  # the job before has ended, and is none of them
    assert [None, None, Status.COMPLETED] == await statuses(app, "o-1", "o-2", job)


async def test_what_comes_to_match_after_the_confirmation_is_left_alone(
    app: Romancy, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romancy.dashboard.bulk._matching._EACH", 1)
    browser = Browser(dashboard)
    await waiting(app, "w-1", "w-2")
    page = "/bulk/terminate?id=w-"
    form = await form_of(browser, page)
    await waiting(app, "w-3")  # after the number was looked at

    job = job_of(await browser.post(page, form))

    assert 2 == (await app.handle(job).result())["total"]
    assert (await statuses(app, "w-3"))[0] in (Status.PENDING, Status.RUNNING, Status.WAITING)


@pytest.mark.parametrize("forged", ["1", "999999999999999999", "", "-5", "NaN"])
@pytest.mark.dealt("sqlite", "postgres")
async def test_another_number_is_asked_for_again(app: Romancy, dashboard: Dashboard, forged: str) -> None:
    browser = Browser(dashboard)
    await waiting(app, "w-1", "w-2")
    job = await begun(browser, "/bulk/cancel?workflow=wait", {"expected": forged})
    await awaits_an_event(app, job)

    shown = await browser.get(f"/job?id={job}")
    assert "2 instances match now" in browser.text(shown)
    assert Status.CANCELLED not in await statuses(app, "w-1", "w-2")
    token = await browser.token(f"/job?id={job}")
    confirm = f"/confirm?id={job}"
    for number in ("1", "3", "", "two", "02"):
        assert 409 == (await browser.post(confirm, {"csrf": token, "number": number})).status
    assert 403 == (await browser.post(confirm, {"number": "2"})).status
    await app.signal(job, CONFIRMED, 3)
    assert 303 == (await browser.post(confirm, {"csrf": token, "number": "2"})).status

    assert 2 == (await app.handle(job).result())["done"]
    assert 409 == (await browser.post(confirm, {"csrf": token, "number": "2"})).status


@pytest.mark.dealt("sqlite", "mysql")
async def test_a_form_that_is_sent_twice_begins_one_job(app: Romancy, dashboard: Dashboard) -> None:
    browser, other = Browser(dashboard), Browser(dashboard)
    await waiting(app, "w-1")
    page = "/bulk/signal?workflow=wait"
    form = await form_of(browser, page) | {"event": "paid", "data": "5"}

    first, second = await browser.post(page, form), await browser.post(page, form)
    assert job_of(first) == job_of(second)
    assert 5 == await app.handle("w-1").result()
    assert 409 == (await browser.post(page, form | {"data": "6"})).status
    assert 409 == (await browser.post("/bulk/terminate?workflow=wait", form)).status
    assert 403 == (await other.post(page, form)).status
    assert 409 == (await browser.post(page, {**form, "once": ""})).status
    assert 1 == len((await app.list_instances(workflow_name="romancy.dashboard")).instances)


@pytest.mark.dealt("sqlite", "postgres")
async def test_an_open_job_keeps_no_release_from_being_checked(app: Romancy, dashboard: Dashboard) -> None:
    """No app of a user has its workflow."""
    browser = Browser(dashboard)
    await waiting(app, "w-1")
    await awaits_an_event(app, await begun(browser, "/bulk/cancel?workflow=wait", {"expected": "7"}))

    check = await app.check()

    assert (1, True) == (check.checked, check.fits)


@pytest.mark.dealt("sqlite", "mariadb")
async def test_a_job_never_touches_jobs(app: Romancy, dashboard: Dashboard) -> None:
    browser = Browser(dashboard)
    await waiting(app, "w-1")
    asking = await begun(browser, "/bulk/cancel?workflow=wait", {"expected": "7"})
    await awaits_an_event(app, asking)

    assert "Nothing to terminate" in browser.text(await browser.get("/bulk/terminate?workflow=romancy.dashboard"))
    job = await begun(browser, "/bulk/terminate?status=waiting&status=running&status=pending")

    assert 1 == (await app.handle(job).result())["total"]
    assert [Status.WAITING] == await statuses(app, asking)
    assert 303 == (await browser.submit(f"/act/cancel/{asking}", {"reason": ""})).status  # how a job is stopped
    with pytest.raises(WorkflowCancelledError):
        await app.handle(asking).result()
    assert "stopped" in browser.text(await browser.get(f"/job?id={asking}"))


@pytest.mark.dealt("sqlite")
async def test_a_job_goes_on_in_the_next_dashboard(app: Romancy, dashboard: Dashboard) -> None:
    browser = Browser(dashboard)
    await waiting(app, "w-1")
    job = await begun(browser, "/bulk/cancel?workflow=wait", {"expected": "7"})
    await awaits_an_event(app, job)
    await dashboard.close()

    other = asgi(app, auth="local")
    next_browser = Browser(other)
    form = dict(HIDDEN.findall((await next_browser.get(f"/job?id={job}")).body.decode()))
    assert 303 == (await next_browser.post(f"/confirm?id={job}", form)).status
    assert 1 == (await app.handle(job).result())["done"]
    await other.close()


@pytest.mark.dealt("sqlite")
async def test_two_dashboards_do_a_job_once(app: Romancy, dashboard: Dashboard) -> None:
    browser, other = Browser(dashboard), asgi(app, auth="local")
    next_browser = Browser(other)
    await waiting(app, "w-1", "w-2")
    job = await begun(browser, "/bulk/cancel?workflow=wait", {"expected": "7"})
    await awaits_an_event(app, job)
    form = dict(HIDDEN.findall((await next_browser.get(f"/job?id={job}")).body.decode()))  # two workers from here on

    assert 303 == (await next_browser.post(f"/confirm?id={job}", form)).status

    assert 2 == (await app.handle(job).result())["done"]
    with pytest.raises(WorkflowCancelledError):
        await app.handle("w-1").result()
    asked = [event for event in await app.history("w-1") if type(event).__name__ == "CancelRequested"]
    assert 1 == len(asked)
    await other.close()


@pytest.mark.dealt("sqlite")
async def test_each_instance_has_a_line_in_the_log(
    app: Romancy, dashboard: Dashboard, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOG)
    browser = Browser(dashboard)
    await waiting(app, "w-1")

    job = await begun(browser, "/bulk/signal?workflow=wait&where=city%3DParis", {"event": "paid", "data": '"secret"'})
    await app.handle(job).result()

    lines = [record.getMessage() for record in caplog.records if record.name == LOG]
    searched = "workflow=wait&where=city%3D%E2%80%A6"  # the path, without the value of the input
    assert [f"'ann': signal in bulk '{searched}': begun as {job}", f"'ann': signal 'w-1' by {job}: done"] == lines


@pytest.mark.parametrize(
    ("condition", "logged"),
    [
        ("card=4111", "card=…"), ("card>=4111", "card>=…"), ("note*=4111", "note*=…"), ("4111", "…"),
        ("a=4111=b", "a=…"), ("=4111", "…"), ("a.b = 4111", "a.b =…"), ("a==4111", "a==…"), ("card 4111 ", "…"),
    ],
)  # fmt: skip
def test_no_value_of_an_input_is_logged(condition: str, logged: str) -> None:
    search = Search.of([("where", condition), ("workflow", "wait")])

    assert {"workflow": ["wait"], "where": [logged]} == parse_qs(search.without_values())


@pytest.mark.parametrize(("header", "logged"), [("tenant=acme", "tenant=…"), ("a=1=2", "a=…"), ("acme", "…")])
def test_no_value_of_a_header_is_logged(header: str, logged: str) -> None:
    assert {"header": [logged]} == parse_qs(Search.of([("header", header)]).without_values())


@pytest.mark.dealt("sqlite")
async def test_a_job_is_for_the_instances_with_a_header(app: Romancy, dashboard: Dashboard) -> None:
    browser = Browser(dashboard)
    for number in range(3):
        await app.start(wait.options(instance_id=f"w-{number}", headers={"tenant": f"t{number % 2}"}), "Paris")

    asked = browser.text(await browser.get("/bulk/cancel?header=tenant%3Dt0"))
    job = await begun(browser, "/bulk/cancel?header=tenant%3Dt0", {"reason": ""})
    await app.handle(job).result()

    assert ("Header tenant=t0" in asked, "2 instances" in asked) == (True, True), asked
    for one in ("w-0", "w-2"):
        with pytest.raises(WorkflowCancelledError):
            await app.handle(one).result()
    assert (await statuses(app, "w-1"))[0] in (Status.PENDING, Status.RUNNING, Status.WAITING)


@pytest.mark.dealt("sqlite")
async def test_what_no_job_is_for_is_refused(app: Romancy, dashboard: Dashboard, storage_url: str) -> None:
    browser, closed = Browser(dashboard), Browser(asgi(app, auth="local", read_only=True))
    await waiting(app, "w-1")

    assert 400 == (await browser.get("/bulk/cancel")).status
    assert 400 == (await browser.get("/bulk/cancel?status=completed")).status
    assert 400 == (await browser.get("/bulk/cancel?status=lost")).status
    assert 404 == (await browser.get("/bulk/drop?workflow=wait")).status
    assert 404 == (await browser.get("/job?id=w-1")).status
    assert 409 == (await browser.submit("/bulk/signal?workflow=wait", {"event": "", "once": "x", "asked": "1"})).status
    token = await browser.token("/bulk/cancel?workflow=wait")
    closed.cookies |= browser.cookies
    assert 403 == (await closed.get("/bulk/cancel?workflow=wait")).status
    assert 403 == (await closed.post("/bulk/cancel?workflow=wait", {"csrf": token})).status
    assert 403 == (await closed.post("/confirm?id=x", {"csrf": token})).status
    assert "/bulk/" not in (await closed.get("/instances?workflow=wait")).body.decode()
    assert 200 == (await closed.get("/jobs")).status
    forged = {"csrf": token, "once": "y" * 20, "asked": "9" * 18, "expected": "1"}
    for headers in ({"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}):
        assert 403 == (await browser.post("/bulk/cancel?workflow=wait", forged, **headers)).status
    assert [] == (await app.list_instances(workflow_name="romancy.dashboard")).instances


async def test_an_app_in_private_memory_is_told_to_take_a_name() -> None:
    async with Romancy("memory://", workflows=[wait]) as app:
        await waiting(app, "w-1")
        browser = Browser(asgi(app, auth="local"))
        page = "/bulk/cancel?workflow=wait"

        refused = await browser.post(page, await form_of(browser, page))

        assert 409 == refused.status
        assert "memory://shop" in browser.text(refused)
