"""`why` of an instance names those for which it waits, and tells what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RequestFailedError,
    RequestTimeoutError,
    RequestType,
    RetryPolicy,
    Romancy,
    Status,
    UsageError,
    WorkflowContext,
    activity,
    entity,
    entity_context,
    workflow,
)
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Ask = RequestType("wo.ask", None, int)


@activity(retry=RetryPolicy.fixed(10, 3600))
async def wo_fails() -> None:
    raise LookupError("no route")


@workflow
async def wo_rests(ctx: WorkflowContext) -> int:
    await ctx.wait_event("wo.go")
    return 5


@workflow
async def wo_is_failing(ctx: WorkflowContext) -> None:
    await wo_fails()


@workflow
async def wo_parent(ctx: WorkflowContext, detached: bool = False) -> None:  # noqa: FBT001, FBT002 - an argument of a start
    await wo_is_failing.options(instance_id="wo-child", detached=detached)()


@workflow
async def wo_awaits(ctx: WorkflowContext, other: str) -> int:
    return await ctx.instance(other).result(wo_rests)


@workflow
async def wo_asks(ctx: WorkflowContext, other: str) -> int:
    return await ctx.instance(other).request(Ask)


@workflow
async def wo_mistakes(ctx: WorkflowContext, other: str) -> str:
    try:
        await ctx.instance(other).result(wo_is_failing)
    except UsageError as error:
        return str(error)
    return "was told nothing"


@entity("wo-pit")
@dataclass
class Pit:
    calls: int = 0

    async def dig(self, other: str) -> str:
        self.calls += 1
        await entity_context().wait_event("wo.on")
        return await entity_context().entity(Pit, other, timeout=600).fill()

    async def fill(self) -> str:
        raise ValueError("full")


@pytest.fixture
def workflows() -> list[Any]:
    """All of this file."""
    return [wo_rests, wo_is_failing, wo_parent, wo_awaits, wo_asks, wo_mistakes, Pit]


async def says(app: Romancy, instance_id: str, *words: str) -> bool:
    said = " ".join(await app.explain(instance_id))
    return all(word in said for word in words)


@pytest.mark.parametrize("detached", [False, True])
async def test_a_parent_tells_that_its_child_fails(app: Romancy, *, detached: bool) -> None:
    parent = await app.start(wo_parent, detached)
    kind = "detached child" if detached else "child"
    await until(
        lambda: says(app, parent.instance_id, f"its {kind} wo-child (workflow wo_is_failing)", "attempt 1", "no route")
    )
    await app.pause("wo-child", reason="lunch")
    await until(lambda: says(app, parent.instance_id, "it is paused because: lunch"))
    await app.unpause("wo-child")
    await parent.cancel()
    await app.cancel("wo-child")


async def test_who_waits_for_the_end_of_another_names_it(app: Romancy) -> None:
    rests = await app.start(wo_rests)
    waits = await app.start(wo_awaits, rests.instance_id)
    await until(lambda: says(app, waits.instance_id, f"It waits for the end of instance {rests.instance_id} ("))
    await rests.signal("wo.go")
    assert await waits.result(timeout=60) == 5


async def test_a_circle_of_instances_that_ask_each_other_is_named(app: Romancy) -> None:
    for name, other in (("wo-a", "wo-b"), ("wo-b", "wo-c"), ("wo-c", "wo-a")):
        await app.start(wo_asks.options(instance_id=name), other)
    # An instance that was not there yet has told its asker so: those whose request came through wait.
    await until(lambda: _is_asked(app))


async def _is_asked(app: Romancy) -> bool:
    """The ones that were too early are started again until all three wait for each other."""
    for name, other in (("wo-a", "wo-b"), ("wo-b", "wo-c"), ("wo-c", "wo-a")):
        instance = await app.get_instance(name)
        if instance is not None and instance.status is Status.FAILED:
            await app.start(wo_asks.options(instance_id=name), other, if_exists="restart_failed")
    return await says(app, "wo-a", "It waits for the answer of instance wo-b", "wo-a → wo-b → wo-c → wo-a")


async def test_two_entities_that_call_each_other_at_the_same_time_are_named(app: Romancy) -> None:
    one = await app.entity_handle(Pit, "one").ask(Pit.dig, "two")
    two = await app.entity_handle(Pit, "two").ask(Pit.dig, "one")
    for name in ("wo-pit:one", "wo-pit:two"):
        await status_is(app, name, Status.WAITING)
    for name in ("wo-pit:one", "wo-pit:two"):
        await app.signal(name, "wo.on")
    await until(
        lambda: says(
            app, "wo-pit:one", "waits for the answer of entity wo-pit:two", "wo-pit:one → wo-pit:two → wo-pit:one"
        )
    )
    with pytest.raises(RequestTimeoutError, match=r"did not answer the call of Pit\.dig within 0\.1 s"):
        await one.reply(0.1)
    for name in ("wo-pit:one", "wo-pit:two"):
        await app.terminate(name)
    assert two.instance_id == "wo-pit:two"


async def test_an_error_of_an_entity_names_the_class_and_the_method(app: Romancy) -> None:
    with pytest.raises(RequestFailedError, match=r"failed at the call of Pit\.fill: ValueError: full"):
        await app.entity(Pit, "one").fill()


async def test_the_result_of_another_workflow_is_refused_by_name(open_app: Open) -> None:
    app = await open_app()
    rests = await app.start(wo_rests)
    told = await (await app.start(wo_mistakes, rests.instance_id)).result(timeout=60)
    assert f"instance {rests.instance_id} is of workflow wo_rests" in told
    assert "as that of wo_is_failing" in told
    await rests.cancel()
