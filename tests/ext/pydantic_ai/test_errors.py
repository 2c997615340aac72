"""Errors of an agent's steps: which class the body gets, what is tried again and when, and what is refused by name."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
from pydantic_ai import Agent, FunctionToolset, RunContext, Tool
from pydantic_ai.capabilities import ModelFallback
from pydantic_ai.durable_exec._utils import streamed_before_failing
from pydantic_ai.exceptions import (
    ModelConnectionError,
    ModelHTTPError,
    ModelOverloadedError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestTimeout,
    UnexpectedModelBehavior,
    UserError,
)
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from romancy import RetryPolicy, WorkflowContext, WorkflowFailedError, WorkflowStuckError, workflow
from romancy.core import ActivityAttemptFailed, ActivityScheduled
from romancy.ext.pydantic_ai import RomancyDurability, StepOptions
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

ONCE = StepOptions(retry=RetryPolicy.fixed(2, 0.01))
requests: list[Any] = []
raised: list[Exception] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Begin without a request."""
    requests.clear()
    raised.clear()


def http(category: Any, status: int, **more: Any) -> ModelHTTPError:
    return ModelHTTPError.for_category(category, status_code=status, model_name="m", **more)


ERRORS: list[tuple[Exception, int]] = [
    (http(ModelRateLimitError, 429, headers={"Retry-After": "3"}, body={"error": {"code": "slow"}}), 2),
    (http(ModelOverloadedError, 529, provider_error_type="overloaded_error", in_stream=True), 2),
    (http(ModelQuotaExceededError, 402, hint="pay"), 1),
    (http(None, 418), 2),
    (ModelRateLimitError("m", "calm", retry_after=2.5, provider_error_code="17"), 2),
    (ModelConnectionError("m", "reset", phase="read"), 2),
    (ModelRequestTimeout("m", 7.0, setting="first_event_timeout"), 1),
    (UnexpectedModelBehavior("odd", '{"a": 1}'), 1),
    (UserError("misused"), 1),
]


