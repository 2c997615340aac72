"""Commands that act on all that a filter finds, while instances begin, change and end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, WorkflowFailedError
from romancy.status import Status
from romancy.storage.records import Worker
from romancy_conformance.behaviour.commands.buying import (
    APPROVED,
    approval,
    held,
    orders,
    patience,
    prepared,
    purchase,
    standing,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from romancy_conformance.behaviour.commands.buying import Command


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


def test_many_are_chosen_by_the_time_of_their_start(url: str, romancy: Command) -> None:
    for number in range(3):
        prepared(url, approval.options(instance_id=f"t-{number}").bind("lamp", number), until=started(number + 1))
    at = [record["created_at"] for record in romancy("list", "--json").records][::-1]

    later = romancy("list", "--started-after", at[1], "--json")
    middle = romancy("list", "--started-after", at[1], "--started-before", at[2].replace("Z", "+00:00"), "--json")
    young = romancy("list", "--started-after", "1h", "--json")
    old = romancy("list", "--started-before", "1h")
    ended = romancy("terminate", "--started-before", at[1].removesuffix("Z"), "--yes", "--json")

    assert [["t-2", "t-1"], ["t-1"], ["t-2", "t-1", "t-0"], ["t-0"]] == [
        [record["instance_id"] for record in answer.records] for answer in (later, middle, young, ended)
    ]
    assert (0, "") == (old.code, old.out)


def test_a_list_does_not_mind_the_case_and_an_action_does(url: str, romancy: Command) -> None:
    for number in range(2):
        prepared(url, approval.options(instance_id=f"Order-{number}").bind("lamp", number), until=started(number + 1))

    listed = [
        romancy("list", *options, "--json").records for options in (("--id", "oRDER-1"), ("--workflow", "APPROV"))
    ]
    acted = romancy("terminate", "--workflow", approval.name.upper(), "--yes", "--json")

    assert [["Order-1"], ["Order-1", "Order-0"]] == [[one["instance_id"] for one in records] for records in listed]
    assert [] == acted.records


def test_an_action_takes_the_whole_name_and_a_dry_run_prints_names_beside_ids(url: str, romancy: Command) -> None:
    calls = [approval.options(instance_id="a-1").bind("lamp", 1), purchase.options(instance_id="p-1").bind("lamp")]
    prepared(url, *calls, until=started(2))

    part = romancy("terminate", "--workflow", approval.name[:-1], "--yes", "--json")
    dry = romancy("terminate", "--workflow", approval.name, "--dry-run")
    records = romancy("terminate", "--workflow", approval.name, "--dry-run", "--json").records
    one = romancy("terminate", "a-1", "--dry-run")
    done = romancy("terminate", "--workflow", approval.name, "--yes", "--json")

    assert [] == part.records
    assert ["a-1", approval.name, "would", "terminate"] == dry.out.split() == one.out.split()
    assert [{"instance_id": "a-1", "workflow": approval.name, "outcome": "would terminate"}] == records
    assert ["a-1"] == [record["instance_id"] for record in done.records]


def test_many_are_chosen_by_the_time_of_their_end(url: str, romancy: Command) -> None:
    for number in range(4):
        prepared(url, approval.options(instance_id=f"t-{number}").bind("lamp", number), until=started(number + 1))
    for number in (2, 0, 1):
        romancy("terminate", f"t-{number}", "--yes")
    records = {record["instance_id"]: record["updated_at"] for record in romancy("list", "--json").records}

    later = romancy("list", "--ended-after", records["t-0"], "--json")
    middle = romancy("find", "--ended-after", records["t-0"], "--ended-before", records["t-1"], "--json")
    young = romancy("list", "--ended-after", "1h", "--status", "cancelled", "--limit", "2", "--json")
    open_ones = romancy("list", "--ended-after", "1h", "--status", "waiting")
    gone = romancy("purge", "--ended-before", records["t-0"], "--yes", "--json")

    assert [["t-1", "t-0"], ["t-0"], ["t-2", "t-1"], ["t-2"]] == [
        [record["instance_id"] for record in answer.records] for answer in (later, middle, young, gone)
    ]
    assert (0, "") == (open_ones.code, open_ones.out)


def test_many_are_chosen_by_parent_and_whole_ids(url: str, romancy: Command) -> None:
    prepared(
        url, *[orders.options(instance_id=name).bind() for name in ("o", "p")], until=standing_many(4, Status.COMPLETED)
    )
    prepared(url, approval.options(instance_id="alone").bind("lamp", 1), until=standing_many(3, Status.WAITING))

    child = romancy("terminate", "--parent", "o", "--dry-run", "--json")
    both = romancy("terminate", "--exact-id", "p-approval", "--exact-id", "O-approval", "--dry-run", "--json")
    top = romancy("terminate", "--top-level", "--status", "waiting", "--yes", "--json")
    done = romancy("terminate", "--parent", "o", "--yes", "--json")

    assert [["o-approval"], ["p-approval"], ["alone"], ["o-approval"]] == [
        [record["instance_id"] for record in answer.records] for answer in (child, both, top, done)
    ]


def started(count: int) -> Callable[[Romancy], Coroutine[Any, Any, bool]]:
    async def are_started(app: Romancy) -> bool:
        return len((await app.list_instances()).instances) == count

    return are_started


def standing_many(count: int, status: Status) -> Callable[[Romancy], Coroutine[Any, Any, bool]]:
    async def stand(app: Romancy) -> bool:
        return len((await app.list_instances(status=status)).instances) == count

    return stand


@pytest.fixture
def before_the_answer(url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Romancy], Any]], None]:
    """Make a change between a command's question and the answer "yes", as another process would."""

    def say(happens: Callable[[Romancy], Coroutine[Any, Any, object]]) -> None:
        async def meanwhile() -> None:
            async with Romancy(url, workflows=[approval, purchase, patience, held]) as app:
                await happens(app)

        def confirm(question: str, **_: object) -> bool:
            questions.append(question)
            thread = threading.Thread(target=lambda: asyncio.run(meanwhile()))
            thread.start()
            thread.join()
            return True

        monkeypatch.setattr("click.confirm", confirm)

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
    assert answer.out == "1 instance removed\n"
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
    assert (0, "") == (answer.code, answer.out)
    assert "1 of 1 changed after the question, no longer fit and were left alone" in answer.err


