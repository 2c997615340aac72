"""What publishing on a channel costs the publisher: one insert, however many have subscribed."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from romancy import Channel, Romancy
from romancy_conformance.behaviour.costs.counting import is_bracket

if TYPE_CHECKING:
    from romancy_conformance.behaviour.costs.counting import Statements

pytestmark = pytest.mark.anyio

News = Channel("news", int)
SUBSCRIBERS = 20
STATEMENTS = 2
"""An insert and, where one statement cannot say so, whether the message was there already."""


async def test_publishing_is_one_insert_however_many_listen(
    statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Romancy(statements.url, workflows=[], worker=False) as app, AsyncExitStack() as stack:
        asked: list[str] = []
        monkeypatch.setattr(app._access.dispatcher, "ask", asked.extend)  # the dispatch comes after the commit
        cost: list[list[str]] = []
        subscribers = [await stack.enter_async_context(app.channel(News).subscribe("0"))]
        await app.channel(News).publish(-1)  # what is sent once on a connection
        for number in range(2):
            statements.clear()
            await app.channel(News).publish(number)
            cost.append([text for text in statements.of_work() if not is_bracket(text)])
            subscribers += [
                await stack.enter_async_context(app.channel(News).subscribe(f"{number}/{other}"))
                for other in range(1, SUBSCRIBERS)
                if not number
            ]
        alone, beside_many = cost
        assert len(alone) == len(beside_many) <= STATEMENTS, cost
        assert all(sum("insert into" in text for text in texts) <= 1 for texts in cost), cost
        monkeypatch.undo()
        assert {"c/news"} == {*asked}
        app._access.dispatch(asked)
        for subscriber in subscribers[1:]:
            assert (await subscriber.receive(timeout=20)).data == -1, "the dispatch finds who listens then"
        for number in (-1, 0, 1):
            assert (await subscribers[0].receive(timeout=20)).data == number
