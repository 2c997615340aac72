"""Programs that both type checkers accept, with the types they infer. Nothing here runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Unpack, assert_type

import aiomysql
import asyncpg
import sqlite_utils

from romancy import (
    Activity,
    ActivityContext,
    Asked,
    Counts,
    Depends,
    EntityHandle,
    Event,
    EventType,
    Failure,
    Handle,
    InstancePage,
    Mapped,
    Request,
    RequestType,
    RetryPolicy,
    Romancy,
    Session,
    Status,
    SyncSession,
    WorkflowContext,
    activity,
    activity_context,
    compensation,
    entity,
    workflow,
)
from romancy.context import ChildHandle
from romancy.query import Filters, InstanceFilter, gte
from romancy.sync import SyncAsked, SyncHandle
from romancy.workflow import Call, Workflow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session as BlockingSession

    from romancy.sync import SyncRomancy


@dataclass
class Order:
    item: str
    amount: int


@dataclass
class Receipt:
    number: str


class Client:
    async def post(self, order: Order) -> str:
        return order.item


async def http() -> AsyncIterator[Client]:
    yield Client()


def settings() -> Iterator[int]:
    yield 3


@compensation
async def release(item: str) -> None: ...


@compensation(name="put-back", retry=RetryPolicy.none())
def put_back(result: Receipt, item: str) -> None: ...


@activity(compensation=release, retry=RetryPolicy.exponential(10, 0.1, timedelta(seconds=30)))
async def reserve(item: str) -> Receipt:
    return Receipt(item)


@activity(compensation=put_back)
def take(item: str) -> Receipt:
    return Receipt(item)


class Billing:
    """Has activities of its own methods."""

    def __init__(self, name: str) -> None:
        self.charge = activity(self._charge, name=f"{name}.charge", compensation=self._refund, timeout=30)
        self.look_up = activity(self._look_up, name=f"{name}.look_up", commit="lazy")
        self.remember = activity(self._remember, name=f"{name}.remember", pass_context=True)
        self.forget = activity(self._forget, name=f"{name}.forget", pass_context=True)
        self.rate = activity(name=f"{name}.rate", retry=RetryPolicy.none())(self.a_rate)
        self.book = activity(self._look_up, name=f"{name}.book", compensation=self._unbook, compensate="attempted")
        self.undo = compensation(self._refund, name=f"{name}.refund")

    async def _charge(self, amount: int, *, note: str = "") -> Receipt:
        return Receipt(f"{amount}{note}")

    async def _refund(self, result: Receipt, amount: int, *, note: str = "") -> None: ...

    def _look_up(self, item: str) -> int:
        return len(item)

    def _unbook(self, item: str) -> None: ...

    async def _remember(self, ctx: ActivityContext, item: str) -> str:
        return ctx.activity_id + item

    def _forget(self, ctx: ActivityContext, item: str) -> int:
        return ctx.attempt + len(item)

    @classmethod
    def a_rate(cls, amount: int) -> float:
        return amount * 0.2


@workflow
async def bills(ctx: WorkflowContext, billing_name: str) -> None:
    billing = Billing(billing_name)
    assert_type(await billing.charge(1, note="x"), Receipt)
    assert_type(await billing.look_up("x"), int)
    assert_type(await billing.remember("x"), str)
    assert_type(await billing.forget(item="x"), int)
    assert_type(await billing.rate(amount=1), float)
    assert_type(await billing.book.options(id="mine")("x"), int)


@activity
def count(item: str, at_least: int = 0) -> int:
    return max(len(item), at_least)


@activity(name="charge", timeout=30, raises=[LookupError])
async def charge(order: Order, *, client: Client = Depends(http), tries: int = Depends(settings)) -> Receipt:
    return Receipt(await client.post(order) * tries)


@activity(pass_context=True)
async def remember(ctx: ActivityContext, order: Order) -> int:
    session = await ctx.session()
    assert_type(session, Session)
    assert_type(await session.fetch_all("select 1"), list[dict[str, Any]])
    return await session.execute("update orders set item = ?", order.item)


@activity(pass_context=True)
def remember_on_a_thread(ctx: ActivityContext, order: Order) -> int:
    with ctx.session(sqlite_utils.Database) as database, ctx.session() as session, session.savepoint():
        assert_type(database, sqlite_utils.Database)
        assert_type(session, SyncSession)
        assert_type(session.fetch_all("select 1"), list[dict[str, Any]])
        return session.execute("update orders set item = ?", order.item)


@activity(pass_context=True)
async def remember_natively(ctx: ActivityContext, order: Order) -> int:
    """As the driver's own connection. What the checkers call asyncpg's differs, so its methods are asked."""
    assert_type(await ctx.session(sqlite_utils.Database), sqlite_utils.Database)
    assert_type(await ctx.session(aiomysql.Connection), aiomysql.Connection)
    connection = await ctx.session(asyncpg.Connection)
    assert_type(await connection.execute("insert into orders values ($1)", order.item), str)
    typed: asyncpg.Connection[asyncpg.Record] = connection
    assert_type(await typed.fetch("select 1"), list[asyncpg.Record])
    return ctx.attempt


@activity(pass_context=True, timeout=3600, heartbeat_timeout=timedelta(seconds=5))
def copy_pages(ctx: ActivityContext, pages: int) -> int:
    last = ctx.heartbeat_details
    assert_type(last, tuple[Any, ...])
    ctx.heartbeat("page", pages)
    return pages


@activity(executor="process", transactional=False)
def crunch(numbers: list[int]) -> float:
    return sum(numbers) / 2


@take.compensation
def too_late(item: str) -> None: ...


class Shop:
    @staticmethod
    @activity
    async def close(reason: str) -> bool:
        return bool(reason)


settled = EventType("payment.settled", Receipt)


async def on_settled(receipt: Receipt) -> None: ...


async def on_closed() -> None: ...


change = RequestType("change", Order, Receipt)
close = RequestType("close", None, int)
poke = RequestType("poke", str, None)


async def on_change(order: Order) -> Receipt:
    return Receipt(order.item)


def check_change(order: Order) -> None: ...


async def on_close() -> int:
    return 1


def on_check() -> bool:
    return True


@workflow
async def child(ctx: WorkflowContext, order: Order, times: int = 1) -> Receipt:
    return Receipt(order.item * times)


@workflow(event_handler=True, index=["customer.id"], version="2")
async def order_workflow(ctx: WorkflowContext, order: Order) -> Receipt:
    assert_type(await reserve(order.item), Receipt)
    assert_type(await count(order.item, at_least=3), int)
    assert_type(await charge(order), Receipt)
    assert_type(await remember(order), int)
    assert_type(await crunch([1, 2]), float)
    assert_type(await Shop.close("late"), bool)
    assert_type(await asyncio.gather(reserve("a"), count("b")), tuple[Receipt, int])
    assert_type(await charge.options(id="charge:eu", retry=RetryPolicy.fixed(3, 1), timeout=5)(order), Receipt)
    assert_type(await charge.or_default(None)(order), Receipt | None)
    assert_type(await charge.options(timeout=5).or_default(Receipt("none"))(order), Receipt)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(count("x"))
    assert_type(task.result(), int)
    event = await ctx.wait_event(settled, timeout=timedelta(days=2))
    assert_type(event, Event[Receipt])
    assert_type(event.data, Receipt)
    assert_type((await ctx.wait_event("n", model=int)).data, int)
    assert_type(await child(order), Receipt)
    handle = await ctx.start(child, order, times=2)
    assert_type(handle, ChildHandle[Receipt])
    assert_type(await handle.result(), Receipt)
    await ctx.sleep(timedelta(minutes=5))
    await ctx.sleep_until(ctx.now() + timedelta(minutes=5))
    async with ctx.handling(settled.by(on_settled), EventType("closed", None).by(on_closed)):
        await ctx.all_handled()
    async with ctx.handling(
        change.by(on_change, validate=check_change, fatal=(KeyError, ValueError)), close.by(on_close, validate=on_check)
    ):
        await ctx.all_handled()
    request = await ctx.wait_request(change, timeout=timedelta(minutes=5))
    assert_type(request, Request[Order, Receipt])
    assert_type(request.data, Order)
    await request.reply(event.data)
    await request.fail(ValueError("no"))
    assert_type(await ctx.until(lambda: len("three") > 3, timeout=timedelta(minutes=5)), bool)
    if ctx.patched("new"):
        order_workflow.recur(order)
    await ctx.report({"done": True})
    return event.data


counting: Activity[[str, int], int] = count
ordering: Workflow[[Order], Receipt] = order_workflow


async def use(app: Romancy, connection: sqlite3.Connection) -> Status:
    handle = await app.start(order_workflow, Order("a", 1))
    assert_type(handle, Handle[Receipt])
    assert_type(await handle.result(timeout=30), Receipt)
    await app.start(order_workflow.options(instance_id="order-42"), Order("a", 1))
    assert_type(await app.start(order_workflow, Order("a", 1), session=connection), Handle[Receipt])
    call = order_workflow.bind(Order("a", 1))
    assert_type(await app.start_many([call], session=connection), list[Handle[Receipt]])
    assert_type(call, Call[Receipt])
    assert_type(await app.run(order_workflow, Order("a", 1)), Receipt)
    assert_type(activity_context().idempotency_key, str)
    assert_type(await reserve("unit test"), Receipt)
    return await handle.status()


signalled_without_data = EventType("stop", None)
of_anything = EventType("anything", Any)


async def signals_and_handles(app: Romancy, handle: Handle[Receipt]) -> None:
    await handle.signal(settled, Receipt("1"), key="k")
    await handle.signal(signalled_without_data)
    await handle.signal(of_anything, 3)
    await handle.signal("by name", object())
    await handle.signal("by name alone")
    await app.signal("id", settled, Receipt("1"))
    await app.signal("id", signalled_without_data, session=object())
    await app.signal("id", "by name", 3)
    untyped = app.handle("x")
    assert_type(untyped, Handle[Any])


async def requests(app: Romancy, handle: Handle[Receipt]) -> None:
    assert_type(await handle.request(change, Order("a", 1), timeout=30, id="k"), Receipt)
    assert_type(await handle.request(close), int)
    await handle.request(poke, "soft")
    assert_type(await handle.request("by name", 3), Any)
    asked = await handle.ask(change, Order("a", 1), id="k")
    assert_type(asked, Asked[Receipt])
    assert_type(await asked.reply(timeout=timedelta(minutes=5)), Receipt)
    assert_type(await app.request("id", change, Order("a", 1)), Receipt)
    assert_type(await app.ask("id", close), Asked[int])
    call = order_workflow.options(instance_id="order-42").bind(Order("a", 1))
    assert_type(await app.request_with_start(call, change, Order("a", 1), id="k"), Receipt)
    assert_type(await app.ask_with_start(call, close), Asked[int])


@entity("typed-cart")
@dataclass
class TypedCart:
    """An entity."""

    items: list[str] = field(default_factory=list[str])

    async def add(self, item: str, *, times: int = 1) -> int:
        self.items += times * [item]
        return len(self.items)


async def entities(app: Romancy) -> None:
    assert_type(await app.entity(TypedCart, "7", id="k", timeout=30).add("lamp", times=2), int)
    handle = app.entity_handle(TypedCart, "7")
    assert_type(handle, EntityHandle[TypedCart])
    assert_type(await handle.ask(TypedCart.add, "lamp", times=2), Asked[int])
    assert_type(await handle.state(), TypedCart | None)


def without_await(app: SyncRomancy, connection: sqlite3.Connection) -> Status:
    with app:
        handle = app.start(order_workflow, Order("a", 1))
        assert_type(handle, SyncHandle[Receipt])
        assert_type(handle.result(timeout=30), Receipt)
        assert_type(app.start(order_workflow, Order("a", 1), session=connection), SyncHandle[Receipt])
        assert_type(app.start_many([order_workflow.bind(Order("a", 1))]), list[SyncHandle[Receipt]])
        assert_type(app.run(order_workflow, Order("a", 1)), Receipt)
        handle.signal(settled, Receipt("1"), key="k")
        handle.signal(signalled_without_data)
        assert_type(handle.request(change, Order("a", 1)), Receipt)
        assert_type(handle.ask(close), SyncAsked[int])
        assert_type(handle.ask(close).reply(timeout=3), int)
        app.signal("id", "by name", 3, session=connection)
        assert_type([entry.instance_id for entry in handle.entries(follow=True)], list[str])
        assert_type(app.handle("x", order_workflow), SyncHandle[Receipt])
        return handle.status()


async def find(app: Romancy, sync: SyncRomancy, **filters: Unpack[Filters]) -> None:
    chosen = InstanceFilter({"amount": gte(5)}, status=["failed", Status.STUCK], ids=["a"], headers={"tenant": "acme"})
    assert_type(await app.list_instances(chosen, limit=5), InstancePage)
    assert_type(await app.find_instances(chosen, workflow_name="order", oldest_first=True), InstancePage)
    assert_type(await app.count({"amount": 5}, **filters), Counts)
    assert_type(await app.cancel_many(chosen, parent="p", reason="late", dry_run=True), list[str])
    assert_type(sync.retry_many({"amount": gte(5)}, status="cancelled", top_level=True), list[str])
    assert_type(sync.count(chosen), Counts)
    await app.check(chosen, started_after=datetime.now(UTC))


async def sessions_of_sqlalchemy(app: Romancy, session: AsyncSession, blocking: BlockingSession) -> None:
    assert_type(await app.start(order_workflow, Order("a", 1), session=session), Handle[Receipt])
    await app.signal("id", settled, Receipt("1"), session=blocking)
    await app.publish("ordered", Order("a", 1), session=session)


@workflow
async def maps(ctx: WorkflowContext, orders: list[Order]) -> list[Receipt]:
    receipts = await ctx.map(order_workflow, orders, at_once=3, may_fail="10%")
    assert_type(receipts.outcomes[0].result, Receipt)
    async for outcome in ctx.map(order_workflow, orders, enough=1):
        assert_type(outcome.failure, Failure | None)
    assert_type(await ctx.first(order_workflow(orders[0]), order_workflow(orders[1])), Receipt)
    return receipts


async def says() -> Receipt:
    raise NotImplementedError


@workflow
async def with_steps(ctx: WorkflowContext) -> None:
    assert_type(await ctx.step("says", says), Receipt)
    assert_type(await ctx.step("says", lambda: 1, timeout=3, retry=RetryPolicy.none()), int)
    assert_type(await ctx.step("says", object, model=dict[str, int]), dict[str, int])
    assert_type(await ctx.map(lambda _: ctx.step("says", says), [1]), Mapped[Receipt])
