"""Of those that wait for a worker, the fair keys take turns: a tenant with many starts holds up no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, UsageError, WorkflowContext, workflow
from romancy.core import WorkflowStarted
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy import Handle
    from romancy.workflow import Call

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

SOON = 60.0
SMALL = [f"small {number:02}" for number in range(20)]

begun: list[str] = []
"""The keys of the instances whose body has begun, in this order."""


@pytest.fixture(autouse=True)
def _nobody_has_begun() -> None:
    begun.clear()


@workflow
async def serve(ctx: WorkflowContext, key: str) -> None:
    begun.append(key)


@workflow
async def serves_all(ctx: WorkflowContext, keys: list[str]) -> None:
    for number, key in enumerate(keys):
        await ctx.start(serve.options(instance_id=f"child-{number}", fair_key=key), key)


@workflow
async def goes_on(ctx: WorkflowContext, left: int) -> None:
    begun.append(str(left))
    if left:
        goes_on.recur(left - 1)


def calls(keys: Sequence[str], *, weight: int | None = None, priority: int | None = None) -> list[Call[None]]:
    return [serve.options(fair_key=key or None, weight=weight, priority=priority).bind(key) for key in keys]


async def end_all(handles: Sequence[Handle[Any]]) -> None:
    for handle in handles:
        await handle.result(SOON)


async def test_small_keys_wait_no_longer_than_without_the_large_one(open_app: Open) -> None:
    """Twice as long at most; a worker that takes one at a time goes from key to key."""
    client = await open_app(worker=False)
    large = await client.start_many(calls(["large"] * 300))
    small = await client.start_many(calls([key for _ in range(3) for key in SMALL]))

    await open_app(max_live=1)
    await end_all(small)

    last = max(place for place, key in enumerate(begun) if key in SMALL)
    assert last < 2 * len(small)
    await end_all(large)


async def test_a_worker_that_takes_many_at_once_gives_each_key_its_share(open_app: Open) -> None:
    client = await open_app(worker=False)
    await client.start_many(calls(["large"] * 600))
    small = await client.start_many(calls([key for _ in range(3) for key in SMALL]))

    await open_app(max_live=50)
    await end_all(small)

    last = max(place for place, key in enumerate(begun) if key in SMALL)
    assert last < 3 * len(small)


async def test_those_without_a_key_are_one_key_more(open_app: Open) -> None:
    client = await open_app(worker=False)
    handles = await client.start_many(calls([""] * 40))
    handles += await client.start_many(calls(["a"] * 4 + ["b"] * 4))

    await open_app(max_live=1)
    await end_all(handles)

    first = begun[:12]
    assert {key: first.count(key) for key in ("", "a", "b")} == {"": 4, "a": 4, "b": 4}


async def test_a_weight_is_a_number_of_turns(open_app: Open) -> None:
    client = await open_app(worker=False)
    handles = await client.start_many(calls(["heavy"] * 60, weight=3))
    handles += await client.start_many(calls(["light"] * 60))

    await open_app(max_live=1)
    await end_all(handles)

    assert 24 <= begun[:40].count("heavy") <= 33


async def test_the_higher_priority_goes_first_whatever_the_keys(open_app: Open) -> None:
    client = await open_app(worker=False)
    handles = await client.start_many(calls(["a", "a", "b"]))
    handles += await client.start_many(calls(["high"] * 3, priority=1))

    await open_app(max_live=1)
    await end_all(handles)

    assert begun == ["high", "high", "high", "a", "b", "a"]


async def test_children_and_starts_one_by_one(open_app: Open, storage_url: str) -> None:
    client = await open_app(worker=False, workflows=[serves_all, serve])
    keys = ["a", "a", "a", "b", "c"]
    parent = await client.start(serves_all, keys)
    async with Romancy(storage_url, workflows=[serves_all]):
        await parent.result(SOON)
    alone = [await client.start(serve.options(fair_key="d"), "d") for _ in range(2)]

    await open_app(max_live=1, workflows=[serve])
    await end_all([*(client.handle(f"child-{number}") for number in range(len(keys))), *alone])

    assert begun == ["a", "b", "c", "d", "a", "d", "a"]


async def test_one_that_waits_for_its_time_has_no_turn(open_app: Open) -> None:
    """From when it is due, it is among those without a key."""
    client = await open_app(worker=False)
    (later,) = await client.start_many([serve.options(fair_key="a", delay=0.001).bind("later")])
    handles = await client.start_many(calls(["a"] * 3))

    await open_app(max_live=1)
    await end_all([later, *handles])

    assert begun.index("later") <= 1


async def test_a_worker_leaves_it_to_the_line_and_the_instance_says_its_key(app: Romancy) -> None:
    handle = await app.start(serve.options(fair_key="acme", weight=2), "acme")
    await end_all([handle])

    found = await app.get_instance(handle.instance_id)
    assert found is not None
    assert found.fair_key == "acme"
    (start,) = [event for event in await app.history(handle.instance_id) if isinstance(event, WorkflowStarted)]
    assert (start.fair_key, start.weight) == ("acme", 2)


async def test_one_without_a_key_says_none(app: Romancy) -> None:
    handle = await app.start(serve, "")
    await end_all([handle])

    found = await app.get_instance(handle.instance_id)
    assert found is not None
    assert found.fair_key is None


async def test_the_next_run_keeps_it(app: Romancy) -> None:
    handle = await app.start(goes_on.options(fair_key="acme"), 2)
    await end_all([handle])

    runs = [event for event in await app.history(handle.instance_id) if isinstance(event, WorkflowStarted)]
    assert [(event.run, event.fair_key) for event in runs] == [(run, "acme") for run in (1, 2, 3)]


async def test_two_workers_share_what_waits(open_app: Open) -> None:
    """Nothing is taken twice, and nothing is left."""
    client = await open_app(worker=False)
    handles = await client.start_many(calls([f"key {number % 7}" for number in range(140)]))

    await open_app(max_live=5)
    await open_app(max_live=5)
    await end_all(handles)
    await until(lambda: len(begun) == len(handles))

    assert {key: begun.count(key) for key in sorted(set(begun))} == {f"key {number}": 20 for number in range(7)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fair_key": 7}, "the fair_key of the start of workflow serve: must be a string, not int"),
        ({"fair_key": ""}, "the fair_key of the start of workflow serve: must not be empty"),
        ({"fair_key": "a\x1fb"}, "holds a control character"),
        ({"fair_key": "\ud800"}, "half of a surrogate pair"),
        ({"fair_key": "x" * 201}, "201 bytes of UTF-8, at most 200"),
        ({"fair_key": "a", "weight": 0}, "the weight of the start of workflow serve must be from 1 to 100, not 0"),
        ({"fair_key": "a", "weight": -1}, "must be from 1 to 100, not -1"),
        ({"fair_key": "a", "weight": 101}, "must be from 1 to 100, not 101"),
        ({"fair_key": "a", "weight": 1.5}, "must be an int, not 1.5"),
        ({"fair_key": "a", "weight": True}, "must be an int, not True"),
        ({"weight": 2}, "a weight= is that of a fair_key=; give both"),
        ({"weight": 1}, "a weight= is that of a fair_key=; give both"),
    ],
)
def test_what_is_no_key_or_weight_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        serve.options(**options)
