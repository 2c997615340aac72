"""`migrate` and `doctor` on every database: their output, what they do not change, and what they never show."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy.status import Status
from romancy.storage import upkeep
from romancy.storage.backends import create_store
from romancy.storage.records import Worker
from romancy.storage.services import Services
from romancy.storage.url import parse_url
from romancy_conformance.behaviour.commands.buying import APPROVED, approval
from romancy_conformance.behaviour.damaging import damage
from romancy_conformance.behaviour.waiting import status_is
from romancy_conformance.changing import changed
from romancy_conformance.contract.building import start
from romancy_conformance.contract.dialects import dialect_of
from romancy_conformance.contract.scripts import run_script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.commands.buying import Command

APP = """
from romancy import Romancy
from romancy_conformance.behaviour.commands.buying import approval

app = Romancy({url!r}, workflows=[approval])
other = Romancy({url!r}, workflows=[])
"""


def with_services(monkeypatch: pytest.MonkeyPatch, turned: Callable[[Services], Services]) -> None:
    """Let each store of the commands have other services."""

    def create(url: str) -> Store:
        store = create_store(url)
        return changed(store, services=turned(store.services))

    monkeypatch.setattr("romancy.cli._tending.create_store", create)


@pytest.fixture
def url(backend: str, empty_url: str) -> str:
    """A database without tables: these commands are about its schema."""
    if backend == "memory":
        pytest.skip("capability: a database of this kind lives in one process")
    return empty_url


def test_a_plan_and_its_sql_are_printed_and_nothing_is_made(romancy: Command) -> None:
    plan, sql = romancy("migrate", "--plan"), romancy("migrate", "--sql")
    (record,) = romancy("migrate", "--plan", "--json").records
    looked = romancy("list")
    made = romancy("migrate")
    after = romancy("migrate", "--plan"), romancy("migrate", "--sql")

    assert (0, 0) == (plan.code, sql.code)
    assert record["steps"] == plan.out.splitlines()
    assert f"{(count := len(record['steps']))} step{'s' if count > 1 else ''} to do" in plan.err
    assert record["sql"] == sql.out
    assert "create table" in sql.out
    assert (5, True) == (looked.code, "`romancy migrate`" in looked.err), "a plan wrote something"
    assert 0 == made.code, made.err
    assert all((0, "") == (answer.code, answer.out) for answer in after)
    assert all("the schema is up to date" in answer.err for answer in after)
    assert 2 == romancy("migrate", "--plan", "--sql").code


def test_doctor_tells_of_the_schema_versions_settings_clocks_and_workers(url: str, romancy: Command) -> None:
    async def running() -> tuple[int, str]:
        async with Romancy(url, workflows=[approval]):
            answer = await asyncio.to_thread(romancy, "doctor")
        return answer.code, answer.out

    before = romancy("doctor")
    romancy("migrate")
    idle = romancy("doctor")
    records = romancy("doctor", "--json").records
    code, out = asyncio.run(running())
    gone = romancy("doctor")

    assert (1, True) == (before.code, "PROBLEM  schema does not fit" in before.out)
    assert (1, True) == (idle.code, "PROBLEM  workers 0 alive" in idle.out)
    assert {"romancy", "reached", "clock", "workers"} < {record["name"] for record in records}
    assert ["workers"] == [record["name"] for record in records if record["verdict"] == "problem"]
    assert "ok       workers 1 alive" in out
    assert 0 == code, out
    assert "is dead" not in gone.out, "a worker that has left is no problem of its own"
    assert all(len(line) <= 80 for line in (before.out + idle.out + out).splitlines())


def test_an_app_without_a_worker_is_none_to_any_command(url: str, romancy: Command) -> None:
    async def fronting() -> list[str]:
        async with Romancy(url, workflows=[approval], worker=False) as front:
            cart = approval.options(instance_id="a-1").bind("lamp", 1)
            await front.signal_with_start(cart, APPROVED, "yes")
            asked = [await asyncio.to_thread(romancy, *each) for each in (("doctor",), ("workers",), ("why", "a-1"))]
        return [answer.out + answer.err for answer in asked]

    doctor, workers, why = asyncio.run(fronting())

    assert "PROBLEM  workers 0 alive" in doctor
    assert "no worker is registered" in workers
    assert "No worker is alive" in why
    assert "management" not in doctor + workers + why


def test_a_setting_that_costs_durability_is_a_problem_and_one_that_costs_speed_is_not(
    romancy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    romancy("migrate")
    bad = upkeep.Setting(name="fsync", value="off", verdict="problem", advice="a crash loses commits; set it to on")
    slow = upkeep.Setting(name="cache", value="1 MB", verdict="note", advice="give it more")

    async def settings() -> list[upkeep.Setting]:
        return [bad, slow]

    with_services(monkeypatch, lambda services: services.wrapped(upkeep=lambda own: changed(own, settings=settings)))
    answer = romancy("doctor")

    assert 1 == answer.code
    assert "PROBLEM  fsync off: a crash loses commits; set it to on\n" in answer.out
    assert "note     cache 1 MB: give it more\n" in answer.out


def test_one_worker_that_holds_nearly_everything_is_a_note(url: str, romancy: Command) -> None:
    async def sharing(held: int) -> None:
        store = create_store(url)
        await store.open()
        for token in ("busy", "idle"):
            await store.heartbeat(Worker(token=token, worker_id=f"{token}-worker", lease=600_000_000, codes=("c1",)))
        await store.commit([start(owner="busy") for _ in range(held)])
        await store.close()

    romancy("migrate")
    asyncio.run(sharing(19))
    few = romancy("doctor")
    asyncio.run(sharing(1))
    said = " ".join(romancy("doctor").out.split())

    assert "one worker" not in few.out
    assert "note one worker busy-worker holds 20 of 20 instances of 2 live workers" in said


def test_a_queue_that_grows_is_a_note_and_so_is_a_slow_database(
    url: str, romancy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def starting() -> None:
        async with Romancy(url, workflows=[approval], worker=False) as app:
            await app.start_many([approval.bind("lamp", number) for number in range(120)])

    romancy("migrate")
    before = romancy("doctor")
    asyncio.run(starting())
    monkeypatch.setattr("romancy.cli._tending._SLOW", 0.0)
    after = romancy("doctor")
    records = {record["name"]: record for record in romancy("doctor", "--json").records}

    assert "ok       answers in " in before.out
    assert "queue of the last hour" not in before.out
    said = " ".join(after.out.split())
    queue = "approval: 2 begin and 0 end in a minute; of 120 that are open, 120 wait for a worker"
    assert f"note queue of the last hour {queue}: more begin than end: start more workers" in said
    assert "note answers in " in said
    assert "run workers near the database, or see what else loads it" in said
    assert ["note", "note"] == [records[name]["verdict"] for name in ("queue of the last hour", "answers")]
    assert all(len(line) <= 80 for line in after.out.splitlines())


@pytest.mark.parametrize(
    "command", [("doctor",), ("migrate",), ("migrate", "--plan"), ("list",), ("show", "x")], ids=str
)
def test_a_password_is_never_shown(command: tuple[str, ...], url: str, romancy: Command, backend: str) -> None:
    parsed = parse_url(url)
    if parsed.host is None or backend == "vitess":
        pytest.skip("capability: a file has no password, and the gate of the suite takes any")
    wrong = f"{parsed.scheme}://nobody:hunter2@{parsed.host}:{parsed.port}{parsed.path}"

    answer = romancy(*command, "--url", wrong)
    refused = romancy(*command, "--url", f"{parsed.scheme}://nobody:hunter2@{parsed.host}:1{parsed.path}")

    assert (5, 5) == (answer.code, refused.code)
    assert "hunter2" not in answer.out + answer.err + refused.out + refused.err
    assert "Traceback" not in answer.err + refused.err


def test_an_adapter_without_upkeep_is_examined_as_far_as_it_goes(
    romancy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    romancy("migrate")
    with_services(monkeypatch, lambda services: Services(reading=services.reading))
    answer, doctor = romancy("migrate", "--plan"), romancy("doctor")

    assert (2, "") == (answer.code, answer.out)
    assert "ok       reached " in doctor.out
    assert "rows and index" not in doctor.out


def test_a_lost_row_is_a_problem_and_rebuild_makes_it_again(
    url: str, romancy: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def waiting() -> None:
        async with Romancy(url, workflows=[approval]) as app:
            await app.start(approval.options(instance_id="a-1"), "lamp", 1)
            await app.start(approval.options(instance_id="a-2"), "lamp", 2)
            for one in ("a-1", "a-2"):
                await status_is(app, one, Status.WAITING)
        store = create_store(url)
        await store.open()
        await damage(store, "delete from romancy_instances where instance_id = 'a-2'")
        await store.close()

    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_shop.py").write_text(APP.format(url=url), "utf-8")
    asyncio.run(waiting())
    try:
        found = romancy("doctor")
        counted = romancy("rebuild", "a_shop:app", "--dry-run")
        none = romancy("rebuild", "a_shop:app", "--what", "index")
        unknown = romancy("rebuild", "a_shop:other")
        done = romancy("rebuild", "a_shop:app", "--json")
        shown, sound = romancy("list", "--json"), romancy("doctor")
    finally:
        sys.modules.pop("a_shop", None)

    assert "PROBLEM  rows and index a sample of 2 instances: all but 1 as logged" in found.out
    assert "`romancy rebuild MODULE:APP`" in " ".join(found.out.split())
    assert (1, True) == (counted.code, "1 lost row" in counted.err), counted.err
    assert (0, True) == (none.code, "0 written" in none.err), none.err
    assert (1, True) == (unknown.code, "a-2  left: the app has no workflow 'approval'" in unknown.out)
    (record,) = done.records
    assert (0, 1, 1, []) == (done.code, record["lost_rows"], record["written"], record["left"])
    assert {"a-1", "a-2"} == {one["instance_id"] for one in shown.records}
    assert "ok       rows and index a sample of 2 instances: each as logged" in sound.out


def test_a_plan_is_one_record(romancy: Command) -> None:
    out = romancy("migrate", "--sql", "--json").out

    assert {"steps", "sql", "additive", "unknown"} == set(json.loads(out))


def test_a_newer_schema_on_which_older_code_may_continue_is_told(url: str, romancy: Command) -> None:
    async def newer() -> None:
        store = create_store(url)
        await store.open()
        additive = dialect_of(store).additive_schema
        await store.close()
        await run_script(url, additive)

    asyncio.run(newer())
    answers = romancy("doctor"), romancy("migrate"), romancy("migrate", "--plan")
    (record,) = romancy("migrate", "--plan", "--json").records

    told = "the schema is newer than this version of Romancy, which may continue on it (it has 9998_future)"
    assert [1, 0, 0] == [answer.code for answer in answers]
    assert all(told in " ".join((answer.out + answer.err).split()) for answer in answers)
    assert "PROBLEM  schema" not in answers[0].out
    assert ([], ["9998_future"]) == (record["steps"], record["unknown"])
