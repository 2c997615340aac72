"""What the tests of retrying share: activities that record their keys, and fail when told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    Romancy,
    TerminalError,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
)

if TYPE_CHECKING:
    import asyncio


calls: list[tuple[str, str]] = []
"""Every attempt with its key, and every undoing with its own."""
broken: set[str] = set()
gates: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    calls.clear()
    broken.clear()
    gates.clear()


def do(what: str) -> str:
    calls.append((what, activity_context().idempotency_key))
    if what in broken:
        raise TerminalError(f"{what} is broken")
    return what


def names() -> list[str]:
    return [name for name, _ in calls]


def keys(name: str) -> list[str]:
    return [key for called, key in calls if called == name]


@compensation
async def refund(what: str) -> None:
    do(f"refund {what}")
    if f"refund {what}" in gates:
        await gates[f"refund {what}"].wait()


@activity(compensation=refund)
async def charge(what: str) -> str:
    return do(what)


@activity
async def act(what: str) -> str:
    return do(what)


@activity
async def waits_at_a_gate(what: str) -> str:
    do(what)
    await gates[what].wait()
    return what


async def fail(app: Romancy, instance_id: str) -> None:
    with pytest.raises(WorkflowFailedError):
        await app.handle(instance_id).result(timeout=60)


async def failed(app: Romancy, wf: Any, *args: Any, what: str = "ship") -> str:
    """An instance that failed because of something that was repaired since."""
    broken.add(what)
    handle = await app.start(wf, *args)
    await fail(app, handle.instance_id)
    broken.clear()
    return str(handle.instance_id)
