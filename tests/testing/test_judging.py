"""What a simulation holds against the logs of its instances."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.core import WorkflowStarted, idempotency_key
from romancy.registry import Registry
from romancy.testing import Effect, TestApp
from romancy.testing.simulating.judging import strangers

pytestmark = pytest.mark.anyio


@activity
async def pay() -> None: ...


@activity(commit="lazy")
async def looks_up_what_is_judged() -> None: ...


@workflow
async def pays(ctx: WorkflowContext) -> None:
    await pay()


async def found(app: Romancy, activity_id: str, *, nonce: str | None = None) -> list[str]:
    """What is said about an effect of this call."""
    (start,) = [each for each in await app.history("p1") if isinstance(each, WorkflowStarted)]
    key = idempotency_key("p1", start.nonce if nonce is None else nonce, activity_id)
    effect = Effect("paid", (), "p1", activity_id, 1, key, "worker1", datetime.now(UTC))
    return [each async for each in strangers(app, Registry.collect([pays]), [effect])]


async def test_an_effect_without_a_call_in_the_log_is_a_finding() -> None:
    async with TestApp([pays]) as app:
        await app.run(pays.options(instance_id="p1"))

        assert await found(app, "pay:1") == []
        assert await found(app, "pay:2") == [
            "paid (pay:2 of p1, attempt 1, in worker1) happened, and the log has no such call"
        ]


async def test_what_is_lazy_or_of_another_run_may_be_missing() -> None:
    async with TestApp([pays]) as app:
        await app.run(pays.options(instance_id="p1"))

        assert await found(app, "looks_up_what_is_judged:1") == []
        assert await found(app, "pay:2", nonce="of a run before") == []
