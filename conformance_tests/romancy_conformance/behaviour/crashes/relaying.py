"""The app whose workers and relays the tests kill: `romancy run` and `romancy relay` of `…crashes.relaying:app`."""

from __future__ import annotations

import os

from romancy import RetryPolicy, Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.outbox import HttpSender, Relay

__all__ = ["DATABASE", "LEASE", "RECEIVER", "app", "tells"]

DATABASE, RECEIVER = "ROMANCY_TEST_DATABASE", "ROMANCY_TEST_RECEIVER"
LEASE = 1.0
"""Of events that a relay claims."""


@activity(retry=RetryPolicy(0, 0.01, 1.0, 0.01))
async def tell(key: str, number: int) -> None:
    """Publish with the completion, half of the times in a transaction. Each third first attempt is rolled back."""
    context = activity_context()
    if number % 4 < 2:
        await context.session()
    undone = number % 3 == 0 and context.attempt == 1
    await context.publish("undone" if undone else "told", number, key=key)
    if undone:
        raise ConnectionError("what this attempt has published is not sent")


@workflow
async def tells(ctx: WorkflowContext, key: str, count: int) -> None:
    for number in range(0, count, 2):
        await tell(key, number)
        await ctx.publish("told", number + 1, key=key)


app = Romancy(
    os.environ.get(DATABASE, "memory://"),
    workflows=[tells],
    lease=2.0,
    relay=Relay(
        HttpSender(os.environ.get(RECEIVER, "http://127.0.0.1:1"), longest_wait=0.05),
        timeout=0.3,
        lease=LEASE,
        concurrency=4,
        retry=RetryPolicy(0, 0.01, 1.5, 0.05),
    ),
)
