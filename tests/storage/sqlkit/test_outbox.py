"""The operations of the outbox, without a database."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from romancy.storage.outbox import OUTBOX_NEWS
from romancy.storage.sqlkit import outbox
from romancy.storage.sqlkit.statements import Answer, Ask, Operation, Own, Request, Running, ask_all

KEYS = [f"k{number:04}" for number in range(2500)]


def asked(operation: Operation[Any], own: Own, rows: dict[str, list[tuple[str]]]) -> tuple[list[Ask], set[str]]:
    """All scripts in the order of their requests, and the news."""
    asks: list[Ask] = []
    with closing(Running(operation, own)) as running:
        while (request := running.request) is not None:
            asks += request.asks
            running.answer([Answer(rows.get(one.script, []), 1) for one in request.asks])
        return asks, running.news


@pytest.mark.parametrize("own", [{}, outbox.IN_PARTS])
def test_no_statement_names_too_many_keys(own: Own) -> None:
    """A packet of all keys may be too large, after the messages before them are gone."""
    ended = [(key,) for key in KEYS]
    removal = outbox._remove(KEYS)  # pyright: ignore[reportPrivateUsage]

    asks, news = asked(removal, own, {"outbox_remove": ended, "outbox_keys": ended})

    promoted = [one.values["keys"] for one in asks if one.script == "outbox_promote"]
    assert max(map(len, promoted)) <= outbox.IDS_AT_ONCE
    assert KEYS == [key for some in promoted for key in some]
    assert {OUTBOX_NEWS} == news


def test_what_is_an_operation_may_end_after_the_next_script() -> None:
    def twice(_: Any) -> Operation[Answer]:
        yield Request((Ask("once", {}),))
        (answer,) = yield Request((Ask("again", {}),))
        return answer

    asks, _ = asked(ask_all(Ask("both", {}), Ask("next", {})), {"both": twice}, {})

    assert ["once", "next", "again"] == [one.script for one in asks]
