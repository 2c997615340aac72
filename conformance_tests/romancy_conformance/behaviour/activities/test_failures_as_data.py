"""What code raised comes back with its class, its arguments, its frames and its causes.

Through retries, children, the log, and the handle of another process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    ActivityError,
    RetryPolicy,
    Romancy,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import ChildFailed, WorkflowFailed
from romancy.hooks import Hook, WorkflowEnded
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.hooks import Happening
    from romancy.serialization import ErrorInfo

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

TWICE = RetryPolicy.fixed(2, 0.01)


class DeclinedError(Exception):
    """An error with a constructor of its own."""

    def __init__(self, code: int, *, why: str) -> None:
        super().__init__(code, why)
        self.code = code


class WrapError(Exception):
    """An error of a workflow's own."""


def look_up(key: str) -> str:
    empty: dict[str, str] = {}
    return empty[key]


def decline() -> None:
    try:
        look_up("card")
    except KeyError as error:
        raise DeclinedError(7, why="no cover") from error


@activity(retry=TWICE)
async def fails_as_built_in() -> str:
    raise ValueError("bad", 3)


@activity(retry=TWICE)
async def declines() -> str:
    decline()
    return ""


@activity(retry=TWICE)
def declines_on_a_thread() -> str:
    decline()
    return ""


@activity(retry=TWICE, executor="process")
def declines_in_a_process() -> str:
    decline()
    return ""


calls_fails_as_built_in = calling(fails_as_built_in)


@workflow
async def data_own(ctx: WorkflowContext, how: str) -> str:
    calls: dict[str, Any] = {"loop": declines, "thread": declines_on_a_thread, "process": declines_in_a_process}
    if how == "body":
        decline()
    return str(await calls[how]())


@workflow
async def data_parent(ctx: WorkflowContext, depth: int) -> str:
    return await (data_parent(depth - 1) if depth > 1 else data_own("loop"))


@workflow
async def data_catches(ctx: WorkflowContext) -> list[Any]:
    """What a parent sees of the failure of its child."""
    try:
        await data_own("loop")
    except WorkflowFailedError as error:
        cause = error.__cause__
        assert cause is not None
        return [error.error_type, type(cause).__name__, cause.args, str(cause.__cause__), "decline()" in error.trace]
    return []


@workflow
async def data_wraps(ctx: WorkflowContext) -> str:
    try:
        return await data_parent(2)
    except WorkflowFailedError as error:
        raise WrapError("order", 5) from error


def own_name(cls: type[Exception]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


async def failure(app: Romancy, call: Any, *, by: Romancy | None = None) -> WorkflowFailedError:
    """Return the error of the workflow, as this or another app's handle raises it."""
    handle = await app.start(*call)
    other = handle if by is None else by.handle(handle.instance_id, call[0])
    with pytest.raises(WorkflowFailedError) as caught:
        await other.result(timeout=60)
    return caught.value


def declined(error: WorkflowFailedError) -> DeclinedError:
    """Return the cause of the failure, which is what was raised, with everything that belongs to it."""
    cause = error.__cause__
    assert isinstance(cause, DeclinedError), cause
    assert ((7, "no cover"), 7) == (cause.args, cause.code)
    assert isinstance(cause.__cause__, KeyError)
    assert ("card",) == cause.__cause__.args
    assert own_name(DeclinedError) == error.error_type
    assert "in decline" in error.trace
    assert any("in decline" in note for note in cause.__notes__)
    assert any("in look_up" in note for note in cause.__cause__.__notes__)
    return cause


async def test_behind_retries_there_is_what_was_raised_last(app: Romancy) -> None:
    error = await failure(app, (calls_fails_as_built_in,))

    cause = error.__cause__
    assert cause is not None
    assert (ValueError, ("bad", 3), "ValueError") == (type(cause), cause.args, error.error_type)
    assert "in fails_as_built_in" in error.trace
    assert "after 2 attempts of fails_as_built_in:1" in str(error)


@pytest.mark.parametrize("how", ["loop", "thread", "process"])
async def test_an_error_of_an_activity_comes_back_whole(app: Romancy, open_app: Open, how: str) -> None:
    other = await open_app(worker=False)
    for by in (None, other):
        declined(await failure(app, (data_own, how), by=by))


async def test_an_error_of_the_body_comes_back_with_its_arguments(app: Romancy) -> None:
    error = await failure(app, (data_own, "body"))

    assert isinstance(error.__cause__, DeclinedError)
    assert (7, "no cover") == error.__cause__.args
    assert isinstance(error.__cause__.__cause__, KeyError)
    assert own_name(DeclinedError) == error.error_type


@pytest.mark.parametrize("depth", [1, 3])
async def test_an_error_comes_through_children(app: Romancy, open_app: Open, depth: int) -> None:
    other = await open_app(worker=False)
    for by in (None, other):
        declined(await failure(app, (data_parent, depth), by=by))


async def test_a_parent_sees_what_its_child_raised(app: Romancy) -> None:
    caught = await app.run(data_catches)

    assert [own_name(DeclinedError), "DeclinedError", [7, "no cover"], "'card'", True] == caught


async def test_what_a_workflow_makes_of_it_keeps_the_chain(app: Romancy) -> None:
    error = await failure(app, (data_wraps,))

    assert own_name(WrapError) == error.error_type
    chain: list[BaseException] = []
    following = error.__cause__
    while following is not None:
        chain.append(following)
        following = following.__cause__
    assert [WrapError, WorkflowFailedError, DeclinedError, KeyError] == [_class_of(one) for one in chain]
    assert [("order", 5), (7, "no cover"), ("card",)] == [chain[at].args for at in (0, 2, 3)]


def _class_of(error: BaseException) -> type[BaseException]:
    """The class; that of our own error for a stand-in."""
    stands_for = getattr(error, "error_type", "")
    return WorkflowFailedError if stands_for.endswith("WorkflowFailedError") else type(error)


async def test_the_log_of_a_parent_has_it_as_data(app: Romancy) -> None:
    handle = await app.start(data_parent, 2)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)

    for event in await handle.history():
        if isinstance(event, ChildFailed | WorkflowFailed):
            info: ErrorInfo = event.error.raised
            assert (own_name(DeclinedError), '{"args":[7,"no cover"]') == (info.type, bytes(info.data).decode()[:22])
            assert "in decline" in info.trace
            assert info.cause is not None
            assert ("KeyError", b'{"args":["card"]}') == (info.cause.type, bytes(info.cause.data))
            assert "in look_up" in info.cause.trace


