"""When a worker claims: a busy worker leaves notifications to others, and follows them when it has less to write."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from romancy.engine.activities.places import Kind
from romancy.engine.clock import DatabaseClock
from romancy.engine.inbox import ConsumedMail
from romancy.engine.outage import Outage
from romancy.engine.surroundings import Surroundings
from romancy.engine.worker import next_claim
from romancy.engine.worker.backlog import Backlog
from romancy.engine.worker.claims import Claiming
from romancy.engine.worker.lease_keeper import Term
from romancy.engine.worker.next_claim import NextClaim
from romancy.errors import StorageUnavailableError
from romancy.storage.marks import TAKEN_NEWS
from romancy.storage.records import Work

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from collections.abc import Set as AbstractSet

    from romancy.storage.records import ClaimRequest

pytestmark = pytest.mark.anyio

MUCH, LITTLE = 400, 3
FEW, MANY = 4, 5
"""Peers."""
A_FEW_TURNS = 10
FAR = 3_000_000_000_000_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Roomy:
    """A stock with room for everything, except for workflows that are `full`."""

    next_look = 3600.0

    def __init__(self) -> None:
        self.full = frozenset[str]()

    def look(self, *, anew: bool = False) -> None:
        pass

    def look_again(self) -> None:
        pass

    def kind(self, workflow: str) -> Kind:
        return Kind.THREAD if workflow in self.full else Kind.LOOP

    def kinds_of(self, workflows: Iterable[str]) -> dict[str, Kind]:
        return {workflow: self.kind(workflow) for workflow in workflows}

    def room(self, kind: Kind) -> int:
        return 1000 if kind is Kind.LOOP else 0

    def open_room(self, kind: Kind) -> int:
        return self.room(kind)


class Worker:
    """A worker's claims with everything they read: a store without work, and the instances in memory."""

    def __init__(self, *, has_peers: bool) -> None:
        self.claims = 0
        self.next_due = FAR
        self.due: dict[str, int] = {}
        """When the next instances of some workflows are due, if the test tells it for each."""
        self.stock = Roomy()
        self.limits: list[int] = []
        self.announced: list[bool] = []
        self.requests: list[ClaimRequest] = []
        self.errors: list[Exception] = []
        """What the next claims raise."""
        self.swept: list[bool] = []
        self.is_fresh = True
        self.clock = DatabaseClock()
        self.handing_over = SimpleNamespace(in_doubt=False, look=bool, workers_came=list)
        self.driver = SimpleNamespace(
            live=dict.fromkeys(["mine", *map(str, range(MUCH))]),
            to_write=0,
            writer=SimpleNamespace(written=0),
            used=ConsumedMail(),
            dispatcher=SimpleNamespace(sweep=lambda: self.swept.append(True)),
        )
        self.claiming = Claiming(
            cast("Any", self),
            self.clock,
            cast("Any", self.driver),
            cast("Any", self),
            keeper=cast("Any", SimpleNamespace(leases=self, term=Term(), outage=Outage())),
            next_claim=NextClaim(),
            backlog=Backlog(cast("Any", self.stock), DatabaseClock(), {"flow": "c1", "other": "c1"}),
            max_live=1000,
            handing_over=cast("Any", self.handing_over),
        )
        self.token = "w"
        self._has_peers = has_peers
        self.peers: list[Any] = [SimpleNamespace()] if has_peers else []
        self.waits_for_mail = False
        self.starting = set[str]()

    def fresh(self) -> bool:
        return self.is_fresh

    def standing(self) -> dict[str, object]:
        return {}

    def drop_lost(self, work: Work, before: object) -> None:
        """Nothing is lost here."""

    def has_peers(self) -> bool:
        return self._has_peers

    async def claim(self, request: ClaimRequest) -> Work:
        assert request.worker == "w"
        self.claims += 1
        self.limits.append(request.limit)
        self.announced.append(request.announce)
        self.requests.append(request)
        if self.errors:
            raise self.errors.pop(0)
        due = min((self.due[name] for name in request.codes if name in self.due), default=None)
        return Work(claimed=[], mail=[], now=1, next_due=due if self.due else self.next_due)

    async def take_in(self, work: Work, term: Term, gone: AbstractSet[str]) -> bool:
        assert not work.claimed
        assert not term.is_over()
        assert not gone
        return False

    def going(self) -> set[str]:
        return set()

    def known(self) -> dict[str, int]:
        return {}

    def kept(self) -> dict[str, int]:
        return {}

    async def claims_after(self, changed: frozenset[str] | None) -> int:
        """Return how often it claims at once after a notification."""
        before = self.claims
        self.claiming.notice(changed)
        await a_few_turns()
        return self.claims - before


