"""The command line on every database: what it shows, what it does, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    RetryPolicy,
    Romancy,
    TerminalError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.cli import cli
from romancy.cli._endings import ended
from romancy.status import Status
from romancy_conformance.behaviour.coded import Masking

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    Command = Callable[..., "Answer"]

APPROVED = EventType("approved", str)


@activity
async def reserve(item: str) -> str:
    return item


@reserve.compensation
async def release(item: str) -> None:
    """Nothing has to be done."""


@activity(retry=RetryPolicy.none())
async def refuse() -> None:
    raise ValueError("the card was declined")


@activity(retry=RetryPolicy.fixed(9, 3600))
async def hesitate() -> None:
    raise ValueError("not yet")


@workflow
async def approval(ctx: WorkflowContext, item: str, amount: int) -> str:
    await reserve(item)
    event = await ctx.wait_event(APPROVED)
    return event.data


@workflow
async def purchase(ctx: WorkflowContext, item: str) -> None:
    await reserve(item)
    await refuse()


@workflow
async def patience(ctx: WorkflowContext) -> None:
    await hesitate()


@activity
async def hold(item: str) -> str:
    return item


@hold.compensation
async def give_back(item: str) -> None:
    raise TerminalError("nobody is there")


@workflow
async def held(ctx: WorkflowContext, item: str) -> None:
    await hold(item)
    await refuse()


class Answer:
    """How a command ended and what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def url(backend: str, storage_url: str) -> str:
    if backend == "memory":
        pytest.skip("capability: a database of this kind lives in one process")
    return storage_url


@pytest.fixture
def romancy(url: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("ROMANCY_URL", url)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*arguments: str) -> Answer:
        capfd.readouterr()
        code = ended(lambda: cli.main(list(arguments), prog_name="romancy", standalone_mode=False))
        printed = capfd.readouterr()
        return Answer(code, str(printed.out), str(printed.err))

    return run


def prepared(url: str, *calls: Any, until: Callable[[Romancy], Coroutine[Any, Any, bool]]) -> None:
    """Start these with a worker and let it work until that is true."""

    async def prepare() -> None:
        async with Romancy(url, workflows=[approval, purchase, patience, held]) as app:
            await app.start_many(calls)
            while not await until(app):  # noqa: ASYNC110 - another worker of this process may do it
                await asyncio.sleep(0.02)

    asyncio.run(prepare())


def standing(instance_id: str, status: Status) -> Callable[[Romancy], Coroutine[Any, Any, bool]]:
    async def stands(app: Romancy) -> bool:
        return await app.handle(instance_id).status() is status

    return stands


