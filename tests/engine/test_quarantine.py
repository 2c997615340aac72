"""What the end of a log shows about an instance's lost owners, and how a worker treats a suspect."""

from __future__ import annotations

import asyncio
import itertools
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec import Raw
from msgspec.structs import replace

from romancy.core import ActivityScheduled, LogEvent, OwnerChanged, WorkflowStarted, decode_commit, encode_commit
from romancy.engine.admission import Admission
from romancy.engine.incarnation import Incarnation
from romancy.engine.instance import Live
from romancy.engine.worker import quarantine as trials
from romancy.engine.worker.quarantine import Evidence, Quarantine, evidence_in
from romancy.serialization import dumps
from romancy.status import Status
from romancy.storage.records import Append, Claimed, Outcome, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


NULL = Raw(dumps(None, "nothing"))
START: LogEvent = WorkflowStarted(at=1, workflow="w", input=NULL, nonce="n")
CALL: LogEvent = ActivityScheduled(id="a:1", name="a", args=NULL)
STEP: list[LogEvent] = [START, CALL]
TAKEN_OVER: list[LogEvent] = [OwnerChanged(at=5, owner="w2")]
TRIED: list[LogEvent] = [OwnerChanged(at=3, owner="w2", alone=True)]
RELEASED: list[LogEvent] = [OwnerChanged(at=4, code="c1")]
TRIAL = [TRIED, TAKEN_OVER]


@pytest.mark.parametrize(
    ("commits", "expected"),
    [
        ([STEP], (0, (), 0)),
        ([STEP, TAKEN_OVER], (1, (), 0)),
        ([STEP, TAKEN_OVER, TAKEN_OVER], (2, (), 0)),
        ([STEP, TAKEN_OVER, STEP, TAKEN_OVER], (1, (), 0)),
        ([STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL], (3, (2,), 0)),
        ([STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, TRIED], (3, (2,), 0)),
        ([STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL, *TRIAL], (5, (2, 2, 2), 0)),
        ([STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL, TAKEN_OVER], (5, (), 1)),
        ([STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, TAKEN_OVER, *TRIAL, *TRIAL], (6, (2, 2), 1)),
        ([STEP, TAKEN_OVER, TAKEN_OVER, TAKEN_OVER, *TRIAL, TAKEN_OVER], (5, (), 2)),
        ([STEP, TAKEN_OVER, TAKEN_OVER, RELEASED], (0, (), 0)),
        ([STEP, TAKEN_OVER, RELEASED, TAKEN_OVER], (1, (), 0)),
        ([], (0, (), 0)),
    ],
)
def test_deaths_in_a_row_and_those_alone(
    commits: list[list[LogEvent]], expected: tuple[int, tuple[int, ...], int]
) -> None:
    assert expected == evidence_in(commits)


def test_who_tried_it_and_lives_did_not_die_of_it() -> None:
    commits = [STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL]

    assert evidence_in(commits, living=["w2"]).trials == ()
    assert evidence_in(commits, living=["w3"]).trials == (2, 2)


def test_a_death_that_speaks_for_it_asks_for_one_trial_more() -> None:
    assert Evidence(6, (1,) * 4).enough
    assert not Evidence(7, (1,) * 4, 1).enough
    assert Evidence(8, (1,) * 5, 1).enough
    assert Evidence(30, (1,) * 8, 20).enough


def test_a_worker_has_lived_much_longer_than_any_trial_took() -> None:
    assert [1.0, 2.0, 4.0, 8.0] == [Evidence(2, (1,) * trials).alive_before(30.0) for trials in range(4)]
    assert 16.0 == Evidence(4, (2_000_000, 1_000_000)).alive_before(30.0)
    assert 120.0 == Evidence(4, (20_000_000,)).alive_before(30.0)
    assert 24.0 == Evidence(4, (20_000_000,)).alive_before(3.0)


