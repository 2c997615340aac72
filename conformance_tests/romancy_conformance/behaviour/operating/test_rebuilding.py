"""What a database holds beside its logs can be made again from them: rows, projections, the index, interests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy import EventType, Romancy, Status, WorkflowContext, activity, workflow
from romancy.rebuilding import Sample, rebuild, sample_of
from romancy.serialization import Codecs
from romancy.storage.query import members_of
from romancy.storage.rebuilding import Rebuilt
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.damaging import damage, opened
from romancy_conformance.behaviour.waiting import status_is
from romancy_conformance.invariants import sweep_url

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.rebuilding import Stored
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

PAID = EventType("shop.paid", int, key="shop")
CLOSED = EventType("shop.closed", str)


@activity
async def note(text: str) -> str:
    return text


@workflow(index=["shop"])
async def sale(ctx: WorkflowContext, shop: str, cents: int) -> int:
    await note(shop)
    paid = await ctx.wait_event(PAID, key=shop)
    return cents + paid.data


@workflow(index=["shop"])
async def months(ctx: WorkflowContext, shop: str, left: int) -> str:
    await note(shop)
    if left:
        months.recur(shop=f"{shop}+", left=left - 1)
    event = await ctx.wait_event(CLOSED)
    return event.data


@workflow(index=["shop"])
async def broken(ctx: WorkflowContext, shop: str) -> None:
    raise ValueError(f"{shop} has burnt down")


@workflow
async def chain(ctx: WorkflowContext, shop: str) -> int:
    return await sale.options(instance_id="child")(shop, 7)


async def filled(app: Romancy) -> None:
    """One instance of each kind."""
    for number in range(3):
        await app.start(sale.options(instance_id=f"s{number}"), "Oslo", number)
    await app.start(months.options(instance_id="m"), "Rome", 2)
    await app.start(chain.options(instance_id="parent"), "Bern")
    await app.start(broken.options(instance_id="b"), "Ulm")
    for one in ("s0", "s1", "s2", "m", "parent", "child"):
        await status_is(app, one, Status.WAITING)
    await status_is(app, "b", Status.FAILED)
    await app.start(sale.options(instance_id="gone"), "Pau", 1)
    await status_is(app, "gone", Status.WAITING)
    await app.cancel("gone")
    await status_is(app, "gone", Status.CANCELLED)


async def everything(store: Store) -> dict[str, Stored]:
    rebuilding = store.services.rebuilding
    return {
        one.instance_id: replace(one, entries=tuple(sorted(one.entries)))
        for one in await rebuilding.stored(after="", limit=100)
    }


def known(*workflows: Any) -> dict[str, Any]:
    return {one.name: one for one in workflows}


ALL = known(sale, months, broken, chain)
NONE = Codecs()


async def test_a_lost_index_is_noticed_and_made_again(open_app: Open, storage_url: str) -> None:
    async with opened(storage_url) as store:
        app = await open_app()
        await filled(app)
        before, sound = await everything(store), await sample_of(store)
        await damage(
            store,
            "delete from romancy_index",
            "delete from romancy_index_sets where workflow_name = 'months'",
            "update romancy_instances set projection = null where instance_id = 's1'",
        )

        lost = (await app.find_instances({"shop": "Oslo"})).instances
        damaged = await sample_of(store)
        tried = await rebuild(store, ALL, NONE, dry_run=True)
        unchanged = await sample_of(store)
        done = await rebuild(store, ALL, NONE)
        again = await rebuild(store, ALL, NONE)

        assert Sample(8, 0, 0) == sound
        assert [] == list(lost)
        assert Sample(8, 0, 7) == damaged, "one workflow has no index"
        assert damaged == unchanged, "a dry run wrote something"
        assert (8, 0, 7, 0) == (tried.looked_at, tried.rows, tried.index, tried.written)
        assert (7, 7, []) == (done.index, done.written, done.left)
        assert (0, 0, 0) == (again.rows, again.index, again.written)
        assert before == await everything(store)
        found = (await app.find_instances({"shop": "Oslo"})).instances
        assert {"s0", "s1", "s2"} == {one.instance_id for one in found}
        assert ["m"] == [one.instance_id for one in (await app.find_instances({"shop": "Rome++"})).instances]


async def test_lost_rows_are_made_again_and_their_instances_go_on(open_app: Open, storage_url: str) -> None:
    """A sweep has removed the interests of the lost instances meanwhile, as of instances that are gone."""
    async with opened(storage_url) as store:
        async with Romancy(storage_url, workflows=list(ALL.values())) as app:
            await filled(app)
        before = await everything(store)
        await damage(
            store, "delete from romancy_instances", "delete from romancy_index", "delete from romancy_interests"
        )
        noticed = await sample_of(store)

        done = await rebuild(store, ALL, NONE)

        assert Sample(8, 8, 0) == noticed
        assert (8, 0, 8, []) == (done.rows, done.index, done.written, done.left)
        after = await everything(store)
        assert {one: _lasting(stored) for one, stored in before.items()} == {
            one: _lasting(stored) for one, stored in after.items()
        }
        app = await open_app()
        for one in ("s0", "s1", "s2", "m", "parent", "child"):
            await status_is(app, one, Status.WAITING)
        for _ in range(3):
            await app.send(PAID, 100, key="Oslo")
        await app.send(PAID, 5, key="Bern")
        await app.send(CLOSED, "for good")
        assert {100, 101, 102} == {await app.handle(f"s{one}").result() for one in range(3)}
        assert (12, "for good") == (await app.handle("parent").result(), await app.handle("m").result())
        assert ["b"] == [one.instance_id for one in (await app.find_instances({"shop": "Ulm"})).instances]
    assert [] == await sweep_url(storage_url, ALL, again=None)


async def test_an_inbox_is_read_after_its_row_was_lost(open_app: Open, storage_url: str) -> None:
    async with opened(storage_url) as store:
        async with Romancy(storage_url, workflows=[months]) as app:
            await app.start(months.options(instance_id="m"), "Rome", 0)
            await status_is(app, "m", Status.WAITING)
        async with Romancy(storage_url, workflows=[months], worker=False) as outside:
            await outside.signal("m", "unheard", 1)
            await outside.signal("m", CLOSED, "by a signal")
        await damage(store, "delete from romancy_instances")

        await rebuild(store, ALL, NONE)

        app = await open_app()
        assert "by a signal" == await app.handle("m").result()


async def test_a_path_declared_later_is_indexed(open_app: Open, storage_url: str) -> None:
    @workflow(name="sale", index=["shop", "cents"])
    async def sale_of_today(ctx: WorkflowContext, shop: str, cents: int) -> int:
        paid = await ctx.wait_event(PAID, key=shop)
        return cents + paid.data

    async with opened(storage_url) as store:
        app = await open_app()
        await filled(app)

        done = await rebuild(store, known(sale_of_today), NONE, parts=["index"])

        assert (5, 5) == (done.index, done.written)
        assert {"m", "b", "parent"} == {one.instance_id for one in done.left}
        stored = (await everything(store))["s2"]
        assert 2 == len(stored.entries)
        assert ["s2"] == [one.instance_id for one in (await app.find_instances({"cents": 2})).instances]


async def test_headers_of_older_instances_are_found_when_they_are_rebuilt(open_app: Open, storage_url: str) -> None:
    """Also those of one that continued as new, and of one whose row was lost."""
    async with opened(storage_url) as store:
        app = await open_app()
        for call in (sale.bind("Oslo", 1), months.bind("Rome", 2), sale.bind("Pau", 3)):
            name = f"h-{call.args[0]}"
            await app.start(call.workflow.options(instance_id=name, headers={"tenant": "acme"}), *call.args)
            await status_is(app, name, Status.WAITING)
        await app.start(sale.options(instance_id="without"), "Oslo", 4)
        await status_is(app, "without", Status.WAITING)
        before = await everything(store)
        await damage(
            store,
            "update romancy_instances set projection = '{}' where instance_id = 'h-Oslo'",
            "update romancy_instances set projection = null where instance_id = 'h-Rome'",
            "delete from romancy_instances where instance_id = 'h-Pau'",
        )
        assert [] == await app.cancel_many(headers={"tenant": "acme"}, dry_run=True)

        done = await rebuild(store, ALL, NONE)

        assert (1, 2, 3, []) == (done.rows, done.index, done.written, done.left)
        found = await app.cancel_many(headers={"tenant": "acme"}, dry_run=True)
        assert {"h-Oslo", "h-Rome", "h-Pau"} == set(found)
        after = await everything(store)
        assert {one: members_of(stored.projection or b"") for one, stored in before.items()} == {
            one: members_of(stored.projection or b"") for one, stored in after.items()
        }


async def test_sealed_inputs_need_the_codec(storage_url: str) -> None:
    codecs = Codecs(Masking())
    async with opened(storage_url, codecs) as store:
        async with Romancy(storage_url, workflows=[sale, chain], codecs=[Masking()]) as app:
            await app.start(chain.options(instance_id="parent", headers={"tenant": "acme"}), "Bern")
            await status_is(app, "child", Status.WAITING)
            await status_is(app, "parent", Status.WAITING)
        before = await everything(store)
        await damage(store, "delete from romancy_index", "delete from romancy_instances where instance_id = 'parent'")

        blind = await rebuild(store, ALL, NONE)
        done = await rebuild(store, ALL, codecs)

        assert {"child", "parent"} == {one.instance_id for one in blind.left}
        assert (0, 2) == (blind.written, done.written)
        after = await everything(store)
        for one, stored in before.items():
            row, now = stored.row, after[one].row
            assert row is not None
            assert now is not None
            assert (stored.projection, stored.entries) == (after[one].projection, after[one].entries)
            assert b"acme" not in (stored.projection or b"")
            assert row.input == now.input or one == "parent", "a codec may seal the same input in another way"
        async with Romancy(storage_url, workflows=[sale, chain], codecs=[Masking()]) as app:
            await app.send(PAID, 5, key="Bern")
            assert 12 == await app.handle("parent").result()


async def test_it_runs_beside_workers_and_after_being_killed(open_app: Open, storage_url: str) -> None:
    """Rows of the index vanish and instances start, begin again and end while it runs again and again."""
    async with opened(storage_url) as store:
        app = await open_app()
        over = asyncio.Event()

        async def rebuilding() -> int:
            rounds = 0
            while not over.is_set():
                task = asyncio.ensure_future(rebuild(store, ALL, NONE))
                await asyncio.wait({task}, timeout=0.05 if rounds % 2 else None)
                task.cancel()
                await asyncio.wait({task})
                rounds += 1
            return rounds

        running = asyncio.ensure_future(rebuilding())
        for number in range(30):
            await app.start(months.options(instance_id=f"m{number}"), f"shop-{number}", number % 4)
            await app.start(broken.options(instance_id=f"b{number}"), f"shop-{number}")
            if number % 10 == 5:
                await damage(store, "delete from romancy_index where instance_id in ('m4', 'm14', 'm24', 'b4')")
        for number in range(30):
            await status_is(app, f"m{number}", Status.WAITING)
            await status_is(app, f"b{number}", Status.FAILED)
        over.set()
        rounds = await running
        done = await rebuild(store, ALL, NONE)
        again = await rebuild(store, ALL, NONE)

        assert rounds > 2
        assert (0, [], 0) == (done.rows, done.left, again.index)
        for number in range(30):
            shop = f"shop-{number}{'+' * (number % 4)}"
            found = (await app.find_instances({"shop": shop}, workflow_name="months")).instances
            assert [f"m{number}"] == [one.instance_id for one in found]
        await app.send(CLOSED, "over")
        assert all(["over" == await app.handle(f"m{number}").result() for number in range(30)])


async def test_what_changed_since_it_was_read_is_left(open_app: Open, storage_url: str) -> None:
    async with opened(storage_url) as store:
        app = await open_app()
        await filled(app)
        rebuilding = store.services.rebuilding
        read = (await everything(store))["s0"].row
        assert read is not None
        stale = [
            Rebuilt(row=replace(read, run_from=9), projection=None, index=()),
            Rebuilt(row=replace(read, instance_id="s1", life=1), projection=None, index=()),
            Rebuilt(row=replace(read, instance_id="s2", status=Status.FAILED), lost=True, projection=None, index=()),
            Rebuilt(row=replace(read, instance_id="never"), lost=True, projection=None, index=()),
        ]

        assert 0 == await rebuilding.rebuild(stale)
        assert await app.get_instance("never") is None
        assert {"s0", "s1", "s2"} == {
            one.instance_id for one in (await app.find_instances({"shop": "Oslo"}, status=Status.WAITING)).instances
        }


def _lasting(stored: Stored) -> tuple[object, ...]:
    """What a lost row has again at once. The rest, a worker writes when it has taken the instance up."""
    row = stored.row
    assert row is not None
    ended = row.status in (Status.FAILED, Status.CANCELLED, Status.COMPLETED)
    lasting = (
        row.life, row.workflow_name, row.input, row.error, row.parent, row.run_from, row.status if ended else None,
    )  # fmt: skip
    words = sorted((path, value) for path, value, _ in stored.entries)
    return (*lasting, stored.projection, stored.paths, words)
