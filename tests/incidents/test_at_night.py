"""The incidents of docs/guide/at-night.md, each played: its clicks and its commands find the cause and mend it."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from romancy import (
    EventType,
    Limit,
    RetryPolicy,
    Romancy,
    Status,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.dashboard import anyone, asgi
from romancy_conformance.behaviour.waiting import status_is, until
from tests.cli.in_process import runner
from tests.incidents.browser import clicked
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.cli.in_process import Answer

pytestmark = [pytest.mark.anyio, pytest.mark.long]
httpx2: Any = pytest.importorskip("httpx2")

MOST_CLICKS, MOST_COMMANDS = 4, 3
PAGE: Final = (ROOT / "docs/guide/at-night.md").read_text("utf-8")
paid = EventType("paid", None)
packed: list[str] = []


@activity(retry=RetryPolicy(initial_interval=600, max_interval=600))
async def night_charge() -> None:
    raise ConnectionError("bank.example.com does not answer")


@activity(retry=RetryPolicy.none())
async def night_refuse() -> None:
    raise ValueError("no such customer")


@activity
async def night_hang() -> None:
    await asyncio.get_running_loop().create_future()


@workflow
async def pays(ctx: WorkflowContext) -> None:
    await night_charge()


@workflow
async def refused(ctx: WorkflowContext) -> None:
    await night_refuse()


@workflow
async def hanging(ctx: WorkflowContext) -> None:
    await night_hang()


@workflow
async def leaves(ctx: WorkflowContext) -> None:
    """Its code leaves the deterministic loop, so it is stuck."""
    await asyncio.get_running_loop().run_in_executor(None, print)


@workflow
async def waits_for_payment(ctx: WorkflowContext) -> None:
    await ctx.wait_event(paid, key="order-1")


@workflow(limits=[Limit("bank", concurrency=1)])
async def at_the_bank(ctx: WorkflowContext) -> None:
    await ctx.wait_event("go")


@workflow
async def publishes(ctx: WorkflowContext) -> None:
    await ctx.publish("order.sent", {"order": 1})


@workflow
async def asks(ctx: WorkflowContext) -> bool:
    return await ctx.ask("Pay it?", to="finance")


@activity
async def night_pack(box: str) -> str:
    packed.append(box)
    return box


@workflow
async def packs(ctx: WorkflowContext) -> str:
    await night_pack("right")
    return await night_pack("wrong")


@workflow
async def has_a_child(ctx: WorkflowContext) -> None:
    await leaves.options(instance_id="child-1")()


@workflow
async def is_quick(ctx: WorkflowContext) -> int:
    return 1


EVERYTHING: Final[list[Any]] = [
    pays, refused, hanging, leaves, waits_for_payment, at_the_bank, publishes, asks, packs, has_a_child, is_quick,
]  # fmt: skip
shop: Final = Romancy("sqlite:///shop.db", workflows=EVERYTHING)
"""For the commands that need the code."""


@dataclass
class Incident:
    """What an incident is called, whom it is about, and what has to be seen."""

    names: dict[str, str]
    """Whatever is in capitals in the section."""
    seen: str
    """What the last page says."""
    said: list[str]
    """What each command says."""
    mended: Callable[[], Awaitable[Any]] | None = None
    """Returns when all is well again."""
    codes: dict[int, int] = field(default_factory=dict[int, int])
    """Exit codes other than 0, by the number of the command."""


@dataclass
class Section:
    """A section of the page."""

    clicks: list[str]
    commands: list[str]


def sections() -> dict[str, Section]:
    found: dict[str, Section] = {}
    for part in PAGE.split("\n## ")[1:]:
        heading, _, text = part.partition("\n")
        (line,) = re.findall(r"^Click: (.*)$", text, re.MULTILINE)
        (block,) = re.findall(r"```shell\n(.*?)```", text, re.DOTALL)
        found[heading] = Section(re.findall(r"\*\*(.+?)\*\*", line), block.splitlines())
    return found


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Romancy]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROMANCY_URL", "sqlite:///shop.db")
    async with Romancy("sqlite:///shop.db", workflows=EVERYTHING) as app:
        yield app


async def stuck(app: Romancy) -> Incident:
    await app.start(leaves.options(instance_id="order-1"))
    await status_is(app, "order-1", Status.STUCK)
    return Incident({"ID": "order-1"}, "run_in_executor", ["order-1", "run_in_executor", "resume"])


async def bank_is_down(app: Romancy) -> Incident:
    await app.start(pays.options(instance_id="order-1"))
    await until(lambda: _failed_once(app))
    paused = lambda: status_is(app, "order-1", Status.PAUSED)  # noqa: E731
    names = {"ID": "order-1", "WORKFLOW": pays.name}
    return Incident(names, "bank.example.com", [pays.name, "bank.example.com", "pause: done"], paused)


async def _failed_once(app: Romancy) -> bool:
    found = await app.get_instance("order-1", waits=True)
    return found is not None and found.last_error is not None


async def many_failed(app: Romancy) -> Incident:
    for number in range(3):
        with pytest.raises(WorkflowFailedError):
            await (await app.start(refused.options(instance_id=f"order-{number}"))).result()
    return Incident(
        {"ID": "order-2", "WORKFLOW": refused.name}, "no such customer", ["order-2", "no such customer", "order-0"]
    )


async def no_worker(app: Romancy) -> Incident:
    """The workers that live know another workflow: this one is of a release that was rolled back."""

    @workflow(name="of_another_release")
    async def of_another_release(ctx: WorkflowContext) -> None: ...

    async with Romancy(app.url, workflows=[of_another_release], worker=False) as starter:
        await starter.start(of_another_release.options(instance_id="order-1"))
    return Incident({"ID": "order-1"}, "of_another_release", ["nothing needs", "alive", "of_another_release"])


async def one_hangs(app: Romancy) -> Incident:
    await app.start(hanging.options(instance_id="order-1"))
    await status_is(app, "order-1", Status.RUNNING)
    ended = lambda: status_is(app, "order-1", Status.CANCELLED)  # noqa: E731
    return Incident({"ID": "order-1"}, night_hang.name, [night_hang.name, "requested"], ended)


async def limit_is_full(app: Romancy) -> Incident:
    await app.start(at_the_bank.options(instance_id="order-1"))
    await status_is(app, "order-1", Status.WAITING)
    await app.start(at_the_bank.options(instance_id="order-2"))
    entered = lambda: status_is(app, "order-2", Status.WAITING)  # noqa: E731
    return Incident(
        {"ID": "order-1", "LIMIT": "bank"},
        "order-1",
        ["bank", "inside of bank: order-1", "order-1: its places"],
        entered,
    )


async def schedule_is_paused(app: Romancy) -> Incident:
    await (await app.schedule("nightly", is_quick.bind(), every=3600)).pause("the disk was full")
    return Incident({"SCHEDULE": "nightly"}, "the disk was full", ["nightly", "the disk was full", "nightly"])


async def event_is_lost(app: Romancy) -> Incident:
    await app.start(waits_for_payment.options(instance_id="order-1"))
    await status_is(app, "order-1", Status.WAITING)
    await app.send(paid, None, key="oder-1")
    return Incident(
        {"ID": "order-1", "EVENT": "paid"}, "Undelivered events and messages1", ["oder-1", "order-1", "order-1"]
    )


async def outbox_waits(app: Romancy) -> Incident:
    await (await app.start(publishes)).result()
    return Incident({}, "Oldest pending", ["pending", "there is no such event", "0 events queued again"])


async def somebody_decides(app: Romancy) -> Incident:
    handle = await app.start(asks.options(instance_id="order-1"))
    await until(lambda: _asked(app))
    (question,) = (await app.questions()).questions
    return Incident({"TOKEN": question.token, "QUESTION": "Pay it?"}, "finance", ["Pay it?", "answer"], handle.result)


async def _asked(app: Romancy) -> bool:
    return bool((await app.questions()).questions)


async def step_was_wrong(app: Romancy) -> Incident:
    packed.clear()
    await (await app.start(packs.options(instance_id="order-1"))).result()
    names = {"ID": "order-1", "STEP": "night_pack:2", "MODULE": __name__, "APP": "shop"}
    again = lambda: until(lambda: packed == ["right", "wrong", "wrong"])  # noqa: E731
    return Incident(names, "Go back to before", ["night_pack", "stands      night_pack:2", "order-1 rewound"], again)


async def child_is_stuck(app: Romancy) -> Incident:
    await app.start(has_a_child.options(instance_id="order-1"))
    await status_is(app, "child-1", Status.STUCK)
    return Incident({"ID": "order-1", "OTHER": "child-1"}, "run_in_executor", ["child-1", "run_in_executor", "child-1"])


async def disk_is_full(app: Romancy) -> Incident:
    await (await app.start(is_quick.options(instance_id="order-1"))).result()
    gone = lambda: until(lambda: _is_gone(app))  # noqa: E731
    return Incident({"AGE": "0s"}, "order-1", ["completed", "1 instance"], gone)


async def _is_gone(app: Romancy) -> bool:
    return await app.get_instance("order-1") is None


SCENES: Final[dict[str, Callable[[Romancy], Awaitable[Incident]]]] = {
    "An instance is stuck": stuck,
    "Something outside is down": bank_is_down,
    "Many have failed": many_failed,
    "Nothing goes on": no_worker,
    "One instance does not end": one_hangs,
    "A limit lets nobody in": limit_is_full,
    "A schedule did not run": schedule_is_paused,
    "An event did not arrive": event_is_lost,
    "The outside is told nothing": outbox_waits,
    "Somebody has to decide": somebody_decides,
    "A step did the wrong thing": step_was_wrong,
    "One waits for another": child_is_stuck,
    "The disk is full": disk_is_full,
}


def test_each_incident_of_the_page_is_played() -> None:
    assert set(SCENES) == set(sections())


def test_an_incident_needs_few_clicks_and_commands() -> None:
    for each in sections().values():
        assert len(each.clicks) <= MOST_CLICKS
        assert len(each.commands) <= MOST_COMMANDS


@pytest.mark.parametrize("heading", SCENES)
async def test_the_clicks_and_the_commands_find_it(
    heading: str, app: Romancy, capsys: pytest.CaptureFixture[str]
) -> None:
    incident, section = await SCENES[heading](app), sections()[heading]

    def named(text: str) -> str:
        return re.sub(r"\b[A-Z]{2,}\b", lambda found: incident.names.get(found[0], found[0]), text)

    transport = httpx2.ASGITransport(app=asgi(app, auth=anyone))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        page = await clicked(client, [named(label) for label in section.clicks])
    assert incident.seen in page

    romancy: Callable[..., Answer] = runner(capsys)
    assert len(section.commands) == len(incident.said)
    for number, (command, expected) in enumerate(zip(section.commands, incident.said, strict=True)):
        program, *words = shlex.split(named(command))
        assert program == "romancy"
        answer = await asyncio.to_thread(romancy, *words)
        assert incident.codes.get(number, 0) == answer.code, answer
        assert expected in answer.out + answer.err
    if incident.mended is not None:
        await incident.mended()
