"""How a worker treats suspects: one after another, each announced before it begins and cleared when it has survived."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec.structs import replace

from romancy.core import LogEvent, OwnerChanged, decode_commit, encode_commit
from romancy.engine.incarnation import Incarnation
from romancy.engine.instance import Live
from romancy.engine.worker import quarantine as trials
from romancy.engine.worker.lease_keeper import Term
from romancy.engine.worker.quarantine import Quarantine
from romancy.errors import StorageUnavailableError
from romancy.status import Status
from romancy.storage.records import Append, Claimed, Outcome, Step
from tests.engine.storms import STEP

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


TAKEN_OVER: list[LogEvent] = [OwnerChanged(at=5, owner="w2")]
TWICE = (STEP, TAKEN_OVER, TAKEN_OVER)


def fatal(instance_id: str) -> list[list[LogEvent]]:
    """A trial of which its worker died."""
    trial: LogEvent = OwnerChanged(at=3, owner="w2", alone=True, tried=instance_id)
    return [[trial], [OwnerChanged(at=5, owner="w3", tried=instance_id)]]


def claimed(instance_id: str) -> Claimed:
    return Claimed(
        instance_id=instance_id, life=1, workflow_name="w", status=Status.RUNNING, code="c", run_from=1, head=3,
        signals=0, seen=0, crashes=2,
    )  # fmt: skip


class World:
    """The surroundings of a quarantine: it records what is done with the suspects."""

    def __init__(self, *ids: str, commits: Sequence[list[LogEvent]] = TWICE, attempts: bool = True) -> None:
        self.ids = ids
        self.done: list[str] = []
        self.parked = ""
        self.stuck: set[str] = set()
        self.over = asyncio.Event()
        """Every suspect was taken up and cleared."""
        self.taken_up = asyncio.Event()
        self.rows = [SimpleNamespace(body=encode_commit(commit)) for commit in commits]
        self.lived = 1000.0
        self.live: dict[str, Live] = {}
        definition = cast("Any", SimpleNamespace(code="c"))
        self.suspects = {each: Live(each, 1, definition, cast("Any", None)) for each in ids}
        for live in self.suspects.values():
            live.followed(4, "w3.1")
            if attempts:
                live.begins(cast("Any", SimpleNamespace(id="a:1", ending=False, task=object(), waits_since=0)))
        self.writer = self.clock = self
        self.attempts = SimpleNamespace(waits_for_place=set[object]().__contains__)
        self.leases = SimpleNamespace(token="w3", renew=self.renew)
        self.term = Term()
        self.terms: list[Term] = []
        """The terms in which suspects were taken up."""
        self.begun: list[list[str]] = []
        """What was being taken up whenever an instance was."""
        self.dies_in_read = False
        self.incarnation = Incarnation("w3")
        self.settles_at_once = self.is_away = False
        self.beats: list[bool | Exception] = []
        """The answers to the next heartbeats; then each is answered."""
        self.submitted = asyncio.Event()
        self.quarantine = self.quarantine_of(0.0)

    def quarantine_of(self, patience: float) -> Quarantine:
        world = cast("Any", self)
        times = iter([0.0])
        return Quarantine(world, world, world, world, world, patience=patience, clock=lambda: next(times, self.lived))

    async def read(self, instance_id: str, *, after: int = 0, limit: int) -> object:
        if self.dies_in_read:
            self.term.end()
        if limit:
            return SimpleNamespace(rows=self.rows)
        status = Status.STUCK if instance_id in self.stuck else Status.RUNNING
        return SimpleNamespace(instance=SimpleNamespace(status=status))

    def now(self) -> int:
        return 7

    async def renew(self) -> bool:
        answer = self.beats.pop(0) if self.beats else True
        if isinstance(answer, Exception):
            raise answer
        self.done.append(f"told {' '.join(self.quarantine.tells()) or 'none'}")
        return answer

    async def outcome_of(self, item: Append) -> Outcome:
        (event,) = decode_commit(item.body)
        assert isinstance(event, OwnerChanged)
        assert event.alone
        assert event.tried == item.instance_id
        self.done.append(f"marked {item.instance_id}")
        self.submitted.set()
        if self.is_away:
            await asyncio.Event().wait()
        return Outcome.ACCEPTED

    async def take_up(self, claimed: Claimed, _box: object, term: Term) -> None:
        self.terms.append(term)
        self.begun.append([each for each in ("a", "b") if self.quarantine.begins(each)])
        self.done.append(f"taken up {claimed.instance_id} at {claimed.head}")
        live = self.live[claimed.instance_id] = self.suspects[claimed.instance_id]
        self.taken_up.set()
        if self.settles_at_once:
            live.take_slot()
            asyncio.get_running_loop().call_soon(self._settle, live)

    def write(self, live: Any, item: Step) -> None:
        assert decode_commit(item.body) == [OwnerChanged(at=7, code="c", alone=True)]
        self.done.append(f"cleared {live.instance_id}")
        asyncio.get_running_loop().call_soon(self._settle, live)

    @staticmethod
    def _settle(live: Any) -> None:
        if live.moves is not None:
            live.moves.set()

    def look_for_own(self) -> None:
        self.done.append("looked for own")

    def park(self, _claimed: Claimed, reason: str) -> None:
        self.parked = reason

    async def held(self) -> None:
        """Let the quarantine hold all suspects."""
        for each in self.ids:
            assert await self.quarantine.holds(claimed(each), None, self.term)

    async def until_none_is_held(self) -> None:
        async with asyncio.timeout(60):
            while self.quarantine.tells() or not self.done or self.done[-1] != "told none":  # noqa: ASYNC110
                await asyncio.sleep(0)


async def tried(world: World) -> list[str]:
    """Return what is done with the suspects of this world."""
    await world.held()
    async for _ in running(world):
        await world.until_none_is_held()
    return world.done


async def running(world: World) -> AsyncGenerator[asyncio.Task[None]]:
    task = asyncio.create_task(world.quarantine.run())
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_suspect_is_announced_before_it_begins_and_cleared_when_it_has_survived() -> None:
    assert await tried(World("a")) == [
        "told suspects=1 tried=a", "marked a", "taken up a at 4", "looked for own", "cleared a", "told none",
    ]  # fmt: skip


async def test_one_begins_after_the_other() -> None:
    assert await tried(World("a", "b")) == [
        "told suspects=2 tried=a", "marked a", "taken up a at 4", "looked for own", "cleared a",
        "told suspects=1 tried=b", "marked b", "taken up b at 4", "looked for own", "cleared b", "told none",
    ]  # fmt: skip


async def test_what_runs_nothing_is_cleared_once_it_is_replayed() -> None:
    world = World("a", attempts=False)
    world.quarantine = world.quarantine_of(3600.0)

    assert "cleared a" in await tried(world)


async def test_a_suspect_whose_next_commit_is_in_at_once_is_not_waited_for() -> None:
    world = World("a")
    world.settles_at_once = True
    world.quarantine = world.quarantine_of(3600.0)

    assert "cleared a" not in await tried(world)


async def test_a_suspect_whose_attempt_waits_for_a_slot_has_not_survived() -> None:
    """Its trial goes on until it moves, or for as long as any trial may."""
    world = World("a")
    (attempt,) = world.suspects["a"].attempts.values()
    attempt.task, attempt.waits_since = None, 1.0
    world.quarantine = world.quarantine_of(20.0)
    waits = list[float]()

    async def happens(event: asyncio.Event, seconds: float) -> bool:
        waits.append(seconds)
        return event.is_set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "_happens", happens)
        await tried(world)

    assert waits == [20.0, 20.0, 20.0]


async def test_a_session_that_has_the_slot_does_not_hold_up_the_next_one() -> None:
    """It is cleared when the session lets it."""
    world = World("a", "b")
    session = SimpleNamespace(ended=False)
    world.suspects["a"].holder = cast("Any", session)
    before = list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "_PAUSE", 0.0)
        await world.held()
        async for _ in running(world):
            await world.until_none_is_held()
            before = [one for one in world.done if one.startswith("cleared")]
            session.ended = True
            moves = world.suspects["a"].moves
            assert moves is not None
            async with asyncio.timeout(60):
                await moves.wait()

    assert before == ["cleared b"]
    assert "cleared a" in world.done


async def test_a_worker_that_was_declared_dead_begins_no_trial() -> None:
    world = World("a")
    world.beats = [False, False]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "_PAUSE", 0.0)
        done = await tried(world)

    assert done.index("marked a") == 3


async def test_a_trial_waits_for_a_heartbeat_that_tells_of_it() -> None:
    world = World("a")
    world.beats = [StorageUnavailableError("away")] * 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "_PAUSE", 0.0)
        done = await tried(world)

    assert done[:2] == ["told suspects=1 tried=a", "marked a"]


async def test_suspects_that_wait_for_their_times_are_told() -> None:
    world = World("a", "b")
    world.lived = 0.0
    await world.held()
    async for _ in running(world):
        async with asyncio.timeout(60):
            while not world.done:  # noqa: ASYNC110
                await asyncio.sleep(0)

    assert world.done == ["told suspects=2"]


async def test_a_suspect_that_was_claimed_anew_is_not_tried_as_it_was() -> None:
    """The trial would be written where others have written since."""
    world = World("a")
    await world.held()
    world.quarantine.forget()
    world.lived = 3000.0
    assert world.quarantine.tells() == []
    assert await world.quarantine.holds(replace(claimed("a"), head=8), None, world.term)
    world.suspects["a"].followed(9, "w3.1")
    async for _ in running(world):
        await world.until_none_is_held()

    assert "taken up a at 9" in world.done


async def test_a_trial_is_stopped_though_the_database_is_away() -> None:
    world = World("a")
    world.is_away = True
    await world.held()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "_GOODBYE", 0.0)
        async for task in running(world):
            await world.submitted.wait()
            task.cancel()
            await asyncio.wait([task], timeout=60)

            assert task.cancelled()


async def test_a_worker_that_is_stopped_in_a_trial_clears_it() -> None:
    """If the process is killed after that, the instance under trial does not become a suspect."""
    world = World("a")
    world.quarantine = world.quarantine_of(1000.0)
    await world.held()
    async for _ in running(world):
        await world.taken_up.wait()

    assert "cleared a" in world.done
    assert world.quarantine.tells() == []


async def test_it_is_parked_with_what_was_seen() -> None:
    world = World("a", commits=[*TWICE, *fatal("a") * 5])

    assert await world.quarantine.holds(claimed("a"), None, world.term)

    assert "7 workers in a row were lost while they had it, 5 of them while they tried it" in world.parked
    assert "(they were lost within 0.0, 0.0, 0.0, 0.0, 0.0 s after they had begun it)" in world.parked


async def test_deaths_without_it_speak_for_it_unless_the_one_that_was_tried_is_stuck_since() -> None:
    others: list[list[LogEvent]] = [[OwnerChanged(at=5, owner="w2", tried=each)] for each in ("x", "y")]
    world = World("a", commits=[*TWICE, *fatal("a") * 5, *others])

    assert "marked a" in await tried(world)
    assert not world.parked

    world.stuck = {"x"}
    assert await world.quarantine.holds(claimed("a"), None, world.term)
    assert world.parked


async def test_what_is_not_suspected_is_not_held() -> None:
    others: list[list[LogEvent]] = [[OwnerChanged(at=5, owner="w2", tried="x")]] * 9
    world = World("a", commits=[STEP, TAKEN_OVER, *others])

    assert not await world.quarantine.holds(claimed("a"), None, world.term)


@pytest.mark.parametrize("commits", [TWICE, (STEP, TAKEN_OVER)], ids=["a suspect", "no suspect"])
async def test_what_others_may_own_by_now_is_neither_kept_nor_taken_up(commits: Sequence[list[LogEvent]]) -> None:
    world = World("a", commits=commits)
    world.dies_in_read = True

    assert await world.quarantine.holds(claimed("a"), None, world.term)
    assert not world.quarantine.tells()


async def test_what_was_given_up_is_not_tried() -> None:
    world = World("a", "b")
    await world.held()
    world.quarantine.give_up("a")

    async for _ in running(world):
        await world.until_none_is_held()
    assert [each for each in world.done if each.startswith("marked")] == ["marked b"]


async def test_only_what_is_being_taken_up_for_its_trial_begins() -> None:
    world = World("a", "b")
    await tried(world)

    assert [["a"], ["a", "b"]] == world.begun
    world.quarantine.note_answer()
    assert not world.quarantine.begins("a")
    assert not world.quarantine.begins("b")


async def test_what_an_older_claim_has_brought_begins_no_more_once_its_trial_is_over() -> None:
    world = World("a", "b")
    world.settles_at_once = True
    await tried(world)

    assert world.quarantine.begins("a")


async def test_a_suspect_is_taken_up_in_the_term_of_its_claim() -> None:
    world = World("a")
    await tried(world)

    assert [world.term] == world.terms
