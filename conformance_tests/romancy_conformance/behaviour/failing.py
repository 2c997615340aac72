"""Instances that have failed, for tests that repair and retry them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import WorkflowFailedError
from romancy_conformance.behaviour.cast import record

if TYPE_CHECKING:
    from romancy import Romancy

__all__ = ["fail", "failed"]


async def fail(app: Romancy, instance_id: str) -> None:
    """Wait until the instance has failed."""
    with pytest.raises(WorkflowFailedError):
        await app.handle(instance_id).result(timeout=60)


async def failed(app: Romancy, wf: Any, *args: Any, what: str = "ship") -> str:
    """An instance that failed because of something that was repaired since."""
    record.broken.add(what)
    handle = await app.start(wf, *args)
    await fail(app, handle.instance_id)
    record.broken.clear()
    return str(handle.instance_id)
