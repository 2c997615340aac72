"""What the hook adds to a step without an SDK, in calls of Python: a count that no load of the machine changes."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.ext.otel import OpenTelemetry

if TYPE_CHECKING:
    from types import FrameType

    from romancy.hooks import Hook

pytestmark = pytest.mark.anyio

_MOST: Final = 4
"""Calls a step. A call takes about a tenth of a microsecond, or two: so many stay below three microseconds."""
_PLACES: Final = (
    "romancy/ext/otel/",
    "engine/observer.py",
    "engine/announcing.py",
    "engine/observed_waits.py",
    "/hooks.py",
)


@activity
async def step(number: int) -> int:
    return number


@workflow
async def line(ctx: WorkflowContext, steps: int) -> int:
    return sum([await step(number) for number in range(steps)])


async def calls(hooks: list[Hook], steps: int) -> Counter[str]:
    """The calls of what observes, and of the API, by function."""
    found: Counter[str] = Counter()

    def called(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename.replace("\\", "/")
        if event == "call" and ("/opentelemetry/" in name or any(place in name for place in _PLACES)):
            found[f"{Path(name).name}:{frame.f_code.co_qualname}"] += 1

    async with Romancy(f"memory://cost-{len(hooks)}-{steps}", workflows=[line], hooks=hooks) as app:
        await app.run(line, 5)
        sys.setprofile(called)
        try:
            await app.run(line, steps)
        finally:
            sys.setprofile(None)
    return found


async def added(hooks: list[Hook]) -> tuple[float, Counter[str]]:
    """Calls a step, and which."""
    more = await calls(hooks, 80)
    more.subtract(await calls(hooks, 30))
    return sum(more.values()) / 50, more


async def test_without_hooks_nothing_observes() -> None:
    assert (0.0, Counter()) == await added([])


async def test_without_an_sdk_the_hook_adds_few_calls() -> None:
    found, which = await added([OpenTelemetry()])

    assert 0 < found <= _MOST, which
