"""`romancy list` by parent and by whole ids, and `romancy count`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy_conformance.behaviour.commands.buying import orders, prepared

if TYPE_CHECKING:
    from romancy import Romancy
    from romancy_conformance.behaviour.commands.buying import Command


async def all_stand(app: Romancy) -> bool:
    """Whether both parents have ended, and each has one child that waits."""
    return {"completed": 4, "waiting": 2} == {str(status): n for status, n in (await app.count()).by_status.items()}


@pytest.fixture(autouse=True)
def families(url: str) -> None:
    prepared(url, *(orders.options(instance_id=name).bind() for name in ("o", "O")), until=all_stand)


def test_lists_are_by_parent_and_by_whole_ids(romancy: Command) -> None:
    def ids(*options: str) -> list[str]:
        return [record["instance_id"] for record in romancy("list", *options, "--json").records]

    assert ["o-approval", "o-patient"] == ids("--parent", "o", "--oldest-first")
    assert ["o-patient"] == ids("--parent", "o", "--status", "completed")
    assert {"o", "O"} == set(ids("--top-level"))
    assert ["o", "O-patient"] == sorted(ids("--exact-id", "o", "--exact-id", "O-patient"), key=str.lower)
    assert ids()[::-1] == ids("--oldest-first")
    assert ids("--oldest-first")[:1] == ids("--oldest-first", "--limit", "1")


def test_a_count_is_by_workflow_and_status(romancy: Command) -> None:
    counted = romancy("count")
    records = romancy("count", "--json").records
    children = romancy("count", "--parent", "o", "--workflow", "APPROV", "--json").records
    nothing = romancy("count", "--exact-id", "nobody")

    assert [["STATUS", "COUNT", "WORKFLOW"], ["waiting", "2", "approval"], ["completed", "2", "orders"],
            ["completed", "2", "patient"]] == [line.split() for line in counted.out.splitlines()]  # fmt: skip
    assert "6 instances" in counted.err
    assert [
        {"workflow": "approval", "status": "waiting", "count": 2},
        {"workflow": "orders", "status": "completed", "count": 2},
        {"workflow": "patient", "status": "completed", "count": 2},
    ] == records
    assert [{"workflow": "approval", "status": "waiting", "count": 1}] == children
    assert (0, "", "no instance fits\n") == (nothing.code, nothing.out, nothing.err)


@pytest.mark.parametrize("command", ["list", "count"])
def test_wrong_options_are_refused_by_name(romancy: Command, command: str) -> None:
    both = romancy(command, "--parent", "o", "--top-level")
    empty = romancy(command, "--parent", "")

    assert (2, True) == (both.code, "give --parent or --top-level, not both" in both.err)
    assert (True, True) == (empty.code != 0, "parent: is empty" in empty.err)
