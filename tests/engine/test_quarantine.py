"""What the tail of a log says about the owners an instance has lost, and what is done with a suspect."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec import Raw

from romancy.core import ActivityScheduled, LogEvent, OwnerChanged, WorkflowStarted, decode_commit, encode_commit
from romancy.engine._quarantine import Quarantine, deaths_and_trials
from romancy.serialization import dumps
from romancy.status import Status
from romancy.storage.records import Append, Claimed, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

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
        ([STEP], (0, ())),
        ([STEP, TAKEN_OVER], (1, ())),
        ([STEP, TAKEN_OVER, TAKEN_OVER], (2, ())),
        ([STEP, TAKEN_OVER, STEP, TAKEN_OVER], (1, ())),
        ([STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL], (3, (2,))),
        ([STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, TRIED], (3, (2,))),
        ([STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL, *TRIAL], (5, (2, 2, 2))),
        ([STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL, TAKEN_OVER], (5, ())),
        ([STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, TAKEN_OVER, *TRIAL, *TRIAL], (6, (2, 2))),
        ([STEP, TAKEN_OVER, TAKEN_OVER, RELEASED], (0, ())),
        ([STEP, TAKEN_OVER, RELEASED, TAKEN_OVER], (1, ())),
        ([], (0, ())),
    ],
)
def test_deaths_in_a_row_and_those_alone(commits: list[list[LogEvent]], expected: tuple[int, tuple[int, ...]]) -> None:
    assert expected == deaths_and_trials(commits)


CLAIMED = Claimed(
    instance_id="suspect", life=1, workflow_name="w", status=Status.RUNNING, code="c", run_from=1, head=3,
    signals=0, seen=0, crashes=2,
)  # fmt: skip


class World:
    """What a quarantine is among: it notes what is done with the suspect."""

    def __init__(self, *commits: list[LogEvent], attempts: bool = True, alone: bool = True) -> None:
        self.done: list[str] = []
        self.paused: list[float] = []
        self.parked = ""
        self.finished = asyncio.Event()
        self._rows = [SimpleNamespace(body=encode_commit(commit)) for commit in commits]
        self._alone = alone
        self.live: dict[str, Any] = {}
        self._suspect = SimpleNamespace(
            attempts={"a:1": None} if attempts else {}, inputs=[], in_flight=False, head=CLAIMED.head + 1, moved=None
        )
        self.attempts = self.writer = self.clock = self

    def quarantine(self) -> Quarantine:
        world = cast("Any", self)
        return Quarantine(
            world, world, world, nonce=str, token=lambda: "w3", patience=0.0, done=self.finished.set, pause=self.pause
        )

    async def read(self, _instance_id: str, **_page: int) -> object:
        return SimpleNamespace(rows=self._rows)

    def now(self) -> int:
        return 7

    def hold(self, only: object = None) -> None:
        self.done.append("held" if only is None else "only it")

    def let_go_on(self) -> None:
        self.done.append("let go on")

    async def all_ended(self, _patience: float) -> bool:
        return self._alone

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    def submit(self, item: Append, tell: Callable[[Outcome], None]) -> None:
        (event,) = decode_commit(item.body)
        assert isinstance(event, OwnerChanged)
        self.done.append("marked" if event.alone else "written")
        tell(Outcome.ACCEPTED)

    async def take_up(self, claimed: Claimed, *_with: object) -> None:
        self.done.append(f"taken up at {claimed.head}")
        self.live[claimed.instance_id] = self._suspect

    def clear(self, _live: object) -> None:
        self.done.append("cleared")

    def park(self, _claimed: Claimed, reason: str) -> None:
        self.parked = reason


async def tried(world: World) -> list[str]:
    """What is done with the suspect of this world."""
    quarantine = world.quarantine()
    assert await quarantine.holds(CLAIMED, None)
    running = asyncio.create_task(quarantine.run())
    await world.finished.wait()
    running.cancel()
    return world.done


async def test_a_suspect_is_tried_alone_and_cleared_when_it_survives() -> None:
    world = World(STEP, TAKEN_OVER, TAKEN_OVER)

    assert await tried(world) == ["held", "marked", "taken up at 4", "only it", "cleared", "let go on"]
    assert world.paused == [1.0]


async def test_what_runs_nothing_is_cleared_once_it_is_replayed() -> None:
    world = World(STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL, attempts=False)

    assert await tried(world) == ["held", "marked", "taken up at 4", "cleared", "let go on"]
    assert world.paused == [4.0]


async def test_what_is_not_alone_is_not_said_to_be() -> None:
    world = World(STEP, TAKEN_OVER, TAKEN_OVER, alone=False)

    assert await tried(world) == ["held", "taken up at 3", "let go on"]


async def test_it_is_parked_with_what_was_seen() -> None:
    world = World(STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL, *TRIAL)

    assert await world.quarantine().holds(CLAIMED, None)

    assert "5 workers in a row were lost while they had it, the last 3 while they ran nothing else" in world.parked
    assert "(another worker had it 0.0, 0.0, 0.0 s after they had begun it)" in world.parked


async def test_deaths_without_it_speak_for_it() -> None:
    world = World(STEP, TAKEN_OVER, TAKEN_OVER, *TRIAL, *TRIAL, *TRIAL, TAKEN_OVER)

    assert "marked" in await tried(world)
    assert not world.parked