def test_a_database_that_is_not_there_is_named_and_not_made(
    romancy: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing.db"

    answer = romancy("list", "--url", f"sqlite:///{missing}")

    assert (5, "", False) == (answer.code, answer.out, missing.exists())
    assert str(missing) in answer.err


def test_no_database_is_a_wrong_usage(romancy: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROMANCY_URL")

    answer = romancy("list")

    assert (2, True) == (answer.code, "--url" in answer.err)


def test_migrate_makes_the_tables_and_doctor_says_what_is_missing(romancy: Command) -> None:
    before = romancy("doctor")
    made = romancy("migrate")
    after = romancy("doctor")

    assert made.code == 0, made.err
    assert before.code != 0
    assert "reached" in after.out
    assert "0 workers are alive" in after.out


def test_a_waiting_instance_is_listed_shown_and_explained(url: str, romancy: Command) -> None:
    call = approval.options(instance_id="a-1").bind("lamp", 250)
    prepared(url, call, until=standing("a-1", Status.WAITING))

    listed = romancy("list", "--where", "amount>=100", "--where", "item=lamp", "--json")
    shown = romancy("show", "a-1")
    why = romancy("why", "a-1")
    (explained,) = romancy("why", "a-1", "--json").records

    (record,) = listed.records
    assert ("a-1", "waiting", {"item": "lamp", "amount": 250}) == (
        record["instance_id"],
        record["status"],
        record["input"],
    )
    assert "activity reserve:1: completed" in shown.out
    assert "waits for the event 'approved'" in why.out
    assert ("a-1", "waiting", True) == (
        explained["instance_id"],
        explained["status"],
        "waits for the event 'approved'" in explained["reasons"][0],
    )
    assert romancy("list", "--where", "amount<100").out == ""
    assert all(len(line) <= 80 for line in (shown.out + why.out).splitlines())


def test_what_a_codec_sealed_is_shown_as_sealed(url: str, romancy: Command) -> None:
    async def prepare() -> None:
        async with Romancy(url, worker=False, workflows=[approval], codecs=[Masking()]) as app:
            await app.start(approval.options(instance_id="s-1"), "a secret lamp", 250)

    asyncio.run(prepare())

    (record,) = romancy("list", "--json").records
    answers = [romancy(*command) for command in (("list",), ("why", "s-1"), ("show", "s-1"), ("history", "s-1"))]

    assert (None, True, "approval") == (record["input"], record["input_sealed"], record["workflow"])
    assert [0, 5, 5, 5] == [answer.code for answer in answers]
    assert all("codec" in answer.err for answer in answers[1:])
    assert not any("secret" in answer.out + answer.err for answer in answers)


def test_a_signal_lets_it_go_on(url: str, romancy: Command) -> None:
    prepared(url, approval.options(instance_id="a-2").bind("lamp", 1), until=standing("a-2", Status.WAITING))

    sent = romancy("signal", "a-2", "approved", '"yes"')
    prepared(url, until=standing("a-2", Status.COMPLETED))

    assert sent.code == 0, sent.err
    assert "WorkflowCompleted" in romancy("watch", "a-2").out
    assert romancy("signal", "a-2", "approved").code == 2
    assert romancy("signal", "a-2", "approved", "yes").code == 2


def test_a_failed_instance_shows_its_error_and_what_was_undone(url: str, romancy: Command) -> None:
    prepared(url, purchase.options(instance_id="p-1").bind("lamp"), until=standing("p-1", Status.FAILED))

    shown = romancy("show", "p-1", "--json").records[0]

    steps = {(step["kind"], step["name"], step["outcome"]) for step in shown["steps"]}
    assert {
        ("activity", "reserve", "completed"),
        ("activity", "refuse", "failed"),
        ("compensation", "release", "completed"),
    } == steps
    assert "the card was declined" in romancy("show", "p-1").out
    assert "romancy retry p-1" in romancy("why", "p-1").out


def test_a_retry_is_told_what_to_take_for_granted_and_is_shown(url: str, romancy: Command) -> None:
    prepared(url, held.options(instance_id="r-1").bind("lamp"), until=standing("r-1", Status.FAILED))

    refused = romancy("retry", "r-1")
    assert refused.code
    assert "hold:1" in refused.err

    assert romancy("retry", "r-1", "--unsure", "done").code == 0
    assert "workflow held retried, run 2" in romancy("show", "r-1").out


def test_an_attempt_that_is_due_later_is_explained_with_the_last_error(url: str, romancy: Command) -> None:
    async def hesitated(app: Romancy) -> bool:
        return any(type(event).__name__ == "ActivityAttemptFailed" for event in await app.history("h-1"))

    prepared(url, patience.options(instance_id="h-1").bind(), until=hesitated)

    said = " ".join(romancy("why", "h-1").out.split())

    assert "waits for attempt 2" in said
    assert "attempt 1 failed" in said
    assert "ValueError: not yet" in said


def test_history_is_whole_and_goes_on_behind_a_cursor(url: str, romancy: Command) -> None:
    prepared(url, purchase.options(instance_id="p-2").bind("lamp"), until=standing("p-2", Status.FAILED))

    entries = romancy("history", "p-2", "--json").records
    rest = romancy("history", "p-2", "--after", entries[1]["cursor"], "--json").records

    assert ("WorkflowStarted", "WorkflowFailed") == (entries[0]["event"]["type"], entries[-1]["event"]["type"])
    assert entries[2:] == rest
    assert 2 == romancy("history", "p-2", "--after", "nonsense").code


def test_many_are_acted_on_by_a_filter_after_a_dry_run(url: str, romancy: Command) -> None:
    calls = [approval.options(instance_id=f"m-{number}").bind("lamp", number) for number in range(4)]

    async def all_wait(app: Romancy) -> bool:
        return len((await app.list_instances(status=Status.WAITING)).instances) == len(calls)

    prepared(url, *calls, until=all_wait)

    dry = romancy("terminate", "--where", "amount>=2", "--dry-run")
    unasked = romancy("terminate", "--where", "amount>=2")
    done = romancy("terminate", "--where", "amount>=2", "--yes", "--json")

    assert ["m-2", "m-3"] == sorted(line.split()[0] for line in dry.out.splitlines())
    assert unasked.code != 0
    assert ["m-2", "m-3"] == sorted(record["instance_id"] for record in done.records)
    assert 2 == len(romancy("list", "--status", "cancelled", "--json").records)
    assert "0 to purge" in romancy("purge", "--older-than", "1d", "--dry-run").err
    assert 0 == romancy("purge", "--status", "cancelled", "--yes").code
    assert 2 == len(romancy("list", "--json").records)


@pytest.fixture
def before_the_answer(url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Romancy], Any]], None]:
    """Say what happens between a command's question and the answer, which is yes; another process would do it."""

    def say(happens: Callable[[Romancy], Coroutine[Any, Any, object]]) -> None:
        async def meanwhile() -> None:
            async with Romancy(url, workflows=[approval, purchase, patience, held]) as app:
                await happens(app)

        def confirm(question: str, **_: object) -> None:
            questions.append(question)
            thread = threading.Thread(target=lambda: asyncio.run(meanwhile()))
            thread.start()
            thread.join()

        monkeypatch.setattr("romancy.cli._acting.click.confirm", confirm)

    questions.clear()
    return say


questions: list[str] = []


