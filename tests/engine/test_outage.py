"""A worker without its database says so once, then every 30 seconds, and once when it is back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from romancy.engine.outage import Outage

if TYPE_CHECKING:
    import pytest


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_line_then_one_every_30_s_then_how_long_it_took(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "romancy")
    clock = Clock()
    outage = Outage(clock)
    kinds = ("no heartbeat", "cannot claim", "cannot listen for changes")
    for _ in range(61):
        for what in kinds:
            outage.failed(what, ConnectionError("refused"))
        clock.now += 1
    for what in kinds:
        outage.answered(what)
    outage.answered(kinds[0])
    assert [record.getMessage() for record in caplog.records] == [
        "the database is away, and this worker tries again until it is back: no heartbeat: refused",
        "the database has been away for 30 s: no heartbeat: refused",
        "the database has been away for 60 s: no heartbeat: refused",
        "the database is back after 61 s",
    ]


def test_it_is_back_once_everything_that_failed_has_succeeded(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(Clock())
    outage.failed("cannot claim", ConnectionError("refused"))
    outage.failed("commits wait", ConnectionError("refused"))
    outage.answered("cannot claim")
    outage.failed("cannot claim", ConnectionError("refused"))
    outage.answered("cannot claim")
    assert len(caplog.records) == 1
    outage.answered("commits wait")
    assert len(caplog.records) == 2
    outage.failed("cannot claim", ConnectionError("refused"))
    assert len(caplog.records) == 3
