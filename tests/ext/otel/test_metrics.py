"""Metrics: what the hook and the gauges measure, and that the dashboard and the alert rules name nothing else."""

from __future__ import annotations

import importlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    TerminalError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.errors import StorageUnavailableError
from romancy.ext.otel import ATTRIBUTES, METRICS, Gauges, OpenTelemetry
from romancy.storage.backends import create_store
from romancy.storage.figures import Oldest, OpenWork
from romancy_conformance.behaviour.waiting import status_is, until
from tools.tree import ROOT

if TYPE_CHECKING:
    from romancy.ext.otel import Metric
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

FOLDER = ROOT / "docs" / "observing"
FAILED = ("fails", "failed", "romancy.errors.TerminalError")
failures: list[int] = []


@activity(retry=RetryPolicy.fixed(2, 0.0))
async def fails_once(name: str) -> None:
    failures.append(1)
    if len(failures) == 1:
        raise ConnectionError(name)


@workflow
async def retried(ctx: WorkflowContext) -> None:
    await fails_once("a")
    await ctx.publish("told")


@workflow
async def fails(ctx: WorkflowContext) -> None:
    raise TerminalError("no")


@workflow
async def waits(ctx: WorkflowContext) -> None:
    await ctx.wait_event("go")


class Measured:
    """What was measured, as (name, labels) and a number: the count of a histogram, else the value."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])

    def now(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Return the present numbers."""
        data: Any = self._reader.get_metrics_data()
        found: dict[tuple[str, tuple[str, ...]], float] = {}
        for resource in () if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                for one in scope.metrics:
                    for point in one.data.data_points:
                        has, labels = point.attributes, row(one.name).labels
                        assert set(has) <= set(labels)
                        assert set(labels) - set(has) <= {"error.type", "romancy.expected"}, "what has failed has these"
                        labels = tuple(has[name] for name in labels if name in has)
                        found[one.name, labels] = point.count if hasattr(point, "count") else point.value
        return found


def row(name: str) -> Metric:
    return next(metric for metric in METRICS if metric.name == name)


async def test_what_the_hook_measures(storage_url: str) -> None:
    failures.clear()
    measured = Measured()
    hook = OpenTelemetry(meter_provider=measured.provider)
    async with Romancy(storage_url, workflows=[retried, fails, waits], hooks=[hook]) as app:
        await app.run(retried)
        with pytest.raises(WorkflowFailedError):
            await app.run(fails)
        await until(lambda: ("romancy.workflow.duration", FAILED) in measured.now())

    found = measured.now()
    assert found.pop(("romancy.commit.duration", ())) >= 3
    assert found == {
        ("romancy.activity.duration", ("fails_once", "retrying", "ConnectionError")): 1,
        ("romancy.activity.duration", ("fails_once", "completed")): 1,
        ("romancy.activity.schedule_to_start", ("fails_once",)): 2,
        ("romancy.activity.retries", ("fails_once",)): 1,
        ("romancy.workflow.duration", ("retried", "completed")): 1,
        ("romancy.workflow.duration", FAILED): 1,
        ("romancy.sent", ("start",)): 2,
        ("romancy.sent", ("publish",)): 1,
    }


async def test_how_late_schedules_are_and_what_they_drop(storage_url: str) -> None:
    measured = Measured()
    late, skipped = ("romancy.schedule.schedule_to_start", ("waits",)), ("romancy.schedule.skipped", ("waits",))
    async with Romancy(storage_url, workflows=[waits], hooks=[OpenTelemetry(meter_provider=measured.provider)]) as app:
        schedule = await app.schedule("yearly", waits.bind(), cron="0 0 1 1 *")
        await schedule.trigger()
        await until(lambda: measured.now().get(late) == 1)
        await schedule.trigger()
        await schedule.trigger()
        await until(lambda: measured.now().get(skipped) == 2)
        await app.start(waits)
        await schedule.trigger(overlap="allow")
        await until(lambda: measured.now().get(late) == 2)

    assert 2 == measured.now()[skipped]


async def test_what_the_gauges_measure(storage_url: str) -> None:
    failures.clear()
    measured = Measured()
    async with Romancy(storage_url, workflows=[retried, waits]) as app:
        await app.run(retried)
        for _ in range(3):
            await status_is(app, (await app.start(waits)).instance_id, Status.WAITING)
        found: dict[tuple[str, tuple[str, ...]], float] = {}

        def is_complete() -> bool:
            found.update(measured.now())  # SDK 1.27 gives each value once, so every reading counts
            return ("romancy.waiting.oldest", ()) in found

        async with Gauges(app, every=1000, most=2, meter_provider=measured.provider):
            await until(is_complete)

    assert found["romancy.instances", ("waiting",)] == 2  # no more than `most`
    assert found["romancy.instances", ("stuck",)] == 0
    assert found["romancy.open", ("waits", "waiting")] == 2
    assert 0 < found["romancy.open.oldest", ("waits",)] < 600
    assert 0 < found["romancy.waiting.oldest", ()] < 600
    assert found["romancy.outbox.depth", ()] == 1
    assert 0 <= found["romancy.outbox.oldest", ()] < 600


