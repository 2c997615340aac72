"""What was requested by a command, or sent to an instance, and no worker has taken, on every database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy.status import Status
from romancy_conformance.behaviour.commands.buying import approval, prepared, purchase, standing

if TYPE_CHECKING:
    from romancy_conformance.behaviour.commands.buying import Command

NOBODY = "no worker has taken it: none is alive"


def words(text: str) -> str:
    return " ".join(text.split())


def waiting(url: str, instance_id: str) -> None:
    call = approval.options(instance_id=instance_id).bind("lamp", 1)
    prepared(url, call, until=standing(instance_id, Status.WAITING))


def test_a_cancel_is_requested_and_seen_everywhere(url: str, romancy: Command) -> None:
    waiting(url, "c-1")

    asked = romancy("cancel", "c-1", "--reason", "the customer called")
    why, shown = romancy("why", "c-1"), romancy("show", "c-1")
    (record,) = romancy("show", "c-1", "--json").records

    assert (0, "c-1  cancel: requested\n") == (asked.code, asked.out)
    assert NOBODY in asked.err
    for answer in (why, shown):
        assert f"(the customer called); {NOBODY}" in words(answer.out)
    assert [("cancel", "the customer called")] == [(one["kind"], one["name"]) for one in record["untaken"]]


def test_a_retry_and_a_signal_are_requested_and_seen(url: str, romancy: Command) -> None:
    prepared(url, purchase.options(instance_id="p-1").bind("lamp"), until=standing("p-1", Status.FAILED))
    waiting(url, "a-1")

    retried, sent = romancy("retry", "p-1"), romancy("signal", "a-1", "approved", '"secret"')

    assert "p-1  retry: requested\n" == retried.out
    assert "a-1  signal: sent\n" == sent.out
    assert NOBODY in retried.err
    assert "A retry was requested " in romancy("why", "p-1").out
    assert NOBODY in words(romancy("why", "p-1").out)
    assert "The event 'approved' was sent to it " in romancy("why", "a-1").out
    assert "secret" not in romancy("why", "a-1").out + romancy("undelivered").out


def test_many_are_requested_with_one_warning(url: str, romancy: Command) -> None:
    waiting(url, "m-1")
    waiting(url, "m-2")

    asked = romancy("cancel", "--workflow", "approval", "--yes")

    assert {"m-1  cancel: requested", "m-2  cancel: requested"} == set(asked.out.splitlines())
    assert 1 == asked.err.count(NOBODY)


@pytest.mark.parametrize("name", ["aproved", "rejected"])
def test_an_event_that_fits_no_wait_is_shown(url: str, romancy: Command, name: str) -> None:
    waiting(url, "o-1")

    assert romancy("signal", "o-1", name, '"secret"', "--id", "s-1").code == 0

    said = f"It waits for 'approved'; it has been sent '{name}' ("
    assert said in words(romancy("why", "o-1").out)
    assert said in words(romancy("show", "o-1").out)
    listed = words(romancy("undelivered").out)
    assert "s-1" in listed
    assert f"event {name}, sent to o-1" in listed
    assert "the instance waits for approved" in listed
    (record,) = romancy("undelivered", "--type", name, "--json").records
    assert ("o-1", name, [{"type": "approved", "key": None}]) == (
        record["instance_id"],
        record["type"],
        record["waits_for"],
    )
    assert "" == romancy("undelivered", "--type", "other").out
    assert "" == romancy("undelivered", "--type", name, "--key", "k").out


def test_what_an_ended_instance_kept_is_no_longer_listed(url: str, romancy: Command) -> None:
    waiting(url, "e-1")
    romancy("signal", "e-1", "aproved")
    romancy("signal", "e-1", "approved", '"yes"')
    prepared(url, until=standing("e-1", Status.COMPLETED))

    assert "" == romancy("undelivered").out
    assert "sent" not in romancy("why", "e-1").out


def test_a_live_worker_is_named(url: str, romancy: Command) -> None:
    async def wait() -> None:
        async with Romancy(url, workflows=[approval]) as app:
            await app.start(approval.options(instance_id="l-1"), "lamp", 1)
            answer = await asyncio.to_thread(romancy, "cancel", "l-1")
            assert NOBODY not in answer.err

    asyncio.run(wait())


def test_of_an_ended_instance_nobody_is_missed(url: str, romancy: Command) -> None:
    prepared(url, purchase.options(instance_id="p-1").bind("lamp"), until=standing("p-1", Status.FAILED))

    asked, tried = romancy("cancel", "p-1"), romancy("cancel", "p-1", "--dry-run")

    assert (0, "p-1  cancel: it had ended already\n", "") == (asked.code, asked.out, asked.err)
    assert (0, "") == (tried.code, tried.err)
