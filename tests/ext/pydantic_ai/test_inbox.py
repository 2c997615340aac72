"""Runs of agents that wait for people: by an inbox, and by the token of a question."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic_ai import Agent, Tool, models
from pydantic_ai.capabilities import RequestInput
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from romancy import Question, WorkflowContext, activity, workflow
from romancy.ext.pydantic_ai import Inbox, RomancyDurability, inbox
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from pydantic_ai import DeferredToolRequests, DeferredToolResults, RunContext

    from romancy import Handle

pytestmark = pytest.mark.anyio
models.ALLOW_MODEL_REQUESTS = False

paid: Counter[int] = Counter()
handed: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Begin with nothing paid and no token handed over."""
    paid.clear()
    handed.clear()


@activity
async def pay(cents: int) -> str:
    """Pay."""
    paid[cents] += 1
    return f"paid {cents}"


def pays_twice(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    last = messages[-1]
    assert isinstance(last, ModelRequest)
    told = [str(one.content) for one in last.parts if isinstance(one, ToolReturnPart)]
    if told:
        return ModelResponse(parts=[TextPart("; ".join(told))])
    return ModelResponse(parts=[ToolCallPart("pay", {"cents": cents}, tool_call_id=f"c{cents}") for cents in (5, 7)])


async def mails(ctx: RunContext[Any], requests: DeferredToolRequests, token: str) -> None:
    handed.append(token)


async def decides(ctx: RunContext[Any], requests: DeferredToolRequests, token: str) -> DeferredToolResults:
    return requests.build_results(approve_all=True)


def agent_of(name: str, ask: Any, timeout: timedelta | None = None) -> Agent[object, str]:
    asks = RequestInput[object](ask=ask, timeout=timeout)
    tools = [Tool(pay, requires_approval=True)]
    return Agent(FunctionModel(pays_twice), name=name, capabilities=[RomancyDurability(), asks], tools=tools)


BY_INBOX = agent_of("cashier", Inbox(to="finance"), timedelta(hours=1))
BY_TOKEN = agent_of("mailer", mails, timedelta(hours=1))
AT_ONCE = agent_of("policy", decides)
ANYBODY = agent_of("anybody", inbox)


@workflow
async def inb_asks(ctx: WorkflowContext) -> str:
    return (await BY_INBOX.run("pay")).output


@workflow
async def inb_hands_over(ctx: WorkflowContext) -> str:
    return (await BY_TOKEN.run("pay")).output


@workflow
async def inb_decides(ctx: WorkflowContext) -> str:
    return (await AT_ONCE.run("pay")).output


WORKFLOWS: Any = [inb_asks, inb_hands_over, inb_decides]


async def open_ones(app: TestApp) -> dict[str, Question]:
    await app.settle()
    return {one.question: one for one in (await app.questions()).questions}


async def test_each_call_is_a_question_and_a_refusal_reaches_the_model() -> None:
    async with TestApp(WORKFLOWS) as app:
        handle = await app.start(inb_asks)
        found = await open_ones(app)
        five, seven = found['May pay be called with {"cents":5}?'], found['May pay be called with {"cents":7}?']
        assert ("finance", "approval") == (five.to, five.name)
        await app.answer(five.token, data=True, by="ann")
        await app.refuse(seven.token, "too much")
        assert "paid 5; too much" == await handle.result()
    assert {5: 1} == dict(paid)


async def test_nobody_in_time_is_a_no() -> None:
    async with TestApp(WORKFLOWS) as app:
        handle = await app.start(inb_asks)
        await open_ones(app)
        await app.advance(3_700)
        assert "nobody answered within 1:00:00" in await handle.result()
        assert {} == await open_ones(app)
    assert not paid


async def test_a_token_that_was_handed_over_is_answered_once() -> None:
    async with TestApp(WORKFLOWS) as app:
        handle = await app.start(inb_hands_over)
        (question,) = (await open_ones(app)).values()
        assert [question.token] == handed
        await app.answer(question.token, {"approvals": {"c5": True, "c7": False}})
        assert "paid 5; The tool call was denied." == await handle.result()


async def test_who_decides_at_once_leaves_no_question() -> None:
    async with TestApp(WORKFLOWS) as app:
        handle = await app.start(inb_decides)
        assert "paid 5; paid 7" == await handle.result()
        assert {} == await open_ones(app)


@pytest.mark.parametrize("body", [inb_asks, inb_hands_over], ids=lambda body: body.name)
async def test_a_crash_at_each_commit_asks_and_pays_once(body: Any) -> None:
    async def answers(app: TestApp, handle: Handle[Any]) -> None:
        for question in (await open_ones(app)).values():
            decision: Any = True if body is inb_asks else {"approvals": {"c5": True, "c7": True}}
            await app.answer(question.token, decision)
        assert "paid 5; paid 7" == await handle.result()

    crashes = await crash_at_every_commit(body.bind(), workflows=WORKFLOWS, drive=answers)
    assert len(crashes) > 8


async def test_outside_of_a_workflow_an_inbox_is_refused_by_name() -> None:
    with pytest.raises(Exception, match="an inbox asks by the workflow"):
        await ANYBODY.run("pay")
