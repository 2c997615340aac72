"""A call that writes answers or raises within `answer_within`, whatever has become of the database."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceEndedError,
    OutcomeUnknownError,
    RetryPolicy,
    Romancy,
    Status,
    StorageUnavailableError,
    UsageError,
    Workflow,
    WorkflowContext,
    activity,
    workflow,
)
from romancy.starting import submissions
from romancy.sync import SyncRomancy
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy_conformance.proxy import Proxy

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres", "mysql", "mariadb", "tidb", "vitess")]

WITHIN = 0.4
SOON = 30
"""No call may take so long."""

broken: list[bool] = []


@workflow
async def answered_waits(ctx: WorkflowContext, text: str) -> str:
    await ctx.report(text)
    data = (await ctx.wait_event("go")).data
    await ctx.report(data)
    return text + str(data)


@activity(retry=RetryPolicy.none())
async def answered_shaky() -> None:
    if broken:
        raise ValueError("not yet")


@workflow
async def answered_fails(ctx: WorkflowContext) -> str:
    await answered_shaky()
    return "went"


class Away:
    """An app whose database can be taken away."""

    def __init__(self, app: Romancy, proxy: Proxy, way: str) -> None:
        self.app = app
        self._proxy = proxy
        self.way = way

    def leave(self) -> None:
        if self.way == "stopped":
            self._proxy.do(lambda: setattr(self._proxy, "refuses", True))
            self._proxy.cut()
        else:
            self._proxy.black_hole()

    def come_back(self) -> None:
        self._proxy.do(lambda: setattr(self._proxy, "refuses", False))
        self._proxy.heal()


@pytest.fixture(params=["stopped", "a black hole"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["client", "worker"])
async def away(
    request: pytest.FixtureRequest, storage_url: str, proxy_for: Callable[[str], Proxy], way: str
) -> AsyncGenerator[Away]:
    broken.clear()
    proxy = proxy_for(storage_url)
    workflows: list[Workflow[..., Any]] = [answered_waits, answered_fails]
    async with Romancy(
        proxy.url(storage_url), workflows=workflows, worker=request.param, answer_within=WITHIN, drain_timeout=0
    ) as app:
        gone = Away(app, proxy, way)
        yield gone
        gone.come_back()


async def refused(call: Awaitable[Any]) -> StorageUnavailableError:
    """Return the error of a call while the database is away."""
    async with asyncio.timeout(SOON):
        with pytest.raises(StorageUnavailableError) as caught:
            await call
    return caught.value


async def no_ids(_store: object, _ids: object) -> set[str]:
    """The answer of a database that has none of these instances."""
    return set()


async def exists(app: Romancy, instance_id: str) -> bool:
    return await app.get_instance(instance_id) is not None


async def repeated(call: Callable[[], Awaitable[Any]]) -> None:
    """Repeat a call until it is answered in time, which takes several on a slow machine; a repetition must be safe."""

    async def answered() -> bool:
        try:
            await call()
        except StorageUnavailableError:
            return False
        return True

    await until(answered)


async def answers(app: Romancy) -> None:
    """Wait until the database is back."""
    await repeated(lambda: app.get_instance("nobody"))


async def start_one(app: Romancy) -> None:
    """Start an instance while the database is there."""
    await repeated(lambda: app.start(answered_waits.options(instance_id="there"), "x"))


async def test_every_call_that_writes_raises_in_time(away: Away) -> None:
    app = away.app
    await start_one(app)
    away.leave()

    calls: dict[str, Awaitable[Any]] = {
        "start": app.start(answered_waits.options(instance_id="s"), "x"),
        "start_many": app.start_many([answered_waits.options(instance_id=f"m-{n}").bind("x") for n in range(3)]),
        "signal": app.signal("there", "go", "y"),
        "signal with an id": app.signal("there", "go", "y", id="k"),
        "send": app.send("other", 1, key="k"),
        "publish on a channel": app.channel("c").publish(1),
        "cancel": app.cancel("there"),
        "terminate": app.terminate("there"),
        "retry": app.retry("there"),
        "resume": app.resume("there"),
        "purge": app.purge("there"),
        "signal_with_start": app.signal_with_start(answered_waits.options(instance_id="w").bind("x"), "go", "y"),
    }
    errors = dict(zip(calls, await asyncio.gather(*map(refused, calls.values())), strict=True))

    for name, error in errors.items():
        assert "hunter2" not in str(error), name
        if isinstance(error, OutcomeUnknownError) and name == "signal with an id":
            assert ("k", ("there",)) == (error.message_id, error.instance_ids)


async def test_what_is_repeated_under_its_id_happens_once(away: Away) -> None:
    app = away.app
    await start_one(app)
    away.leave()
    start = answered_waits.options(instance_id="s")
    error = await refused(app.start(start, "x"))
    if isinstance(error, OutcomeUnknownError):
        assert ("s",) == error.instance_ids
    await refused(app.signal("there", "go", "y", id="k"))

    away.come_back()
    await answers(app)

    await repeated(lambda: app.start(start, "x"))
    await repeated(lambda: app.signal("there", "go", "y", id="k"))
    assert 1 == len((await app.list_instances(instance_id="s")).instances)
    assert 1 >= len((await app.list_instances(instance_id="s", status=["waiting", "pending", "running"])).instances)


async def test_a_start_that_was_not_sent_never_happens(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is on its way to the database. The others wait behind it, and their callers give up."""
    app = away.app
    monkeypatch.setattr(submissions, "taken_ids_of", no_ids)  # else they would wait for the answer about their ids
    await until(lambda: app._starter.writer.idle)  # pyright: ignore[reportPrivateUsage]
    away.leave()
    first = asyncio.create_task(refused(app.start(answered_waits.options(instance_id="first"), "x")))
    await until(lambda: not app._starter.writer.idle)  # pyright: ignore[reportPrivateUsage]
    late = asyncio.create_task(refused(app.start(answered_waits.options(instance_id="late"), "x")))
    given_up = asyncio.create_task(app.start(answered_waits.options(instance_id="given-up"), "x"))
    many = asyncio.create_task(
        refused(app.start_many([answered_waits.options(instance_id=f"many-{n}").bind("x") for n in range(2000)]))
    )
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([first, late, given_up, many])

    assert given_up.cancelled()
    error = first.result()
    if away.way == "a black hole":
        assert isinstance(error, OutcomeUnknownError)
        assert ("first",) == error.instance_ids
    never = ["given-up"]
    for withdrawn, names in ((late.result(), ["late"]), (many.result(), ["many-0", "many-1999"])):
        if away.way == "stopped" and isinstance(withdrawn, OutcomeUnknownError):
            continue  # the first one was given up before, so this was being sent when its own time was over
        assert not isinstance(withdrawn, OutcomeUnknownError)
        assert "nothing was sent" in str(withdrawn)
        never += names
    away.come_back()
    await answers(app)
    await until(lambda: app._starter.writer.idle)  # pyright: ignore[reportPrivateUsage]
    for unsent in never:
        assert not await exists(app, unsent), unsent


