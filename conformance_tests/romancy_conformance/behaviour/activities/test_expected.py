"""Failures that belong to the business are told as such, and every failure is there as data."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from romancy import (
    Expected,
    Failure,
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    TerminalError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.hooks import ActivityEnded, Happening, Hook, WorkflowEnded
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

THERE = f"{__name__}."


class Declined(Expected):
    """The bank says no."""


class NotYet(Exception):  # noqa: N818 - no error
    """Ask again."""


ASKS = RetryPolicy.fixed(2, 0.0)


@activity
async def declines(cents: int) -> None:
    raise Declined("not enough money", cents)


@activity(retry=RetryPolicy(2, 0.0, expected=(NotYet, TimeoutError)))
async def is_not_ready(cents: int) -> None:
    try:
        raise ConnectionError("no route", cents)
    except ConnectionError as error:
        raise NotYet("later") from error


@activity(retry=ASKS)
def breaks(cents: int) -> None:
    raise OSError(5, "the disk", str(cents))


@workflow
async def expects(ctx: WorkflowContext, how: str) -> None:
    if how == "body":
        raise Declined("at once")
    if how == "caught":
        try:
            await declines(1)
        except Declined:
            await declines(2)
    if how == "another":
        try:
            await declines(3)
        except Declined as error:
            raise TerminalError("this is our fault") from error
    await {"declines": declines, "is_not_ready": is_not_ready, "breaks": breaks}[how](7)


@workflow
async def has_a_child(ctx: WorkflowContext, how: str) -> None:
    await expects(how)


class Told(Hook):
    """Keeps the ends that it is told."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, bool]] = []

    def happened(self, event: Happening, /) -> None:
        if isinstance(event, ActivityEnded):
            self.ends.append((event.outcome, event.expected))
        elif isinstance(event, WorkflowEnded):
            self.ends.append((str(event.status), event.expected))


async def failed(app: Romancy, how: str) -> WorkflowFailedError:
    """Let it fail, as the child of another one, and return what the parent's caller sees."""
    with pytest.raises(WorkflowFailedError) as caught:
        await app.run(has_a_child, how)
    return caught.value


@pytest.mark.parametrize(
    ("how", "ends"),
    [
        ("body", []),
        ("declines", [("failed", True)]),
        ("caught", [("failed", True), ("failed", True)]),
        ("is_not_ready", [("retrying", True), ("failed", True)]),
    ],
)
async def test_what_is_expected_is_no_warning(
    open_app: Open, caplog: pytest.LogCaptureFixture, how: str, ends: list[tuple[str, bool]]
) -> None:
    hook = Told()
    app = await open_app(hooks=[hook])
    caplog.set_level(logging.INFO, "romancy")

    error = await failed(app, how)

    await until(lambda: len(hook.ends) > len(ends) + 1)
    assert hook.ends == [*ends, ("failed", True), ("failed", True)]
    assert error.chain[0].expected
    said = [one for one in caplog.records if "expected" in one.getMessage()]
    assert [one.levelname for one in caplog.records if one.levelno > logging.INFO] == []
    assert len(said) == len(ends) + 2
    assert not any(one.exc_info for one in said)


@pytest.mark.parametrize(("how", "attempts", "warnings"), [("breaks", 2, 4), ("another", 1, 2)])
async def test_other_failures_stay_warnings(
    open_app: Open, caplog: pytest.LogCaptureFixture, how: str, attempts: int, warnings: int
) -> None:
    hook = Told()
    app = await open_app(hooks=[hook])

    error = await failed(app, how)

    await until(lambda: len(hook.ends) == attempts + 2)
    assert hook.ends[-2:] == [("failed", False)] * 2
    assert not error.chain[0].expected
    assert len([one for one in caplog.records if one.levelno == logging.WARNING]) == warnings


@workflow
async def asks_again(ctx: WorkflowContext) -> list[Failure]:
    with pytest.raises(RetryExhaustedError) as caught:
        await is_not_ready(7)
    return list(caught.value.chain)


async def test_a_failure_is_data(open_app: Open) -> None:
    worker, other = await open_app(), await open_app(worker=False)
    handle = await other.start(has_a_child, "is_not_ready")

    with pytest.raises(WorkflowFailedError) as caught:
        await other.handle(handle.instance_id).result()

    last, first = caught.value.chain
    assert (last.type, last.message, last.args, last.expected) == (f"{THERE}NotYet", "later", ("later",), True)
    assert (first.type, first.args, first.expected) == ("ConnectionError", ("no route", 7), False)
    assert "in is_not_ready" in first.trace
    again, root = await worker.run(asks_again)
    assert (again.type, again.args, again.expected) == (last.type, last.args, True)
    assert root == first
    broken = await failed(other, "breaks")
    assert [(one.type, one.args) for one in broken.chain] == [("OSError", (5, "the disk", "7"))]


def test_what_is_expected_are_classes() -> None:
    with pytest.raises(UsageError, match="expected takes exception classes, one or a tuple, not 'NotYet'"):
        RetryPolicy(expected="NotYet")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