def test_what_was_retried_before_the_answer_is_not_purged(
    url: str, romancy: Command, before_the_answer: Callable[..., None]
) -> None:
    calls = [purchase.options(instance_id=instance_id).bind("lamp") for instance_id in ("p-3", "p-4")]

    async def both_failed(app: Romancy) -> bool:
        return len((await app.list_instances(status=Status.FAILED)).instances) == len(calls)

    async def retried(app: Romancy) -> None:
        await app.retry("p-3")
        with contextlib.suppress(WorkflowFailedError):
            await app.handle("p-3").result(timeout=60)

    prepared(url, *calls, until=both_failed)
    before_the_answer(retried)

    answer = romancy("purge", "--status", "failed")

    assert questions == ["purge 2 instances?"]
    assert answer.code == 1
    assert "p-3: it has changed since it was found, and was left alone" in answer.err
    assert answer.out.split() == ["p-4", "purge:", "done"]
    assert [("p-3", "failed")] == [(one["instance_id"], one["status"]) for one in romancy("list", "--json").records]


def test_what_has_another_status_by_the_time_of_the_answer_is_left_alone(
    url: str, romancy: Command, before_the_answer: Callable[..., None]
) -> None:
    async def approved(app: Romancy) -> None:
        await app.signal("a-4", APPROVED, "yes")
        assert await app.handle("a-4", approval).result(timeout=60) == "yes"

    prepared(url, approval.options(instance_id="a-4").bind("lamp", 1), until=standing("a-4", Status.WAITING))
    before_the_answer(approved)

    answer = romancy("terminate", "--status", "waiting")

    assert questions == ["terminate 1 instance?"]
    assert (1, True) == (answer.code, "a-4: it is completed now, and was left alone" in answer.err)


def test_an_open_instance_is_not_purged(url: str, romancy: Command) -> None:
    prepared(url, approval.options(instance_id="a-3").bind("lamp", 1), until=standing("a-3", Status.WAITING))

    answer = romancy("purge", "a-3")

    assert (2, True) == (answer.code, "has not ended" in answer.err)
    assert 1 == len(romancy("list", "--json").records)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "nobody"), 3),
        (("why", "nobody"), 3),
        (("history", "nobody"), 3),
        (("cancel", "nobody"), 3),
        (("retry", "nobody"), 3),
        (("purge", "nobody"), 3),
        (("signal", "nobody", "approved"), 3),
        (("cancel",), 2),
        (("cancel", "x", "--workflow", "y"), 2),
        (("list", "--where", "amount~3"), 2),
        (("list", "--limit", "0"), 2),
        (("lsit",), 2),
        (("run", "no_such_module:app"), 2),
        (("list", "--url", "nonsense://x"), 5),
    ],
    ids=str,
)
def test_mistakes_have_their_exit_codes(romancy: Command, arguments: tuple[str, ...], code: int) -> None:
    romancy("migrate")

    answer = romancy(*arguments)

    assert (code, "") == (answer.code, answer.out), answer.err
    assert "Traceback" not in answer.err


APP = """
from romancy import Romancy, WorkflowContext, workflow

@workflow
async def greet(ctx: WorkflowContext, name: str, times: int = 1) -> str:
    return ", ".join([name] * times)

app = Romancy({url!r}, workflows=[greet])
"""


@pytest.fixture
def module(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"app_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(APP.format(url=url))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


def test_start_takes_json_and_refuses_what_does_not_fit(romancy: Command, module: str) -> None:
    started = romancy("start", module, "greet", '{"name": "Ann", "times": 2}', "--id", "g-1")
    again = romancy("start", f"{module}:app", "greet", '{"name": "Ann", "times": 2}', "--id", "g-1")
    other = romancy("start", module, "greet", '{"name": "Bob"}', "--id", "g-1")
    wrong = romancy("start", module, "greet", '{"name": 5}')
    unknown = romancy("start", module, "great")

    assert (0, "g-1\n", 0) == (started.code, started.out, again.code)
    assert (4, 2, 2) == (other.code, wrong.code, unknown.code)
    assert "greet" in unknown.err
    assert ["g-1"] == [record["instance_id"] for record in romancy("list", "--json").records]


CHANGED = """
from romancy import Romancy, WorkflowContext, workflow

@workflow(name="patience")
async def patience(ctx: WorkflowContext) -> None:
    await ctx.sleep(60)

app = Romancy({url!r}, workflows=[patience])
"""


def test_check_names_what_the_new_code_does_not_fit(
    url: str, romancy: Command, tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hesitated(app: Romancy) -> bool:
        return any(type(event).__name__ == "ActivityAttemptFailed" for event in await app.history("c-1"))

    prepared(url, patience.options(instance_id="c-1").bind(), until=hesitated)
    (tmp_path / f"{module}_changed.py").write_text(CHANGED.format(url=url))

    changed = romancy("check", f"{module}_changed", "--json")
    other = romancy("check", module)

    assert (6, ["c-1"]) == (changed.code, [record["instance_id"] for record in changed.records])
    assert "hesitate" in changed.records[0]["report"]
    assert (6, True) == (other.code, "unknown workflow" in other.out)
