"""A body reaches another instance by its id: it sends, asks, cancels, looks and waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    RequestFailedError,
    RequestRefusedError,
    RequestType,
    Romancy,
    Status,
    TerminalError,
    UsageError,
    Workflow,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import ActivityScheduled, MessageReceived
from romancy.messages.lying import lies_there
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Put = EventType("other_put", int)
Add = RequestType("other_add", int, int)
Close = RequestType("other_close", None, int)

did: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the record of the test before."""
    did.clear()


@activity
async def other_books(number: int) -> int:
    did.append(f"booked {number}")
    return number


@activity
async def other_luck() -> None:
    if "mended" not in did:
        raise TerminalError("thirteen is bad luck")


@workflow
async def other_account(ctx: WorkflowContext, total: int, *, opens: bool = True) -> int:
    """Adds, fails at thirteen until it is mended, refuses what is negative, and ends when it is closed."""
    closed = False
    if not opens:
        await ctx.wait_event("other_opens")

    async def put(number: int) -> None:
        nonlocal total
        total += number
        await ctx.report({"total": total})

    async def add(number: int) -> int:
        nonlocal total
        if number == 13:
            await other_luck()
        total += number
        await other_books(number)
        return total

    def fits(number: int) -> None:
        if number < 0:
            raise ValueError(f"{number} is negative")

    async def close() -> int:
        nonlocal closed
        closed = True
        return total

    async with ctx.handling(Put.by(put), Add.by(add, validate=fits), Close.by(close)):
        await ctx.until(lambda: closed)
    if total < 0:
        raise ValueError(total)
    return total


@workflow
async def other_tells(ctx: WorkflowContext, of: str) -> list[Any]:
    """Looks, sends and cancels."""
    other = ctx.instance(of)
    told: list[Any] = [await other.report(), await other.status()]
    await other.send(Put, 5)
    await other.send(Put, 7, id="once")
    await other.send("other_put", 7, id="once")
    while (report := await other.report(model=dict[str, int])) != {"total": 12}:
        await ctx.sleep(0.01)
    return [*told, report, await other.cancel("enough")]


@workflow
async def other_asks(ctx: WorkflowContext, of: str) -> list[Any]:
    """Asks what is answered, what fails and what is refused, and waits for the end."""
    other = ctx.instance(of)
    told: list[Any] = [*await asyncio.gather(other.request(Add, 1), other.request(Add, 2))]
    for number in (13, -1):
        try:
            await other.request(Add, number)
        except RequestFailedError as error:
            refused = isinstance(error, RequestRefusedError)
            told.append([repr(error.__cause__), refused, error.request, error.instance_id == of, bool(error.trace)])
    return [*told, await other.request(Close), await other.result(other_account), await other.result(model=float)]


@workflow
async def other_errors(ctx: WorkflowContext, of: str) -> list[list[str]]:
    """The names of the errors of each call."""
    other = ctx.instance(of)
    calls: dict[str, Any] = {
        "send": lambda: other.send(Put, 1),
        "request": lambda: other.request(Add, 1),
        "cancel": other.cancel,
        "status": other.status,
        "report": other.report,
        "result": other.result,
    }
    told: list[list[str]] = []
    if of == ctx.instance_id:
        del calls["cancel"]
    for name, call in calls.items():
        try:
            told.append([name, repr(await call())])
        except (UsageError, WorkflowFailedError, WorkflowCancelledError) as error:
            told.append([name, type(error).__name__, str(error)])
    return told


@workflow
async def other_waits(ctx: WorkflowContext, of: str, number: int, timeout: float | None = None) -> int:
    """Asks, and fails with what it is told."""
    try:
        return await ctx.instance(of).request(Add, number, timeout=timeout)
    finally:
        did.append("asker goes on")


@workflow
async def other_result(ctx: WorkflowContext, of: str) -> int:
    return await ctx.instance(of).result(other_account)


async def test_a_body_looks_sends_and_cancels(app: Romancy) -> None:
    account = await app.start(other_account, 0)
    await status_is(app, account.instance_id, Status.WAITING)
    teller = await app.start(other_tells, account.instance_id)
    told = await teller.result()

    assert told == [None, "waiting", {"total": 12}, True]
    with pytest.raises(WorkflowCancelledError, match="enough"):
        await account.result()
    sent = [event.message for event in await account.history() if isinstance(event, MessageReceived)]
    assert {(one.sender, one.source) for one in sent} == {(teller.instance_id, f"/other_tells/{teller.instance_id}")}


async def test_a_body_asks_and_awaits_the_end(app: Romancy) -> None:
    account = await app.start(other_account, 0)
    told = await (await app.start(other_asks, account.instance_id)).result()

    assert told[1] == 3
    assert told[2:] == [
        ["TerminalError('thirteen is bad luck')", False, "other_add", True, True],
        ["ValueError('-1 is negative')", True, "other_add", True, True],
        3,
        3,
        3.0,
    ]