async def a_few_turns() -> None:
    for _ in range(A_FEW_TURNS):
        await asyncio.sleep(0)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A postponed claim waits longer than a test takes on a busy machine."""
    monkeypatch.setattr("romancy.engine.worker.claims._PAUSE_WHEN_BUSY", 3600.0)


@asynccontextmanager
async def at_work(*, has_peers: bool) -> AsyncGenerator[Worker]:
    worker = Worker(has_peers=has_peers)
    running = asyncio.create_task(worker.claiming.run())
    yield worker
    running.cancel()
    await asyncio.wait({running})


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize(
    ("has_peers", "to_write", "changed", "claims"),
    [
        (True, MUCH, frozenset({"theirs"}), 0),
        (True, MUCH, None, 0),
        (True, MUCH, frozenset({"theirs", "mine"}), 1),
        (True, LITTLE, frozenset({"theirs"}), 1),
        (False, MUCH, frozenset({"theirs"}), 1),
        (False, MUCH, frozenset[str](), 0),
    ],
    ids=["much", "much, unknown", "mail", "little", "alone", "nothing"],
)
async def test_who_asks_at_once(*, has_peers: bool, to_write: int, changed: frozenset[str] | None, claims: int) -> None:
    async with at_work(has_peers=has_peers) as worker:
        worker.driver.to_write = to_write

        assert await worker.claims_after(changed) == claims


@pytest.mark.usefixtures("endless")
async def test_news_that_were_left_are_looked_at_when_less_is_at_hand() -> None:
    async with at_work(has_peers=True) as worker:
        worker.driver.to_write = MUCH
        assert await worker.claims_after(frozenset({"theirs"})) == 0
        worker.driver.to_write = LITTLE
        worker.claiming.ended_here("mine")
        await a_few_turns()

        assert worker.claims == 1


@pytest.mark.usefixtures("endless")
async def test_having_little_in_hand_is_having_little_to_write() -> None:
    """The last commit may have written all there was."""
    async with at_work(has_peers=True) as worker:
        worker.driver.to_write = MUCH
        worker.driver.live = {"mine": None}

        assert await worker.claims_after(frozenset({"theirs"})) == 1


@pytest.mark.parametrize(("has_peers", "at_once"), [(True, 0), (False, 1)], ids=["has_peers", "alone"])
async def test_who_has_asked_in_vain_waits_a_moment(
    monkeypatch: pytest.MonkeyPatch, *, has_peers: bool, at_once: int
) -> None:
    """Most notifications report ends, and each would make every idle worker claim."""
    monkeypatch.setattr("romancy.engine.worker.claims._IN_VAIN", 3600.0)
    async with at_work(has_peers=has_peers) as worker:
        assert await worker.claims_after(frozenset({"theirs"})) == 1
        assert await worker.claims_after(frozenset({"theirs too"})) == at_once
        assert await worker.claims_after(None) == at_once
        assert await worker.claims_after(frozenset({"mine"})) == 1, "mail for what is here is never put off"


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn of one of many comes later than a test takes."""
    monkeypatch.setattr("romancy.engine.worker.claims._TURN_PER_PEER", 3600.0)
    monkeypatch.setattr("romancy.engine.worker.claims._LONGEST_TURN", 3600.0)
    monkeypatch.setattr(Surroundings, "uniform", staticmethod(max))


@pytest.mark.usefixtures("turns")
@pytest.mark.parametrize(
    ("peers", "news", "claims"),
    [
        (FEW, [{"theirs"}], 1),
        (MANY, [{"theirs"}], 0),
        (MANY, [None], 0),
        (MANY, [{"mine"}], 1),
        (MANY, [{"theirs"}, {"mine"}], 1),
    ],
    ids=["few", "many", "unknown", "mail", "mail_besides"],
)
async def test_one_of_many_waits_for_its_turn(peers: int, news: list[set[str] | None], claims: int) -> None:
    async with at_work(has_peers=True) as worker:
        worker.peers *= peers
        worker.claiming.notice(frozenset({TAKEN_NEWS + "another"}))
        for changed in news:
            worker.claiming.notice(None if changed is None else frozenset(changed))
        await a_few_turns()

        assert worker.claims == claims


