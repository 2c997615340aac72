"""A request reads what the log has got since it was sent, however long the log is, also with an id of the sender's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import RequestType, Romancy, WorkflowContext, workflow
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores

if TYPE_CHECKING:
    from romancy.storage.records import History

pytestmark = pytest.mark.anyio

Count = RequestType("count", None, int)
BEFORE = 30
"""Requests that the log has already, each a row or two."""
MOST = 8
"""Rows that may follow while one request is answered."""


class CountedRows(WrappedStore):
    """Counts the rows of logs that are read."""

    rows = 0

    async def read(self, instance_id: str, /, **which: Any) -> History | None:
        found = await self._store.read(instance_id, **which)
        self.rows += 0 if found is None else len(found.rows)
        return found


@workflow
async def counts_requests(ctx: WorkflowContext) -> None:
    """Answers with the number of requests so far."""
    number = 0

    async def count() -> int:
        nonlocal number
        number += 1
        return number

    async with ctx.handling(Count.by(count)):
        await ctx.until(lambda: number > 10 * BEFORE)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[CountedRows]:
    """Return the stores of the apps that are opened."""
    return wrap_stores(monkeypatch, CountedRows)


@pytest.mark.parametrize("how", ["ask", "ask_with_start"])
async def test_a_new_id_is_not_looked_for_in_what_is_old(storage_url: str, stores: list[CountedRows], how: str) -> None:
    call = counts_requests.options(instance_id="counts").bind()
    async with (
        Romancy(storage_url, workflows=[counts_requests]) as app,
        Romancy(storage_url, workflows=[counts_requests], worker=False) as sender,
    ):

        async def ask(id: str) -> int:
            if how == "ask":
                return await sender.request("counts", Count, id=id)
            return await sender.request_with_start(call, Count, id=id)

        await app.start(call.workflow)
        for number in range(BEFORE):
            await ask(f"id-{number}")
        before = stores[1].rows
        assert await ask("new") == BEFORE + 1
        read = stores[1].rows - before
        assert await ask("new") == BEFORE + 1

    assert read <= MOST, read
    assert stores[1].rows - before - read > BEFORE  # an id that is known is looked for in all of it
