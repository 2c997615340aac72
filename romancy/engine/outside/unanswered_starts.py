"""Limits the starts that callers asked for and that the database has not answered yet.

Their total size is limited; later callers wait for their turn. A limit on waiting callers would not bound them: a
caller that gives up leaves its start behind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from romancy.errors import StorageUnavailableError, UsageError

if TYPE_CHECKING:
    from romancy.storage.records import Item, Outcome

__all__ = ["Asked", "Unanswered"]

_LEAST: Final = 1024
"""Approximate bytes of a start besides its input."""


class Asked:
    """A start that a caller waits for. Call it with the outcome."""

    __slots__ = ("_unanswered", "answer", "given_up", "item")

    def __init__(self, unanswered: Unanswered, answer: asyncio.Future[Outcome]) -> None:
        self._unanswered = unanswered
        self.answer = answer
        self.item: Item | None = None
        """What is being written. A start whose worker has lost its lease is written again as another item."""
        self.given_up = False
        """Whether the caller waits no longer."""

    def __call__(self, outcome: Outcome) -> None:
        self._unanswered.answer(self.answer, outcome)


class Unanswered:
    """The unanswered starts of one opened app."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._sizes: dict[asyncio.Future[Outcome], int] = {}
        self._turns: deque[asyncio.Future[None]] = deque()

    @property
    def has_room(self) -> bool:
        """Whether one more start may be submitted now. The last one may be of any size."""
        return self._left > 0

    async def turn(self) -> None:
        """Return when there is room. Raises UsageError, with nothing submitted, if the app is closed first."""
        if self.has_room and not self._turns:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._next()
            raise

    def submitted(self, size: int) -> Asked:
        """A start whose input has this size."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._sizes[answer] = size + _LEAST
        self._left -= size + _LEAST
        self._next()
        return Asked(self, answer)

    def answer(self, answer: asyncio.Future[Outcome], outcome: Outcome) -> None:
        """Give the outcome to the caller, if the caller still waits."""
        self._left += self._sizes.pop(answer, 0)
        if not answer.done():
            answer.set_result(outcome)
        self._next()

    def _next(self) -> None:
        while self.has_room and self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return  # the caller wakes the next one once it has submitted

    def close(self) -> None:
        """Fail all waiting callers: no answer will come."""
        for answer in self._sizes:
            if not answer.done():
                answer.set_exception(
                    StorageUnavailableError(
                        "the app was closed before the database had answered: the instance may have been started; "
                        "start it again under the same instance id to find out"
                    )
                )
                answer.exception()  # marks it as retrieved, in case nobody waits
        for turn in self._turns:
            if not turn.done():
                turn.set_exception(UsageError("the app was closed before the instance could be started"))
        self._sizes.clear()
        self._turns.clear()
