"""The command line on every database: what it shows, what it does, and how it ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy_conformance.behaviour.commands.buying import approval, held, orders, patience, prepared, purchase, standing

if TYPE_CHECKING:
    from pathlib import Path

    from romancy import Romancy
    from romancy_conformance.behaviour.commands.buying import Command


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


def test_headers_are_shown_and_choose_instances(url: str, romancy: Command) -> None:
    prepared(
        url,
        approval.options(instance_id="a-1", headers={"tenant": "acme", "zone": "eu=1"}).bind("lamp", 250),
        approval.options(instance_id="a-2", headers={"tenant": "5"}).bind("lamp", 1),
        approval.options(instance_id="a-3").bind("lamp", 2),
        until=standing("a-1", Status.WAITING),
    )

    for options, ids in (
        (("--header", "tenant=acme"), ["a-1"]),
        (("--header", "tenant=acme", "--header", "zone=eu=1"), ["a-1"]),
        (("--header", "tenant=acme", "--header", "zone=us"), []),
        (("--header", "tenant=5", "--where", "amount=1"), ["a-2"]),
    ):
        assert ids == [one["instance_id"] for one in romancy("list", *options, "--json").records], options
    listed = {one["instance_id"]: one["headers"] for one in romancy("list", "--json", "--headers").records}
    assert {"a-1": {"tenant": "acme", "zone": "eu=1"}, "a-2": {"tenant": "5"}, "a-3": {}} == listed
    assert all("headers" not in one for one in romancy("list", "--json").records)
    assert 'headers  {"tenant":"acme","zone":"eu=1"}' in romancy("show", "a-1").out
    assert "headers" not in romancy("show", "a-3").out
    (shown,) = romancy("show", "a-1", "--json").records
    assert {"tenant": "acme", "zone": "eu=1"} == shown["headers"]
    would = romancy("cancel", "--header", "tenant=acme", "--dry-run", "--json").records
    assert ["a-1"] == [one["instance_id"] for one in would]
    for wrong, told in ((("--header", "tenant"), "tenant=acme"), (("--header", "a=1", "--header", "a=2"), "already")):
        answer = romancy("list", *wrong)
        assert (2, True) == (answer.code, told in answer.err), answer.err


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


def test_a_signal_lets_it_go_on(url: str, romancy: Command) -> None:
    prepared(url, approval.options(instance_id="a-2").bind("lamp", 1), until=standing("a-2", Status.WAITING))

    sent = romancy("signal", "a-2", "approved", '"yes"')
    prepared(url, until=standing("a-2", Status.COMPLETED))

    assert sent.code == 0, sent.err
    assert "WorkflowCompleted" in romancy("watch", "a-2").out
    assert romancy("signal", "a-2", "approved").code == 4
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


def test_an_open_instance_is_not_purged(url: str, romancy: Command) -> None:
    prepared(url, approval.options(instance_id="a-3").bind("lamp", 1), until=standing("a-3", Status.WAITING))

    answer = romancy("purge", "a-3")

    assert (4, True) == (answer.code, "has not ended" in answer.err)
    assert 1 == len(romancy("list", "--json").records)


def test_children_are_purged_with_their_parents(url: str, romancy: Command) -> None:
    for number in range(3):
        prepared(url, orders.options(instance_id=f"o-{number}").bind(), until=standing(f"o-{number}", Status.COMPLETED))
    assert 9 == len(romancy("list", "--json").records)

    one = romancy("purge", "o-0", "--children")
    rest = romancy("purge", "--workflow", "orders", "--children", "--yes", "--json")

    assert (0, 0) == (one.code, rest.code)
    assert "o-0: these children are open and stay: o-0-approval" in one.err
    assert ["o-1", "o-2"] == sorted(record["instance_id"] for record in rest.records)
    assert [f"o-{number}-approval" for number in range(3)] == sorted(
        record["instance_id"] for record in romancy("list", "--json").records
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "nobody"), 3),
        (("purge", "nobody", "--children"), 3),
        (("why", "nobody"), 3),
        (("history", "nobody"), 3),
        (("cancel", "nobody"), 3),
        (("retry", "nobody"), 3),
        (("purge", "nobody"), 3),
        (("signal", "nobody", "approved"), 3),
        (("cancel",), 2),
        (("cancel", "x", "--workflow", "y"), 2),
        (("cancel", "nobody", "--dry-run"), 3),
        (("signal", "x"), 2),
        (("signal", "x", "approved", "1", "2"), 2),
        (("signal", "x", "approved", "1", "--workflow", "y"), 2),
        (("purge", "--status", "waiting"), 2),
        (("retry", "--status", "completed"), 2),
        (("cancel", "--status", "failed", "--status", "waiting"), 2),
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


def test_start_replaces_what_has_ended_if_it_is_told_to(romancy: Command, module: str) -> None:
    named = ("start", module, "greet", '{"name": "Ann"}', "--id", "g-1")
    romancy(*named, "--delay", "1h")
    open_one = romancy(*named, "--if-exists", "restart_ended")
    romancy("terminate", "g-1")

    kept = romancy(*named[:3], '{"name": "Bob"}', *named[4:], "--if-exists", "return")
    replaced = romancy(*named[:3], '{"name": "Bob"}', *named[4:], "--if-exists", "restart_failed")
    refused = romancy(*named, "--if-exists", "refuse")

    assert (0, "g-1\n", 4) == (open_one.code, open_one.out, kept.code)
    assert (0, "g-1\n", 4) == (replaced.code, replaced.out, refused.code)
    (record,) = romancy("list", "--json").records
    assert ("g-1", "pending") == (record["instance_id"], record["status"])


def test_start_takes_a_moment(romancy: Command, module: str) -> None:
    later = romancy("start", module, "greet", '{"name": "Ann"}', "--id", "g-1", "--at", "2999-12-31T12:00")
    both = romancy("start", module, "greet", '{"name": "Ann"}', "--at", "2999-12-31T12:00+01:00", "--delay", "1h")
    age = romancy("start", module, "greet", '{"name": "Ann"}', "--at", "2h")

    assert (0, "g-1\n") == (later.code, later.out)
    assert (2, 2) == (both.code, age.code)
    assert "give one of delay= and at=" in both.err
    assert "'2h' is no time; give one in UTC, as in 2026-03-01T12:30" in age.err
    (record,) = romancy("list", "--json").records
    assert ("g-1", "pending") == (record["instance_id"], record["status"])


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
