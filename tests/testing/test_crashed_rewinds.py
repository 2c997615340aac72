"""A rewind, wherever the worker dies: what stands before the point is done once, and what is behind it once more."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from romancy import Handle, Romancy, WorkflowContext, activity, activity_context, compensation, workflow
from romancy.core import CompensationScheduled, UndoingBegan, WorkflowRewound
from romancy.testing import crash_at_every_commit

pytestmark = pytest.mark.anyio

effects: dict[str, str] = {}
reached = [asyncio.Event()]
"""Set once the last step has begun."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@activity
async def rewound_step(name: str) -> str:
    effects[activity_context().idempotency_key] = name.split(maxsplit=1)[0]
    if name.startswith("last"):
        reached[0].set()
    return name


@workflow
async def rewound_child(ctx: WorkflowContext) -> str:
    return await rewound_step("inside")


@workflow
async def rewound_flow(ctx: WorkflowContext) -> list[Any]:
    done = [await rewound_step("one"), await rewound_step(f"two {ctx.uuid4()} {ctx.now()}")]
    done += await asyncio.gather(rewound_child(), rewound_step("three"))
    done.append((await ctx.wait_event("rewound-go")).data)
    done.append(await rewound_step("last"))
    await ctx.wait_event("rewound-over")
    return done


async def test_a_rewind_does_each_step_as_often_as_it_says_wherever_the_worker_dies() -> None:
    ends: list[list[Any]] = []

    def prepare(_: Romancy) -> None:
        effects.clear()
        reached[0] = asyncio.Event()

    async def drive(app: Romancy, handle: Handle[Any]) -> None:
        await handle.signal("rewound-go", 1, id="one")
        await reached[0].wait()
        if not any(isinstance(event, WorkflowRewound) for event in await handle.history()):
            await handle.rewind(before="rewound-go:1", undo="keep")
        await handle.signal("rewound-go", 2, id="two")
        await handle.signal("rewound-over", id="over")
        ends.append(await handle.result())

    crashes = await crash_at_every_commit(
        rewound_flow.options(instance_id="whole").bind(),
        workflows=[rewound_flow, rewound_child],
        prepare=prepare,
        drive=drive,
        effects=lambda: sorted(Counter(effects.values()).items()),
    )

    assert len(crashes) > 8
    assert {one[4] for one in ends} == {2}


@compensation
async def rewound_refund(name: str) -> None:
    effects[activity_context().idempotency_key] = f"refund {name}"


@activity(compensation=rewound_refund)
async def rewound_charge(name: str) -> str:
    effects[activity_context().idempotency_key] = name
    return name


@workflow
async def rewound_payment(ctx: WorkflowContext) -> str:
    await rewound_step("note")
    for name in ("one", "two", "three"):
        await rewound_charge(name)
    reached[0].set()
    return str((await ctx.wait_event("rewound-paid")).data)


async def test_what_is_undone_first_is_undone_once_wherever_the_worker_dies() -> None:
    ends: list[str] = []
    undone: list[list[str]] = []

    def prepare(_: Romancy) -> None:
        effects.clear()
        reached[0] = asyncio.Event()

    async def drive(app: Romancy, handle: Handle[Any]) -> None:
        await reached[0].wait()
        if not any(isinstance(event, UndoingBegan) for event in await handle.history()):
            await handle.rewind(before="rewound_charge:2", undo="compensate")
        await handle.signal("rewound-paid", 1, id="paid")
        ends.append(await handle.result())
        history = await handle.history()
        undone.append([one.activity_id for one in history if isinstance(one, CompensationScheduled)])

    crashes = await crash_at_every_commit(
        rewound_payment.options(instance_id="paid").bind(),
        workflows=[rewound_payment],
        prepare=prepare,
        drive=drive,
        effects=lambda: sorted(Counter(effects.values()).items()),
    )

    assert len(crashes) > 10
    assert set(ends) == {"1"}
    assert all(one == ["rewound_charge:3", "rewound_charge:2"] for one in undone)
