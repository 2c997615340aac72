"""Somebody is told when workflows need a person: each time once, by several processes and over restarts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from romancy import RetryPolicy, Romancy, WorkflowContext, WorkflowFailedError, activity, workflow
from romancy.alerting.conditions import Thresholds, conditions_of
from romancy.alerting.keeper import KEEPER, telling_of_the_process
from romancy.alerting.records import ALERTS
from romancy.alerting.watching import Watch
from romancy.cli._alerts import AlertApp
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from romancy.alerting.records import Notice
    from romancy_conformance.behaviour.opening import Open

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]

SOON = Thresholds(waiting=0.0, failures=2)


@activity(retry=RetryPolicy.none())
async def alerted_refuse() -> None:
    raise ValueError("no")


fails_for_alerts = calling(alerted_refuse)


@workflow
async def never_yields(ctx: WorkflowContext) -> None:
    """It leaves the deterministic loop, so it is stuck."""
    await asyncio.get_running_loop().run_in_executor(None, print)


EVERYTHING: list[Any] = [waits, fails_for_alerts, never_yields]


class Pager:
    """Whoever is told. It fails as often as it was asked to."""

    def __init__(self, failures: int = 0) -> None:
        self.told: list[str] = []
        self._failures = failures

    async def tell(self, notices: Sequence[Notice], /) -> None:
        if self._failures:
            self._failures -= 1
            raise ConnectionError("nobody answers")
        self.told += [f"{each.condition.key} {each.state}" for each in notices]


@asynccontextmanager
async def alerting(url: str, pager: Pager) -> AsyncGenerator[AlertApp]:
    async with AlertApp(url, workflows=[KEEPER], check_at_start=False) as app:
        with app.override(telling_of_the_process, lambda: pager):
            yield app


async def settled(app: AlertApp, changes: int) -> None:
    """Wait until so many changes were told: one commit each reports what holds."""

    async def so() -> bool:
        history = [type(each).__name__ for each in await app.history(ALERTS)]
        return history.count("ProgressReported") > changes

    await until(so)


async def keys(app: AlertApp, thresholds: Thresholds = SOON) -> list[str]:
    return [one.key for one in (await conditions_of(app.store, thresholds)).conditions]


async def fail(app: Any, times: int) -> None:
    for _ in range(times):
        with pytest.raises(WorkflowFailedError):
            await (await app.start(fails_for_alerts)).result(timeout=60)


async def test_what_needs_a_person_is_found(open_app: Open, storage_url: str) -> None:
    async with alerting(storage_url, Pager()) as watching:
        assert await keys(watching) == ["workers"], "the worker of the alerts itself does not count"
        starter = await open_app(workflows=EVERYTHING, worker=False)
        await starter.start(waits)
        assert await keys(watching) == ["workers", f"waiting:{waits.name}"]
        assert await keys(watching, Thresholds(waiting=600.0)) == ["workers"]

        app = await open_app(workflows=EVERYTHING)
        await until(lambda: _equal(watching, []))
        await fail(app, 1)
        assert await keys(watching) == []
        await fail(app, 1)
        assert await keys(watching) == [f"failing:{fails_for_alerts.name}"]
        await app.start(never_yields)
        await until(lambda: _equal(watching, [f"stuck:{never_yields.name}", f"failing:{fails_for_alerts.name}"]))


async def _equal(app: AlertApp, expected: list[str]) -> bool:
    return await keys(app) == expected


async def test_each_is_told_once_by_two_and_over_a_restart(storage_url: str) -> None:
    pager = Pager()
    async with alerting(storage_url, pager) as one, alerting(storage_url, pager) as other:
        both = [Watch(one, SOON, 60.0), Watch(other, SOON, 60.0)]
        await asyncio.gather(*(each.look() for each in both))
        await settled(one, 1)
        await asyncio.gather(*(each.look() for each in both))
    async with alerting(storage_url, pager) as later:
        await Watch(later, SOON, 60.0).look()
        await settled(later, 1)
    assert pager.told == ["workers begins"]


async def test_the_end_is_told_when_it_lasts_and_a_second_time_is_told_anew(storage_url: str) -> None:
    pager = Pager()
    async with alerting(storage_url, pager) as watching:
        watch = Watch(watching, SOON, 60.0)
        await watch.look()
        await settled(watching, 1)
        async with Romancy(storage_url, workflows=EVERYTHING):
            await watch.look()
            await watch.look()
            assert pager.told == ["workers begins"], "it may come back"
            await watch.look()
            await settled(watching, 2)
            assert pager.told == ["workers begins", "workers is over"]
        await watch.look()
        await settled(watching, 3)
    assert pager.told == ["workers begins", "workers is over", "workers begins"]


async def test_who_does_not_answer_is_told_again(storage_url: str) -> None:
    pager = Pager(failures=2)
    async with alerting(storage_url, pager) as watching:
        await Watch(watching, SOON, 60.0).look()
        await settled(watching, 1)
    assert pager.told == ["workers begins"]


async def test_who_ended_the_instance_is_told_of_what_holds_then(storage_url: str) -> None:
    pager = Pager()
    async with alerting(storage_url, pager) as watching:
        watch = Watch(watching, SOON, 60.0)
        await watch.look()
        await settled(watching, 1)
        assert await watching.terminate(ALERTS)
        await watch.look()
        await settled(watching, 1)
    assert pager.told == ["workers begins"] * 2


async def test_without_news_nothing_is_written(storage_url: str) -> None:
    async with alerting(storage_url, Pager()) as watching:
        watch = Watch(watching, SOON, 60.0)
        await watch.look()
        await settled(watching, 1)
        length = len(await watching.history(ALERTS))
        for _ in range(20):
            await watch.look()
        assert len(await watching.history(ALERTS)) == length


async def test_a_check_before_a_deploy_knows_the_instance_of_the_alerts(open_app: Open, storage_url: str) -> None:
    async with alerting(storage_url, Pager()) as watching:
        await Watch(watching, SOON, 60.0).look()
        await settled(watching, 1)
    app = await open_app(workflows=EVERYTHING, worker=False)
    check = await app.check()
    assert (check.checked, check.fits) == (1, True)
