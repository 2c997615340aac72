"""What `migrate` and `doctor` tell of pending migrations, and of those that only the database knows."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from romancy.storage.schema import Migration
from tests.cli.in_process import Answer, runner
from tests.knowing import as_program, knowing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Romancy = Callable[..., Answer]

INDEX = "create index romancy_instances_code on romancy_instances (code);\n"


def one_more(known: list[Migration]) -> list[Migration]:
    return [*known, Migration(9001, "9001_an_index", True, INDEX)]  # noqa: FBT003 - a tuple's field


def two_more(known: list[Migration]) -> list[Migration]:
    return [*one_more(known), Migration(9002, "9002_a_table", False, "create table romancy_notes (id);\n")]  # noqa: FBT003 - the same


@pytest.fixture
def romancy(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Romancy:
    monkeypatch.setenv("ROMANCY_URL", f"sqlite:///{tmp_path}/made.db")
    knowing(monkeypatch, "sqlite", lambda known: known)
    run = runner(capsys)
    assert run("migrate").code == 0
    return run


def told(answer: Answer) -> str:
    """Return what it printed, in one line."""
    return " ".join((answer.out + answer.err).split())


def test_additive_migrations_that_are_pending_let_older_workers_go_on(romancy: Romancy) -> None:
    with as_program(one_more):
        plan, doctor, record = romancy("migrate", "--plan"), romancy("doctor"), romancy("migrate", "--plan", "--json")

    assert plan.out == "9001_an_index  additive\n"
    assert "older workers may continue, and may be restarted" in plan.err
    assert 1 == doctor.code
    assert "PROBLEM schema lacks 1 step (9001_an_index)" in told(doctor)
    assert "older workers may continue, and may be restarted" in told(doctor)
    assert ["9001_an_index"] == json.loads(record.out)["additive"]


def test_others_ask_for_older_workers_to_be_stopped_first(romancy: Romancy) -> None:
    with as_program(two_more):
        plan, doctor = romancy("migrate", "--plan"), romancy("doctor")
        sql, done = romancy("migrate", "--sql"), romancy("migrate")

    assert plan.out == "9001_an_index  additive\n9002_a_table  not additive\n"
    assert "stop older workers first: they may not continue after 9002_a_table" in told(plan)
    assert "lacks 2 steps (9001_an_index, 9002_a_table)" in told(doctor)
    assert "stop older workers first: they may not continue after 9002_a_table" in told(doctor)
    assert "stop older workers first" in sql.err
    assert "the schema is up to date" in done.err
    refused = romancy("doctor"), romancy("migrate"), romancy("migrate", "--plan"), romancy("list")
    assert [1, 5, 5, 5] == [answer.code for answer in refused]
    assert all("on which older code may not continue" in told(answer) for answer in refused)
    assert all("9002_a_table" in told(answer) for answer in refused)


def test_an_older_program_tells_that_the_schema_is_newer_and_works(romancy: Romancy) -> None:
    with as_program(one_more):
        assert romancy("migrate").code == 0

    answers = romancy("doctor"), romancy("migrate"), romancy("migrate", "--plan")
    told_so = "the schema is newer than this version of Romancy, which may continue on it (it has 9001_an_index)"
    assert all(told_so in told(answer) for answer in answers)
    assert "PROBLEM schema" not in told(answers[0])
    assert (0, 0, "") == (answers[1].code, answers[2].code, answers[2].out)
    assert romancy("list").code == 0


def test_a_database_of_a_commit_before_the_first_release_is_named_and_not_planned_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROMANCY_URL", f"sqlite:///{tmp_path}/made.db")
    with closing(sqlite3.connect(tmp_path / "made.db")) as made:
        made.executescript(
            "create table romancy_schema (id integer primary key, migration_set text, name text, applied_at text);"
            "insert into romancy_schema (migration_set, name) values ('romancy', '0001_start'), ('romancy', '0007_x');"
        )
    romancy = runner(capsys)

    answers = romancy("doctor"), romancy("migrate"), romancy("migrate", "--plan"), romancy("list")

    assert [1, 5, 5, 5] == [answer.code for answer in answers]
    assert "PROBLEM schema does not fit" in told(answers[0])
    named = "it has version 7 ('0007_x') and begins with '0001_start'"
    assert all(named in told(answer) and "make a new database" in told(answer) for answer in answers)
