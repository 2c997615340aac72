"""A log that is damaged on the database: its instance is put aside and says where, nothing is made up, others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from romancy import (
    Romancy,
    Status,
    WorkflowCancelledError,
    WorkflowContext,
    activity,
    workflow,
)
from romancy.engine import new_life, start_of
from romancy.errors import HistoryCorruptError, HistoryVersionError
from romancy.storage.backends import create_store
from romancy.storage.records import Change, Worker
from romancy_conformance.behaviour.damaging import sql_on
from romancy_conformance.behaviour.waiting import reason_is, status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = [pytest.mark.anyio, pytest.mark.unreplayable("which are about damaged logs")]

carried_out: list[tuple[str, int]] = []
SHORT, LONG = 3, 9
"""A claim returns a log of a few commits; a log of many is read."""


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    carried_out.clear()


@activity
async def worn_step(name: str, number: int) -> int:
    carried_out.append((name, number))
    return number


@workflow
async def worn_line(ctx: WorkflowContext, name: str, steps: int) -> int:
    total = 0
    for number in range(steps):
        total += await worn_step(name, number)
    await ctx.wait_event("go")
    return total + await worn_step(name, 100)


@workflow
async def worn_parent(ctx: WorkflowContext) -> str:
    try:
        await worn_line.options(instance_id="damaged")("damaged", SHORT)
    except WorkflowCancelledError:
        return "the child was cancelled"
    return "the child ended"


async def two_that_wait(url: str, steps: int = SHORT) -> int:
    """Leave two waiting instances without a worker; return the last seq of each log."""
    async with Romancy(url, workflows=[worn_line]) as app:
        for name in ("damaged", "healthy"):
            await app.start(worn_line.options(instance_id=name), name, steps)
        for name in ("damaged", "healthy"):
            await status_is(app, name, Status.WAITING)
    carried_out.clear()
    return steps + 1


async def remove(url: str, first: int, last: int) -> None:
    """Remove rows from the log of the damaged instance."""
    async with sql_on(url) as sql:
        await sql("delete from romancy_log where instance_id = 'damaged' and seq between {} and {}", first, last)


async def overwrite(url: str, seq: int, body: bytes) -> bytes:
    """Replace the body of a row; return the former one."""
    async with sql_on(url) as sql:
        (row,) = await sql("select body from romancy_log where instance_id = 'damaged' and seq = {}", seq)
        await sql("update romancy_log set body = {} where instance_id = 'damaged' and seq = {}", body, seq)
    return bytes(row["body"])


async def goes_aside(app: Romancy, words: str, error: type[Exception] = HistoryCorruptError) -> None:
    """Check that the healthy one ends, and that the damaged one is parked, reports this everywhere, and did not run."""
    await app.signal("healthy", "go")
    await app.signal("damaged", "go")
    assert isinstance(await app.handle("healthy").result(timeout=60), int)
    await reason_is(app, "damaged", words)

    assert carried_out == [("healthy", 100)]
    instance = await app.get_instance("damaged")
    assert instance is not None
    assert "'damaged'" in (instance.error or "")
    for ask in (lambda: app.history("damaged"), lambda: app.report("damaged"), lambda: entries(app)):
        with pytest.raises(error, match=words) as caught:
            await ask()
        assert "'damaged'" in str(caught.value)
        assert "hidden" not in str(caught.value)
    assert "hidden" not in (instance.error or "")


async def entries(app: Romancy) -> list[Any]:
    return [entry async for entry in app.entries_of("damaged")]


MISSING = {
    "the first": (SHORT, 1, 1, "row 1 is missing"),
    "one in the middle": (SHORT, 3, 3, "row 3 is missing"),
    "the last": (SHORT, 4, 4, "row 4 is missing"),
    "the last two": (SHORT, 3, 4, "rows 3 to 4 are missing"),
    "all": (SHORT, 1, 4, "rows 1 to 4 are missing"),
    "one of many": (LONG, 5, 5, "row 5 is missing"),
    "the last of many": (LONG, 10, 10, "row 10 is missing"),
}


@pytest.mark.parametrize(("steps", "first", "last", "words"), MISSING.values(), ids=MISSING.keys())
async def test_rows_that_are_missing(
    storage_url: str, open_app: Open, steps: int, first: int, last: int, words: str
) -> None:
    await two_that_wait(storage_url, steps)
    await remove(storage_url, first, last)

    app = await open_app()

    await goes_aside(app, words)
    await app.resume("damaged")
    await reason_is(app, "damaged", words)
    assert await app.terminate("damaged")
    await status_is(app, "damaged", Status.CANCELLED)


GARBLED = {
    "no JSON": b"\x00\x01hidden",
    "cut off": b'[{"type":"ActivityCompleted","at":1,"id":"hid',
    "no text": b'[{"type":"ActivityCompleted","at":1,"id":"\xff\xfehidden"}]',
    "no event": b'[{"type":"hidden, and not the name of an event","at":1}]',
    "of other types": b'[{"type":"ActivityCompleted","at":"hidden","id":"worn_step:1"}]',
    "empty": b"[]",
}


@pytest.mark.parametrize("body", GARBLED.values(), ids=GARBLED.keys())
@pytest.mark.parametrize("steps", [SHORT, LONG], ids=["short", "long"])
async def test_a_row_that_cannot_be_read(storage_url: str, open_app: Open, steps: int, body: bytes) -> None:
    await two_that_wait(storage_url, steps)
    before = await overwrite(storage_url, 2, body)

    app = await open_app()

    await goes_aside(app, "row 2 of its log")
    await overwrite(storage_url, 2, before)
    await app.resume("damaged")
    assert await app.handle("damaged").result(timeout=60) == sum(range(steps)) + 100
    assert carried_out == [("healthy", 100), ("damaged", 100)]


async def test_rows_that_changed_places(storage_url: str, open_app: Open) -> None:
    await two_that_wait(storage_url)
    second = await overwrite(storage_url, 2, b"[]")
    await overwrite(storage_url, 2, await overwrite(storage_url, 3, second))

    app = await open_app()

    await app.signal("healthy", "go")
    await app.signal("damaged", "go")
    assert await app.handle("healthy").result(timeout=60) == 103
    await reason_is(app, "damaged", "row 2 of its log")
    assert carried_out == [("healthy", 100)]


async def test_a_row_of_a_later_version(storage_url: str, open_app: Open) -> None:
    await two_that_wait(storage_url)
    await overwrite(storage_url, 3, b'[{"type":"WorkflowTeleported","at":1,"to":"hidden"}]')

    app = await open_app()

    await goes_aside(app, "row 3 of its log", HistoryVersionError)
    assert await app.terminate("damaged")


async def test_a_result_that_is_missing(storage_url: str, open_app: Open) -> None:
    await two_that_wait(storage_url)
    async with Romancy(storage_url, workflows=[worn_line]) as app:
        await app.signal("damaged", "go")
        assert await app.handle("damaged").result(timeout=60) == 103
    async with sql_on(storage_url) as sql:
        (end,) = await sql("select max(seq) as seq from romancy_log where instance_id = 'damaged'")
    await remove(storage_url, end["seq"], end["seq"])

    app = await open_app(worker=False)

    with pytest.raises(HistoryCorruptError, match=f"row {end['seq']} is missing"):
        await app.handle("damaged").result(timeout=60)


async def test_the_parent_of_a_damaged_child_hears_of_its_end(storage_url: str, open_app: Open) -> None:
    async with Romancy(storage_url, workflows=[worn_line, worn_parent]) as app:
        await app.start(worn_parent.options(instance_id="parent"))
        await status_is(app, "damaged", Status.WAITING)
        await status_is(app, "parent", Status.WAITING)
    await remove(storage_url, 1, 1)

    app = await open_app()
    await app.signal("damaged", "go")
    await reason_is(app, "damaged", "row 1 is missing")
    assert await app.terminate("damaged")

    assert await app.handle("parent", worn_parent).result(timeout=60) == "the child was cancelled"


async def test_what_a_dead_worker_leaves_is_taken_over_beside_a_log_that_is_gone(
    storage_url: str, open_app: Open
) -> None:
    store = create_store(storage_url)
    await store.open()
    try:
        dead = Worker(token="dead", worker_id="dead", lease=60_000_000)
        await store.heartbeat(dead)
        for name in ("damaged", "healthy"):
            item = start_of(
                worn_line,
                Raw(f'{{"name":"{name}","steps":0}}'.encode()),
                instance_id=name,
                life=new_life(name),
                writer=name,
                now=1,
            )
            assert item.create is not None
            owned = replace(
                item, create=replace(item.create, owner="dead"), change=Change(status=Status.RUNNING, seen=0)
            )
            assert await store.commit([owned], worker="dead") == ["accepted"]
        await store.leave(dead)
    finally:
        await store.close()
    await remove(storage_url, 1, 1)

    app = await open_app()

    await app.signal("healthy", "go")
    assert await app.handle("healthy").result(timeout=60) == 100
    await reason_is(app, "damaged", "row 1 is missing")