@pytest.mark.parametrize(
    ("news", "claims"),
    [
        ("a", 1),
        ("a -a", 0),
        ("a b -a", 1),
        ("a b -a -b", 0),
        ("-a a", 1),
        ("a -a a", 1),
        ("a -a b", 1),
        ("a -a a -a", 0),
    ],
)
async def test_one_of_many_claims_nothing_that_others_have_taken(
    monkeypatch: pytest.MonkeyPatch, news: str, claims: int
) -> None:
    """With a minus before it, an instance was taken by another worker. All this happens before the turn."""
    monkeypatch.setattr(Surroundings, "uniform", staticmethod(min))
    async with at_work(has_peers=True) as worker:
        worker.peers *= MANY
        for one in news.split():
            worker.claiming.notice(frozenset({TAKEN_NEWS + one[1:] if one[0] == "-" else one}))
        await a_few_turns()

        assert worker.claims == claims


@pytest.mark.usefixtures("turns")
async def test_where_nobody_tells_what_was_taken_nobody_waits() -> None:
    """A database without notifications: its workers look for changes at times of their own."""
    async with at_work(has_peers=True) as worker:
        worker.peers *= MANY

        assert await worker.claims_after(frozenset({"theirs"})) == 1


async def test_only_one_of_many_asks_that_its_claims_be_told() -> None:
    async with at_work(has_peers=True) as worker:
        for peers in (FEW, MANY):
            worker.peers = [SimpleNamespace()] * peers
            assert await worker.claims_after(frozenset({"mine"})) == 1

        assert worker.announced == [False, True]


async def test_after_that_moment_it_asks() -> None:
    async with at_work(has_peers=True) as worker:
        assert await worker.claims_after(frozenset({"theirs"})) == 1
        worker.claiming.notice(frozenset({"theirs too"}))
        async with asyncio.timeout(10):
            while worker.claims < 2:  # noqa: ASYNC110 - by a timer of its own
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("has_peers", "pauses"),
    [(False, [0.02, 0.04, 0.08, 0.16, 0.25, 0.25]), (True, [0.05, 0.1, 0.2, 0.25, 0.25, 0.25])],
    ids=["alone", "has_peers"],
)
async def test_what_is_due_and_held_by_somebody_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, *, has_peers: bool, pauses: list[float]
) -> None:
    """Nobody announces that a row is free again. The longest pause bounds how late its instance is taken."""
    planned: list[float] = []

    def look_in(_: NextClaim, seconds: float) -> None:
        planned.append(seconds)

    monkeypatch.setattr(NextClaim, "look_in", look_in)
    async with at_work(has_peers=has_peers) as worker:
        worker.next_due = 1
        for _ in pauses:
            assert await worker.claims_after(frozenset({"mine"})) == 1
        worker.next_due = FAR
        assert await worker.claims_after(frozenset({"mine"})) == 1
        worker.next_due = 1
        assert await worker.claims_after(frozenset({"mine"})) == 1

    assert [one for one in planned if one < 1] == [*pauses, pauses[0]]


