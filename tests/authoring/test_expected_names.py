"""What people of other libraries try first is answered by name, and makes no new attribute."""

from __future__ import annotations

import copy
import logging
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from romancy import (
    RegistrationError,
    RetryPolicy,
    Romancy,
    SerializationError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.sync import SyncRomancy
from romancy.testing import TestApp

pytestmark = pytest.mark.anyio

seen: list[str] = []


@dataclass
class Order:
    item: str


@activity
async def pack(order: str) -> str:
    return order


@activity
async def takes_anything(order):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - no annotation
    return f"{type(order).__name__}"  # pyright: ignore[reportUnknownArgumentType] - no annotation


@activity
async def returns_anything(item: str):  # type: ignore[no-untyped-def] # noqa: ANN201 - no annotation
    return Order(item)


@workflow
async def order(ctx: WorkflowContext, amount: int = 1) -> int:
    return amount


@workflow
async def asks(ctx: WorkflowContext, name: str) -> str:
    assert not hasattr(ctx, name)
    try:
        getattr(ctx, name)
    except AttributeError as error:
        return str(error)
    return ""


@workflow
async def unannotated(ctx: WorkflowContext) -> str:
    result = await returns_anything("lamp")
    return f"{await takes_anything(Order('lamp'))} {type(result).__name__} {await takes_anything('text')}"


@activity(retry=RetryPolicy(5, 1))
async def misuses() -> None:
    await activity_context().send(5)  # type: ignore[arg-type]


@activity(retry=RetryPolicy(2, 1))
async def signals_nobody() -> None:
    seen.append("tried")
    await seen_app[0].signal("nobody", "go")


@activity(retry=RetryPolicy(5, 1))
def misuses_on_a_thread() -> None:
    raise SerializationError("mine")


@workflow
async def calls(ctx: WorkflowContext, name: str) -> None:
    await {"misuses": misuses, "thread": misuses_on_a_thread, "signals": signals_nobody}[name]()


@workflow
async def anything(ctx: WorkflowContext, value: object) -> str:
    return type(value).__name__


seen_app: list[TestApp] = []


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("recur", r"asks\.recur\(…\)"),
        ("continue_as_new", r"asks\.recur\(…\)"),
        ("wait_signal", r"ctx\.wait_event\(name\)"),
        ("execute_activity", "await the activity itself"),
        ("start_child", r"await ctx\.start\(child, …\)"),
        ("wait_condition", r"`await ctx\.until\(lambda: state\.ready\)` waits"),
        ("logger", r"ctx\.log is a logger"),
        ("session", r"in an activity, with activity_context\(\)\.session\(\)"),
        ("members", r"await ctx\.channel\(name\)\.members\(\)"),
        ("nothing_like_it", "has no attribute 'nothing_like_it'$"),
    ],
)
async def test_a_context_answers_for_names_that_it_has_not(name: str, answer: str) -> None:
    async with TestApp([asks]) as app:
        told = await app.run(asks, name)
    with pytest.raises(AssertionError, match=answer):
        raise AssertionError(told)
    assert told.startswith("'WorkflowContext' object has no attribute")


def test_workflows_and_activities_answer_for_names_that_they_have_not() -> None:
    some: Any = order
    with pytest.raises(AttributeError, match=r"start it with `await app\.start\(order, …\)`"):
        some.start(1)
    with pytest.raises(AttributeError, match=r"await app\.run\(order, …\)"):
        some.run(1)
    work: Any = pack
    with pytest.raises(AttributeError, match=r"await it in a workflow: `await pack\(…\)`"):
        work.delay("x")
    assert not hasattr(some, "start")
    assert not hasattr(work, "delay")
    assert copy.copy(some).name == "order"
    assert copy.deepcopy(some.options(instance_id="q")).instance_id == "q"


HANDLES = {
    "query": r"handle\.report\(\) reads it",
    "terminate": r"app\.terminate\(handle\.instance_id\)",
    "describe": r"app\.get_instance\(handle\.instance_id\)",
    "get_result": r"handle\.result\(\) waits for its end",
    "execute_update": r"handle\.request\(Change, data\)",
    "cancel_workflow": r"handle\.cancel\(\)",
    "reset": r"app\.retry\(handle\.instance_id\)",
}
APPS = {
    "execute_workflow": r"app\.run\(workflow, …\)",
    "enqueue": r"app\.start\(workflow, …\)",
    "get_workflow_handle": r"app\.handle\(instance_id, workflow\)",
    "signal_workflow": r"app\.signal\(instance_id, name, data\)",
    "execute_update_with_start_workflow": r"app\.request_with_start",
    "create_schedule": r"app\.schedule",
    "launch": r"a worker runs inside `async with app:`",
}


async def test_handles_and_apps_answer_for_names_that_they_have_not() -> None:
    async with Romancy("memory://", workflows=[order]) as app:
        handle: Any = app.handle("o-1")
        some: Any = app
        for owner, answers in ((handle, HANDLES), (some, APPS)):
            for name, answer in answers.items():
                with pytest.raises(AttributeError, match=answer):
                    getattr(owner, name)
                assert not hasattr(owner, name)
                assert name not in dir(owner)
        with pytest.raises(UsageError, match=r"takes the id first: app\.handle\(instance_id, order\)"):
            some.handle(order, "o-1")


@pytest.mark.parametrize("option", ["instance_id", "id", "delay", "at", "headers"])
async def test_an_option_given_like_an_argument_is_told_its_place(option: str) -> None:
    kept = "instance_id" if option == "id" else option
    given: dict[str, Any] = {option: "q"}
    async with TestApp([order]) as app:
        for call in (app.run, app.start):
            with pytest.raises(UsageError, match=rf"order\.options\({kept}=…\)"):
                await call(order, 1, **given)
        with pytest.raises(UsageError, match=rf"order\.options\({kept}=…\)"):
            await app.start_many([order.bind(1, **given)])


