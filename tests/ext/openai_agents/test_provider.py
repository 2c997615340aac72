"""Runs against a server that speaks as OpenAI does: streams, refusals, hangs, resets, and how often it is asked."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx2
import openai
import pytest
from agents import (
    Agent,
    ModelRetrySettings,
    ModelSettings,
    OpenAIProvider,
    RunConfig,
    function_tool,
    retry_policies,
)
from openai import AsyncOpenAI

from romancy import RetryPolicy, Romancy, WorkflowCancelledError, WorkflowContext, kept, workflow
from romancy.core import ActivityAttemptFailed, ActivityScheduled
from romancy.ext.openai_agents import AGENT_EVENTS, AgentEvent, RomancyRunner, StepOptions, events
from romancy.testing import TestApp
from tests.ext.openai_agents.provider import Provider, Refusal, serving

pytestmark = pytest.mark.anyio


@function_tool
async def look(city: str) -> str:
    """Look."""
    return f"{city} is there"


class Twice(RomancyRunner):
    """Two attempts."""

    model = StepOptions(retry=RetryPolicy.fixed(2, 0.01))


class Watched(RomancyRunner):
    """A stream that says nothing for half a second is dead."""

    model = StepOptions(retry=RetryPolicy.fixed(2, 0.01), heartbeat_timeout=0.5)


served: list[Provider] = []
clients: list[AsyncOpenAI] = []


def config(**given: Any) -> RunConfig:
    if not clients:
        clients.append(AsyncOpenAI(api_key="k", base_url=served[0].url))
    return RunConfig(model_provider=OpenAIProvider(openai_client=clients[0], use_responses=True), **given)


@pytest.fixture(autouse=True)
async def forget() -> Any:
    """Begin without a server and without a client."""
    served.clear()
    clients.clear()
    yield
    for client in clients:
        await client.close()


assistant = Agent(name="assistant", model="gpt-test", tools=[look])


@workflow
async def oap_answers(ctx: WorkflowContext) -> list[Any]:
    begun = ctx.now()
    result = await RomancyRunner.run(assistant, "go", run_config=config())
    usage = result.context_wrapper.usage
    return [result.final_output, usage.total_tokens, (ctx.now() - begun).total_seconds()]


@workflow
async def oap_streams(ctx: WorkflowContext, how: str = "") -> str:
    runner = Watched if how else Twice
    result = runner.run_streamed(assistant, "go", run_config=config())
    async for _ in result.stream_events():
        pass
    return str(result.final_output)


@workflow
async def oap_catches(ctx: WorkflowContext) -> list[Any]:
    try:
        await Twice.run(assistant, "go", run_config=config())
    except openai.APIStatusError as error:
        return [
            type(error).__name__, error.status_code, error.code, error.message, error.response.status_code,
            error.response.headers.get("retry-after"), error.request_id, error.request.method,
        ]  # fmt: skip
    except openai.APIConnectionError as error:
        return [type(error).__name__, error.message, error.request.method]
    return []


async def test_an_answer_and_a_call_of_a_tool_are_read_as_the_client_reads_them() -> None:
    async with serving("call", "answer") as provider, TestApp([oap_answers], sticky=0) as app:
        served.append(provider)
        output, tokens, _ = await app.run(oap_answers)
    assert (output, tokens) == ("all is well", 14)
    assert len(provider.requests) == 2
    assert provider.requests[1]["input"][-1]["output"] == "Rome is there"


async def test_a_provider_that_says_when_to_come_again_is_asked_again_then_and_by_one_layer() -> None:
    busy = Refusal(429, {"retry-after": "45"})
    async with serving(busy, busy) as provider, TestApp([oap_answers]) as app:
        served.append(provider)
        handle = await app.start(oap_answers)
        output, _, seconds = await handle.result()
        failed = [one for one in await handle.history() if isinstance(one, ActivityAttemptFailed)]
    assert output == "all is well"
    assert 90 <= seconds < 91
    assert len(provider.requests) == 3
    assert [round((one.next_at - one.at) / 1e6) for one in failed] == [45, 45]


@pytest.mark.parametrize(
    ("how", "requests", "told"),
    [
        (Refusal(429, {"retry-after-ms": "5"}), 2, ["RateLimitError", 429, "no", None]),
        (Refusal(500), 2, ["InternalServerError", 500, "no", None]),
        (Refusal(503, {"x-should-retry": "false"}), 1, ["InternalServerError", 503, "no", None]),
        (Refusal(400), 1, ["BadRequestError", 400, "no", None]),
        (Refusal(401), 1, ["AuthenticationError", 401, "no", None]),
        (
            Refusal(429, {"retry-after": "0"}, {"message": "refused", "code": "insufficient_quota", "type": "t"}),
            1,
            ["RateLimitError", 429, "insufficient_quota", "0"],
        ),
    ],
)
async def test_the_body_gets_the_error_of_the_client(how: Refusal, requests: int, told: list[Any]) -> None:
    async with serving(how, how, how, how) as provider, TestApp([oap_catches]) as app:
        served.append(provider)
        name, status, code, message, again, after, request_id, method = await app.run(oap_catches)
    assert [name, status, code, after] == told
    assert ("refused" in message, again, request_id, method) == (True, status, "req_1", "POST")
    assert len(provider.requests) == requests


async def test_a_connection_that_breaks_is_tried_again_and_is_told_by_its_class() -> None:
    async with serving("reset", "reset", "reset") as provider, TestApp([oap_catches]) as app:
        served.append(provider)
        assert await app.run(oap_catches) == ["APIConnectionError", "Connection error.", "POST"]
    assert len(provider.requests) == 2


async def test_a_stream_that_breaks_is_begun_again_and_readers_are_told_to_forget() -> None:
    async with serving("reset in stream") as provider, Romancy("memory://", workflows=[oap_streams]) as app:
        served.append(provider)
        handle = await app.start(oap_streams)
        async for item in handle.stream(AGENT_EVENTS):
            if item.source:
                provider.seen.set()
                break
        assert await handle.result() == "all is well"
        items = [item async for item in handle.stream(AGENT_EVENTS)]
        live = [one async for one in events(handle)]
    assert len(provider.requests) == 2
    assert "discard" in [item.kind for item in items]
    assert words(kept(items)) == ["all ", "is ", "well"]
    typed = [one.model_event for one in live if one.model_event is not None]
    assert [one.delta for one in typed if one.type == "response.output_text.delta"][-3:] == ["all ", "is ", "well"]
    assert [one.event.kind for one in live if one.event is not None and not one.source] == ["agent"]


def words(told: list[AgentEvent]) -> list[str]:
    return [one.event["delta"] for one in told if one.event.get("type") == "response.output_text.delta"]


async def test_a_stream_that_stalls_ends_by_its_heartbeat() -> None:
    async with serving("hang in stream") as provider, Romancy("memory://", workflows=[oap_streams]) as app:
        served.append(provider)
        handle = await app.start(oap_streams, "watched")
        assert await handle.result(timeout=60) == "all is well"
        await asyncio.wait_for(provider.gone.wait(), 5)
    assert len(provider.requests) == 2


@pytest.mark.parametrize("how", ["hang", "hang in stream"])
async def test_a_cancelled_run_closes_the_connection_to_the_provider(how: Any) -> None:
    body: Any = oap_answers if how == "hang" else oap_streams
    async with serving(how) as provider, Romancy("memory://", workflows=[body]) as app:
        served.append(provider)
        handle = await app.start(body)
        await asyncio.wait_for(provider.asked.wait(), 30)
        await handle.cancel()
        await asyncio.wait_for(provider.gone.wait(), 5)
        with pytest.raises(WorkflowCancelledError):
            await handle.result(timeout=30)
    assert len(provider.requests) == 1


@workflow
async def oap_has_retries(ctx: WorkflowContext) -> str:
    settings = ModelSettings(retry=ModelRetrySettings(max_retries=2, policy=retry_policies.http_status([503])))
    agent = Agent(name="sdk", model="gpt-test", model_settings=settings)
    return str((await RomancyRunner.run(agent, "go", run_config=config())).final_output)


async def test_retries_of_the_sdk_are_left_out_for_those_of_the_step() -> None:
    async with serving(Refusal(503), Refusal(503)) as provider, TestApp([oap_has_retries], sticky=0) as app:
        served.append(provider)
        handle = await app.start(oap_has_retries)
        assert await handle.result() == "all is well"
        names = [one.name for one in await handle.history() if isinstance(one, ActivityScheduled)]
    assert len(provider.requests) == 3
    assert names == ["sdk.model"]


async def test_tracing_starts_no_thread_in_a_body() -> None:
    before = set(threading.enumerate())
    async with serving() as provider, TestApp([oap_answers]) as app:
        served.append(provider)
        assert (await app.run(oap_answers))[0] == "all is well"
        assert not [one for one in set(threading.enumerate()) - before if "race" in one.name.lower()]


async def test_an_error_too_large_for_the_log_keeps_its_class_and_its_status() -> None:
    from romancy.ext.openai_agents._errors import RAISED, made_ready, restored  # noqa: PLC0415
    from romancy.serialization import describe_exception, exception_name, rebuild_exception  # noqa: PLC0415

    request = httpx2.Request("POST", "http://x/")
    response = httpx2.Response(429, headers={"retry-after": "7", "x": "b" * 20_000}, request=request)
    error = openai.RateLimitError("m" * 3_000, response=response, body={"text": "a" * 50_000})
    made_ready(error)
    info = describe_exception(error, RAISED)
    again: Any = restored(rebuild_exception(info, {exception_name(one): one for one in RAISED}))
    assert type(again) is openai.RateLimitError
    assert (again.status_code, again.response.headers["retry-after"]) == (429, "7")
    assert len(str(again.body)) < 5_000
