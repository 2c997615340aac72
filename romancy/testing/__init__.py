"""Tests of workflows: without waiting, without a database, and with fakes for the outside world."""

from __future__ import annotations

from romancy.testing._app import TestApp
from romancy.testing._calls import ActivityCall, Calls
from romancy.testing._crashes import Crash, crash_at_every_commit
from romancy.testing._environment import ActivityEnvironment, SentEvent
from romancy.testing._replays import assert_replays, record_history

__all__ = [
    "ActivityCall",
    "ActivityEnvironment",
    "Calls",
    "Crash",
    "SentEvent",
    "TestApp",
    "assert_replays",
    "crash_at_every_commit",
    "record_history",
]
