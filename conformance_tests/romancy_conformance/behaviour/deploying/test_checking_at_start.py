"""A worker of new code says some time after its start whether that fits what sleeps; it costs little."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, StorageUnavailableError, WorkflowContext, activity, workflow
from romancy.replaying import at_start
from romancy.status import Status
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

FEW = 3


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_start, "_AFTER", 0.0)


@activity
async def sampled_step(what: str) -> str:
    return what


def sampled(*plan: str, release: int = 1) -> list[Any]:
    """Return a workflow that does this and waits; each release is another version."""

    @workflow(name="sampled")
    async def body(ctx: WorkflowContext) -> None:
        for what in plan if release else ():
            await sampled_step(what)
        await ctx.wait_event("go")

    return [body]


class Looks:
    """Records what the check of an app has asked of its store, and whether it is over."""

    def __init__(self, app: Romancy) -> None:
        (self.task,) = [task for task in vars(app)["_tasks"] if "tell_misfits" in repr(task.get_coro())]
        store = vars(app)["_access"].store
        self.asked: list[str] = []
        for owner, name in ((store.services.reading, "find"), (store, "read")):
            setattr(owner, name, self._noting(name, getattr(owner, name)))

    def _noting(self, name: str, method: Any) -> Any:
        async def noted(*arguments: Any, **options: Any) -> Any:
            if asyncio.current_task() is self.task:
                self.asked.append(name)
            return await method(*arguments, **options)

        return noted


async def asleep(storage_url: str, code: list[Any], count: int = FEW) -> None:
    async with Romancy(storage_url, workflows=code, check_at_start=False) as app:
        await app.start_many([code[0].options(instance_id=f"s-{number}").bind() for number in range(count)])
        for number in range(count):
            await status_is(app, f"s-{number}", Status.WAITING)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "romancy check" in record.getMessage()]


async def test_code_that_does_not_fit_says_so_with_an_example(
    open_app: Open, storage_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await asleep(storage_url, sampled("pick", "weigh"))
    app = await open_app(workflows=sampled("weigh", "pick"))
    before = [(row, await app.history(row.instance_id)) async for row in app.iter_instances()]

    looks = Looks(app)
    await asyncio.wait_for(looks.task, 60)

    (said,) = warned(caplog)
    assert f"does not fit {FEW} of {FEW} open instances" in said
    assert f"One of them is s-{FEW - 1} of workflow sampled: the log says: activity sampled_step" in said
    assert before == [(row, await app.history(row.instance_id)) async for row in app.iter_instances()]


async def test_code_that_fits_says_nothing(open_app: Open, storage_url: str, caplog: pytest.LogCaptureFixture) -> None:
    await asleep(storage_url, sampled("pick", "weigh"))
    looks = Looks(await open_app(workflows=sampled("pick", "weigh", release=2)))

    await asyncio.wait_for(looks.task, 60)

    assert ([], ["find"], FEW) == (warned(caplog), looks.asked[:1], looks.asked.count("read"))


async def test_the_same_code_costs_a_search_and_no_replay(open_app: Open, storage_url: str) -> None:
    code = sampled("pick", "weigh")
    await asleep(storage_url, code)
    looks = Looks(await open_app(workflows=code))

    await asyncio.wait_for(looks.task, 60)

    assert ["find"] == looks.asked


async def test_of_workers_of_one_code_the_first_alone_looks(open_app: Open, storage_url: str) -> None:
    """A replay that ends its process, or never comes back, must not do so in each of them, and not at each start.

    The row of a worker that has ended without a word is there until another one has begun.
    """
    code = sampled("pick", "weigh", release=2)
    await asleep(storage_url, sampled("pick", "weigh"))
    first = await open_app(workflows=code)
    looks = Looks(first)
    await asyncio.wait_for(looks.task, 60)
    assert FEW == looks.asked.count("read")

    further = Looks(await open_app(workflows=code))
    await asyncio.wait_for(further.task, 60)
    assert [] == further.asked

    of_other_code = Looks(await open_app(workflows=sampled("pick", "weigh", release=3)))
    await asyncio.wait_for(of_other_code.task, 60)
    assert FEW == of_other_code.asked.count("read")


async def test_many_are_sampled_within_bounds(
    open_app: Open, storage_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_start, "_PAGE", 4)
    monkeypatch.setattr(at_start, "_MOST", 7)
    monkeypatch.setattr(at_start, "_AGES", (0,) * 6)
    await asleep(storage_url, sampled("pick", "weigh"), 12)
    looks = Looks(await open_app(workflows=sampled("weigh")))

    await asyncio.wait_for(looks.task, 60)

    (said,) = warned(caplog)
    assert "7 of 7 open instances" in said
    assert (2, 7) == (looks.asked.count("find"), looks.asked.count("read"))


async def test_it_can_be_left_and_ends_with_a_drain_and_with_the_app(
    open_app: Open, storage_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asleep(storage_url, sampled("pick", "weigh"))
    with pytest.raises(ValueError, match="not enough values"):
        Looks(await open_app(workflows=sampled("weigh"), check_at_start=False))

    drained = await open_app(workflows=sampled("weigh", release=2))
    looks = Looks(drained)
    vars(drained)["_access"].worker.draining = True
    await asyncio.wait_for(looks.task, 60)
    assert ["find"] == looks.asked

    monkeypatch.setattr(at_start, "_AFTER", 3600.0)
    async with Romancy(storage_url, workflows=sampled("weigh", release=3)) as closed:
        looks = Looks(closed)
    assert looks.task.cancelled()
    assert [] == warned(caplog)


async def test_a_database_that_does_not_answer_is_no_fault_of_the_worker(
    open_app: Open, storage_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await asleep(storage_url, sampled("pick", "weigh"))
    caplog.set_level(logging.INFO, "romancy")
    app = await open_app(workflows=sampled("weigh"))

    async def away(*_: Any, **__: Any) -> Any:
        raise StorageUnavailableError("away")

    vars(app)["_access"].store.services.reading.find = away
    looks = next(task for task in vars(app)["_tasks"] if "tell_misfits" in repr(task.get_coro()))
    await asyncio.wait_for(looks, 60)

    assert "cannot check whether this code fits open instances: away" in caplog.text
