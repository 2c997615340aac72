"""Actions on one instance, on every database, and attempts to have them done by others."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import pytest

from romancy import EventType, Limit, Romancy, TerminalError, WorkflowContext, activity, workflow
from romancy.dashboard import asgi
from romancy.errors import WorkflowCancelledError, WorkflowFailedError
from romancy.status import Status
from tests.dashboard.browsing import Browser
from tests.event_waits import awaits_an_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

LOG = "romancy.dashboard.audit"
UNTOUCHED = (Status.PENDING, Status.RUNNING, Status.WAITING)
tries = {"left": 0}


@activity
async def charge() -> str:
    tries["left"] -= 1
    if tries["left"] >= 0:
        raise TerminalError("declined")
    return "charged"


@workflow
async def place_order(ctx: WorkflowContext) -> str:
    return await charge()


@workflow
async def wait(ctx: WorkflowContext) -> Any:
    return (await ctx.wait_event("paid", key="k-1")).data


@workflow
async def pack(
    ctx: WorkflowContext,
    item: str,
    count: int,
    *,
    fast: bool,
    box: Literal["small", "large"] = "small",
    labels: list[str] | None = None,
    note: str | None = None,
) -> dict[str, Any]:
    return {"item": item, "count": count, "fast": fast, "box": box, "labels": labels, "note": note}


@dataclass
class Payment:
    order: str
    cents: int
    note: str | None = None


PAID = EventType("payment.settled", Payment, key="order")
COUNTED = EventType("counted", int)


@workflow
async def settle(ctx: WorkflowContext, due: Payment) -> Payment:
    await ctx.wait_event(COUNTED)
    return (await ctx.wait_event(PAID, key=due.order)).data


@workflow(limits=[Limit("alone", concurrency=1, full="skip")])
async def alone(ctx: WorkflowContext) -> None:
    await ctx.wait_event("leave")


@workflow
async def greet(ctx: WorkflowContext, name: str) -> str:
    return f"Hello {name}"


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[place_order, wait, pack, greet, settle, alone]) as app:
        yield app


@pytest.fixture
async def waiting(app: Romancy) -> str:
    await app.start(wait.options(instance_id="w/1 &?#"))
    return "/act/{}/w%2F1%20%26%3F%23"


async def status(app: Romancy, instance_id: str = "w/1 &?#") -> Status | None:
    found = await app.get_instance(instance_id)
    return None if found is None else found.status


async def test_a_signal_is_sent_with_the_fields_of_its_form(app: Romancy, waiting: str) -> None:
    browser = Browser(asgi(app, auth="local"))

    done = await browser.submit(waiting.format("signal"), {"event": "paid", "data": '{"cents": 5}', "key": "k-1"})

    assert (303, "/instances/w%2F1%20%26%3F%23?done=signal") == (done.status, done.headers["location"])
    assert {"cents": 5} == await app.handle("w/1 &?#").result()
    assert "The event was sent." in browser.text(await browser.get(done.headers["location"]))


async def test_cancel_and_purge(app: Romancy, waiting: str) -> None:
    browser = Browser(asgi(app, auth="local"))

    assert 409 == (await browser.get(waiting.format("purge"))).status
    assert 303 == (await browser.submit(waiting.format("cancel"), {"reason": "asked for"})).status
    with pytest.raises(WorkflowCancelledError):
        await app.handle("w/1 &?#").result()
    assert 409 == (await browser.get(waiting.format("cancel"))).status
    purged = await browser.submit(waiting.format("purge"), {})
    assert (303, "/instances?done=purge") == (purged.status, purged.headers["location"])
    assert await status(app) is None
    assert 404 == (await browser.get(waiting.format("cancel"))).status


async def test_terminate_and_retry(app: Romancy, waiting: str) -> None:
    browser = Browser(asgi(app, auth="local"))
    tries["left"] = 1
    failed = await app.start(place_order.options(instance_id="o-1"))
    with pytest.raises(WorkflowFailedError):
        await failed.result()

    assert 303 == (await browser.submit(waiting.format("terminate"), {"reason": ""})).status
    assert 303 == (await browser.submit("/act/retry/o-1", {"unsure": ""})).status

    assert "charged" == await failed.result()
    assert await status(app) in (Status.FAILED, Status.CANCELLED)
    assert 409 == (await browser.get("/act/resume/o-1")).status


async def test_each_action_leaves_a_line_without_payloads(
    app: Romancy, waiting: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOG)
    browser = Browser(asgi(app, auth=lambda _request: "ann\nroot: forged"))

    await browser.submit(waiting.format("signal"), {"event": "paid", "data": '"secret"', "key": "k-1"})
    await app.handle("w/1 &?#").result()

    lines = [record.getMessage() for record in caplog.records if record.name == LOG]
    assert [r"'ann\nroot: forged': signal 'w/1 &?#': done"] == lines


async def test_what_a_form_holds_beyond_its_fields_is_ignored(app: Romancy, waiting: str) -> None:
    browser = Browser(asgi(app, auth="local"))

    await browser.submit(
        waiting.format("signal"),
        {"event": "other", "instance_id": "o-1", "verb": "terminate", "session": "1", "status": "failed"},
    )

    assert await status(app) in UNTOUCHED


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"event": "", "data": ""}, "Name the event."),
        ({"event": "paid", "data": "{"}, "no JSON"),
        ({"event": "paid", "data": "[" * 100_000}, "no JSON"),
        ({"event": ["paid", "other"]}, "given twice"),
        ({"event": "a\0b"}, "NUL"),
        ({"event": "x" * 2000}, "bytes"),
    ],
)
async def test_a_signal_that_cannot_be_sent_is_asked_for_again(
    app: Romancy, waiting: str, fields: dict[str, str | list[str]], words: str
) -> None:
    browser = Browser(asgi(app, auth="local"))

    refused = await browser.submit(waiting.format("signal"), fields)

    assert 409 == refused.status
    assert words in browser.text(refused)
    assert await status(app) in UNTOUCHED


@pytest.mark.dealt("sqlite")
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:9000"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://localhost:8000.evil.example"},
        {"origin": "http://localhost:8000@evil.example"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json"},
    ],
    ids=str,
)
async def test_no_other_page_acts(app: Romancy, waiting: str, headers: dict[str, str]) -> None:
    browser = Browser(asgi(app, auth="local"))
    token = await browser.token(waiting.format("terminate"))

    refused = await browser.post(waiting.format("terminate"), {"csrf": token}, **headers)

    assert refused.status in (403, 415)
    assert await status(app) in UNTOUCHED


@pytest.mark.dealt("sqlite")
async def test_a_form_is_good_for_its_browser_alone(app: Romancy, waiting: str) -> None:
    dashboard = asgi(app, auth="local")
    mine, theirs = Browser(dashboard), Browser(dashboard)
    token = await theirs.token(waiting.format("terminate"))
    await mine.get("/")
    cookie = next(iter(mine.cookies.values()))

    for given in ({}, {"csrf": ""}, {"csrf": token}, {"csrf": cookie}, {"csrf": ["", token]}):
        assert 403 == (await mine.post(waiting.format("terminate"), given)).status
    assert 403 == (await Browser(dashboard).post(waiting.format("terminate"), {"csrf": token})).status
    assert 403 == (await mine.post(f"{waiting.format('terminate')}?csrf={token}", {})).status
    assert await status(app) in UNTOUCHED


@pytest.mark.dealt("sqlite")
async def test_a_form_is_bounded(app: Romancy, waiting: str) -> None:
    browser = Browser(asgi(app, auth="local"))
    token = await browser.token(waiting.format("signal"))

    large = await browser.post(waiting.format("signal"), {"csrf": token, "event": "e", "data": "x" * 2_000_000})
    many = await browser.post(waiting.format("signal"), {"csrf": token} | {f"f{n}": "1" for n in range(300)})

    assert (413, 400) == (large.status, many.status)


@pytest.mark.dealt("sqlite")
async def test_a_read_does_nothing(app: Romancy, waiting: str) -> None:
    browser = Browser(asgi(app, auth="local"))

    assert 200 == (await browser.get(f"{waiting.format('terminate')}?reason=x")).status
    assert 404 == (await browser.get("/act/drop/x")).status
    assert await status(app) in UNTOUCHED


@pytest.mark.dealt("sqlite")
async def test_read_only_hides_and_refuses_everything(app: Romancy, waiting: str) -> None:
    open_, closed = Browser(asgi(app, auth="local")), Browser(asgi(app, auth="local", read_only=True))
    token = await open_.token(waiting.format("terminate"))
    closed.cookies |= open_.cookies

    page = await closed.get("/instances/w%2F1%20%26%3F%23")
    assert "/act/" not in page.body.decode()
    assert "/act/" in (await open_.get("/instances/w%2F1%20%26%3F%23")).body.decode()
    assert "/start" not in page.body.decode()
    for verb in ("signal", "cancel", "terminate", "retry", "resume", "pause", "unpause", "purge"):
        assert 403 == (await closed.get(waiting.format(verb))).status
        assert 403 == (await closed.post(waiting.format(verb), {"csrf": token, "event": "paid"})).status
    assert "/go-back" not in page.body.decode()
    for target in ("/go-back/w%2F1%20%26%3F%23?before=paid%3A1", "/go-back?id=x&at=1&as=rewind"):
        assert [403, 403] == [(await closed.get(target)).status, (await closed.post(target, {"csrf": token})).status]
    assert 403 == (await closed.get("/start")).status
    assert 403 == (await closed.post("/start?workflow=greet", {"csrf": token, "in-name": "Ann"})).status
    assert await status(app) in UNTOUCHED


async def test_a_workflow_is_started_with_a_form_of_its_types(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    assert "pack" in browser.text(await browser.get("/start"))

    fields = {"in-item": "lamp", "in-count": "2", "in-fast": "true", "in-labels": '["a"]', "romancy-id": "p-1"}
    started = await browser.submit("/start?workflow=pack", fields)

    assert (303, "/instances/p-1") == (started.status, started.headers["location"])
    assert {
        "item": "lamp", "count": 2, "fast": True, "box": "small", "labels": ["a"], "note": None,
    } == await app.handle("p-1").result()  # fmt: skip
    again = await browser.submit("/start?workflow=pack", fields)
    assert 409 == again.status
    assert 'value="lamp"' in again.body.decode()  # what was typed is not lost


async def test_a_start_that_a_full_limit_skips_is_told_with_the_reason(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    assert 303 == (await browser.submit("/start?workflow=alone", {"romancy-id": "a-1"})).status
    await awaits_an_event(app, "a-1")

    skipped = await browser.submit("/start?workflow=alone", {"romancy-id": "a-2"})

    assert 409 == skipped.status
    said = "instance a-2 was skipped: no place was free at limit 'alone', held by a-1"
    assert said in browser.text(skipped)
    assert "skipped: no place was free at limit 'alone'" in browser.text(await browser.get("/instances/a-2"))
    later = {"romancy-id": "a-3", "romancy-at": "2099-01-01T12:00"}
    assert 303 == (await browser.submit("/start?workflow=alone", later)).status


async def test_a_start_may_have_a_time_and_a_priority(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    fields = {"in-name": '"Ann"', "romancy-id": "g-2", "romancy-at": "2099-01-01T12:00", "romancy-priority": "-3"}

    assert 303 == (await browser.submit("/start?workflow=greet", fields)).status

    instance = await app.get_instance("g-2")
    assert instance is not None
    assert (Status.PENDING, -3) == (instance.status, instance.priority)
    assert datetime(2099, 1, 1, 12, tzinfo=UTC) == instance.wakes_at


async def test_a_signal_has_a_form_of_its_event_type(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    fields = {"in-order": "o-1", "in-cents": "500", "romancy-id": "s-1"}  # of the only parameter, a dataclass
    assert 303 == (await browser.submit("/start?workflow=settle", fields)).status
    handle = app.handle("s-1", settle)
    await awaits_an_event(app, "s-1")

    page = await browser.get("/act/signal/s-1")  # of the event that it waits for
    assert 'name="in-data"' in page.body.decode()
    assert 'name="event" value="counted"' in page.body.decode()
    paid = await browser.get("/act/signal/s-1?event=payment.settled")
    assert 'name="in-cents"' in paid.body.decode()
    assert 'name="data"' in (await browser.get("/act/signal/s-1?plain=1")).body.decode()

    typed = {"typed": "1", "event": "payment.settled", "in-order": "o-1"}
    for fault in ({}, {"in-cents": "many"}, {"in-cents": '"5"'}, {"in-cents": "5", "event": "nowhere"}):
        assert 409 == (await browser.submit("/act/signal/s-1", {**typed, **fault})).status
    kept = await browser.submit("/act/signal/s-1", {**typed, "in-cents": "many"})
    assert 'value="many"' in kept.body.decode()
    counted = {"typed": "1", "event": "counted", "in-data": "3"}
    assert 303 == (await browser.submit("/act/signal/s-1", counted)).status
    assert 303 == (await browser.submit("/act/signal/s-1", {**typed, "in-cents": "5", "data": '"forged"'})).status

    assert Payment("o-1", 5) == await handle.result()  # the key was taken from the data


async def test_a_workflow_of_one_parameter_is_started(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))

    await browser.submit("/start?workflow=greet", {"in-name": '5"</script>', "romancy-id": "g-1"})

    assert 'Hello 5"</script>' == await app.handle("g-1").result()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"in-item": "lamp", "in-fast": "true"}, "count is missing"),
        ({"in-item": "lamp", "in-count": "two", "in-fast": "true"}, "count is no JSON"),
        ({"in-item": "lamp", "in-count": '"2"', "in-fast": "true"}, "count"),
        ({"in-item": "lamp", "in-count": "2", "in-fast": "maybe"}, "none of its choices"),
        ({"in-item": "lamp", "in-count": "2", "in-fast": "true", "in-box": '"huge"'}, "none of its choices"),
        ({"in-item": "lamp", "in-count": "2", "in-fast": "true", "romancy-id": "x" * 300}, "at most"),
        ({"in-item": "lamp", "in-count": "2", "in-fast": "true", "romancy-at": "tomorrow"}, "write a time in UTC"),
        ({"in-item": "lamp", "in-count": "2", "in-fast": "true", "romancy-priority": "high"}, "a whole number from -9"),
        ({"in-item": "lamp", "in-count": "2", "in-fast": "true", "romancy-priority": "10"}, "priority"),
    ],
)
async def test_an_input_that_does_not_fit_starts_nothing(app: Romancy, fields: dict[str, str], words: str) -> None:
    browser = Browser(asgi(app, auth="local"))

    refused = await browser.submit("/start?workflow=pack", fields)

    assert 409 == refused.status
    assert words in browser.text(refused)
    assert [] == (await app.list_instances()).instances


@pytest.mark.dealt("sqlite")
async def test_without_an_app_nothing_is_started(storage_url: str, app: Romancy) -> None:
    await app.start(wait.options(instance_id="w-1"))
    dashboard = asgi(storage_url, auth="local")
    browser = Browser(dashboard)

    assert 404 == (await browser.get("/start?workflow=greet")).status
    assert 303 == (await browser.submit("/act/cancel/w-1", {"reason": ""})).status
    with pytest.raises(WorkflowCancelledError):
        await app.handle("w-1").result()
    await dashboard.close()
