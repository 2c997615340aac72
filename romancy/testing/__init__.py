"""Tests of workflows: without waiting, without a database, and with fakes for the outside world."""

from __future__ import annotations

from romancy.testing._app import TestApp
from romancy.testing._calls import ActivityCall, Calls
from romancy.testing._crashes import Crash, crash_at_every_commit
from romancy.testing._environment import ActivityEnvironment, SentEvent
from romancy.testing._ledger import Effect, Ledger
from romancy.testing._replays import assert_replays, record_history
from romancy.testing._simulate import Simulated, simulate
from romancy.testing.simulating.app import SimulatedApp
from romancy.testing.simulating.faults import Faults

__all__ = [
    "ActivityCall",
    "ActivityEnvironment",
    "Calls",
    "Crash",
    "Effect",
    "Faults",
    "Ledger",
    "SentEvent",
    "Simulated",
    "SimulatedApp",
    "TestApp",
    "assert_replays",
    "crash_at_every_commit",
    "record_history",
    "simulate",
]