async def fails(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    requests.append(dict(info.model_settings or {}))
    raise raised[0]


failing = Agent(FunctionModel(fails), name="failing", capabilities=[RomancyDurability(model=ONCE)])


@workflow
async def catches(ctx: WorkflowContext) -> list[Any]:
    try:
        await failing.run("go")
    except Exception as error:  # noqa: BLE001 - the test is about which one it is
        return told(error)
    return []


def told(error: Exception) -> list[Any]:
    """All that an error says, beside what the program has put onto it."""
    kept = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    return [type(error).__qualname__, [one.__qualname__ for one in type(error).__mro__], str(error), kept]


@pytest.mark.parametrize("number", range(len(ERRORS)))
async def test_the_body_gets_the_error_of_the_model_with_all_that_it_says(number: int) -> None:
    error, attempts = ERRORS[number]
    raised.append(error)
    expected = told(error)
    async with TestApp([catches]) as app:
        assert await app.run(catches) == expected
    assert len(requests) == attempts
    assert requests[0] == {"max_retries": 0}  # the client of the provider has no retries of its own


async def test_an_error_too_large_for_the_log_keeps_its_class_and_its_status() -> None:
    raised.append(http(ModelRateLimitError, 429, body={"text": "a" * 50_000}, headers={"x": "b" * 20_000}))
    async with TestApp([catches]) as app:
        name, bases, text, kept = await app.run(catches)
    assert (name, kept["status_code"], kept["model_name"]) == ("ModelRateLimitError", 429, "m")
    assert "ModelHTTPError" in bases
    assert len(text) + len(kept["body"]) < 5_000


# ── again ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def busy(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    requests.append(1)
    if len(requests) < 3:
        raise http(ModelRateLimitError, 429, headers={"Retry-After": "45"})
    return ModelResponse(parts=[TextPart("at last")])


patient = Agent(FunctionModel(busy), name="patient", capabilities=[RomancyDurability()])


@workflow
async def is_patient(ctx: WorkflowContext) -> list[Any]:
    begun = ctx.now()
    return [(await patient.run("go")).output, (ctx.now() - begun).total_seconds()]


async def test_a_provider_that_says_when_to_come_again_is_asked_again_then() -> None:
    async with TestApp([is_patient]) as app:
        handle = await app.start(is_patient)
        output, seconds = await handle.result()
        failed = [one for one in await handle.history() if isinstance(one, ActivityAttemptFailed)]
    assert output == "at last"
    assert 90 <= seconds < 91
    assert len(requests) == 3
    assert [round((one.next_at - one.at) / 1e6) for one in failed] == [45, 45]


async def breaks_off(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
    requests.append(1)
    yield "half "
    raise ModelConnectionError("m", "reset", phase="read")


async def answers(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    requests.append(2)
    return ModelResponse(parts=[TextPart("from the second")])


class Unsettable(FunctionModel):
    """A model that warns of the setting that a client knows."""

    unsupported_settings = frozenset({"max_retries"})


second = Unsettable(answers)
falling = Agent(
    FunctionModel(fails),
    name="falling",
    capabilities=[ModelFallback("second"), RomancyDurability(models={"second": second}, model=ONCE)],
)
half = Agent(FunctionModel(stream_function=breaks_off), name="half", capabilities=[RomancyDurability(model=ONCE)])


@workflow
async def falls_back(ctx: WorkflowContext) -> str:
    return (await falling.run("go")).output


async def test_another_model_takes_over_and_that_survives_a_crash_at_every_commit() -> None:
    raised.append(http(ModelOverloadedError, 529))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crashes = await crash_at_every_commit(falls_back)
    assert {one.result for one in crashes} == {"from the second"}
    async with TestApp([falls_back]) as app:
        handle = await app.start(falls_back)
        await handle.result()
        names = [one.name for one in await handle.history() if isinstance(one, ActivityScheduled)]
    assert names == ["falling__model.request", "falling__model.request.second"]


@workflow
async def takes_half(ctx: WorkflowContext) -> list[Any]:
    try:
        async with half.run_stream("go") as result:
            await result.get_output()
    except ModelConnectionError as error:
        partial = streamed_before_failing(error)
        return [] if partial is None else [partial.text, partial.usage.output_tokens, error.phase]
    return []


async def test_what_a_stream_had_brought_before_it_broke_reaches_pydantic_ai() -> None:
    async with TestApp([takes_half]) as app:
        assert await app.run(takes_half) == ["half ", 1, "read"]
    assert requests == [1, 1]


# ── refused ─────────────────────────────────────────────────────────────────────────────────────────────────────


def keeps_an_object() -> Any:
    """Return what is no JSON."""
    requests.append(1)
    return object()


def is_large() -> str:
    """Return too much."""
    requests.append(1)
    return "a" * 3_000_000


def agent_with(*tools: Any) -> Agent[object, str]:
    return Agent(TestModel(), name="misused", capabilities=[RomancyDurability()], tools=list(tools))


def plain() -> int:
    return 1


async def runs_sync(ctx: RunContext[object]) -> str:
    return failing.run_sync("go").output


MISUSES: dict[str, tuple[Agent[object, str], dict[str, Any]]] = {
    "no JSON": (agent_with(keeps_an_object), {}),
    "large": (agent_with(is_large), {}),
    "metadata": (agent_with(Tool(plain, metadata={"romancy": 3})), {}),
    "model": (agent_with(), {"model": TestModel()}),
    "toolset": (agent_with(), {"toolsets": [FunctionToolset([plain], id="late")]}),
    "sync": (agent_with(Tool(runs_sync, metadata={"romancy": "workflow"})), {}),
}


@workflow
async def misuses(ctx: WorkflowContext, kind: str) -> str:
    agent, given = MISUSES[kind]
    return str((await agent.run("go", **given)).output)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "no JSON",
            "TerminalError: the result of .misused__function_toolset__<agent>.call_tool:keeps_an_object. is",
        ),
        ("large", r"result of activity .*call_tool:is_large:1: 3,000,034 bytes.* after 1 attempt"),
        ("metadata", r"UsageError: tool 'plain': metadata\['romancy'\] is 'workflow' or StepOptions"),
        ("model", "UserError: The model instance 'test:test' was not registered with `RomancyDurability`"),
        ("toolset", "UserError: .*FunctionToolset"),
    ],
)
async def test_a_misuse_is_refused_by_name_and_is_not_repeated(kind: str, words: str) -> None:
    async with TestApp([misuses]) as app:
        with pytest.raises(WorkflowFailedError, match=words):
            await app.run(misuses, kind)
    assert len(requests) <= 1


async def test_a_run_without_await_in_the_body_is_refused() -> None:
    async with TestApp([misuses], check_replay=False) as app:
        with pytest.raises(WorkflowStuckError, match="run_until_complete"):
            await app.run(misuses, "sync")


def test_two_toolsets_of_one_id_and_an_agent_without_a_name_are_refused() -> None:
    twins = [FunctionToolset([plain], id="twin"), FunctionToolset([plain], id="twin")]
    with pytest.raises(UserError, match="Two toolsets have the same `id` 'twin'"):
        Agent(TestModel(), name="twins", capabilities=[RomancyDurability()], toolsets=twins)
    with pytest.raises(UserError, match="unique `name` in order to be used with Romancy"):
        Agent(TestModel(), capabilities=[RomancyDurability()])


@workflow
async def long_names(ctx: WorkflowContext) -> int:
    agent = Agent(TestModel(), name="n" * 400, capabilities=[RomancyDurability()], tools=[plain])
    await agent.run("go")
    return 1


async def test_names_too_long_for_the_log_stay_apart() -> None:
    async with TestApp([long_names]) as app:
        handle = await app.start(long_names)
        await handle.result()
        names = {one.name for one in await handle.history() if isinstance(one, ActivityScheduled)}
    assert len(names) == 2
    assert all(len(one) <= 243 for one in names)