async def test_what_falls_due_of_workflows_that_a_claim_leaves_out_is_still_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a claim is told of no instance of theirs, and ends the plan of a claim before it."""
    planned: list[int] = []

    def look_at(_: NextClaim, due: int, __: DatabaseClock) -> None:
        planned.append(due)

    monkeypatch.setattr(NextClaim, "look_at", look_at)
    async with at_work(has_peers=False) as worker:
        worker.due = {"other": FAR}
        assert await worker.claims_after(frozenset({"theirs"})) == 1
        worker.stock.full = frozenset({"other"})
        worker.claiming.look()
        await a_few_turns()
        worker.due["flow"] = FAR + 1
        worker.claiming.look()
        await a_few_turns()

        assert (worker.claims, planned) == (3, [FAR] * 3)


async def test_a_share_grows_with_what_was_written_since_the_last_claim() -> None:
    """Fifty at first, when their duration is unknown; more if they are quick."""
    async with at_work(has_peers=True) as worker:
        for written, to_write in ((0, 0), (40, 40), (160, 40), (1160, 40), (2160, 0), (2260, 40)):
            worker.driver.writer.written, worker.driver.to_write = written, to_write
            assert await worker.claims_after(frozenset({"mine"})) == 1

        assert worker.limits == [50, 50, 120, 200, 50, 100]


async def test_an_end_here_is_no_reason_to_ask() -> None:
    async with at_work(has_peers=True) as worker:
        worker.claiming.ended_here("mine")
        await a_few_turns()

        assert worker.claims == 0


async def test_news_that_were_left_are_looked_at_in_the_end_although_much_is_at_hand() -> None:
    async with at_work(has_peers=True) as worker:
        worker.driver.to_write = MUCH
        worker.claiming.notice(frozenset({"theirs"}))
        async with asyncio.timeout(10):
            while not worker.claims:  # noqa: ASYNC110 - a quarter of a second, by a timer of its own
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_look_that_is_put_off_by_nothing_is_no_last_one(loop: str) -> None:
    """On uvloop, a delay that rounds to zero makes a plain handle, which has no time."""
    make = asyncio.new_event_loop if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    async def put_off_twice() -> int:
        async with at_work(has_peers=True) as worker:
            for _ in range(3):
                worker.claiming.notice(frozenset({"theirs"}))
                worker.claiming.notice(None)
                await asyncio.sleep(0.01)
            return worker.claims

    with asyncio.Runner(loop_factory=make) as runner:
        assert runner.run(put_off_twice()) >= 1


async def test_nothing_is_claimed_while_the_lease_is_in_doubt() -> None:
    """Others may take over what it would claim."""
    async with at_work(has_peers=False) as worker:
        worker.is_fresh = False
        assert await worker.claims_after(frozenset({"theirs"})) == 0
        worker.is_fresh = True
        assert await worker.claims_after(frozenset({"theirs"})) == 1


async def test_a_claim_that_failed_is_made_again_for_what_it_may_have_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also its sweep, which may not have been made."""
    monkeypatch.setattr(next_claim, "_PAUSE", 0.0)
    async with at_work(has_peers=False) as worker:
        worker.errors = [StorageUnavailableError("away"), RuntimeError("a fault")]
        worker.claiming.look()
        async with asyncio.timeout(60):
            while worker.claims < 3:
                await a_few_turns()
        await worker.claims_after(frozenset({"theirs"}))

    asked = [(request.sweep, request.recover) for request in worker.requests]
    assert [(True, True), (True, True), (False, False)] == asked[1:]
    assert [True] == worker.swept


@pytest.mark.parametrize("why", ["only mail", "waits for mail"])
async def test_a_worker_that_may_take_nothing_asks_for_its_mail(why: str) -> None:
    async with at_work(has_peers=False) as worker:
        await worker.claims_after(frozenset({"theirs"}))
        worker.waits_for_mail = why == "waits for mail"
        if why == "only mail":
            worker.claiming.only_mail()
        worker.claiming.look()
        await a_few_turns()

    assert worker.limits[0] > 0
    assert worker.limits[1:] == [0]


async def test_what_is_being_started_takes_room() -> None:
    async with at_work(has_peers=False) as worker:
        worker.starting = {str(number) for number in range(1000 - len(worker.driver.live) - 9)}
        await worker.claims_after(frozenset({"theirs"}))

    assert [9] == worker.limits


async def test_a_claim_sets_the_clock_and_leaves_the_worker_at_rest() -> None:
    async with at_work(has_peers=False) as worker:
        await worker.claims_after(frozenset({"theirs"}))
        assert worker.claiming.at_rest

    assert worker.clock.now() < FAR // 3000, "the store said that it is 1"


async def test_after_news_of_anything_peers_are_in_doubt() -> None:
    async with at_work(has_peers=False) as worker:
        await worker.claims_after(frozenset({"theirs"}))
        assert not worker.handing_over.in_doubt
        await worker.claims_after(None)
        assert worker.handing_over.in_doubt


async def test_of_the_ends_here_the_last_ten_thousand_are_remembered() -> None:
    """A worker that is up for weeks would remember millions."""
    async with at_work(has_peers=False) as worker:
        for number in range(10_001):
            worker.claiming.ended_here(f"ended {number}")
        assert await worker.claims_after(frozenset({"ended 1", "ended 10000"})) == 0
        assert await worker.claims_after(frozenset({"ended 0"})) == 1