def test_what_temporals_users_type_as_options_is_answered_by_name() -> None:
    starts: Any = order.options
    with pytest.raises(
        TypeError, match=r"'id'; did you mean instance_id\?, and no option 'task_queue' \(there are no q"
    ):
        starts(id="o-1", task_queue="orders")
    with pytest.raises(
        TypeError, match=r"'id_reuse_policy' \(if_exists= of app\.start .*; its options are instance_id"
    ):
        starts(id_reuse_policy=1)
    with pytest.raises(TypeError, match=r"'cron_schedule' \(app\.schedule"):
        starts(cron_schedule="@daily")
    calls: Any = pack.options
    with pytest.raises(
        TypeError, match=r"did you mean timeout, in seconds, for each attempt\?, and no option 'task_queue'"
    ):
        calls(start_to_close_timeout=3, task_queue="orders")
    policy: Any = RetryPolicy
    with pytest.raises(TypeError, match=r"'maximum_attempts'; did you mean max_attempts"):
        policy(maximum_attempts=3)
    declares: Any = activity
    with pytest.raises(TypeError, match=r"'start_to_close_timeout'; did you mean timeout, in seconds"):
        declares(start_to_close_timeout=3)


async def test_the_wrong_kind_of_with_is_told_the_right_one() -> None:
    wrong: Any = Romancy("memory://")
    with pytest.raises(TypeError, match="is opened with `async with`, not with `with`"), wrong:
        pass
    other: Any = SyncRomancy("memory://")
    with pytest.raises(TypeError, match="is opened with `with`, not with `async with`"):
        async with other:
            pass
    for name in ("__enter__", "__exit__"):
        assert not hasattr(wrong, name)
        assert not hasattr(Romancy, name)
        assert not hasattr(other, f"__a{name[2:]}")


@pytest.mark.parametrize("declare", [workflow, activity, compensation])
def test_a_method_is_refused(declare: Any) -> None:
    now = (
        r"a method cannot be a workflow"
        if declare is workflow
        else r'`method = \w+\(shop\.method, name="shop\.method"\)`'
    )
    with pytest.raises(RegistrationError, match=rf"{now}.*put @staticmethod above"):

        class Shop:  # pyright: ignore[reportUnusedClass] - it is refused
            @declare  # type: ignore[untyped-decorator]
            async def method(self, ctx: WorkflowContext) -> None: ...


async def test_a_static_method_is_a_function() -> None:
    class Shop:
        @staticmethod
        @workflow
        async def static(ctx: WorkflowContext, amount: int) -> int:
            return amount

    async with TestApp([Shop.static]) as app:
        assert await app.run(Shop.static, 3) == 3


async def test_what_has_no_annotation_is_told_once_where_it_arrives_as_something_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "romancy")
    async with TestApp([unannotated]) as app:
        for _ in range(2):
            assert await app.run(unannotated) == "dict dict str"
    told = [record.getMessage() for record in caplog.records if "annotation" in record.getMessage()]
    assert len(told) == 2
    assert any("parameter 'order' of activity 'takes_anything'" in one and "`order: Order`" in one for one in told)
    assert any("result of activity 'returns_anything'" in one and "`-> Order`" in one for one in told)


@pytest.mark.parametrize("name", ["misuses", "thread"])
async def test_a_usage_error_in_an_activity_is_not_tried_again(name: str) -> None:
    async with TestApp([calls]) as app:
        with pytest.raises(WorkflowFailedError):
            await app.run(calls, name)
        assert len(app.calls) == 1


async def test_an_error_of_the_moment_is_tried_again() -> None:
    seen.clear()
    async with TestApp([calls]) as app:
        seen_app[:] = [app]
        with pytest.raises(WorkflowFailedError):
            await app.run(calls, "signals")
    assert seen == ["tried", "tried"]


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (Path, "Declare `str`"),
        (deque, "Declare `list"),
        (deque[int], "Declare `list"),
        (Counter, "Declare `dict"),
        (defaultdict[str, int], "Declare `dict"),
        (OrderedDict, "Declare `dict"),
        (list[Path], "Declare `str`"),
    ],
)
def test_a_class_that_is_not_stored_is_refused_with_what_to_write(kind: Any, advice: str) -> None:
    async def takes(ctx: WorkflowContext, value: Any) -> None: ...

    takes.__annotations__["value"] = kind
    with pytest.raises(RegistrationError, match=advice):
        workflow(takes)


async def test_a_value_that_is_not_stored_is_refused_with_what_to_write() -> None:
    async with TestApp([anything]) as app:
        with pytest.raises(SerializationError, match=r"a path is not stored: pass `str\(…\)`"):
            await app.run(anything, Path("x"))
        with pytest.raises(SerializationError, match=r"pass `list\(…\)`"):
            await app.run(anything, deque([1]))
        assert await app.run(anything, Counter("aab")) == "dict"


def test_names_that_are_only_answered_are_not_listed() -> None:
    assert {"recur", "signature"} <= set(dir(order))
    assert not {"start", "apply_async", "submit"} & set(dir(order))
    assert not {"start", "apply_async", "submit"} & set(dir(pack))


def test_a_name_that_somebody_sets_is_listed() -> None:
    renamed: Any = order.options(instance_id="one")
    renamed.submit = 1

    assert renamed.submit == 1
    assert "submit" in dir(renamed)
    assert not hasattr(order, "submit")