async def test_a_handle_without_the_code_has_a_stand_in(
    app: Romancy, open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says the class. A built-in class needs no code."""
    stranger = await open_app(worker=False, workflows=[])
    monkeypatch.setattr(Romancy, "error_names", frozenset[str]())  # as where nothing declares these activities
    handles = [await app.start(data_own, "loop"), await app.start(calls_fails_as_built_in)]
    causes: list[BaseException | None] = []
    for handle in handles:
        with pytest.raises(WorkflowFailedError) as caught:
            await stranger.handle(handle.instance_id).result(timeout=60)
        causes.append(caught.value.__cause__)

    assert isinstance(causes[0], ActivityError)
    assert own_name(DeclinedError) == causes[0].error_type
    assert isinstance(causes[0].__cause__, KeyError)
    assert isinstance(causes[1], ValueError)
    assert ("bad", 3) == causes[1].args


async def test_hooks_are_told_the_class(open_app: Open) -> None:
    told: list[WorkflowEnded] = []

    class Ears(Hook):
        def happened(self, event: Happening, /) -> None:
            if isinstance(event, WorkflowEnded):
                told.append(event)

    app = await open_app(hooks=[Ears()])
    for call in ((calls_fails_as_built_in,), (data_parent, 2), (data_wraps,)):
        await failure(app, call)
    await until(lambda: any(event.workflow_name == "data_wraps" for event in told))

    by_name = {event.workflow_name: event.error_type for event in told}
    assert {
        "calls_fails_as_built_in": "ValueError",
        "data_own": own_name(DeclinedError),
        "data_parent": own_name(DeclinedError),
        "data_wraps": own_name(WrapError),
    } == by_name


@activity(retry=RetryPolicy.none())
async def fails_as_a_group() -> str:
    try:
        look_up("card")
    except KeyError as error:
        first = DeclinedError(7, why="no cover")
        first.__cause__ = error
        raise ExceptionGroup("both", [first, ValueError("bad")]) from None
    return ""


calls_fails_as_a_group = calling(fails_as_a_group)


async def test_the_members_of_a_group_are_in_the_chain_with_their_causes(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError) as failed:
        await (await app.start(calls_fails_as_a_group)).result(timeout=60)
    (group,) = failed.value.chain
    assert (group.type, group.message) == ("ExceptionGroup", "both")
    told = [[(one.type.rpartition(".")[2], one.args) for one in chain] for chain in group.members]
    assert told == [[("DeclinedError", (7, "no cover")), ("KeyError", ("card",))], [("ValueError", ("bad",))]]