async def test_what_cannot_be_done_is_told_by_its_name(app: Romancy) -> None:
    calls = ("send", "request", "cancel", "status", "report", "result")
    unknown = await (await app.start(other_errors, "nobody")).result()
    ended = await app.start(other_account, -3)
    await ended.request(Close)
    with pytest.raises(WorkflowFailedError):
        await ended.result()
    of_ended = {name: told for name, *told in await (await app.start(other_errors, ended.instance_id)).result()}

    assert [[name, kind] for name, kind, _ in unknown] == [[name, "InstanceNotFoundError"] for name in calls]
    assert of_ended["send"][0] == of_ended["request"][0] == "InstanceEndedError"
    assert [of_ended[name] for name in calls[2:5]] == [["False"], ["<Status.FAILED: 'failed'>"], ["None"]]
    assert of_ended["result"][0] == "WorkflowFailedError"
    assert "ValueError: -3" in of_ended["result"][1]


async def test_a_wait_for_itself_is_refused(app: Romancy) -> None:
    told = await (await app.start(other_errors.options(instance_id="itself"), "itself")).result()
    refused = {name: rest for name, *rest in told}

    assert refused["request"][0] == refused["result"][0] == "UsageError"
    assert "itself waits for its own answer" in refused["request"][1]
    assert "itself waits for its own end" in refused["result"][1]
    assert refused["status"] == ["<Status.RUNNING: 'running'>"]


async def test_a_wait_leaves_its_slot_to_others(open_app: Open) -> None:
    app = await open_app(max_activities=1)
    account = await app.start(other_account, 0)
    waits = await app.start(other_result, account.instance_id)
    askers = [await app.start(other_waits, account.instance_id, number) for number in range(1, 6)]

    totals = [await asker.result() for asker in askers]
    await account.request(Close)

    assert max(totals) == await waits.result() == 15


async def test_a_retry_asks_anew_what_was_answered_with_an_error(app: Romancy) -> None:
    account = await app.start(other_account, 0)
    asker = await app.start(other_waits, account.instance_id, 13)
    with pytest.raises(WorkflowFailedError, match="thirteen is bad luck") as caught:
        await asker.result()
    did.append("mended")
    await app.retry(asker.instance_id)

    assert await app.handle(asker.instance_id).result() == 13
    assert did.count("booked 13") == 1
    assert caught.value.error_type == "romancy.errors.RequestFailedError"
    assert [(one.type, one.expected) for one in caught.value.chain] == [
        ("romancy.errors.RequestFailedError", False),
        ("romancy.errors.TerminalError", False),
    ]


async def test_a_request_outlives_the_wait_for_it_and_is_found_by_a_retry(app: Romancy, store: Store) -> None:
    account = await app.start(other_account, 0, opens=False)
    late = await app.start(other_waits, account.instance_id, 1, 2.0)
    with pytest.raises(WorkflowFailedError, match=r"did not answer the request 'other_add' within 2 s") as caught:
        await late.result()
    waits = await app.start(other_waits, account.instance_id, 2)
    await until(lambda: lies_there(store, account.instance_id, lambda message: bytes(message.data) == b"2"))
    await waits.cancel()
    with pytest.raises(WorkflowCancelledError):
        await waits.result()
    await account.signal("other_opens")
    await until(lambda: {"booked 1", "booked 2"} <= {*did})
    await app.retry(waits.instance_id)

    assert caught.value.error_type == "romancy.errors.RequestTimeoutError"
    assert await app.handle(waits.instance_id).result() == 3
    assert did.count("booked 2") == 1


async def test_what_is_removed_while_it_is_awaited_is_told(app: Romancy) -> None:
    account = await app.start(other_account, 0, opens=False)
    waits = await app.start(other_result, account.instance_id)
    asker = await app.start(other_errors, account.instance_id)
    await until(lambda: _has_begun(app, asker.instance_id, "romancy.instance.request"))
    await until(lambda: _has_begun(app, waits.instance_id, "romancy.instance.result"))
    await account.cancel()
    with pytest.raises(WorkflowCancelledError):
        await account.result()
    await app.purge(account.instance_id)
    told = {name: rest for name, *rest in await asker.result()}
    with pytest.raises(WorkflowFailedError) as caught:
        await waits.result()

    assert told["request"][0] in ("InstanceEndedError", "InstanceNotFoundError")
    assert caught.value.error_type.partition("errors.")[2] in ("WorkflowCancelledError", "InstanceNotFoundError")


async def _has_begun(app: Romancy, instance_id: str, name: str) -> bool:
    return any(isinstance(event, ActivityScheduled) and event.name == name for event in await app.history(instance_id))


async def test_a_worker_that_drains_or_closes_hands_the_waiting_body_over(
    open_app: Open, storage_url: str, workflows: list[Workflow[..., Any]]
) -> None:
    drained = await open_app()
    account = await drained.start(other_account, 0, opens=False)
    asker = await drained.start(other_waits, account.instance_id, 4)
    await until(lambda: _has_begun(drained, asker.instance_id, "romancy.instance.request"))
    async with Romancy(storage_url, workflows=workflows) as closed:
        async with asyncio.timeout(20):
            await drained.drain(timeout=60)
        live = vars(closed)["_access"].worker.driver.live
        await until(lambda: asker.instance_id in live)
    last = await open_app()
    await last.signal(account.instance_id, "other_opens")

    assert await last.handle(asker.instance_id).result() == 4
    assert did.count("booked 4") == 1
