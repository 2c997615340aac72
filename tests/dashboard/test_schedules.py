"""The pages of schedules, on every database: what they show, what they do, and for whom."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Codecs, Romancy, TerminalError, WorkflowContext, workflow
from romancy.dashboard import Visitor, asgi
from romancy.dashboard.schedules import _shown
from romancy_conformance.behaviour.coded import Masking
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.requests import Request

    from romancy.schedules.handle import ScheduleHandle

pytestmark = pytest.mark.anyio

LOG = "romancy.dashboard.audit"
MARKUP = "<script>alert(1)</script>\u202e"
LIMIT = 30


@workflow
async def close_books(ctx: WorkflowContext, ledger: str) -> str:
    if ledger == "bad":
        raise TerminalError("no such ledger")
    return ledger


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[close_books]) as app:
        yield app


async def told(app: Romancy, handle: ScheduleHandle, holds: Callable[[Any], object]) -> None:
    """Wait until the progress of the schedule is such."""
    await app.report(handle.instance_id, wait=lambda report: holds(report["progress"]), timeout=LIMIT)


async def nightly(app: Romancy, schedule_id: str = "nightly", ledger: str = "main") -> ScheduleHandle:
    handle = await app.schedule(schedule_id, close_books.bind(ledger), cron="30 2 * * *")
    await told(app, handle, lambda progress: progress.get("next"))
    return handle


async def test_the_list_has_what_each_schedule_does(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    assert "There is no schedule." in browser.text(await browser.get("/schedules"))
    bad = await nightly(app, "b/1 &?#", "bad")
    await bad.trigger()
    await told(app, bad, lambda progress: progress.get("failed"))
    paused = await nightly(app, MARKUP)
    await paused.pause("the books are locked")
    await told(app, paused, lambda progress: progress.get("paused"))

    page = await browser.get("/schedules")
    text = browser.text(page)

    assert "<script>alert" not in page.body.decode()
    assert text.index("\\u202e") < text.index("b/1 &?#")
    assert "paused close_books cron '30 2 * * *' in UTC next – 0 runs 0 skipped 0 failed none yet" in text
    assert "b/1 &?# active close_books cron '30 2 * * *' in UTC next " in text
    assert "1 runs 0 skipped 1 failed" in text
    assert ": failed" in text
    assert 'href="/schedules/b%2F1%20%26%3F%23"' in page.body.decode()


async def test_the_page_of_a_schedule(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    handle = await nightly(app, "..")
    await handle.trigger()
    await told(app, handle, lambda progress: [one["outcome"] for one in progress.get("runs", [])] == ["completed"])
    (run,) = [one.instance_id async for one in app.iter_instances(parent=handle.instance_id)]

    page = await browser.get("/schedule?id=..")
    text = browser.text(page)

    assert "active" in text
    first = min(await handle.next(5))
    assert [2, 30] == [first.hour, first.minute]
    for day in range(5):
        assert f"{first + timedelta(days=day):%Y-%m-%d} 02:30:00" in text
    assert "completed" in text
    assert run in text
    for words in ("ticks are skipped", "the last tick starts", "it goes on", "1, 0 failed"):
        assert words in text
    body = page.body.decode()
    assert [True, False, True, True] == [f">{one}</a>" in body for one in ("Pause", "Resume", "Trigger", "Delete")]
    part = (await browser.get("/schedule?id=..", hx_request="true")).body.decode()
    assert ("<html" in part, 'id="schedule"' in part) == (False, True)
    assert 404 == (await browser.get("/schedules/none")).status
    await app.start(close_books.options(instance_id="schedule:other"), "main")
    assert 404 == (await browser.get("/schedules/other")).status


async def test_a_schedule_is_paused_triggered_resumed_and_deleted(
    app: Romancy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOG)
    browser = Browser(asgi(app, auth="local"))
    handle = await nightly(app)
    token = await browser.token("/schedule/pause/nightly")

    async def act(verb: str, **fields: str) -> str:
        done = await browser.submit(f"/schedule/{verb}/nightly", fields)
        assert 303 == done.status, browser.text(done)
        return done.headers["location"]

    assert "/schedules/nightly?done=schedule-pause" == await act("pause", note="locked")
    await told(app, handle, lambda progress: progress.get("paused") == "locked")
    again = await browser.post("/schedule/pause/nightly", {"csrf": token, "note": ""})
    assert (409, True) == (again.status, "The schedule is paused already." in browser.text(again))
    assert "locked" in browser.text(await browser.get("/schedules/nightly"))
    await act("trigger", overlap="allow")
    await told(app, handle, lambda progress: progress.get("started") == 1)
    wrong = await browser.submit("/schedule/trigger/nightly", {"overlap": "never"})
    assert (409, True) == (wrong.status, "overlap= is 'skip'" in browser.text(wrong))
    await act("resume")
    await told(app, handle, lambda progress: "paused" not in progress)
    await act("backfill", **{"from": "2026-03-01T00:00", "to": "2026-03-02T23:00:00"})
    await told(app, handle, lambda progress: progress.get("started") == 3)
    faults = (("", "both times are needed"), ("soon", "write a time in UTC"), ("2026-03-03", "after its end"))
    for field, words in faults:
        refused = await browser.submit("/schedule/backfill/nightly", {"from": field, "to": "2026-03-02T00:00"})
        assert (409, True) == (refused.status, words in browser.text(refused))
        assert 'value="2026-03-02T00:00"' in refused.body.decode(), "what was typed is kept"
    assert "The schedule is not paused." in browser.text(await browser.get("/schedule/resume/nightly"))
    assert "/schedules?done=schedule-delete" == await act("delete")
    await told(app, handle, lambda progress: progress.get("deleted"))
    assert 404 == (await browser.get("/schedule/pause/nightly")).status
    assert 404 == (await browser.get("/schedule/burn/nightly")).status
    assert "There is no schedule." in browser.text(await browser.get("/schedules?done=schedule-delete"))
    lines = [each.partition(": ")[2] for each in caplog.messages]
    assert [
        "pause schedule 'nightly': done", "trigger schedule 'nightly': done",
        "trigger schedule 'nightly': refused (UsageError)", "resume schedule 'nightly': done",
        "backfill schedule 'nightly': done", "backfill schedule 'nightly': refused (RefusedError)",
        "backfill schedule 'nightly': refused (QueryError)", "backfill schedule 'nightly': refused (UsageError)",
        "delete schedule 'nightly': done",
    ] == lines  # fmt: skip


async def test_each_action_needs_a_form_of_this_browser(app: Romancy) -> None:
    handle = await nightly(app)
    browser, stranger = [Browser(asgi(app, auth="local")) for _ in range(2)]
    token = await browser.token("/schedule/delete/nightly")

    for verb in ("pause", "trigger", "delete"):
        target = f"/schedule/{verb}/nightly"
        assert 403 == (await stranger.post(target, {"csrf": token})).status
        assert 403 == (await browser.post(target, {})).status
        assert 403 == (await browser.post(target, {"csrf": token}, origin="https://evil.example")).status
    found = await handle.get()
    assert found is not None
    assert (found.paused, found.started) == (None, 0)


async def test_what_a_visitor_may_not_do_is_neither_offered_nor_done(
    app: Romancy, caplog: pytest.LogCaptureFixture
) -> None:
    await nightly(app)
    caplog.set_level(logging.INFO, LOG)

    def by_name(request: Request) -> Visitor:
        return Visitor("ann", actions={"schedules"} if request.query_params.get("as") == "ann" else {"signal"})

    browser = Browser(asgi(app, auth=by_name))
    assert "/schedule/pause/nightly" in (await browser.get("/schedules/nightly?as=ann")).body.decode()
    assert "/schedule/pause/nightly" not in (await browser.get("/schedules/nightly")).body.decode()
    token = await browser.token("/schedule/pause/nightly?as=ann")
    asked = await browser.get("/schedule/pause/nightly")
    sent = await browser.post("/schedule/pause/nightly", {"csrf": token})

    assert [403, 403] == [asked.status, sent.status]
    assert "'ann': schedules 'nightly': refused (not allowed)" in caplog.messages
    quiet = Browser(asgi(app, auth="local", read_only=True))
    assert 403 == (await quiet.get("/schedule/pause/nightly")).status
    assert "/schedule/pause/nightly" not in (await quiet.get("/schedules/nightly")).body.decode()


async def test_events_of_schedules_are_for_those_who_may_do_everything(app: Romancy) -> None:
    """An event could tell a schedule what only `schedules` allows."""
    handle = await nightly(app)
    browser = Browser(asgi(app, auth=lambda _: Visitor("ann", actions={"signal"})))
    fields = {"event": "romancy.schedule", "data": '{"type": "delete"}'}

    sent = await browser.submit(f"/act/signal/{handle.instance_id}", fields)

    assert (403, True) == (sent.status, "whose type begins with romancy." in browser.text(sent))
    assert await handle.get() is not None
    assert 303 == (await Browser(asgi(app, auth="local")).submit(f"/act/signal/{handle.instance_id}", fields)).status
    await told(app, handle, lambda progress: progress.get("deleted"))


async def test_sealed_schedules_stay_sealed_for_those_who_may_not_see_payloads(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[close_books], codecs=Codecs(Masking())) as app:
        handle = await nightly(app)
        blind = Browser(asgi(app, auth=lambda _: Visitor("bob", payloads=False)))
        for target in ("/schedules", "/schedules/nightly"):
            text = blind.text(await blind.get(target))
            assert "sealed" in text
            assert "close_books" not in text
        assert "close_books" in blind.text(await Browser(asgi(app, auth="local")).get("/schedules/nightly"))
        assert 303 == (await blind.submit("/schedule/pause/nightly", {"note": "night"})).status
        await told(app, handle, lambda progress: progress.get("paused") == "night")


async def test_a_list_has_pages(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shown, "EACH", 2)
    for number in range(3):
        await nightly(app, f"s-{number}")
    browser = Browser(asgi(app, auth="local"))

    first = (await browser.get("/schedules")).body.decode()
    older = first.partition('rel="next" href="')[2].partition('"')[0]
    second = (await browser.get(older)).body.decode()

    assert [False, True, True] == [f"s-{number}</bdi>" in first for number in range(3)]
    assert [True, False, False] == [f"s-{number}</bdi>" in second for number in range(3)]
    assert 400 == (await browser.get("/schedules?page=x")).status


async def test_the_next_ticks_need_no_extra_where_they_are_shown(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await nightly(app)
    (tick,) = await handle.next()
    monkeypatch.setitem(__import__("sys").modules, "cronsim", None)

    text = Browser.text(await Browser(asgi(app, auth="local")).get("/schedules/nightly"))

    assert f"Next {tick:%Y-%m-%d %H:%M:%S} Last runs" in text
    assert tick > datetime.now(UTC) - timedelta(days=1)