def test_many_are_met_once_each_over_pages_while_acting_changes_them(
    url: str, romancy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romancy.managing.instances.MAX_LIMIT", 3)
    monkeypatch.setattr("romancy.cli._bulk._AT_ONCE", 2)
    waiting(url, 10, "m")
    everybody = sorted(f"m-{number}" for number in range(10))

    dry = romancy("terminate", "--workflow", "approval", "--dry-run", "--json")
    ended = romancy("terminate", "--status", "waiting", "--status", "running", "--yes", "--json")
    again = romancy("terminate", "--workflow", "approval", "--yes")
    purged = romancy("purge", "--where", "amount>=1", "--yes", "--json")

    for answer in (dry, ended):
        assert (0, everybody) == (answer.code, sorted(record["instance_id"] for record in answer.records))
    assert {"terminate: done"} == {record["outcome"] for record in ended.records}
    assert (0, "", True) == (again.code, again.out, "0 to terminate" in again.err)
    assert 9 == len({record["instance_id"] for record in purged.records})
    assert ["m-0"] == [record["instance_id"] for record in romancy("list", "--json").records]


@pytest.mark.parametrize("verb", ["retry", "terminate"])
def test_a_command_registers_itself_once_however_many_it_acts_on(
    verb: str, url: str, romancy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each extra row would make every other worker's look at the workers slower."""
    calls = [purchase.options(instance_id=f"p-{number}").bind("lamp") for number in range(5)]

    async def all_failed(app: Romancy) -> bool:
        return len((await app.list_instances(status=Status.FAILED)).instances) == len(calls)

    prepared(url, *calls, until=all_failed)
    waiting(url, 5, "w")
    monkeypatch.setattr("romancy.cli._bulk._AT_ONCE", 3)
    registered: list[str] = []

    def manager() -> Worker:
        registered.append("management")
        return Worker(token=f"manager-{len(registered)}", worker_id="management", lease=60_000_000)

    monkeypatch.setattr("romancy.engine.outside.management._manager", manager)

    answer = romancy(verb, "--status", "failed" if verb == "retry" else "waiting", "--yes")
    doctor = romancy("doctor")

    acted = answer.out.count(f"{verb}: {'requested' if verb == 'retry' else 'done'}")
    assert (0, 5, 1) == (answer.code, acted, len(registered))
    assert "workers 0 alive" in doctor.out, "the row is left when the command ends"


def test_what_began_after_the_question_is_left_alone(
    url: str, romancy: Command, before_the_answer: Callable[..., None]
) -> None:
    async def another(app: Romancy) -> None:
        await app.start(approval.options(instance_id="late"), "lamp", 9)

    waiting(url, 2, "b")
    before_the_answer(another)

    answer = romancy("cancel", "--workflow", "approval")

    assert questions == ["cancel 2 instances?"]
    assert (0, ["b-0", "b-1"]) == (answer.code, sorted(line.split()[0] for line in answer.out.splitlines()))


def test_what_came_to_fit_after_the_question_is_left_alone(
    url: str, romancy: Command, before_the_answer: Callable[..., None]
) -> None:
    async def not_begun() -> None:
        async with Romancy(url, workflows=[purchase], worker=False) as app:
            await app.start(purchase.options(instance_id="p-late"), "lamp")

    prepared(url, purchase.options(instance_id="p-asked").bind("lamp"), until=standing("p-asked", Status.FAILED))
    asyncio.run(not_begun())

    async def failed(app: Romancy) -> None:
        with contextlib.suppress(WorkflowFailedError):
            await app.handle("p-late").result(timeout=60)

    before_the_answer(failed)

    answer = romancy("retry", "--status", "failed")

    assert questions == ["retry 1 instance?"]
    assert (0, "p-asked  retry: requested\n") == (answer.code, answer.out)
    assert "1 came to fit after the question and was left alone" in answer.err
    assert ["p-late"] == [one["instance_id"] for one in romancy("list", "--status", "failed", "--json").records]


def test_a_signal_goes_to_all_that_a_filter_finds_and_is_not_sent_twice_under_an_id(url: str, romancy: Command) -> None:
    waiting(url, 3, "s")
    send = ("signal", "approved", '"yes"', "--where", "amount>=1", "--id", "once", "--yes", "--json")

    sent, again = romancy(*send), romancy(*send)
    prepared(url, until=standing("s-1", Status.COMPLETED))
    prepared(url, until=standing("s-2", Status.COMPLETED))

    assert (0, 0) == (sent.code, again.code), sent.err + again.err
    assert ["s-1", "s-2"] == sorted(record["instance_id"] for record in sent.records)
    assert ["s-0"] == [record["instance_id"] for record in romancy("list", "--status", "waiting", "--json").records]


def test_one_that_refuses_does_not_stop_the_others(url: str, romancy: Command) -> None:
    calls = [held.options(instance_id="f-1").bind("lamp"), purchase.options(instance_id="f-2").bind("lamp")]

    async def both_failed(app: Romancy) -> bool:
        return len((await app.list_instances(status=Status.FAILED)).instances) == len(calls)

    prepared(url, *calls, until=both_failed)

    answer = romancy("retry", "--status", "failed", "--yes")

    assert (1, "f-2  retry: requested\n") == (answer.code, answer.out)
    assert "f-1: " in answer.err
    assert "1 of 2 could not be acted on" in answer.err
