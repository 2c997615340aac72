"""Children whose code another app has: they wait for a worker that knows their workflow, as starts by name do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, UsageError, WorkflowContext, WorkflowFailedError, WorkflowType, activity, workflow
from romancy.status import Status
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio


@dataclass
class Given:
    name: str


@dataclass
class Greeting:
    message: str


@activity
async def greets(given: Given) -> Greeting:
    return Greeting(f"hello {given.name}")


@workflow(name="elsewhere_greet")
async def greet(ctx: WorkflowContext, given: Given) -> Greeting:
    return await greets(given)


@workflow(name="elsewhere_fail")
async def fail(ctx: WorkflowContext, given: Given) -> Greeting:
    raise ValueError(given.name, 5)


@workflow(name="elsewhere_tells_its_parent")
async def tells_its_parent(ctx: WorkflowContext, runs: int = 1) -> str | None:
    if ctx.run < runs:
        tells_its_parent.recur(runs)
    return ctx.parent


# ── the app that calls them has their names and types alone


@workflow(name="elsewhere_greet")
async def greet_stub(ctx: WorkflowContext, given: Given) -> Greeting:
    raise NotImplementedError


FAIL = WorkflowType("elsewhere_fail", Greeting)
GREET = WorkflowType("elsewhere_greet", Greeting)
LOOSE = WorkflowType("elsewhere_greet")
PARENT = WorkflowType("elsewhere_tells_its_parent", str)


@workflow
async def elsewhere_by_type(ctx: WorkflowContext, name: str) -> list[str]:
    one = await GREET(given=Given(name))
    handle = await ctx.start(GREET.options(instance_id=f"typed-{name}"), given=Given(name.upper()))
    loose = await LOOSE(given={"name": "loose"})
    return [one.message, (await handle.result()).message, loose["message"]]


@workflow
async def elsewhere_mistaken(ctx: WorkflowContext) -> str:
    try:
        await GREET(Given("no name"))
    except UsageError as error:
        return str(error)
    return "went through"


@workflow
async def elsewhere_parents(ctx: WorkflowContext) -> list[str | None]:
    return [ctx.parent, await PARENT(), await PARENT(runs=3)]


@workflow
async def elsewhere_caller(ctx: WorkflowContext, name: str) -> list[str]:
    one = await greet_stub(Given(name))
    handle = await ctx.start(greet_stub.options(instance_id=f"chosen-{name}"), Given(name.upper()))
    return [one.message, (await handle.result()).message]


@workflow
async def elsewhere_fails(ctx: WorkflowContext) -> str:
    try:
        await FAIL(given=Given("no"))
    except WorkflowFailedError as error:
        return f"{error.error_type} {error.__cause__}"
    return ""


@workflow
async def elsewhere_cancels(ctx: WorkflowContext) -> str:
    handle = await ctx.start(greet_stub.options(instance_id="cancelled"), Given("nobody"))
    await ctx.wait_event("go")
    handle.cancel()
    return "cancelled"


@pytest.fixture
async def caller(open_app: Open) -> Romancy:
    """An app that has the callers and not the children's code."""
    return await open_app(
        workflows=[
            elsewhere_caller, elsewhere_fails, elsewhere_cancels, elsewhere_by_type, elsewhere_mistaken,
            elsewhere_parents,
        ]
    )  # fmt: skip


async def handlers(open_app: Open) -> Romancy:
    return await open_app(workflows=[greet, fail, tells_its_parent])


async def test_a_child_waits_for_an_app_that_has_its_code(caller: Romancy, open_app: Open) -> None:
    handle = await caller.start(elsewhere_caller, "ann")

    async def child_is_there() -> bool:
        return bool((await caller.list_instances(workflow_name=greet.name, status=Status.PENDING)).instances)

    await until(child_is_there)
    assert Status.STUCK is not await handle.status()
    (child,) = (await caller.list_instances(workflow_name=greet.name)).instances
    assert "/" not in child.instance_id
    assert any("elsewhere_greet" in reason for reason in await caller.explain(child.instance_id))

    await handlers(open_app)
    assert ["hello ann", "hello ANN"] == await handle.result(timeout=60)
    assert Greeting("hello ANN") == await caller.handle("chosen-ann", greet_stub).result(timeout=60)


async def test_a_child_is_run_by_an_app_that_is_there(caller: Romancy, open_app: Open) -> None:
    await handlers(open_app)

    assert ["hello bob", "hello BOB"] == await caller.run(elsewhere_caller, "bob")
    assert "ValueError ('no', 5)" == await caller.run(elsewhere_fails)


async def test_a_child_that_nobody_knows_can_be_cancelled(caller: Romancy, open_app: Open) -> None:
    handle = await caller.start(elsewhere_cancels)
    await status_is(caller, "cancelled", Status.PENDING)
    await handle.signal("go")
    assert "cancelled" == await handle.result(timeout=60)

    await handlers(open_app)
    await status_is(caller, "cancelled", Status.CANCELLED)


async def test_a_child_by_its_type_waits_and_is_read_as_declared(caller: Romancy, open_app: Open) -> None:
    handle = await caller.start(elsewhere_by_type, "cleo")
    await status_is(caller, handle.instance_id, Status.WAITING)
    worker = await handlers(open_app)

    assert ["hello cleo", "hello CLEO", "hello loose"] == await handle.result(timeout=60)
    assert Greeting("hello CLEO") == await caller.handle("typed-cleo", GREET).result(timeout=60)
    assert Greeting("hello dora") == await caller.run(GREET, given=Given("dora"))
    assert Greeting("hello emil") == await worker.run(GREET, given=Given("emil"))
    assert "give each argument by name" in await caller.run(elsewhere_mistaken)


async def test_a_child_knows_its_parent_in_each_run(caller: Romancy, open_app: Open) -> None:
    await handlers(open_app)
    handle = await caller.start(elsewhere_parents)

    assert [None, handle.instance_id, handle.instance_id] == await handle.result(timeout=60)