@pytest.mark.parametrize(
    ("heard", "beat", "taken", "lasted"),
    [
        (0, 0, 30.0, 30.0),
        (0, 99.0, 30.0, 30.0),
        (100.0, 0, 30.0, 30.0),
        (100.0, 92.0, 30.0, 0.5),
        (100.0, 100.5, 30.0, 1.0),
        (100.0, 104.0, 30.0, 8.0),
        (100.0, 120.0, 30.0, 30.0),
        (100.0, 99.0, 0.2, 0.2),
    ],
    ids=["old worker", "taken over by a new one", "by an old one", "no beat", "one", "four", "many", "at once"],
)
def test_a_trial_lasted_until_its_next_heartbeat_was_due(
    heard: float, beat: float, taken: float, lasted: float
) -> None:
    """And not until another worker came, which may be restarted at intervals."""
    trial = OwnerChanged(at=100_000_000, owner="w2", alone=True, heard=round(heard * 1_000_000))
    after = OwnerChanged(at=100_000_000 + round(taken * 1_000_000), owner="w3", heard=round(beat * 1_000_000))

    assert (round(lasted * 1_000_000),) == evidence_in([STEP, TAKEN_OVER, TAKEN_OVER, [trial], [after]]).trials


@pytest.mark.parametrize("every", [15.0, 30.0, 60.0])
@pytest.mark.parametrize("ended", ["by its end", "by a kill", "orderly"])
def test_poison_is_parked_after_six_deaths_however_seldom_workers_begin(every: float, ended: str) -> None:
    """A supervisor starts one at intervals, and ends the one before if it still lives."""
    commits: list[list[LogEvent]] = [STEP]
    deaths = trials_begun = 0
    for start in range(100):
        now = start * every
        evidence = evidence_in(commits[-32:])
        if evidence.enough:
            break
        before = evidence.alive_before(30.0) if evidence.suspicious else 0.0
        heard = now
        if before < every:  # it dies of it, in an instant
            if evidence.suspicious:
                begun = round((now + before) * 1_000_000)
                commits.append([OwnerChanged(at=begun, owner="w", alone=True, heard=begun)])
                trials_begun += 1
        elif ended == "orderly":
            continue
        deaths += 1
        taken_over = round((now + every) * 1_000_000)
        commits.append([OwnerChanged(at=taken_over, owner="w", heard=round(heard * 1_000_000))])

    assert (6, 4) == (deaths, trials_begun)


def is_parked(*, life: float, lasting: float, patience: float, deaths: int, gap: float, chance: random.Random) -> bool:
    """Whether an innocent instance is parked while its workers die at random times with it and others.

    It needs `lasting` seconds in one worker. Each worker takes over from the one before, as the log would show.
    """
    now = 0.0
    commits: list[list[LogEvent]] = [STEP]
    for _ in range(deaths):
        evidence = evidence_in(commits[-32:])
        if evidence.enough:
            return True
        left = chance.expovariate(1 / life)
        before = evidence.alive_before(patience) if evidence.suspicious else 0.0
        heard = now
        if left - before > (min(lasting, patience) if evidence.suspicious else lasting):
            commits = [STEP]  # it has ended or survived its trial, and the next begins
        elif evidence.suspicious and left > before:
            begun = round((now + before) * 1_000_000)
            commits.append([OwnerChanged(at=begun, owner="w", alone=True, heard=begun)])
            beats = [0.5 * 2**number for number in range(8) if 0.5 * 2**number <= left - before]
            heard = now + before + (beats[-1] if beats else 0.0)
        now += left + gap
        commits.append([OwnerChanged(at=round(now * 1_000_000), owner="w", heard=round(heard * 1_000_000))])
    return False


