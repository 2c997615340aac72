"""Running workflows: results, failures, retries, ids, and what is in the log afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from romancy import (
    InstanceConflictError,
    InstanceNotFoundError,
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    SerializationError,
    Status,
    TerminalError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.core import ActivityScheduled
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import returns

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

AT_ONCE = RetryPolicy.fixed(3, 0.0)
calls: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    calls.clear()


@dataclass
class Order:
    item: str
    amount: int


@dataclass
class Receipt:
    item: str
    total: float


@activity
async def price(item: str, amount: int) -> float:
    return len(item) * amount * 1.5


@activity
def tax(net: float) -> float:
    return net * 0.1


@workflow
async def order(ctx: WorkflowContext, request: Order) -> Receipt:
    net = await price(request.item, request.amount)
    return Receipt(request.item, net + await tax(net))


@activity(retry=AT_ONCE)
async def third_time_lucky(label: str) -> int:
    calls.append(label)
    attempt = activity_context().attempt
    if attempt < 3:
        raise ConnectionError(f"attempt {attempt}")
    return attempt


calls_third_time_lucky = calling(third_time_lucky)


@activity(retry=AT_ONCE)
async def never(label: str) -> None:
    calls.append(label)
    raise ConnectionError("no route")


@activity
async def refuse(label: str) -> None:
    calls.append(label)
    raise TerminalError("not allowed")


@workflow
async def unlucky(ctx: WorkflowContext, label: str) -> str:
    try:
        await never(label)
    except RetryExhaustedError as error:
        return f"{error.attempts} {type(error.__cause__).__name__}"
    return "no error"


calls_refuse = calling(refuse)


@activity
async def letter(index: int) -> str:
    await asyncio.sleep(0.01 * (5 - index))
    return "abcde"[index]


@workflow
async def at_once(ctx: WorkflowContext) -> str:
    return "".join(await asyncio.gather(*(letter(index) for index in range(5))))


@workflow
async def tells_the_time(ctx: WorkflowContext) -> float:
    return ctx.now().timestamp()


@workflow
async def raises(ctx: WorkflowContext) -> None:
    raise LookupError("no such thing")


async def test_a_typed_input_and_a_typed_result(app: Romancy) -> None:
    handle = await app.start(order, Order("book", 2))

    receipt = await handle.result(timeout=60)

    assert receipt.item == "book"
    assert receipt.total == pytest.approx(13.2)
    assert await handle.status() is Status.COMPLETED


async def test_a_workflow_without_activities(app: Romancy) -> None:
    assert await app.run(returns, "at once") == "at once"


async def test_failed_attempts_are_tried_again_and_recorded(app: Romancy) -> None:
    handle = await app.start(calls_third_time_lucky, "lucky")

    assert await handle.result(timeout=60) == 3
    assert calls.count("lucky") == 3
    kinds = [type(event).__name__ for event in await handle.history()]
    assert kinds == [
        "WorkflowStarted",
        "ActivityScheduled",
        "ActivityAttemptFailed",
        "ActivityAttemptFailed",
        "ActivityCompleted",
        "WorkflowCompleted",
    ]


async def test_exhaustion_reaches_the_workflow_with_its_cause(app: Romancy) -> None:
    assert await app.run(unlucky, "exhausted") == "3 ConnectionError"
    assert calls.count("exhausted") == 3


async def test_a_terminal_error_is_not_tried_again(app: Romancy) -> None:
    handle = await app.start(calls_refuse, "terminal")

    with pytest.raises(WorkflowFailedError, match="not allowed") as caught:
        await handle.result(timeout=60)

    assert calls.count("terminal") == 1
    assert caught.value.error_type.endswith("TerminalError")
    instance = await app.get_instance(handle.instance_id)
    assert instance is not None
    assert instance.status is Status.FAILED
    assert "not allowed" in (instance.error or "")


async def test_an_exception_of_the_workflow_itself(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError, match="LookupError: no such thing"):
        await app.run(raises)


async def test_concurrent_activities_get_ids_in_order(app: Romancy) -> None:
    handle = await app.start(at_once)

    assert await handle.result(timeout=60) == "abcde"
    scheduled = [event.id for event in await handle.history() if isinstance(event, ActivityScheduled)]
    assert scheduled == [f"letter:{number}" for number in range(1, 6)]


async def test_many_at_once(app: Romancy) -> None:
    handles = await app.start_many([order.bind(Order("x" * number, 1)) for number in range(100)])

    receipts = await asyncio.gather(*[handle.result(timeout=60) for handle in handles])

    assert [len(receipt.item) for receipt in receipts] == list(range(100))


async def test_an_id_of_ones_own_starts_once(app: Romancy) -> None:
    first = await app.start(order.options(instance_id="order-1"), Order("book", 2))
    again = await app.start(order.options(instance_id="order-1"), Order("book", 2))

    assert await first.result(timeout=60) == await again.result(timeout=60)
    with pytest.raises(InstanceConflictError, match="another input"):
        await app.start(order.options(instance_id="order-1"), Order("book", 3))
    with pytest.raises(InstanceConflictError, match="of order"):
        await app.start(returns.options(instance_id="order-1"), "at once")


async def test_ids_that_nobody_chose_sort_by_the_time_of_their_start(app: Romancy) -> None:
    ids: list[str] = []
    for _ in range(4):
        ids.append((await app.start(returns, "at once")).instance_id)
        await asyncio.sleep(0.002)  # into another millisecond

    assert sorted(ids) == ids
    assert len(set(ids)) == len(ids)


async def test_a_hundred_starts_under_one_id(app: Romancy, open_app: Open) -> None:
    other = await open_app()
    starts = [
        which.start(calls_third_time_lucky.options(instance_id="one"), "hundred")
        for which in (app, other)
        for _ in range(50)
    ]

    handles = await asyncio.gather(*starts)

    assert {await handle.result(timeout=60) for handle in handles} == {3}
    assert calls.count("hundred") == 3


async def test_a_delayed_start_waits(app: Romancy) -> None:
    handle = await app.start(tells_the_time.options(delay=1.0))
    late = await app.start(tells_the_time.options(delay=3600))
    instance = await app.get_instance(handle.instance_id)
    assert instance is not None

    # The worker's estimate of the database's time lags by the duration of an answer.
    assert await handle.result(timeout=60) - instance.created_at.timestamp() >= 0.5
    assert await late.status() is Status.PENDING


async def test_a_process_without_a_worker_starts_for_one_with(open_app: Open) -> None:
    front = await open_app(worker=False)
    handle = await front.start(order, Order("pen", 1))
    await open_app()

    assert (await handle.result(timeout=60)).item == "pen"


async def test_a_handle_by_id_alone(app: Romancy) -> None:
    handle = await app.start(order, Order("cup", 1))
    await handle.result(timeout=60)

    assert await app.handle(handle.instance_id).result() == {"item": "cup", "total": pytest.approx(4.95)}
    assert (await app.handle(handle.instance_id, order).result()).item == "cup"


async def test_asking_for_what_is_not_there(app: Romancy) -> None:
    assert await app.get_instance("nobody") is None
    with pytest.raises(InstanceNotFoundError, match="nobody"):
        await app.handle("nobody").result(timeout=60)
    with pytest.raises(InstanceNotFoundError, match="nobody"):
        await app.cancel("nobody")


async def test_a_result_that_is_not_there_yet(app: Romancy) -> None:
    handle = await app.start(returns.options(delay=60), "at once")

    with pytest.raises(TimeoutError):
        await handle.result(timeout=0.05)


async def test_a_wrong_input_is_refused_before_anything_is_written(app: Romancy) -> None:
    with pytest.raises(SerializationError, match="request"):
        await app.start(order, {"item": 1})  # type: ignore[call-overload]
    with pytest.raises(UsageError):
        await app.start(order)  # type: ignore[call-overload]

    assert (await app.list_instances()).instances == []


async def test_an_app_is_used_while_it_is_open(storage_url: str) -> None:
    app = Romancy(storage_url, workflows=[returns])
    with pytest.raises(UsageError, match="not open"):
        await app.start(returns, "at once")
    async with app:
        await app.run(returns, "at once")
    with pytest.raises(UsageError, match="not open"):
        await app.get_instance("x")


async def test_listing_and_finding(app: Romancy) -> None:
    for amount in range(1, 6):
        await app.run(order, Order("book", amount))

    found = await app.find_instances({"amount": 3})
    page = await app.list_instances(workflow_name="ord", status="completed", limit=2)
    rest = await app.list_instances(workflow_name="ord", status="completed", limit=50, page_token=page.next_page_token)

    assert [instance.input["request"]["amount"] for instance in found.instances] == [3]
    assert [instance.input["request"]["amount"] for instance in page.instances + rest.instances] == [5, 4, 3, 2, 1]
    assert (page.has_more, rest.has_more) == (True, False)


@activity(retry=RetryPolicy.none())
async def running_refuse(number: int) -> None:
    raise ValueError(f"the disk {number} is full")


@workflow
async def fails_in_a_group(ctx: WorkflowContext) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(running_refuse(1))


async def test_a_failure_in_a_group_says_what_failed(app: Romancy) -> None:
    handle = await app.start(fails_in_a_group)

    with pytest.raises(
        WorkflowFailedError,
        match=r"unhandled errors in a TaskGroup \(.*the disk 1 is full, after 1 attempt of running_refuse:1\)$",
    ):
        await handle.result(timeout=60)
    instance = await app.get_instance(handle.instance_id)

    assert instance is not None
    assert "the disk 1 is full" in (instance.error or "")