async def test_a_start_whose_question_is_not_answered_never_happens(away: Away) -> None:
    """A client asks nothing and sends the start."""
    app = away.app
    works = app._access.worker is not None  # pyright: ignore[reportPrivateUsage]
    away.leave()

    error = await refused(app.start(answered_waits.options(instance_id="asks"), "x"))

    away.come_back()
    await answers(app)
    if works and away.way == "a black hole":
        assert not isinstance(error, OutcomeUnknownError)
    if not isinstance(error, OutcomeUnknownError):
        assert not await exists(app, "asks")


async def test_starts_of_one_call_that_may_have_been_sent_are_named(away: Away) -> None:
    app = away.app
    await start_one(app)
    away.leave()
    ids = [f"m-{n}" for n in range(5)]

    error = await refused(app.start_many([answered_waits.options(instance_id=one).bind("x") for one in ids]))

    if isinstance(error, OutcomeUnknownError):
        assert set(error.instance_ids) <= set(ids)
        assert error.instance_ids
    away.come_back()
    started: list[str] = []

    async def start_all() -> None:
        handles = await app.start_many([answered_waits.options(instance_id=one).bind("x") for one in ids])
        started[:] = [handle.instance_id for handle in handles]

    await repeated(start_all)
    assert ids == started


async def test_a_retry_that_was_not_answered_can_be_asked_for_again(away: Away, storage_url: str) -> None:
    broken[:] = [True]
    async with Romancy(storage_url, workflows=[answered_fails]) as other:
        await other.start(answered_fails.options(instance_id="f"))
        await status_is(other, "f", Status.FAILED)
        away.leave()
        await refused(away.app.retry("f"))
        broken.clear()
        away.come_back()
        await answers(away.app)

        async def retry() -> None:
            with suppress(UsageError):  # an earlier one has taken effect
                await away.app.retry("f")

        await repeated(retry)
        assert "went" == await other.handle("f").result(timeout=SOON)


