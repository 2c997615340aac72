"""`except MyError` in a workflow: an activity's own exception type, live and when another worker replays it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from romancy import (
    ActivityContext,
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    Status,
    TerminalError,
    WorkflowContext,
    WorkflowFailedError,
    ZlibCodec,
    activity,
    compensation,
    workflow,
)
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy.none()


class CardError(Exception):
    """The base class that most callers name."""


class CardRefusedError(CardError):
    """With its own `__init__`, and attributes that are not its arguments."""

    def __init__(self, card: str, *, code: int) -> None:
        super().__init__(f"card {card} was refused ({code})")
        self.card = card
        self.code = code


@dataclass(frozen=True)
class FrozenError(Exception):
    """Refuses every attribute."""

    item: str


class SlottedError(Exception):
    __slots__ = ("attempts",)

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts


class MissingFileError(OSError):
    """A subclass of a class with its own memory layout."""


class RegisteringError(Exception):
    known: ClassVar[list[str]] = []

    def __init_subclass__(cls) -> None:
        RegisteringError.known.append(cls.__name__)


class NoMoreMoneyError(RegisteringError):
    pass


class FinalError(TerminalError):
    pass


class DeclaredError(Exception):
    pass


def error_of(kind: str) -> Exception:
    return MADE[kind]()


MADE: dict[str, Callable[[], Exception]] = {
    "refused": lambda: CardRefusedError("42", code=7),
    "frozen": lambda: FrozenError("desk"),
    "slotted": lambda: SlottedError(9),
    "file": lambda: MissingFileError(2, "no such thing", "a.txt"),
    "registering": lambda: NoMoreMoneyError("none"),
    "final": lambda: FinalError("no"),
    "declared": lambda: DeclaredError("so"),
    "built in": lambda: LookupError("nothing"),
    "group": lambda: ExceptionGroup("several", [CardRefusedError("1", code=1), LookupError("x")]),
}


@activity(retry=RetryPolicy.fixed(2, 0.0), raises=[DeclaredError])
async def charge(kind: str) -> None:
    raise error_of(kind)


calls_charge = calling(charge)


@activity(retry=ONCE)
def charge_on_a_thread(kind: str) -> None:
    raise error_of(kind)


@activity(retry=RetryPolicy(3, 0.0, give_up_on=(CardError,)), executor="process")
def charge_elsewhere(kind: str) -> None:
    raise error_of(kind)


def told(error: BaseException) -> list[Any]:
    cause = error.__cause__
    return [
        [name.__name__ for name in (*RAISED_TYPES, RetryExhaustedError) if isinstance(error, name)],
        str(error),
        {name: value for name, value in sorted(vars(error).items()) if name in ("card", "code", "item", "filename")},
        type(cause).__name__,
    ]


RAISED_TYPES = (
    CardError,
    CardRefusedError,
    FrozenError,
    SlottedError,
    MissingFileError,
    NoMoreMoneyError,
    FinalError,
    DeclaredError,
)

SEEN: dict[str, list[Any]] = {
    "refused": [
        ["CardError", "CardRefusedError", "RetryExhaustedError"],
        "card 42 was refused (7)",
        {"card": "42", "code": 7},
        "CardRefusedError",
    ],
    "frozen": [["FrozenError", "RetryExhaustedError"], "desk", {"item": "desk"}, "FrozenError"],
    "slotted": [["SlottedError", "RetryExhaustedError"], "9", {}, "SlottedError"],
    "file": [["MissingFileError", "RetryExhaustedError"], "[Errno 2] no such thing: 'a.txt'", {}, "MissingFileError"],
    "registering": [["NoMoreMoneyError", "RetryExhaustedError"], "none", {}, "NoMoreMoneyError"],
    "final": [["FinalError"], "no", {}, "NoneType"],
    "declared": [["DeclaredError"], "so", {}, "NoneType"],
}


@workflow
async def catches(ctx: WorkflowContext, kind: str) -> list[Any]:
    what: list[Any] = []
    try:
        await charge(kind)
    except RAISED_TYPES as error:
        what = told(error)
    await ctx.wait_event("go")
    return what


@pytest.mark.parametrize("kind", SEEN)
async def test_live_and_replayed(open_app: Open, kind: str) -> None:
    first = await open_app(worker_id="first")
    before = list(RegisteringError.known)
    handle = await first.start(catches, kind)
    await status_is(first, handle.instance_id, Status.WAITING)
    await first.drain()

    second = await open_app(worker_id="second", sticky=0)
    await second.signal(handle.instance_id, "go")
    assert await second.handle(handle.instance_id, catches).result(timeout=60) == SEEN[kind]
    assert RegisteringError.known == before


@workflow
async def catches_both_ways(ctx: WorkflowContext) -> list[Any]:
    caught: list[Any] = []
    try:
        await charge("refused")
    except RetryExhaustedError as error:
        caught.append([error.attempts, len(error.history), error.error_type.rpartition(".")[2], error.activity_id])
        caught.append(error.__notes__)
    try:
        await charge("slotted")
    except SlottedError as error:
        caught.append(error.attempts)  # its own, not that of a RetryExhaustedError
    try:
        await charge("built in")
    except RetryExhaustedError as error:
        caught.append(isinstance(error, LookupError))
    try:
        await charge("group")
    except RetryExhaustedError as error:
        members: tuple[Exception, ...] = getattr(error.__cause__, "exceptions", ())
        caught.append([isinstance(member, CardRefusedError) for member in members])
    return caught


async def test_it_is_a_retry_exhausted_error_as_well(app: Romancy) -> None:
    assert await app.run(catches_both_ways) == [
        [2, 2, "CardRefusedError", "charge:1"],
        ["activity charge:1 failed after 2 attempt(s)"],
        9,
        False,
        [True, False],
    ]


async def test_uncaught_it_is_what_the_instance_failed_with(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError, match="card 42 was refused") as failed:
        await app.run(calls_charge, "refused")
    assert failed.value.error_type == f"{__name__}.CardRefusedError"
    assert "failed after 2 attempt(s)" in failed.value.trace


@workflow
async def in_a_group(ctx: WorkflowContext) -> list[str]:
    caught: list[str] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(charge("refused"))
            tasks.create_task(charge("frozen"))
    except* CardError as group:
        caught += [type(error).__name__ for error in group.exceptions]
    except* FrozenError as group:
        caught += [type(error).__name__ for error in group.exceptions]
    answers = await asyncio.gather(charge("refused"), charge("file"), return_exceptions=True)
    return [*caught, *(type(answer).__name__ for answer in answers)]


async def test_in_groups_and_gathered(app: Romancy) -> None:
    answer = await app.run(in_a_group)
    assert answer[-2:] == ["CardRefusedError", "MissingFileError"]
    assert {"CardRefusedError", "FrozenError"} >= set(answer[:-2]) > set()


@workflow
async def elsewhere(ctx: WorkflowContext) -> list[Any]:
    caught: list[Any] = []
    for each in (charge_on_a_thread, charge_elsewhere):
        try:
            await each("refused")
        except CardRefusedError as error:
            caught.append([error.card, error.code, isinstance(error, RetryExhaustedError)])
    return caught


async def test_from_threads_and_processes(app: Romancy) -> None:
    assert await app.run(elsewhere) == [["42", 7, True], ["42", 7, True]]


undone: list[str] = []


@compensation
async def give_back(item: str) -> None:
    undone.append(item)


@activity(compensation=give_back)
async def take(item: str) -> None:
    """Take it."""


@workflow
async def child(ctx: WorkflowContext) -> None:
    await take("desk")
    try:
        await charge("refused")
    except CardError:
        await take("chair")
        raise


@workflow
async def parent(ctx: WorkflowContext) -> str:
    try:
        await child()
    except WorkflowFailedError as error:
        return error.error_type.rpartition(".")[2]
    return "nothing failed"


async def test_a_child_that_fails_with_it_is_compensated(app: Romancy) -> None:
    undone.clear()
    assert await app.run(parent) == "CardRefusedError"
    assert undone == ["chair", "desk"]


attempts: list[int] = []


@activity(retry=ONCE, pass_context=True)
async def refused_once(ctx: ActivityContext) -> str:
    attempts.append(len(attempts))
    if len(attempts) == 1:
        raise CardRefusedError("42", code=7)
    return "paid"


@workflow
async def fails_once(ctx: WorkflowContext) -> str:
    try:
        return await refused_once()
    except CardError as error:
        raise LookupError(str(error)) from None


async def test_a_retry_tries_it_again(app: Romancy) -> None:
    attempts.clear()
    handle = await app.start(fails_once)
    with pytest.raises(WorkflowFailedError, match="card 42"):
        await handle.result(timeout=60)
    await app.retry(handle.instance_id)
    assert await handle.result(timeout=60) == "paid"


async def test_behind_a_codec(open_app: Open) -> None:
    app = await open_app(codecs=[ZlibCodec()])
    assert await app.run(elsewhere) == [["42", 7, True], ["42", 7, True]]


@pytest.mark.unreplayable("the type is gone on purpose")
async def test_a_replay_without_the_type_becomes_stuck_and_names_it(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await open_app(worker_id="first")
    handle = await first.start(catches, "frozen")
    await status_is(first, handle.instance_id, Status.WAITING)
    await first.drain()

    monkeypatch.delattr(sys.modules[__name__], "FrozenError")
    second = await open_app(worker_id="second")
    await second.signal(handle.instance_id, "go")
    await status_is(second, handle.instance_id, Status.STUCK)
    stuck = await second.get_instance(handle.instance_id)
    assert stuck is not None
    assert f"{__name__}.FrozenError" in str(stuck.error)
    assert "deploy the code that has" in str(stuck.error)

    monkeypatch.undo()
    await second.resume(handle.instance_id)
    assert await second.handle(handle.instance_id, catches).result(timeout=60) == SEEN["frozen"]


def of_one_name(base: type[Exception]) -> type[Exception]:
    class SameNameError(base):  # type: ignore[valid-type, misc]
        pass

    return SameNameError


async def test_two_classes_of_one_name_and_a_class_of_no_module(app: Romancy, open_app: Open) -> None:
    """A class that cannot be found by its name is not used: the workflow sees a RetryExhaustedError."""
    one, other = of_one_name(Exception), of_one_name(LookupError)

    @activity(retry=ONCE)
    async def raises(kind: str) -> None:
        raise (one if kind == "one" else other)("which?")

    @workflow
    async def meets_both(ctx: WorkflowContext) -> list[str]:
        caught: list[str] = []
        for kind in ("one", "other"):
            try:
                await raises(kind)
            except RetryExhaustedError as error:
                caught.append(f"{isinstance(error, one)} {isinstance(error, other)}")
        return caught

    own = await open_app(workflows=[meets_both])
    answer = await own.run(meets_both)
    assert sum(each.count("True") for each in answer) <= 1
    assert "True True" not in answer
