"""Signals of several apps are received in the order in which they came, also if no worker is there to read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status
from romancy_conformance.behaviour.cast import hears
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy import Workflow
    from romancy_conformance.behaviour.opening import Open

    Known = list[Workflow[..., object]]

pytestmark = pytest.mark.anyio

_COUNT = 12


async def test_signals_of_apps_by_turns(open_app: Open, storage_url: str, workflows: Known) -> None:
    """As with repeated calls of `romancy signal`: each sender is a process of its own."""
    async with Romancy(storage_url, workflows=workflows) as app:
        await app.start(hears.options(instance_id="in order"), "next", _COUNT)
        await status_is(app, "in order", Status.WAITING)
    senders = [await open_app(worker=False) for _ in range(4)]
    for number in range(_COUNT):
        await senders[number % 4].signal("in order", "next", number)

    app = await open_app()

    assert list(range(_COUNT)) == await app.handle("in order", hears).result(timeout=60)