async def test_a_caller_that_waits_for_a_report_outlasts_an_outage(away: Away) -> None:
    app = away.app
    async with Romancy(app.url, workflows=[answered_waits], worker=not app._works) as other:  # pyright: ignore[reportPrivateUsage]
        await start_one(app)
        assert "x" == await app.report("there", wait="x".__eq__, timeout=SOON)
        waits = asyncio.create_task(app.report("there", wait="y".__eq__, timeout=SOON))
        away.leave()
        with pytest.raises(TimeoutError):
            await app.report("there", wait="z".__eq__, timeout=WITHIN)
        away.come_back()
        await answers(app)
        await other.signal("there", "go", "y")
        assert "y" == await waits


async def test_work_in_progress_goes_on_when_the_database_is_back(away: Away) -> None:
    app = away.app
    await start_one(app)
    away.leave()
    await refused(app.signal("there", "go", "lost"))
    away.come_back()
    await answers(app)

    async with Romancy(app.url, workflows=[answered_waits]):
        with suppress(InstanceEndedError):  # the first signal has taken effect
            await repeated(lambda: app.signal("there", "go", "y", id="k"))
        assert await app.handle("there").result(timeout=SOON) in ("xy", "xlost")


@pytest.mark.backends("postgres")
async def test_a_call_in_a_transaction_of_the_caller_raises_in_time(away: Away) -> None:
    import asyncpg  # noqa: PLC0415 - the driver of this database alone

    connection = await asyncpg.connect(away.app.url.partition("?")[0])
    try:
        await connection.execute("begin")
        away.leave()
        start = await refused(away.app.start(answered_waits.options(instance_id="joined"), "x", session=connection))
        assert not isinstance(start, OutcomeUnknownError)
    finally:
        connection.terminate()
    away.come_back()
    await answers(away.app)
    assert not await exists(away.app, "joined")


def test_blocking_callers_get_the_same(storage_url: str, proxy_for: Callable[[str], Proxy], way: str) -> None:
    proxy = proxy_for(storage_url)
    with SyncRomancy(
        proxy.url(storage_url), workflows=[answered_waits], worker=False, answer_within=WITHIN, drain_timeout=0
    ) as app:
        app.start(answered_waits.options(instance_id="there"), "x")
        Away(None, proxy, way).leave()  # type: ignore[arg-type]
        with pytest.raises(StorageUnavailableError):
            app.start(answered_waits.options(instance_id="s"), "x")
        with pytest.raises(StorageUnavailableError):
            app.signal("there", "go", "y")
        Away(None, proxy, way).come_back()  # type: ignore[arg-type]
