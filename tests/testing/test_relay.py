"""A test app with a relay: what is published is sent before time passes, and tried again in the time of the test."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from romancy import RetryPolicy, WorkflowContext, activity, activity_context, workflow
from romancy.outbox import OutboxEvent, Relay, Retry
from romancy.testing import TestApp

pytestmark = pytest.mark.anyio

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Post:
    """A sender that notes when it got what, and refuses the first times."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.tried: list[tuple[str, object, datetime]] = []
        self.app: TestApp

    async def send(self, event: OutboxEvent) -> None:
        self.tried.append((event.type, event.data, self.app.now))
        if self.refusals:
            self.refusals -= 1
            raise Retry


@activity
async def pay(amount: int) -> None:
    await activity_context().publish("paid", amount)


@workflow
async def order(ctx: WorkflowContext, amount: int) -> None:
    await ctx.publish("ordered", amount)
    await ctx.sleep(timedelta(days=1))
    await pay(amount)


def made(post: Post) -> TestApp:
    relay = Relay(post, retry=RetryPolicy.fixed(10, timedelta(hours=1)))
    post.app = TestApp([order], now=NOON, relay=relay)
    return post.app


async def test_what_is_published_is_sent_before_time_passes() -> None:
    post = Post()
    async with made(post) as app:
        await app.run(order, 5)
        await app.settle()
        assert post.tried == [("ordered", 5, NOON), ("paid", 5, NOON + timedelta(days=1))]


async def test_a_sender_that_takes_its_time_to_begin_and_to_send() -> None:
    class Slow(Post):
        async def __aenter__(self) -> None:
            await asyncio.sleep(0.02)

        async def __aexit__(self, *_: object) -> None:
            pass

        async def send(self, event: OutboxEvent) -> None:
            await asyncio.sleep(0.02)
            await super().send(event)

    post = Slow()
    async with made(post) as app:
        await app.run(order, 5)
        await app.settle()
        assert [at - NOON for _, _, at in post.tried] == [timedelta(), timedelta(days=1)]
        await app.restart()
        await app.run(order, 6)
        assert [at - NOON for _, _, at in post.tried[2:]][:1] == [timedelta(days=1)]


async def test_a_refused_event_is_tried_again_in_the_time_of_the_test() -> None:
    post = Post(refusals=2)
    async with made(post) as app:
        await app.start(order, 5)
        await app.settle()
        assert [at for _, _, at in post.tried] == [NOON]
        await app.advance(timedelta(minutes=59))
        assert len(post.tried) == 1
        await app.advance(timedelta(hours=2))
        assert [at - NOON for _, _, at in post.tried] == [timedelta(hours=number) for number in range(3)]
        await app.crash()
        await app.advance(timedelta(days=1))
        assert [(name, data) for name, data, _ in post.tried[3:]] == [("paid", 5)]
