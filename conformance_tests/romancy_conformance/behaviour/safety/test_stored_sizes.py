"""The limit of a value's size is about what the codecs make of it, not about the value itself."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from romancy import (
    Codecs,
    PayloadTooLargeError,
    RetryExhaustedError,
    Romancy,
    WorkflowContext,
    ZlibCodec,
    activity,
    activity_context,
    workflow,
)
from romancy.serialization import PayloadContext
from romancy.status import Status
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

MANY = 4_000_000
LARGE = "x" * MANY
SMALL_FOR_ONE = 1_800_000


class Doubling:
    """A codec whose output is twice as long, and whose work is to be seen."""

    id = "doubling"

    def encode(self, data: bytes, _context: PayloadContext, /) -> bytes:
        return data + data

    def decode(self, data: bytes, _context: PayloadContext, /) -> bytes:
        return data[: len(data) // 2]


def noise(size: int) -> str:
    """A text that cannot be compressed, the same each time."""
    return random.Random(size).randbytes(size // 2).hex()


@activity
async def makes(size: int) -> str:
    return "x" * size


@activity
def makes_on_a_thread(size: int) -> str:
    return "x" * size


@activity(executor="process")
def makes_in_a_process(size: int) -> str:
    return "x" * size


@activity
async def measures(text: str) -> int:
    return len(text)


@activity
async def makes_noise(size: int) -> str:
    return noise(size)


@workflow
async def result(ctx: WorkflowContext, kind: str) -> int:
    makers = {"loop": makes, "thread": makes_on_a_thread, "process": makes_in_a_process}
    return len(await makers[kind](MANY))


@workflow
async def passes(ctx: WorkflowContext, text: str) -> str:
    """Receives a large input, passes it to an activity and a child, and returns it."""
    await ctx.report(text)
    assert await measures(text) == len(text)
    assert await returns(text) == text
    return text


@workflow
async def receives(ctx: WorkflowContext) -> int:
    sizes = 0
    async with asyncio.timeout(60):
        for _ in range(2):
            sizes += len((await ctx.wait_event("large")).data)
    return sizes


@workflow
async def caught(ctx: WorkflowContext, size: int) -> str:
    """Goes on without the call that was refused, and waits, so that a replay meets the refusal again."""
    said = "accepted"
    try:
        await measures(noise(size))
    except PayloadTooLargeError as error:
        said, _, _ = str(error).partition(":")
    await ctx.wait_event("go")
    return f"{said}, {await measures('x')}"


@workflow
async def keeps(ctx: WorkflowContext) -> int:
    size = await measures(LARGE)
    await ctx.wait_event("go")
    return size + await measures(LARGE[:10])


@workflow
async def makes_too_much(ctx: WorkflowContext) -> str:
    try:
        return await makes_noise(2 * MANY)
    except RetryExhaustedError as error:
        return str(error.__cause__)


@activity
async def sends(instance_id: str) -> None:
    await activity_context().send("large", LARGE, to=instance_id)


@workflow
async def sender(ctx: WorkflowContext, instance_id: str) -> None:
    await ctx.send("large", LARGE, to=instance_id)
    await sends(instance_id)


@pytest.mark.parametrize("kind", ["loop", "thread", "process"])
async def test_a_result_may_be_as_large_as_what_is_stored(open_app: Open, kind: str) -> None:
    app = await open_app(codecs=[ZlibCodec()])
    assert MANY == await app.run(result, kind)


async def test_inputs_arguments_reports_and_results_may(open_app: Open) -> None:
    app = await open_app(codecs=[ZlibCodec()])
    handle = await app.start(passes, LARGE)

    assert LARGE == await handle.result()
    assert LARGE == await app.report(handle.instance_id)
    instance = await app.get_instance(handle.instance_id)
    assert instance is not None
    assert LARGE == instance.input["text"]


async def test_signals_and_messages_may(open_app: Open) -> None:
    app = await open_app(codecs=[ZlibCodec()])
    outside = await open_app(codecs=[ZlibCodec()], worker=False)
    first, second = await app.start(receives), await app.start(receives)

    await first.signal("large", LARGE)
    await outside.signal(first.instance_id, "large", LARGE)
    await app.run(sender, second.instance_id)

    assert 2 * MANY == await first.result() == await second.result()


async def test_a_value_that_a_codec_makes_larger_is_refused(open_app: Open) -> None:
    """The codecs of an app count, not what a value has before them."""
    app = await open_app(codecs=[Doubling()])
    with pytest.raises(PayloadTooLargeError, match=r"input of workflow returns: 4,\d+,\d+ bytes as stored, at most"):
        await app.start(returns, "x" * SMALL_FOR_ONE)
    assert "x" * 600_000 == await app.run(returns, "x" * 600_000)


async def test_what_does_not_become_smaller_is_refused_as_before(open_app: Open) -> None:
    app = await open_app(codecs=[ZlibCodec()])

    with pytest.raises(PayloadTooLargeError, match=r"input of workflow returns: \d,\d+,\d+ bytes as stored, at most"):
        await app.start(returns, noise(2 * MANY))
    handle = await app.start(receives)
    with pytest.raises(PayloadTooLargeError, match="as stored"):
        await handle.signal("large", noise(2 * MANY))
    said = await app.run(makes_too_much)
    assert "PayloadTooLargeError: result of activity makes_noise:1" in said
    assert await app.terminate(handle.instance_id)


async def test_a_refusal_is_the_same_in_a_replay(open_app: Open) -> None:
    first = await open_app(codecs=[ZlibCodec()])
    handle = await first.start(caught, 2 * MANY)
    await waits(first, handle.instance_id)
    await first.drain()

    app = await open_app(codecs=[ZlibCodec()])
    assert (await app.check()).fits
    await app.signal(handle.instance_id, "go")
    assert await app.handle(handle.instance_id, caught).result(timeout=60) == "arguments of activity measures, 1"


async def test_a_log_is_replayed_after_its_codec_only_reads(open_app: Open) -> None:
    """The call was recorded, so it was not too large when it was made."""
    first = await open_app(codecs=[ZlibCodec()])
    handle = await first.start(keeps)
    await waits(first, handle.instance_id)
    await first.drain()

    app = await open_app(codecs=Codecs(read_only=[ZlibCodec()]))
    assert (await app.check()).fits
    await app.signal(handle.instance_id, "go")
    assert MANY + 10 == await app.handle(handle.instance_id, keeps).result(timeout=60)


async def test_two_apps_in_one_process_have_codecs_of_their_own(open_app: Open) -> None:
    """An activity of one app starts an instance of the other."""
    plain = await open_app()
    zipped = await open_app(codecs=[ZlibCodec()], worker=False)

    handle = await zipped.start(returns, LARGE)
    with pytest.raises(PayloadTooLargeError, match=r"4,000,\d+ bytes, at most"):
        await plain.start(returns, LARGE)
    assert await zipped.terminate(handle.instance_id)


def test_a_payload_that_could_not_be_read_back_is_not_compressed() -> None:
    codec = ZlibCodec(largest=10_000)
    where = PayloadContext("one", "commit", "1.1")

    assert codec.encode(b"x" * 10_001, where) is None
    assert b"x" * 10_000 == codec.decode(codec.encode(b"x" * 10_000, where) or b"", where)


async def waits(app: Romancy, instance_id: str) -> None:
    await status_is(app, instance_id, Status.WAITING)


@workflow
async def sends_a_large_key(ctx: WorkflowContext) -> str:
    try:
        await ctx.send("large", 1, key=LARGE)
    except PayloadTooLargeError as error:
        said, _, _ = str(error).partition(":")
        return said
    return "accepted"


async def test_texts_beside_the_data_of_an_event_count_too(app: Romancy) -> None:
    """A commit has no room for such a message, so each of its receivers would be stuck."""
    handle = await app.start(receives)
    beside = "with its key, subject and source"
    with pytest.raises(PayloadTooLargeError, match=beside):
        await app.send("large", "", subject=LARGE)
    with pytest.raises(PayloadTooLargeError, match=beside):
        await app.send("large", "", key=LARGE, to=handle.instance_id)
    with pytest.raises(PayloadTooLargeError, match=beside):
        await app.send("large", "", source=LARGE)
    with pytest.raises(PayloadTooLargeError, match="with its key"):
        await handle.signal("large", "", key=LARGE)
    assert await app.run(sends_a_large_key) == f"event 'large' {beside}"

    await app.send("large", "x" * 1_000_000, subject="y" * 500_000)
    await handle.signal("large", "x" * 500_000, key="y" * 500_000)
    assert await handle.result(timeout=60) == 1_500_000
