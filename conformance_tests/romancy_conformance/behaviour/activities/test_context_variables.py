"""A context variable that a body sets reaches its activities, also on the next worker, and nothing comes back."""

from __future__ import annotations

import asyncio
import decimal
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from romancy import (
    ActivityContext,
    Depends,
    RetryPolicy,
    Romancy,
    Status,
    TerminalError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.hooks import Hook
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Generator

    from romancy.hooks import ActivityStarted
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

tenant: ContextVar[str] = ContextVar("tenant", default="unset")
other: ContextVar[str] = ContextVar("other", default="unset")
told: list[str] = []
broken: set[str] = set()


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    told.clear()
    broken.clear()


def provider() -> str:
    return tenant.get()


async def async_provider() -> str:
    return tenant.get()


@activity
async def cv_async() -> str:
    seen = tenant.get()
    tenant.set("from an activity")
    other.set("from an activity")
    return seen


@activity
def cv_thread() -> str:
    seen = tenant.get()
    tenant.set("from a thread")
    return seen


@activity(timeout=60)
async def cv_limited() -> str:
    return tenant.get()


@activity(timeout=60, heartbeat_timeout=60)
def cv_watched() -> str:
    return tenant.get()


@activity(pass_context=True)
async def cv_session(ctx: ActivityContext) -> str:
    await ctx.session()
    assert activity_context().activity_id == ctx.activity_id
    return tenant.get()


@activity(commit="lazy")
async def cv_lazy() -> str:
    return tenant.get()


@activity
async def cv_given(*, one: str = Depends(provider), two: str = Depends(async_provider)) -> str:
    return f"{one} {two} {tenant.get()}"


@workflow
async def cv_child(ctx: WorkflowContext) -> str:
    return f"{tenant.get()} {await cv_async()}"


async def as_tenant(name: str) -> str:
    tenant.set(name)
    await asyncio.sleep(0)
    return await cv_async()


@workflow
async def cv_all(ctx: WorkflowContext) -> list[str]:
    tenant.set(ctx.headers["tenant"])
    seen = [await cv_async(), await cv_thread(), await cv_limited(), await cv_watched()]
    seen += [await cv_session(), await cv_lazy(), await cv_given()]
    seen += await asyncio.gather(as_tenant("a"), as_tenant("b"), cv_thread())
    seen += [await cv_child(), tenant.get(), other.get()]
    token = tenant.set("later")
    seen.append(await cv_thread())
    tenant.reset(token)
    return [*seen, await cv_async()]


async def test_every_kind_of_activity_sees_what_the_body_has_set(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[cv_all, cv_child]) as app:
        seen = await app.run(cv_all.options(headers={"tenant": "t"}))

    assert seen == [*["t"] * 6, "unset unset t", "a", "b", "t", "unset unset", "t", "unset", "later", "t"]


@activity(retry=RetryPolicy.fixed(50, 0.05))
async def cv_again() -> str:
    told.append(f"{tenant.get()} {activity_context().attempt}")
    if "again" in broken:
        raise ConnectionError("not yet")
    return tenant.get()


@activity(retry=RetryPolicy.fixed(50, 0.05))
def cv_again_on_a_thread() -> str:
    told.append(f"{tenant.get()} on a thread")
    if "again" in broken:
        raise ConnectionError("not yet")
    return tenant.get()


@workflow
async def cv_retries(ctx: WorkflowContext) -> list[str]:
    tenant.set(ctx.headers["tenant"])
    return list(await asyncio.gather(cv_again(), cv_again_on_a_thread()))


async def test_all_attempts_see_it_and_those_on_another_worker_too(open_app: Open, storage_url: str) -> None:
    broken.add("again")
    async with Romancy(storage_url, workflows=[cv_retries]) as first:
        await first.start(cv_retries.options(instance_id="r", headers={"tenant": "t"}))
        await until(lambda: "t 2" in told)
    before = len(told)
    app = await open_app(workflows=[cv_retries])
    await until(lambda: len(told) > before + 2)
    broken.clear()

    assert await app.handle("r").result(timeout=60) == ["t", "t"]
    assert {one.partition(" ")[0] for one in told} == {"t"}


async def cv_undo(item: str) -> None:
    told.append(f"undo {item} for {tenant.get()}")


def cv_undo_on_a_thread(result: str, item: str) -> None:
    told.append(f"undo {item} for {tenant.get()}")


@activity(compensation=cv_undo)
async def cv_book(item: str) -> str:
    return item


@activity(compensation=cv_undo_on_a_thread)
def cv_book_on_a_thread(item: str) -> str:
    return item


@activity
async def cv_cross_out(item: str) -> None:
    told.append(f"cross out {item} for {tenant.get()}")


@workflow
async def cv_saga(ctx: WorkflowContext) -> None:
    tenant.set("one")
    await cv_book("a")
    tenant.set("two")
    await cv_book_on_a_thread("b")
    tenant.set("three")
    ctx.on_undo(cv_cross_out, "c")
    tenant.set("four")
    await ctx.wait_event("go")
    raise TerminalError("no")


UNDONE = ["cross out c for three", "undo b for two", "undo a for one"]


async def test_a_compensation_sees_what_the_call_saw(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[cv_saga]) as app:
        handle = await app.start(cv_saga.options(instance_id="s"))
        await app.signal("s", "go")
        with pytest.raises(WorkflowFailedError):
            await handle.result(timeout=60)

    assert told == UNDONE


async def test_a_compensation_on_another_worker_sees_it_after_the_replay(open_app: Open, storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[cv_saga]) as app:
        await app.start(cv_saga.options(instance_id="s"))
        await status_is(app, "s", Status.WAITING)
    app = await open_app(workflows=[cv_saga])
    await app.signal("s", "go")
    with pytest.raises(WorkflowFailedError):
        await app.handle("s").result(timeout=60)

    assert told == UNDONE


@workflow(name="cv_deployed", version="1")
async def cv_deployed(ctx: WorkflowContext) -> None:
    tenant.set("one")
    await cv_book("a")
    await ctx.wait_event("go")


@workflow(name="cv_deployed", version="2")
async def cv_deployed_later(ctx: WorkflowContext) -> None:
    await ctx.sleep(1)
    await cv_book("a")


async def test_what_is_undone_without_the_code_sees_nothing(open_app: Open, storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[cv_deployed]) as app:
        await app.start(cv_deployed.options(instance_id="d"))
        await status_is(app, "d", Status.WAITING)
    app = await open_app(workflows=[cv_deployed_later])
    await app.signal("d", "go")
    await status_is(app, "d", Status.STUCK)
    await app.cancel("d")
    with pytest.raises(WorkflowCancelledError):
        await app.handle("d").result(timeout=60)

    assert told == ["undo a for unset"]


@workflow
async def cv_recurs(ctx: WorkflowContext, before: str) -> str:
    seen = f"{before}{tenant.get()} "
    tenant.set("set")
    seen += f"{await cv_async()} "
    if ctx.run == 1:
        cv_recurs.recur(seen)
    return seen


async def test_the_next_run_begins_without_it(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[cv_recurs]) as app:
        assert await app.run(cv_recurs, "") == "unset set unset set "


@activity
async def cv_divides() -> str:
    context = decimal.getcontext()
    context.prec = 3
    return str(decimal.Decimal(1) / 3)


@activity
async def cv_plainly_divides() -> str:
    return str(decimal.Decimal(1) / 3)


@workflow
async def cv_calculates(ctx: WorkflowContext) -> list[str]:
    with decimal.localcontext() as context:
        context.prec = 5
        seen = [str(decimal.Decimal(2) / 3), await cv_divides(), await cv_plainly_divides()]
        return [*seen, str(decimal.Decimal(2) / 3)]


async def test_the_precision_of_decimals_is_each_its_own(storage_url: str) -> None:
    """It is an object that arithmetic changes: shared, what an activity sets would be missing in a replay."""
    async with Romancy(storage_url, workflows=[cv_calculates]) as app:
        seen = await app.run(cv_calculates)

    assert seen == ["0.66667", "0.333", str(decimal.Decimal(1) / 3), "0.66667"]


class Around(Hook):
    """Sets a variable that the body has set as well."""

    @contextmanager
    def around_activity(self, attempt: ActivityStarted, /) -> Generator[None]:
        told.append(f"around for {tenant.get()}")
        token = other.set("from the hook")
        yield
        other.reset(token)


@activity
async def cv_both() -> str:
    return f"{tenant.get()}, {other.get()}"


@workflow
async def cv_hooked(ctx: WorkflowContext) -> str:
    tenant.set("t")
    other.set("from the body")
    return await cv_both()


async def test_a_hook_sees_it_and_what_a_hook_sets_counts(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[cv_hooked], hooks=[Around()]) as app:
        assert await app.run(cv_hooked) == "t, from the hook"

    assert told == ["around for t"]


async def test_the_hosts_variables_reach_activities_and_not_the_body(storage_url: str) -> None:
    async def in_its_context() -> str:
        tenant.set("host")
        async with Romancy(storage_url, workflows=[cv_child]) as app:
            return await app.run(cv_child)

    assert await asyncio.create_task(in_its_context()) == "unset host"
