"""In the line of a limit the fair keys take turns: a tenant with many demands holds up no other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Limit, RetryPolicy, Romancy, WorkflowContext, WorkflowFailedError, activity, workflow
from romancy.core import PlaceAsked
from romancy_conformance.behaviour.limits.serving import SOON, until_asked
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy import Handle

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

LIMIT = "desk"
SMALL = [f"small {number:02}" for number in range(5)]

served: list[str] = []
"""Whose turn it was, in this order."""


@pytest.fixture(autouse=True)
def _nobody_was_served() -> None:
    served.clear()


@workflow(limits=[Limit(LIMIT, concurrency=1)])
async def stands_in_line(ctx: WorkflowContext, key: str) -> None:
    served.append(key)


@workflow
async def asks_inside(ctx: WorkflowContext, key: str) -> None:
    async with ctx.limit(Limit(LIMIT, concurrency=1)):
        served.append(key)


@workflow
async def asks_in_each_run(ctx: WorkflowContext, key: str, left: int) -> None:
    async with ctx.limit(Limit(LIMIT, concurrency=1)):
        served.append(key)
    if left:
        asks_in_each_run.recur(key, left - 1)
    await fails_for_the_first(key)


@activity(retry=RetryPolicy(max_attempts=1))
async def fails_for_the_first(key: str) -> None:
    if len(served) == 1:
        raise ValueError(key)


async def line_up(app: Romancy, keys: Sequence[str], flow: Any = stands_in_line, **options: Any) -> list[Handle[None]]:
    """Start one for each key while the limit is paused, and wait until all stand in line."""
    handles = await app.start_many([flow.options(fair_key=key or None, **options).bind(key) for key in keys])
    for handle in handles:
        await until_asked(handle)
    return handles


async def serve_all(app: Romancy, handles: Sequence[Handle[Any]]) -> None:
    served.clear()  # a start may have run a body up to its first wait before it heard that no place was free
    await app.resume_limit(LIMIT)
    for handle in handles:
        await handle.result(SOON)


@pytest.mark.parametrize("flow", [stands_in_line, asks_inside], ids=["whole", "section"])
async def test_small_keys_wait_their_own_number_of_turns(app: Romancy, flow: Any) -> None:
    await app.pause_limit(LIMIT)
    handles = await line_up(app, ["large"] * 40, flow)
    handles += await line_up(app, SMALL * 2, flow)

    await serve_all(app, handles)

    keys = [*SMALL, "large"]
    assert Counter(keys * 2) == Counter(served[: 2 * len(keys)])


async def test_those_without_a_key_are_one_key_more(app: Romancy) -> None:
    await app.pause_limit(LIMIT)
    handles = await line_up(app, [""] * 12) + await line_up(app, ["a"] * 4 + ["b"] * 4)

    await serve_all(app, handles)

    assert {key: served[:12].count(key) for key in ("", "a", "b")} == {"": 4, "a": 4, "b": 4}


async def test_a_higher_priority_goes_before_the_turns_of_a_lower_one(app: Romancy) -> None:
    await app.pause_limit(LIMIT)
    handles = await line_up(app, ["a", "a", "b"]) + await line_up(app, ["high", "high", "a"], priority=1)

    await serve_all(app, handles)

    assert sorted(served[:3]) == ["a", "high", "high"]
    assert sorted(served[3:]) == ["a", "a", "b"]


async def test_a_weight_is_a_number_of_turns(app: Romancy) -> None:
    await app.pause_limit(LIMIT)
    handles = await line_up(app, ["heavy"] * 30, weight=3) + await line_up(app, ["light"] * 30)

    await serve_all(app, handles)

    assert 10 <= served[:20].count("heavy") <= 18


async def test_a_delayed_start_its_retry_and_its_next_runs_have_turns_too(app: Romancy) -> None:
    late = await app.start(asks_in_each_run.options(fair_key="late", weight=2, delay=0.01), "late", 0)
    with pytest.raises(WorkflowFailedError):
        await late.result(SOON)
    await app.retry(late.instance_id)
    await late.result(SOON)
    again = await app.start(asks_in_each_run.options(fair_key="again"), "again", 2)
    await again.result(SOON)

    asked = [event for one in (late, again) for event in await one.history() if isinstance(event, PlaceAsked)]
    assert [("late", 2)] * 2 + [("again", 1)] * 3 == [(one.fair_key, one.weight) for one in asked]


async def test_one_in_a_line_is_cancelled_and_seen(app: Romancy) -> None:
    await app.pause_limit(LIMIT)
    (first, second, other) = await line_up(app, ["a", "a", "b"])
    (lane,) = await app.limits()

    assert (lane.limit, lane.waiting, lane.taken) == (LIMIT, 3, 0)
    assert lane.oldest is not None
    said = [line for handle in (first, second, other) for line in await handle.explain()]
    assert [1, 2] == [sum(f"{before} of its key before it in line" in line for line in said) for before in (1, 0)]
    await second.cancel("enough")
    await until(lambda: _waiting(app, 2))

    await serve_all(app, [first, other])
    assert sorted(served) == ["a", "b"]


async def _waiting(app: Romancy, count: int) -> bool:
    lanes = await app.limits()
    return [lane.waiting for lane in lanes] == [count]
