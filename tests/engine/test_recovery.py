"""An answer with a part of the mail is only for the run that keeps the rest."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from romancy.engine.messages import CancelMessage, encode_message
from romancy.engine.worker.intake import Intake
from romancy.engine.worker.lease_keeper import Term
from romancy.engine.worker.recovery import Recovery, is_given_up
from romancy.status import Status
from romancy.storage.records import Claimed, InboxRow, Mailbox, Work

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
        self.taken_up: list[tuple[str, Mailbox | None]] = []
        self.given_up: list[str] = []
        """What the quarantine need not hold any longer."""
        self.looked = 0
        """How often everything owned was asked for."""
        self.begun: set[str] = set()
        self.workflows: dict[str, str] = {}
        """Those that are paused by their names."""
        self.beginning: set[str] = set()
        """What the quarantine is taking up."""
        world = cast("Any", self)
        self.intake = Intake(world, world, world, world, starting=frozenset(), appending=dict, bereft={}, held=world)

    def run(self, kept: int = MUCH, *, passed_over: bool = False) -> Any:
        """Begin another run of the instance, which keeps so many messages."""
        inbox = [None] * kept
        live = SimpleNamespace(instance_id="i", life=1, inbox=inbox, passed_over=passed_over)
        self.live["i"] = live
        return live

    def receive(self, live: Any, box: Mailbox) -> None:
        self.received.append((live, [row.delivery_id for row in box.rows]))

    def give_up(self, instance_id: str) -> None:
        self.given_up.append(instance_id)

    def look_for_own(self) -> None:
        self.looked += 1

    def begins(self, instance_id: str) -> bool:
        return instance_id in self.begun

    def note_answer(self) -> None:
        self.begun &= self.beginning

    async def pauses(self, claimed: Claimed, box: Mailbox | None) -> bool:
        return False

    async def take_up(self, claimed: Claimed, box: Mailbox | None, _term: Term) -> None:
        self.taken_up.append((claimed.instance_id, box))

    async def bring(self, signals: int, *ids: str, after: int = 0) -> bool:
        """Handle an answer with mail for the instance."""
        rows = [InboxRow(one, b"{}", 1) for one in ids]
        box = Mailbox(instance_id="i", life=1, signals=signals, rows=rows, after=after)
        return await self.intake.take_in(Work(claimed=[], mail=[box]), Term())


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


CLAIMED = Claimed(
    instance_id="i", life=1, workflow_name="w", status=Status.RUNNING, code="", run_from=1, head=1, signals=MUCH + 1,
    seen=0, crashes=0,
)  # fmt: skip


async def test_a_claimed_instance_waits_for_all_of_its_mail_if_a_part_was_left_out() -> None:
    """Its run had kept the rest, and was dropped while a claim went on that took it up again."""
    world = World()
    world.run()
    await world.bring(MUCH, "old")
    del world.live["i"]
    part = Mailbox(instance_id="i", life=1, signals=MUCH + 1, rows=[InboxRow("new", b"{}", 1)], after=MUCH)

    assert await world.intake.take_in(Work(claimed=[CLAIMED], mail=[part]), Term())

    assert world.taken_up == []
    assert world.intake.known() == {"i": -1}
    whole = Mailbox(instance_id="i", life=1, signals=MUCH + 1, rows=[InboxRow("old", b"{}", 1)])
    assert not await world.intake.take_in(Work(claimed=[], mail=[whole]), Term())
    assert world.taken_up == [("i", whole)]


async def test_a_claim_does_not_take_up_what_the_quarantine_takes_up() -> None:
    """Its mark is in the log by then, so the claim counts no death of its owner any more."""
    world = World()
    box = Mailbox(instance_id="i", life=1, signals=0, rows=[])
    world.begun = world.beginning = {"i"}
    await world.intake.take_in(Work(claimed=[CLAIMED], mail=[box]), Term())
    assert world.taken_up == []

    world.begun.clear()
    await world.intake.take_in(Work(claimed=[CLAIMED], mail=[box]), Term())
    assert world.taken_up == [("i", box)]


async def test_what_waits_for_its_mail_is_left_to_the_quarantine_that_has_taken_it_up() -> None:
    """By the time the mail comes, the trial may be over and the instance released: it would run twice."""
    world = World()
    await world.intake.take_in(Work(claimed=[CLAIMED], mail=[], more=True), Term())
    world.begun = {"i"}

    await world.intake.take_in(Work(claimed=[], mail=[Mailbox(instance_id="i", life=1, signals=0, rows=[])]), Term())

    assert world.taken_up == []


async def test_a_suspect_that_was_cancelled_is_taken_up_and_not_tried() -> None:
    world = World()
    rows = [InboxRow("c", encode_message(CancelMessage(stuck=True)), 1)]
    box = Mailbox(instance_id="i", life=1, signals=1, rows=rows)
    await world.intake.take_in(Work(claimed=[replace(CLAIMED, crashes=2)], mail=[box]), Term())

    assert (world.given_up, world.taken_up) == (["i"], [("i", box)])


@pytest.mark.parametrize("life", [0, 1, 2])
def test_only_the_life_that_was_stuck_is_given_up(life: int) -> None:
    """The cancellation of another one came late: the id was used again since. Older code named no life."""
    rows = [InboxRow("c", encode_message(CancelMessage(stuck=True, life=life)), 1)]

    assert is_given_up(Mailbox(instance_id="i", life=1, signals=1, rows=rows)) is (life != 2)


async def test_what_was_released_during_the_claim_is_not_taken_up_but_asked_for_again() -> None:
    world = World()
    box = Mailbox(instance_id="i", life=1, signals=0, rows=[])
    await world.intake.take_in(Work(claimed=[CLAIMED], mail=[box]), Term(), {"i"})

    assert (world.taken_up, world.looked) == ([], 1)


async def test_an_instance_that_was_taken_up_beside_its_claim_gets_the_mail_of_the_claim() -> None:
    """The claim counts it as brought, so no other claim would bring it."""
    world = World()
    there = world.run()
    stub = cast("Any", world)
    recovery = Recovery(stub, stub, stub, stub, parked=stub, rewinds=stub)
    closed: list[bool] = []
    run = SimpleNamespace(close=lambda: closed.append(True), state=SimpleNamespace(terminal=None))
    live = cast("Any", SimpleNamespace(instance_id="i", life=1, run=run))
    box = Mailbox(instance_id="i", life=1, signals=1, rows=[InboxRow("new", b"{}", 1)])

    recovery._go_on(live, box, given_up=False)

    assert closed == [True]
    assert world.received == [(there, ["new"])]
