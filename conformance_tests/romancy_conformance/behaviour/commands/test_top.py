"""`romancy top`: what is open, by workflow, the oldest first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from romancy import Romancy
from romancy_conformance.behaviour.cast import returns, waits

if TYPE_CHECKING:
    from romancy_conformance.behaviour.commands.buying import Command


def started(url: str) -> None:
    """Start three without a worker, so that they are pending, and end one of them."""

    async def run() -> None:
        async with Romancy(url, workflows=[returns, waits], worker=False) as app:
            await app.start(returns)
            for number in range(2):
                await app.start(waits.options(instance_id=f"s-{number}"))
            ended = await app.start(waits)
            await app.terminate(ended.instance_id)

    asyncio.run(run())


def test_it_counts_what_is_open_by_workflow(url: str, romancy: Command) -> None:
    started(url)

    printed = romancy("top")
    records = romancy("top", "--json").records

    assert 0 == printed.code
    head, *lines = printed.out.splitlines()
    rates = ["BEGUN", "ENDED", "FAILED", "OVER", "TIME"]
    assert ["OPEN", "CHANGE", "DUE", "OLDEST", *rates, "WORKFLOW"] == head.split()
    assert [["+1", "1"], ["+2", "2"]] == [line.split()[1:3] for line in lines]
    assert all(len(line) <= 80 for line in printed.out.splitlines())
    assert "BEGUN, ENDED, FAILED: a minute's, of the last 1 h" in printed.err
    assert [["1", "returns"], ["2", "waits"]] == [[line.split()[0], line.split()[-1]] for line in lines]
    assert [("returns", 1, {"pending": 1}), ("waits", 2, {"pending": 2})] == [
        (each["workflow"], each["open"], each["statuses"]) for each in records
    ]
    assert [(1, 1, 0.0167, 0.0), (2, 2, 0.05, 0.0167)] == [
        (each["due"], each["change"], each["begun_a_minute"], each["ended_a_minute"]) for each in records
    ]
    assert [12, 12] == [len(each["over_time"]) for each in records]
    assert {"at", "begun", "ended", "failed", "open", "whole"} == set(records[0]["over_time"][0])
    last = records[1]["over_time"][11]
    assert (3, 1, 0, 2) == (last["begun"], last["ended"], last["failed"], last["open"])
    assert not any(each["more"] for each in records)
    assert records[0]["oldest"] < records[1]["oldest"]


def test_it_says_of_which_status_it_has_not_counted_all(url: str, romancy: Command) -> None:
    started(url)

    printed = romancy("top", "--most", "2")

    assert ["1+", "1+"] == [line.split()[0] for line in printed.out.splitlines()[1:]]
    assert "pending: only the oldest 2 instances were counted" in printed.err
    assert "rates: the newest 2 begins and 2 ends were counted: begins since " in printed.err


def test_a_time_of_nothing_is_refused(url: str, romancy: Command) -> None:
    printed = romancy("top", "--over", "0s")

    assert 2 == printed.code
    assert "--over: the time must be at least a second, as in 15min" in " ".join(printed.err.split())


def test_where_nothing_is_open_it_says_so(url: str, romancy: Command) -> None:
    assert 0 == romancy("migrate").code

    printed = romancy("top")

    assert (0, "", "nothing is open\n") == (printed.code, printed.out, printed.err)