@pytest.mark.parametrize("life", [0.3, 1.0, 3.0, 10.0, 60.0])
@pytest.mark.parametrize("times", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("gap", [0.2, 30.0])
def test_workers_that_die_at_random_park_no_innocent(life: float, times: float, gap: float) -> None:
    chance = random.Random(f"{life} {times} {gap}")

    parked = [
        is_parked(life=life, lasting=times * life, patience=30.0, deaths=40, gap=gap, chance=chance) for _ in range(30)
    ]

    assert sum(parked) == 0


CLAIMED = Claimed(
    instance_id="suspect", life=1, workflow_name="w", status=Status.RUNNING, code="c", run_from=1, head=3,
    signals=0, seen=0, crashes=2,
)  # fmt: skip


class World:
    """The surroundings of a quarantine: it records what is done with the suspect."""

    def __init__(self, *commits: list[LogEvent], attempts: bool = True, alone: bool = True, lived: float = 0.0) -> None:
        self.done: list[str] = []
        self.paused: list[float] = []
        self.parked = ""
        self.finished = asyncio.Event()
        self.taken_up = asyncio.Event()
        self._rows = [SimpleNamespace(body=encode_commit(commit)) for commit in commits]
        self._alone = alone
        self._times: Iterator[float] = iter((0.0, lived))
        self.live: dict[str, Any] = {}
        nothing = cast("Any", None)
        definition = cast("Any", SimpleNamespace(code="c"))
        self._suspect = Live(CLAIMED.instance_id, CLAIMED.life, definition, nothing)
        self._suspect.followed(CLAIMED.head + 1, "w3.1")
        if attempts:
            self._suspect.begins(cast("Any", SimpleNamespace(id="a:1")))
        self.attempts = self.writer = self.clock = self
        self.admission = Admission()
        self.ports = SimpleNamespace(empty=True)
        self.leases = SimpleNamespace(token="w3")
        self.incarnation = Incarnation("w3")
        self.settles_at_once = False
        self.submitted = asyncio.Event()
        self.is_away = False
        """Whether the database does not answer."""

    def quarantine(self, *, patience: float = 0.0) -> Quarantine:
        world = cast("Any", self)
        return Quarantine(
            world, world, world, world, world, patience=patience, pause=self.pause, clock=self._times.__next__
        )

    async def read(self, _instance_id: str, **_page: int) -> object:
        return SimpleNamespace(rows=self._rows)

    def now(self) -> int:
        return 7

    def hold(self, only: object = None) -> None:
        self.done.append("held" if only is None else "only it")

    def let_go_on(self) -> None:
        assert self.admission.only is None
        self.done.append("let go on")

    def go_on(self, _live: object) -> None:
        self.done.append("driven on")

    async def nothing_runs(self, _patience: float) -> bool:
        return self._alone

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    async def outcome_of(self, item: Append) -> Outcome:
        (event,) = decode_commit(item.body)
        assert isinstance(event, OwnerChanged)
        self.done.append("marked" if event.alone else "written")
        self.submitted.set()
        if self.is_away:
            await asyncio.Event().wait()
        return Outcome.ACCEPTED

    async def take_up(self, claimed: Claimed, *_with: object) -> None:
        assert self.admission.only == (CLAIMED.instance_id if self._alone and self.ports.empty else None)
        self.done.append(f"taken up at {claimed.head}")
        self.live[claimed.instance_id] = self._suspect
        self.taken_up.set()
        if self.settles_at_once:
            self._suspect.take_slot()
            asyncio.get_running_loop().call_soon(self._settle, self._suspect)

    def write(self, live: Any, item: Step) -> None:
        assert decode_commit(item.body) == [OwnerChanged(at=7, code="c")]
        self.done.append("cleared")
        asyncio.get_running_loop().call_soon(self._is_cleared, live)

    def _is_cleared(self, live: Any) -> None:
        self.done.append("written")
        self._settle(live)

    @staticmethod
    def _settle(live: Any) -> None:
        if live.moves is not None:
            live.moves.set()

    def look(self) -> None:
        self.finished.set()

    def look_for_own(self) -> None:
        self.done.append("looked for own")

    def park(self, _claimed: Claimed, reason: str) -> None:
        self.parked = reason


async def tried(world: World) -> list[str]:
    """Return what is done with the suspect of this world."""
    quarantine = world.quarantine()
    assert await quarantine.holds(CLAIMED, None)
    running = asyncio.create_task(quarantine.run())
    await world.finished.wait()
    running.cancel()
    return world.done


async def test_a_suspect_whose_next_commit_is_in_at_once_is_not_waited_for() -> None:
    world = World(STEP, TAKEN_OVER, TAKEN_OVER)
    world.settles_at_once = True
    quarantine = world.quarantine(patience=3600.0)
    assert await quarantine.holds(CLAIMED, None)
    running = asyncio.create_task(quarantine.run())

    async with asyncio.timeout(60):
        await world.finished.wait()
    running.cancel()

    assert "cleared" not in world.done


async def test_a_suspect_that_was_claimed_anew_is_not_tried_as_it_was() -> None:
    """Its former claim waits for its time: the trial would be written where others have written since."""
    world = World(STEP, TAKEN_OVER, TAKEN_OVER)
    world._times = itertools.repeat(0.0)  # pyright: ignore[reportPrivateUsage]
    quarantine = world.quarantine()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def pause(seconds: float) -> None:
        await World.pause(world, seconds)
        if len(world.paused) == 1:
            begun.set()
            await go_on.wait()

    quarantine._pause = pause  # pyright: ignore[reportPrivateUsage]
    assert await quarantine.holds(CLAIMED, None)
    running = asyncio.create_task(quarantine.run())
    await begun.wait()
    quarantine.forget()
    assert await quarantine.holds(replace(CLAIMED, head=CLAIMED.head + 1), None)
    go_on.set()
    await world.taken_up.wait()
    running.cancel()

    assert [f"taken up at {CLAIMED.head + 2}"] == [one for one in world.done if one.startswith("taken up")]


async def test_a_suspect_is_tried_alone_and_cleared_when_it_survives() -> None:
    """The others continue when its survival is in its log, not before."""
    world = World(STEP, TAKEN_OVER, TAKEN_OVER)

    assert await tried(world) == [
        "held", "marked", "taken up at 4", "only it", "cleared", "written", "driven on", "let go on",
    ]  # fmt: skip
    assert world.paused == [1.0]


async def test_what_runs_nothing_is_cleared_once_it_is_replayed() -> None:
    world = World(STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL, attempts=False)

    assert await tried(world) == [
        "held", "marked", "taken up at 4", "only it", "cleared", "written", "driven on", "let go on",
    ]  # fmt: skip
    assert world.paused == [4.0]


async def test_a_worker_that_has_lived_for_long_does_not_wait() -> None:
    world = World(STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL, lived=100.0)

    assert "marked" in await tried(world)
    assert world.paused == [0.0]


async def test_what_is_not_alone_is_not_said_to_be() -> None:
    world = World(STEP, TAKEN_OVER, TAKEN_OVER, alone=False)

    assert await tried(world) == ["held", "taken up at 3", "driven on", "let go on"]


async def test_a_trial_does_not_begin_while_a_session_of_others_is_open() -> None:
    """It would stay open as long as the trial, because the input that ends it is not fed meanwhile."""
    world = World(STEP, TAKEN_OVER, TAKEN_OVER)
    world.ports = SimpleNamespace(empty=False)

    assert await tried(world) == ["held", "taken up at 3", "driven on", "let go on"]


async def test_a_trial_is_stopped_though_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_GOODBYE", 0.0)
    world = World(STEP, TAKEN_OVER, TAKEN_OVER)
    world.is_away = True
    quarantine = world.quarantine(patience=1000.0)
    assert await quarantine.holds(CLAIMED, None)
    running = asyncio.create_task(quarantine.run())
    await world.submitted.wait()

    running.cancel()
    await asyncio.wait([running], timeout=60)

    assert running.cancelled()


async def test_a_worker_that_is_stopped_in_a_trial_clears_it() -> None:
    """If the process is killed after that, the instance under trial does not become a suspect."""
    world = World(STEP, TAKEN_OVER, TAKEN_OVER)
    quarantine = world.quarantine(patience=1000.0)
    assert await quarantine.holds(CLAIMED, None)
    running = asyncio.create_task(quarantine.run())
    await world.taken_up.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert "cleared" in world.done
    assert "let go on" in world.done


async def test_it_is_parked_with_what_was_seen() -> None:
    world = World(STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL, *TRIAL, *TRIAL)

    assert await world.quarantine().holds(CLAIMED, None)

    assert "6 workers in a row were lost while they had it, the last 4 while they ran nothing else" in world.parked
    assert "(they were lost within 0.0, 0.0, 0.0, 0.0 s after they had begun it)" in world.parked


async def test_deaths_without_it_speak_for_it() -> None:
    world = World(STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL, *TRIAL, *TRIAL, TAKEN_OVER)

    assert "marked" in await tried(world)
    assert not world.parked


async def test_alone_is_who_alone_may_be_driven() -> None:
    """The trial waits for a running replay, and later ones wait for the trial."""
    admission, order = Admission(), list[str]()

    async def replay(instance_id: str, done: asyncio.Event) -> None:
        await admission.turn_of(instance_id)
        with admission.replaying():
            order.append(f"{instance_id} begins")
            await done.wait()
            order.append(f"{instance_id} ends")

    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(replay("before", done))
        await asyncio.sleep(0)
        assert not await admission.begin("suspect", 0.0)
        beginning = group.create_task(admission.begin("suspect", 1000.0))
        await asyncio.sleep(0)
        group.create_task(replay("after", done))
        await asyncio.sleep(0)
        done.set()
        assert await beginning
        await replay("suspect", done)
        admission.end()

    assert order == [f"{who} {what}" for who in ("before", "suspect", "after") for what in ("begins", "ends")]
