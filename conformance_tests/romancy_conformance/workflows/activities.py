"""The activities of the family: pure, so that every engine gets the same answers."""

from __future__ import annotations

from romancy.activity import activity, compensation
from romancy.attempt_context import ActivityContext, activity_context
from romancy.errors import TerminalError
from romancy.retry import RetryPolicy

__all__ = [
    "OutOfStockError",
    "add",
    "book",
    "break_down",
    "charge",
    "commit_to",
    "echo",
    "flaky",
    "hire",
    "keyed",
    "refuse",
    "slow",
    "take",
]


class OutOfStockError(Exception):
    """Declared in `raises=`: a workflow catches this very class."""


@activity
async def echo(value: int) -> int:
    return value


@activity
def add(first: int, second: int) -> int:
    return first + second


@activity
async def slow(value: int) -> int:
    return value


@activity(pass_context=True)
async def flaky(ctx: ActivityContext, succeeds_at: int) -> int:
    if ctx.attempt < succeeds_at:
        raise ConnectionError(f"attempt {ctx.attempt} of {succeeds_at}")
    return ctx.attempt


@activity
async def keyed(value: str) -> str:
    context = activity_context()
    return f"{value} {context.activity_id} {len(context.idempotency_key)}"


@activity(retry=RetryPolicy.fixed(2, 1.0))
def break_down(reason: str) -> None:
    raise ValueError(reason)


@activity
async def refuse(reason: str) -> None:
    raise TerminalError(reason)


@activity(raises=[OutOfStockError])
async def take(item: str, stock: int) -> int:
    if stock <= 0:
        raise OutOfStockError(item)
    return stock - 1


@compensation
async def undo_book(item: str) -> None:
    """The engine under test checks in its ledger what this undoes."""


@activity(compensation=undo_book)
async def book(item: str) -> str:
    return f"booked {item}"


@compensation
def undo_hire(result: str, item: str, days: int) -> None:
    if result != f"hired {item} for {days}":
        raise TerminalError(f"undoing {result} with {item} and {days}")


@activity(compensation=undo_hire)
def hire(item: str, days: int) -> str:
    return f"hired {item} for {days}"


@compensation(retry=RetryPolicy.none())
def undo_badly(item: str) -> None:
    raise RuntimeError(f"cannot undo {item}")


@activity(compensation=undo_badly)
async def commit_to(item: str) -> str:
    return item


@activity(retry=RetryPolicy.none())
async def charge(amount: int, limit: int) -> str:
    if amount > limit:
        raise TerminalError(f"{amount} is over {limit}")
    return f"charged {amount}"
