"""Messages without a waiting receiver are kept as long as the app says; others are kept until they are received."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status, WorkflowContext, workflow
from romancy.errors import UsageError
from romancy.query import gte
from romancy.storage.backends import create_store
from romancy.storage.routing import address_of_key
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@workflow
async def takes_much(ctx: WorkflowContext) -> int:
    return (await ctx.wait_event("paid", model=dict[str, int], key="waited-for", where={"n": gte(10)})).data["n"]


async def test_a_worker_removes_what_nobody_has_asked_for_in_time(open_app: Open, storage_url: str) -> None:
    client = await open_app(keep_undelivered=None)
    await client.start(takes_much.options(instance_id="w"))
    await status_is(client, "w", Status.WAITING)
    await client.send("paid", {"n": 1}, key="waited-for")
    await client.send("paid", {"n": 2}, key="forgotten")
    await client.channel("jobs").publish(3)
    store = create_store(storage_url)
    await store.open()

    async def left() -> set[str]:
        return {one.address for one in await store.services.router.kept()}

    async def only_one() -> bool:
        return await left() == {address_of_key("paid", "waited-for")}

    await open_app(keep_undelivered=0.000_001)
    await until(only_one)
    await client.send("paid", {"n": 11}, key="waited-for")

    assert await client.handle("w", takes_much).result(timeout=60) == 11
    assert await left() == {address_of_key("paid", "waited-for")}
    await store.close()


def test_a_time_that_is_none_is_refused() -> None:
    for wrong in (0, -1, math.inf, "7d"):
        with pytest.raises(UsageError):
            Romancy("memory://", keep_undelivered=wrong)  # type: ignore[arg-type]
