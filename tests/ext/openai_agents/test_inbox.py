"""Approvals of tools as questions of the workflow."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from agents import Agent, CustomTool, RunState, ShellTool
from agents.testing import assistant_message

from romancy import WorkflowContext, WorkflowFailedError, activity, workflow
from romancy.ext.openai_agents import Inbox, RomancyRunner, activity_tool, install
from romancy.testing import TestApp, crash_at_every_commit
from tests.ext.openai_agents.scripted import Script, Scripted, call, one_of_each, shell

if TYPE_CHECKING:
    from romancy import Handle, Question

pytestmark = pytest.mark.anyio

paid: Counter[int] = Counter()


@pytest.fixture(autouse=True)
def forget() -> None:
    """Begin with nothing paid."""
    paid.clear()


@activity
async def pay(cents: int) -> str:
    """Pay."""
    paid[cents] += 1
    return f"paid {cents}"


def pays_twice(turn: int, outputs: list[Any]) -> list[Any]:
    if outputs:
        return [assistant_message("; ".join(str(one["output"]) for one in outputs))]
    return [call("pay", f"c{cents}", cents=cents) for cents in (5, 7)]


class Asking(RomancyRunner):
    """Asks finance, for an hour."""

    inbox = Inbox(to="finance", timeout=3600)


class Discreet(RomancyRunner):
    """Tells no arguments."""

    inbox = Inbox(show_arguments=False)


cashier = Agent(name="cashier", model=Scripted(pays_twice), tools=[activity_tool(pay, needs_approval=True)])
FIVE, SEVEN = 'May pay be called with {"cents":5}?', 'May pay be called with {"cents":7}?'


@workflow
async def oai_asks(ctx: WorkflowContext) -> str:
    return str((await Asking.run(cashier, "pay")).final_output)


@workflow
async def oai_streams(ctx: WorkflowContext) -> str:
    result = Asking.run_streamed(cashier, "pay")
    names = [event.name async for event in result.stream_events() if event.type == "run_item_stream_event"]
    assert names.count("tool_called") == 2
    return str(result.final_output)


amounts: list[int] = []


def pays_changing(turn: int, outputs: list[Any]) -> list[Any]:
    if outputs:
        raise ConnectionRefusedError(str(outputs[0]["output"]))
    return [call("pay", "c1", cents=amounts.pop(0))]


@workflow
async def oai_changes(ctx: WorkflowContext) -> str:
    agent = Agent(name="changing", model=Scripted(pays_changing), tools=[activity_tool(pay, needs_approval=True)])
    try:
        return str((await Discreet.run(agent, "pay")).final_output)
    except Exception as error:
        raise ValueError("changed") from error


def delegates(turn: int, outputs: list[Any]) -> list[Any]:
    return [assistant_message(str(outputs[0]["output"]))] if outputs else [call("pays", "n1", input="pay")]


boss = Agent(name="boss", model=Scripted(delegates), tools=[cashier.as_tool("pays", "Pay.")])


@workflow
async def oai_nests(ctx: WorkflowContext) -> str:
    return str((await Asking.run(boss, "pay")).final_output)


async def says(context: Any, given: str) -> str:
    return given


handy = Agent(
    name="handy",
    model=Script(lambda turn, outputs: one_of_each(turn, outputs)[:2]),
    tools=[
        ShellTool(executor=shell, needs_approval=True),
        CustomTool(name="mine", description="Mine.", on_invoke_tool=says, needs_approval=True),
    ],
)


@workflow
async def oai_handy(ctx: WorkflowContext) -> str:
    return str((await RomancyRunner.run(handy, "go")).final_output)


@workflow
async def oai_state(ctx: WorkflowContext) -> str:
    state: Any = RunState.__new__(RunState)
    return str((await RomancyRunner.run(cashier, state)).final_output)


WORKFLOWS: Any = [oai_asks, oai_streams, oai_changes, oai_nests, oai_handy, oai_state]


async def open_ones(app: TestApp) -> dict[str, Question]:
    await app.settle()
    return {one.question: one for one in (await app.questions()).questions}


@pytest.mark.parametrize("body", [oai_asks, oai_streams, oai_nests], ids=lambda body: str(body.name))
async def test_each_call_is_a_question_and_a_refusal_reaches_the_model(body: Any) -> None:
    install(Asking)
    async with TestApp(WORKFLOWS) as app:
        handle = await app.start(body)
        found = await open_ones(app)
        assert ("finance", "approval") == (found[FIVE].to, found[FIVE].name)
        await app.answer(found[FIVE].token, data=True, by="ann")
        await app.refuse(found[SEVEN].token, "too much")
        assert "paid 5; too much" == await handle.result()
    assert {5: 1} == dict(paid)


async def test_nobody_in_time_is_a_no() -> None:
    async with TestApp(WORKFLOWS) as app:
        handle = await app.start(oai_asks)
        await open_ones(app)
        await app.advance(3_700)
        assert "nobody answered the question" in await handle.result()
        assert {} == await open_ones(app)
    assert not paid


@pytest.mark.parametrize("body", [oai_asks, oai_streams], ids=lambda body: str(body.name))
async def test_a_crash_at_each_commit_asks_and_pays_once(body: Any) -> None:
    async def answers(app: TestApp, handle: Handle[Any]) -> None:
        for question in (await open_ones(app)).values():
            await app.answer(question.token, data=True)
        assert "paid 5; paid 7" == await handle.result()

    crashes = await crash_at_every_commit(body.bind(), workflows=WORKFLOWS, drive=answers)
    assert len(crashes) > 8


async def test_a_retry_asks_anew_about_another_amount_also_where_it_is_hidden() -> None:
    amounts[:] = [5, 5, 900]
    async with TestApp(WORKFLOWS, check_replay=False) as app:
        handle = await app.start(oai_changes)
        ((text, question),) = (await open_ones(app)).items()
        assert "5" not in text.partition("(")[0]
        await app.answer(question.token, data=True)
        with pytest.raises(WorkflowFailedError):
            await handle.result()
        assert {5: 1} == dict(paid)


async def test_shell_and_custom_tools_are_asked_about_with_what_they_would_do() -> None:
    async with TestApp(WORKFLOWS) as app:
        handle = await app.start(oai_handy)
        found = await open_ones(app)
        assert len(found) == 2
        assert any('"ls"' in text for text in found)
        assert "May mine be called with given?" in found
        for question in found.values():
            await app.answer(question.token, data=True)
        assert "given" in await handle.result()


async def test_a_state_from_elsewhere_is_refused_by_name() -> None:
    async with TestApp(WORKFLOWS) as app:
        with pytest.raises(WorkflowFailedError, match="a durable run needs no RunState"):
            await app.run(oai_state)