async def test_a_workflow_without_open_instances_is_set_to_nothing(storage_url: str) -> None:
    measured, here, since = Measured(), ("romancy.open", ("waits", "waiting")), ("romancy.open.oldest", ("waits",))
    found: list[dict[tuple[str, tuple[str, ...]], float]] = []
    async with Romancy(storage_url, workflows=[waits]) as app:
        gauges = Gauges(app, meter_provider=measured.provider)
        handle = await app.start(waits)
        await status_is(app, handle.instance_id, Status.WAITING)
        await gauges.measure()
        found.append(measured.now())
        await app.terminate(handle.instance_id)
        await gauges.measure()
        found.append(measured.now())

    assert [1, 0] == [each[here] for each in found]
    assert found[0][since] > 0 == found[1][since]


def test_a_workflow_that_may_be_open_and_uncounted_keeps_its_last_values() -> None:
    """Two others, which are older, have begun to wait."""
    measured = Measured()
    gauges = Gauges(Romancy("memory://"), meter_provider=measured.provider)
    here, since = ("romancy.open", ("ship", "waiting")), ("romancy.open.oldest", ("ship",))
    ship, pay = ("ship", Status.WAITING), ("pay", Status.WAITING)
    found: dict[tuple[str, tuple[str, ...]], list[float]] = {here: [], since: []}
    for counts, more in (({ship: Oldest(1, 300)}, ()), ({pay: Oldest(2, 100)}, {Status.WAITING}), ({}, ())):
        gauges._measure_workflows(OpenWork(counts, frozenset(more)), 1_000_300)  # pyright: ignore[reportPrivateUsage]
        for key, value in measured.now().items():
            if key in found:
                found[key].append(value)

    assert {here: (1, 0), since: (1, 0)} == {key: (values[0], values[-1]) for key, values in found.items()}
    assert 0 not in found[here][:-1]


class Deaf:
    """A store whose heartbeats get no answer while it is cut off."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.cut_off = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def heartbeat(self, *args: Any, **kwargs: Any) -> Any:
        if self.cut_off:
            raise StorageUnavailableError("nobody answers")
        return await self._store.heartbeat(*args, **kwargs)


@pytest.mark.long
async def test_each_lost_lease_is_counted_once(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stores: list[Deaf] = []

    def create(url: str, **options: Any) -> Any:
        stores.append(Deaf(create_store(url, **options)))
        return stores[-1]

    monkeypatch.setattr("romancy.app.create_store", create)
    failures[:] = [1]
    measured, lost = Measured(), ("romancy.lease.lost", ())
    hook = OpenTelemetry(meter_provider=measured.provider)
    async with Romancy(storage_url, workflows=[retried], hooks=[hook], lease=1.0) as app:
        await app.run(retried)
        assert lost not in measured.now()
        for times in (1, 2):
            stores[0].cut_off = True
            await until(lambda times=times: measured.now().get(lost) == times)  # type: ignore[misc] # of this round
            stores[0].cut_off = False
            await app.run(retried)

    assert 2 == measured.now()[lost]


# ── the files beside the documentation ─────────────────────────────────────────────────────────────────────────────


def in_prometheus(metric: Metric) -> set[str]:
    """Return the names that the exporters for Prometheus give the metric."""
    name = metric.name.replace(".", "_")
    if metric.unit == "s":
        name += "_seconds"
    if metric.kind == "histogram":
        return {f"{name}_{part}" for part in ("bucket", "count", "sum")}
    return {f"{name}_total" if metric.kind == "counter" else name}


KNOWN = {name: metric for metric in METRICS for name in in_prometheus(metric)}
LABELS = {attribute.name.replace(".", "_") for attribute in ATTRIBUTES if attribute.label}


def expressions() -> list[str]:
    """Return every query in the dashboard and in the alert rules."""
    board = json.loads((FOLDER / "grafana.json").read_text("utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found += [one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    rules: Any = importlib.import_module("yaml").safe_load((FOLDER / "alerts.yml").read_text("utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"]
            found.append(rule["expr"])
    return found


def test_the_dashboard_and_the_alerts_name_metrics_that_exist() -> None:
    names: set[str] = set()
    for expression in expressions():
        words = set(re.findall(r"\bromancy_[a-z_]+", expression))
        metrics = words - LABELS
        assert metrics, expression
        assert metrics <= set(KNOWN), expression
        labels = {label.replace(".", "_") for name in metrics for label in KNOWN[name].labels}
        assert words & LABELS <= labels, expression
        assert expression.count("(") == expression.count(")"), expression
        names |= metrics
    assert {KNOWN[name] for name in names} == set(METRICS)  # and each metric is shown


def test_ids_are_no_labels() -> None:
    labels = {label for metric in METRICS for label in metric.labels}
    assert labels == {attribute.name for attribute in ATTRIBUTES if attribute.label}
    assert not {label for label in labels if label.endswith(".id")}


def test_the_page_has_both_tables() -> None:
    page = (ROOT / "docs" / "observing.md").read_text("utf-8")
    for name in (one.name for one in (*ATTRIBUTES, *METRICS)):
        assert f"| `{name}` |" in page
