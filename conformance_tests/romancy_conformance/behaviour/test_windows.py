"""Windows: calls that come to one start, with the last arguments or with all, whoever calls and whatever dies."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    CodecError,
    InstanceConflictError,
    InstanceNotFoundError,
    PayloadTooLargeError,
    Romancy,
    SerializationError,
    Status,
    UsageError,
    WindowHandle,
    WorkflowCancelledError,
    WorkflowContext,
    workflow,
)
from romancy.core import WorkflowContinued
from romancy.serialization import dumps
from romancy.storage.limits import MAX_EVENT_BYTES
from romancy.windows.asking import LINGERS
from romancy.windows.records import Of
from romancy.workflow import Call
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy import PayloadContext
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

SOON = 60.0
LONG = 3600.0


class Turning:
    """Makes what is stored longer, as encryption does, and protects nothing."""

    id = "turning"

    def encode(self, data: bytes, context: PayloadContext, /) -> bytes:
        return data[::-1]

    def decode(self, data: bytes, context: PayloadContext, /) -> bytes:
        return data[::-1]


@workflow
async def reindexed(ctx: WorkflowContext, document: str, version: int = 0) -> str:
    return f"{document} {version}"


@workflow
async def indexed(ctx: WorkflowContext, documents: list[str]) -> list[str]:
    return documents


@workflow
async def measured(ctx: WorkflowContext, documents: list[str]) -> list[int]:
    return [len(each) for each in documents]


async def result_of(handle: WindowHandle[Any]) -> Any:
    return await (await handle.started(SOON)).result(SOON)


async def starts_of(app: Romancy, handle: WindowHandle[Any]) -> list[Any]:
    """The results of all that a window has started, in the order of their starts."""
    found = [one async for one in app.iter_instances(parent=handle.instance_id)]
    found.sort(key=lambda one: (one.created_at, one.instance_id))
    return [await app.handle(one.instance_id).result(SOON) for one in found]


# ── debounce ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_calls_that_follow_one_another_start_once_with_the_last_arguments(app: Romancy) -> None:
    calls = [await app.debounce(reindexed.bind("a", version), "a", wait=0.5) for version in range(5)]
    assert [await result_of(call) for call in calls] == ["a 4"] * 5
    assert await starts_of(app, calls[0]) == ["a 4"]


async def test_each_key_has_its_own_window(app: Romancy) -> None:
    calls = [await app.debounce(reindexed.bind(key, 1), key, wait=0.05) for key in ("a", "b", "a:b", "")]
    calls.append(await app.debounce(reindexed.bind("7", 1), 7, wait=0.05))
    assert [await result_of(call) for call in calls] == ["a 1", "b 1", "a:b 1", " 1", "7 1"]


async def test_calls_that_never_rest_start_in_the_end(app: Romancy) -> None:
    since = asyncio.get_running_loop().time()
    first = await app.debounce(reindexed.bind("a", 0), "a", wait=30.0, max_wait=LONG)
    for version in range(1, 5):
        await app.debounce(reindexed.bind("a", version), "a", wait=30.0, max_wait=LONG)
    last = await app.debounce(reindexed.bind("a", 5), "a", wait=0.3, max_wait=0.3)
    assert await result_of(first) == await result_of(last) == "a 5"
    assert asyncio.get_running_loop().time() - since < 30.0


async def test_a_call_behind_the_window_opens_the_next_one(app: Romancy) -> None:
    for version in range(3):
        call = await app.debounce(reindexed.bind("a", version), "a", wait=0.01)
        assert await result_of(call) == f"a {version}"
    window = await app.window_handle("debounce", "reindexed", "a").get()
    assert window is not None
    assert (window.kind, window.workflow, window.key) == ("debounce", "reindexed", "a")
    assert (window.started, window.since, [one.calls for one in window.starts]) == (3, None, [1, 1, 1])


async def test_what_is_started_has_the_options_of_the_last_call(app: Romancy) -> None:
    await app.debounce(reindexed.options(priority=1, headers={"by": "a"}).bind("a"), "a", wait=0.3)
    last = reindexed.options(priority=7, headers={"by": "b"}, timeout=LONG)
    started = await (await app.debounce(last.bind("a"), "a", wait=0.3)).started(SOON)
    await started.result(SOON)
    found = await app.get_instance(started.instance_id)
    assert found is not None
    assert (found.priority, found.headers["by"]) == (7, "b")
    assert started.instance_id.startswith("reindexed:a@")


async def test_a_workflow_that_is_known_by_its_name(open_app: Open) -> None:
    await open_app(workflows=[reindexed])
    client = await open_app(workflows=[], worker=False)
    call = await client.debounce(client.workflow("reindexed").bind(document="a", version=2), "a", wait=0.01)
    assert await result_of(call) == "a 2"


async def test_a_call_with_a_known_id_has_no_effect(app: Romancy) -> None:
    first, *_ = [
        await app.debounce(reindexed.bind("a", version), "a", wait=0.4, id=one) for version, one in enumerate("xyx")
    ]
    assert await result_of(first) == "a 1"
    again = await app.debounce(reindexed.bind("a", 9), "a", wait=0.01, id="y")
    assert await result_of(again) == "a 1"
    assert await starts_of(app, again) == ["a 1"]


# ── batch ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_starts_when_it_is_full(open_app: Open) -> None:
    client = await open_app(worker=False)
    calls = [await client.batch(indexed, f"d{number}", "all", size=4, within=0.5) for number in range(13)]
    app = await open_app()
    assert await result_of(calls[-1]) == ["d12"]
    found = await starts_of(app, calls[0])
    assert sorted(found) == sorted(
        [["d0", "d1", "d2", "d3"], ["d4", "d5", "d6", "d7"], ["d8", "d9", "d10", "d11"], ["d12"]]
    )


async def test_a_batch_starts_when_its_time_is_over(app: Romancy) -> None:
    calls = [await app.batch(indexed, name, "all", size=100, within=0.5) for name in "abc"]
    assert await result_of(calls[0]) == await result_of(calls[2]) == ["a", "b", "c"]


async def test_a_batch_of_large_items_starts_before_it_is_full(app: Romancy) -> None:
    calls = [await app.batch(indexed, str(number) * 300_000, "all", size=100, within=LONG) for number in range(4)]
    await calls[3].flush()
    assert [len(each) for each in [await result_of(calls[0]), await result_of(calls[3])]] == [3, 1]


async def test_an_item_has_at_most_half_of_what_an_input_may_have(app: Romancy) -> None:
    with pytest.raises(PayloadTooLargeError, match=r"batch of workflow indexed, one item: 1,100,002 bytes, at most"):
        await app.batch(indexed, "x" * 1_100_000, "all", size=2, within=LONG)


@pytest.mark.parametrize("codecs", [[], [Turning()]])
@pytest.mark.parametrize("sizes", [[190_000] * 40, [600_000] * 8, [700_000, 780_000, 780_000]])
async def test_large_items_that_come_at_once_go_into_several_commits(
    open_app: Open, sizes: list[int], codecs: list[Any]
) -> None:
    client = await open_app(worker=False, codecs=codecs)
    lengths = [size + number for number, size in enumerate(sizes)]
    calls = [await client.batch(measured, "x" * each, "all", size=100, within=0.5) for each in lengths]
    app = await open_app(codecs=codecs)
    last = await calls[-1].started(SOON)
    found = sorted(await starts_of(app, calls[0]))  # those of one commit began at the same time
    assert [one for each in found for one in each] == lengths
    whole = [app._access.stored_size(dumps({"documents": ["x" * one for one in each]}, "")) for each in found]  # pyright: ignore[reportPrivateUsage]
    assert max(whole) <= MAX_EVENT_BYTES
    assert await app.handle(last.instance_id).result(SOON) == found[-1]


@pytest.mark.parametrize("codecs", [[], [Turning()]])
async def test_the_largest_call_that_is_taken_goes_into_the_next_run_of_its_window(
    open_app: Open, codecs: list[Any]
) -> None:
    """The window has more to say than the call: it says so to who calls, and does not fail later."""
    client = await open_app(worker=False, codecs=codecs)
    key, size, refused = "\x01" * 150, MAX_EVENT_BYTES, ""
    call: WindowHandle[Any] | None = None
    while call is None:
        size -= 4096
        try:
            call = await client.debounce(measured.bind(["x" * size]), key, wait=LONG)
        except PayloadTooLargeError as error:
            refused = str(error)
    assert refused.startswith("debounce of workflow measured")
    for _ in range(8_000_000 // size + 1):
        await client.debounce(measured.bind(["x" * size]), key, wait=LONG)
    await call.flush()
    await open_app(codecs=codecs)
    assert await result_of(call) == [size]
    runs = [event for event in await client.history(call.instance_id) if isinstance(event, WorkflowContinued)]
    assert runs


@pytest.mark.long
async def test_thousands_of_calls_in_one_window(app: Romancy) -> None:
    """The log of a run stays short, and a call before the last run is still known."""
    first = await app.debounce(reindexed.bind("a", -1), "a", wait=LONG)
    for portion in range(20):
        await asyncio.gather(*(app.debounce(reindexed.bind("a", portion), "a", wait=LONG) for _ in range(125)))
    await first.flush()
    assert await result_of(first) == "a 19"
    assert await starts_of(app, first) == ["a 19"]
    runs = [event for event in await app.history(first.instance_id) if isinstance(event, WorkflowContinued)]
    assert runs


# ── what it costs ───────────────────────────────────────────────────────────────────────────────────────────────────


class CountsCalls(WrappedStore):
    """A store that counts what it is asked to write and to read of an instance."""

    async def read(self, instance_id: str, /, **options: Any) -> Any:
        calls_made["read"] += 1
        return await self._store.read(instance_id, **options)

    async def deliver(self, batch: Any, /) -> Any:
        calls_made["deliver"] += 1
        return await self._store.deliver(batch)

    async def commit(self, batch: Any, /, **options: Any) -> Any:
        calls_made["commit"] += 1
        return await self._store.commit(batch, **options)


calls_made = Counter[str]()


async def test_a_call_is_one_read_and_one_commit(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    wrap_stores(monkeypatch, CountsCalls)
    client = await open_app(worker=False)
    made: list[Counter[str]] = []
    for version in range(3):
        calls_made.clear()
        await client.debounce(reindexed.bind("a", version), "a", wait=LONG)
        made.append(calls_made.copy())
    opens, joins = Counter(read=1, commit=1), Counter(read=1, deliver=1)
    assert made == [opens, joins, joins]


async def test_a_burst_is_received_in_few_commits(open_app: Open) -> None:
    client = await open_app(worker=False)
    for _ in range(5):  # all at once, the last ones would wait longer than a call may on a loaded machine
        await asyncio.gather(*(client.debounce(reindexed.bind("a", 0), "a", wait=LONG) for _ in range(100)))
    last = await client.debounce(reindexed.bind("a", 0), "a", wait=0.2)
    app = await open_app()
    assert await result_of(last) == "a 0"
    page = await app._access.opened().read(last.instance_id)  # pyright: ignore[reportPrivateUsage]
    assert page is not None
    assert len(page.rows) < 30


# ── many callers ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
async def test_eight_callers_and_two_workers(open_app: Open) -> None:
    """Instances of windows end all the time, and no call is lost, doubled, or comes into a batch that is full."""
    apps = [await open_app() for _ in range(2)] + [await open_app(worker=False) for _ in range(2)]
    LINGERS.set(20_000)  # so that they end

    async def calls(number: int) -> list[WindowHandle[Any]]:
        chance = random.Random(number)
        made: list[WindowHandle[Any]] = []
        for count in range(25):
            app = apps[(number + count) % len(apps)]
            made.append(await app.batch(indexed, f"{number}.{count}", "all", size=3, within=0.02))
            await asyncio.sleep(chance.choice((0.0, 0.0, 0.02, 0.04)))
        return made

    await asyncio.gather(*map(calls, range(8)))
    names = {f"{number}.{count}" for number in range(8) for count in range(25)}
    found: list[list[str]] = []

    async def all_started() -> bool:
        rows = [one async for one in apps[0].iter_instances(workflow_name="indexed", with_results=True)]
        found[:] = [one.result for one in rows if one.status is Status.COMPLETED]
        return sum(map(len, found)) >= len(names)

    await until(all_started)
    assert sorted(one for each in found for one in each) == sorted(names)
    assert all(len(each) <= 3 for each in found)


@pytest.mark.long
async def test_an_instance_that_is_about_to_end_hears_the_call_before_it(open_app: Open) -> None:
    """A call and the end of the instance race. The debounce never leaves out the last one."""
    apps = [await open_app(), await open_app(worker=False)]
    LINGERS.set(10_000)
    for version in range(20):
        call = await apps[1].debounce(reindexed.bind("a", version), "a", wait=0.005)
        assert await apps[0].handle((await call.started(SOON)).instance_id).result(SOON) == f"a {version}"
        await asyncio.sleep(random.random() * 0.03)


async def test_calls_that_waited_for_a_worker_longer_than_a_window_goes_on(open_app: Open) -> None:
    """Each commit receives as many messages as there are waits; the others lie in the inbox, and nothing ends."""
    LINGERS.set(1)
    client = await open_app(worker=False)
    calls = [await client.batch(indexed, f"d{number}", "all", size=1, within=0.001) for number in range(40)]
    app = await open_app()
    for number, call in enumerate(calls):
        started = await call.started(SOON)
        assert await app.handle(started.instance_id).result(SOON) == [f"d{number}"]


# ── what a window can be told ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_window_is_flushed(app: Romancy) -> None:
    call = await app.batch(indexed, "a", "all", size=10, within=LONG)
    await call.flush()
    assert await result_of(call) == ["a"]
    await call.flush()  # nothing is left
    await app.window_handle("batch", "indexed", "none").flush()


async def test_a_window_is_dropped(app: Romancy) -> None:
    dropped = await app.batch(indexed, "a", "all", size=2, within=LONG)
    await dropped.drop()
    await app.batch(indexed, "b", "all", size=2, within=LONG)
    kept = await app.batch(indexed, "c", "all", size=2, within=LONG)
    assert await result_of(kept) == ["b", "c"]
    with pytest.raises(InstanceNotFoundError, match="dropped"):
        await dropped.started(SOON)


@pytest.mark.parametrize("received", [True, False])
@pytest.mark.parametrize("act", ["cancel", "terminate"])
async def test_a_call_whose_window_was_stopped_has_come_to_nothing(open_app: Open, act: str, *, received: bool) -> None:
    """Another life of the window goes on beside it, and knows nothing of the call."""
    client = await open_app(worker=False)
    lost = await client.debounce(reindexed.bind("a", 1), "a", wait=LONG)
    app = await open_app() if received else client
    if received:
        await app.report(lost.instance_id, wait=lambda told: told.get("since"), timeout=SOON)
    waiting = asyncio.create_task(lost.started(SOON))
    await (app.cancel if act == "cancel" else app.terminate)(lost.instance_id)
    app = app if received else await open_app()
    with pytest.raises(WorkflowCancelledError):
        await app.handle(lost.instance_id).result(SOON)
    kept = await app.debounce(reindexed.bind("a", 2), "a", wait=LONG)
    for begun in (waiting, lost.started(SOON)):
        with pytest.raises(InstanceNotFoundError, match="stopped"):
            await begun
    await kept.flush()
    assert await result_of(kept) == "a 2"


async def test_a_call_before_the_last_life_of_its_window_is_forgotten(open_app: Open) -> None:
    LINGERS.set(10_000)
    app = await open_app()
    first = await app.debounce(reindexed.bind("a", 1), "a", wait=0.01)
    await app.handle(first.instance_id).result(SOON)
    LINGERS.set(300_000_000)
    next_one = await app.debounce(reindexed.bind("a", 2), "a", wait=LONG)
    with pytest.raises(InstanceNotFoundError, match="long ago"):
        await first.started(SOON)
    await next_one.flush()
    assert await result_of(next_one) == "a 2"


async def test_a_window_that_is_open(app: Romancy) -> None:
    assert await app.window_handle("debounce", "reindexed", "a").get() is None
    call = await app.debounce(reindexed.bind("a"), "a", wait=LONG)
    await app.report(call.instance_id, wait=lambda told: told.get("since"), timeout=SOON)
    window = await app.window_handle("debounce", "reindexed", "a").get()
    assert window is not None
    assert window.since is not None
    assert window.due == window.since + timedelta(seconds=LONG)
    with pytest.raises(TimeoutError):
        await call.started(0.01)
    reasons = await app.explain(call.instance_id)
    assert sum("romancy.window" in reason for reason in reasons) == 1


@pytest.mark.parametrize("received", [True, False])
async def test_what_an_open_window_holds_is_counted(open_app: Open, *, received: bool) -> None:
    """A worker is not needed: what lies in the inbox counts as well."""
    client = await open_app(worker=False)
    handle = await client.batch(indexed, "d0", "all", size=3, within=LONG)
    for number in range(1, 8):
        await client.batch(indexed, f"d{number}", "all", size=3, within=SOON)
    app = await open_app() if received else client
    if received:
        await app.report(handle.instance_id, wait=lambda told: told.get("started") == 2, timeout=SOON)
        await until_told(handle, 2)
    (window,) = (await app.windows()).windows
    assert window == await handle.get()
    assert (window.kind, window.workflow, window.key, window.calls) == ("batch", "indexed", "all", 2)
    assert window.since is not None
    assert window.due == window.since + timedelta(seconds=SOON)
    await handle.drop()
    await until_told(handle, 0)
    assert (await app.windows()).windows == []


async def test_windows_are_listed_page_by_page(open_app: Open) -> None:
    """No worker is needed. A page counts windows before those without calls are left out."""
    app = await open_app(worker=False)
    for number in range(5):
        await app.debounce(reindexed.bind("a"), number, wait=LONG)
    dropped = app.window_handle("debounce", "reindexed", 3)
    await dropped.drop()

    first = await app.windows(limit=3)
    second = await app.windows(limit=3, page_token=first.next_page_token)

    assert [[one.key for one in page.windows] for page in (first, second)] == [["4", "2"], ["1", "0"]]
    assert (first.has_more, second.has_more) == (True, False)
    with pytest.raises(UsageError, match="limit"):
        await app.windows(limit=0)


async def until_told(handle: WindowHandle[Any], calls: int) -> None:
    async def holds() -> bool:
        window = await handle.get()
        return window is not None and window.calls == calls

    await until(holds)


class ReceivedWhileLooked(WrappedStore):
    """A store in which a worker receives everything between two statements of somebody who looks."""

    async def read(self, instance_id: str, /, **options: Any) -> Any:
        found = await self._store.read(instance_id, **options)
        if (event := between.pop(instance_id, None)) is not None:
            await event()
        return found


between: dict[str, Any] = {}


async def test_a_call_that_is_received_while_it_is_looked_at_is_counted_once(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await open_app(worker=False)
    call = await client.debounce(reindexed.bind("a"), "a", wait=LONG)
    with monkeypatch.context() as patched:
        wrap_stores(patched, ReceivedWhileLooked)
        looking = await open_app(worker=False)

    async def receive() -> None:
        app = await open_app()
        await app.report(call.instance_id, wait=lambda told: told.get("since"), timeout=SOON)

    between[call.instance_id] = receive
    window = await looking.window_handle("debounce", "reindexed", "a").get()
    assert between == {}
    assert window is not None
    assert window.calls == 1


async def test_due_is_put_off_by_each_call(app: Romancy) -> None:
    handle = await app.debounce(reindexed.bind("a"), "a", wait=SOON)
    await app.report(handle.instance_id, wait=lambda told: told.get("since"), timeout=SOON)
    first = await handle.get()
    await app.debounce(reindexed.bind("a"), "a", wait=LONG)
    await until_told(handle, 2)
    then = await handle.get()
    assert first is not None
    assert then is not None
    assert first.due is not None
    assert then.due is not None
    assert then.since == first.since
    assert then.due >= first.due + timedelta(seconds=LONG - SOON)


@pytest.mark.long
async def test_what_a_window_holds_is_known_across_runs_and_closes(open_app: Open) -> None:
    """The run of a window recurs with what is open, and calls of closed ones are not counted again."""
    app = await open_app()
    handle = await app.batch(indexed, "x" * 300_000, "all", size=100, within=LONG)
    for number in range(1, 32):
        await app.batch(indexed, str(number % 10) * 300_000, "all", size=100, within=LONG)
    await app.report(handle.instance_id, wait=lambda told: told.get("started") == 10, timeout=SOON)
    await until_told(handle, 2)
    window = await handle.get()
    assert window is not None
    assert (window.started, window.calls) == (10, 2)
    assert [event for event in await app.history(handle.instance_id) if isinstance(event, WorkflowContinued)]


@pytest.mark.parametrize("act", ["cancel", "terminate", "purge"])
async def test_a_window_that_is_over_holds_nothing(app: Romancy, act: str) -> None:
    handle = await app.debounce(reindexed.bind("a"), "a", wait=LONG)
    await app.report(handle.instance_id, wait=lambda told: told.get("since"), timeout=SOON)
    await (app.cancel if act == "cancel" else app.terminate)(handle.instance_id)
    with pytest.raises(WorkflowCancelledError):
        await app.handle(handle.instance_id).result(SOON)
    if act == "purge":
        await app.purge(handle.instance_id)
        assert await handle.get() is None
    else:
        window = await handle.get()
        assert window is not None
        assert (window.calls, window.since, window.due) == (0, None, None)
    assert (await app.windows()).windows == []


async def test_a_window_whose_codec_is_not_here_says_so(open_app: Open) -> None:
    app = await open_app(codecs=[Masking()])
    handle = await app.debounce(reindexed.bind("a"), "a", wait=LONG)
    await app.report(handle.instance_id, wait=lambda told: told.get("since"), timeout=SOON)
    other = await open_app(worker=False)
    with pytest.raises(CodecError):
        await other.window_handle("debounce", "reindexed", "a").get()
    with pytest.raises(CodecError):
        await other.windows()
    await other.window_handle("debounce", "reindexed", "a").drop()
    await until_told(handle, 0)


@pytest.mark.parametrize(
    ("workflow", "key"), [("reindexed", "a"), ("a:b", "c"), ("a%3Ab", "c"), ("a", "b:c"), ("a%", ""), ("a", "%3A")]
)
def test_an_instance_id_says_whose_window_it_is(workflow: str, key: str) -> None:
    of = Of(kind="batch", workflow=workflow, key=key)
    assert Of.of_id(of.instance_id) == of


@pytest.mark.parametrize("instance_id", ["", "batch", "batch:", "batch:a", "lot:a:b", "batch:a%41:b"])
def test_an_instance_id_that_no_window_has(instance_id: str) -> None:
    assert Of.of_id(instance_id) is None


# ── transactions, codecs, other apps ────────────────────────────────────────────────────────────────────────────────


async def test_a_call_in_a_transaction_is_made_by_its_commit(app: Romancy, storage_url: str) -> None:
    connect = caller_for(storage_url)
    if connect is None:
        pytest.skip(f"the suite knows no driver for {storage_url.partition(':')[0]}")
    caller = await connect()
    await caller.begin()
    await app.debounce(reindexed.bind("a", 1), "a", wait=0.2, session=caller.connection)
    await caller.roll_back()
    await caller.begin()
    calls = [
        await app.debounce(reindexed.bind("a", version), "a", wait=0.4, session=caller.connection, id=id)
        for version, id in ((2, "x"), (2, "x"), (2, None))
    ]
    await caller.commit()
    await caller.close()
    assert [await result_of(call) for call in calls] == ["a 2"] * 3
    assert await starts_of(app, calls[0]) == ["a 2"]
    window = await calls[0].get()
    assert window is not None
    assert [one.calls for one in window.starts] == [2]


async def test_arguments_are_sealed_at_rest(open_app: Open) -> None:
    app = await open_app(codecs=[Masking()])
    call = await app.batch(indexed, "secret", "all", size=2, within=0.05)
    assert await result_of(call) == ["secret"]


async def test_a_worker_leaves_the_windows_of_other_workflows_alone(open_app: Open) -> None:
    other = await open_app(workflows=[indexed])
    call = await other.debounce(reindexed.bind("a", 1), "a", wait=0.01)
    mine = await other.batch(indexed, "a", "all", size=1, within=LONG)
    assert await result_of(mine) == ["a"]
    assert (await other.get_instance(call.instance_id)).status is not Status.STUCK  # type: ignore[union-attr]
    await open_app(workflows=[reindexed])
    assert await result_of(call) == "a 1"


async def test_an_instance_of_another_workflow_has_the_id(app: Romancy) -> None:
    await app.start(reindexed.options(instance_id="debounce:reindexed:a"), "x")
    with pytest.raises(InstanceConflictError):
        await app.debounce(reindexed.bind("a"), "a", wait=1)
    assert await app.window_handle("debounce", "reindexed", "a").get() is None


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@workflow
async def counts_up(ctx: WorkflowContext, number: int) -> int:
    return number


@workflow
async def takes_two(ctx: WorkflowContext, documents: list[str], language: str) -> None: ...


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"wait": 0}, "wait="),
        ({"wait": -1}, "wait="),
        ({"wait": "1"}, "wait="),
        ({"wait": 2, "max_wait": 1}, "max_wait= is shorter than wait="),
        ({"wait": 2, "max_wait": 0}, "max_wait="),
        ({"wait": 1, "id": ""}, "id="),
        ({"wait": 1e12}, "century"),
    ],
)
async def test_a_debounce_that_makes_no_sense(app: Romancy, options: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        await app.debounce(reindexed.bind("a"), "a", **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 0, "within": 1}, "size="),
        ({"size": True, "within": 1}, "size="),
        ({"size": 20_000, "within": 1}, "size="),
        ({"size": 1, "within": 0}, "within="),
    ],
)
async def test_a_batch_that_makes_no_sense(app: Romancy, options: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        await app.batch(indexed, "a", "all", **options)


@pytest.mark.parametrize("key", [None, 1.5, True, b"a", ["a"], "a" * 250, "a\x00"])
async def test_a_key_that_identifies_nothing(app: Romancy, key: Any) -> None:
    with pytest.raises(UsageError, match="key"):
        await app.debounce(reindexed.bind("a"), key, wait=1)


async def test_calls_that_start_nothing_are_refused(app: Romancy) -> None:
    untyped: Any = app
    with pytest.raises(UsageError, match=r"workflow\.bind"):
        await untyped.debounce(reindexed, "a", wait=1)
    with pytest.raises(UsageError, match="document"):
        await untyped.debounce(Call(reindexed, (), {}), "a", wait=1)
    with pytest.raises(SerializationError):
        await app.batch(indexed, 5, "all", size=1, within=1)
    for wf in (counts_up, takes_two, app.workflow("unknown_here")):
        with pytest.raises(UsageError, match="one list"):
            await app.batch(wf, "a", "all", size=1, within=1)
    with pytest.raises(UsageError, match="a workflow and one item"):
        await untyped.batch(indexed.bind(["a"]), "a", "all", size=1, within=1)
    with pytest.raises(UsageError, match="belongs to no call"):
        await app.window_handle("batch", "indexed", "all").started()


@pytest.mark.parametrize("options", [{"instance_id": "mine"}, {"delay": 5}])
async def test_options_that_the_window_decides_are_refused(app: Romancy, options: Any) -> None:
    call: Call[Any] = reindexed.options(**options).bind("a")
    with pytest.raises(UsageError, match="from the window"):
        await app.debounce(call, "a", wait=1)


async def test_a_handle_of_what_is_no_window_is_refused(app: Romancy) -> None:
    given: Any = reindexed
    with pytest.raises(UsageError, match="given by its name, not as a Workflow"):
        app.window_handle("debounce", given, "a")
    given = "debounced"
    with pytest.raises(UsageError, match="one of the kinds 'debounce', 'batch', not 'debounced'"):
        app.window_handle(given, "reindexed", "a")
