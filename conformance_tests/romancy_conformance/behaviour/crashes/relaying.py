"""The app whose relay the tests kill: `romancy relay romancy_conformance.behaviour.crashes.relaying:app`."""

from __future__ import annotations

import os

from romancy import RetryPolicy, Romancy
from romancy.outbox import HttpSender, Relay

__all__ = ["DATABASE", "RECEIVER", "app"]

DATABASE, RECEIVER = "ROMANCY_TEST_DATABASE", "ROMANCY_TEST_RECEIVER"

app = Romancy(
    os.environ.get(DATABASE, "memory://"),
    workflows=[],
    worker=False,
    relay=Relay(
        HttpSender(os.environ.get(RECEIVER, "http://127.0.0.1:1")),
        timeout=0.3,
        lease=1.0,
        concurrency=4,
        retry=RetryPolicy(200, 0.01, 1.5, 0.05),
    ),
)
