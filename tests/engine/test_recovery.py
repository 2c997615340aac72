"""An answer with a part of the mail is only for the run that keeps the rest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from romancy.engine.worker.intake import Intake
from romancy.storage.records import InboxRow, Mailbox, Work

pytestmark = pytest.mark.anyio

MUCH = 100


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class World:
    """A driver with one instance, and the mail it was given."""

    def __init__(self) -> None:
        self.live: dict[str, Any] = {}
        self.received: list[tuple[Any, list[str]]] = []
        world = cast("Any", self)
        self.intake = Intake(world, world, world, world, starting=frozenset(), bereft={})

    def run(self, kept: int = MUCH, *, passed_over: bool = False) -> Any:
        """Begin another run of the instance, which keeps so many messages."""
        inbox = [None] * kept
        live = SimpleNamespace(instance_id="i", life=1, inbox=inbox, passed_over=passed_over)
        self.live["i"] = live
        return live

    def receive(self, live: Any, box: Mailbox) -> None:
        self.received.append((live, [row.delivery_id for row in box.rows]))

    async def bring(self, signals: int, *ids: str, after: int = 0) -> bool:
        """Handle an answer with mail for the instance."""
        rows = [InboxRow(one, b"{}", 1) for one in ids]
        box = Mailbox(instance_id="i", life=1, signals=signals, rows=rows, after=after)
        return await self.intake.take_in(Work(claimed=[], mail=[box]))


async def test_who_keeps_much_is_brought_only_what_is_new() -> None:
    world = World()
    live = world.run()
    assert not await world.bring(MUCH, "old")
    assert (world.intake.known(), world.intake.kept()) == ({"i": MUCH}, {"i": MUCH})

    assert not await world.bring(MUCH + 1, "new", after=MUCH)

    assert world.received == [(live, ["old"]), (live, ["new"])]
    assert world.intake.kept() == {"i": MUCH + 1}


@pytest.mark.parametrize(("kept", "passed_over"), [(3, False), (MUCH, True)], ids=["little", "not all"])
async def test_who_keeps_little_or_not_all_is_brought_everything(kept: int, *, passed_over: bool) -> None:
    world = World()
    world.run(kept, passed_over=passed_over)
    await world.bring(MUCH, "old")

    assert (world.intake.known(), world.intake.kept()) == ({"i": MUCH}, {})


@pytest.mark.parametrize("here", [True, False], ids=["another run", "no run"])
async def test_a_part_of_the_mail_is_nothing_to_who_does_not_keep_the_rest(*, here: bool) -> None:
    """The run that kept the rest was dropped during the claim: the next claim returns everything."""
    world = World()
    world.run()
    await world.bring(MUCH, "old")
    world.received.clear()
    del world.live["i"]
    if here:
        world.run()

    assert await world.bring(MUCH + 1, "new", after=MUCH)

    assert world.received == []
    assert (world.intake.known(), world.intake.kept()) == ({}, {})
