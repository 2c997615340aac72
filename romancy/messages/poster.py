"""Posts messages. Messages that are sent at the same time share one write.

Messages that are sent during a write wait for the next one. A message whose sender chose its id is written alone:
another transaction may hold the same id, and no other message should wait for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy.errors import CodecError
from romancy.storage.limits import check_postings
from romancy.storage.records import Delivered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy._access import Access
    from romancy.storage.routing import Posting

    Waiting = tuple[Posting, asyncio.Future[Delivered]]

__all__ = ["Poster", "addresses_of"]

_AT_ONCE: Final = 200
_BYTES_AT_ONCE: Final = 1_000_000


class Poster:
    """Posts messages for all callers in this process."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def post(self, posting: Posting) -> Delivered:
        """Post one message, as `Router.post` promises."""
        if posting.dedupe is not None:
            (answer,) = await self._access.opened().services.router.post([posting])
            self._answer(posting, answer)
            return answer
        check_postings([posting])  # a bad message must not refuse its neighbours
        answered: asyncio.Future[Delivered] = asyncio.get_running_loop().create_future()
        self._waiting.append((posting, answered))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._post_all())
        return await answered

    async def _post_all(self) -> None:
        batch: Sequence[Waiting] = ()
        try:
            while batch := self._next():
                await self._write(batch)
        finally:
            self._task = None
            for _, answered in (*batch, *self._waiting):
                answered.cancel()  # has an effect only if this task was cancelled
            self._waiting.clear()

    def _next(self) -> Sequence[Waiting]:
        """Take the messages of the next write, without those whose callers no longer wait."""
        size = 0
        self._waiting = [one for one in self._waiting if not one[1].done()]
        for number, (posting, _) in enumerate(self._waiting):
            size += len(posting.body)
            if number == _AT_ONCE or (number and size > _BYTES_AT_ONCE):
                batch, self._waiting = self._waiting[:number], self._waiting[number:]
                return batch
        batch, self._waiting = self._waiting, []
        return batch

    async def _write(self, batch: Sequence[Waiting]) -> None:
        try:
            answers = await self._access.opened().services.router.post([posting for posting, _ in batch])
        except CodecError as error:  # raised before anything is written
            if len(batch) > 1:
                for one in batch:
                    await self._write([one])
            else:
                _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - each caller gets it
            _fail(batch, error)
        else:
            for (posting, answered), answer in zip(batch, answers, strict=True):
                self._answer(posting, answer)
                if not answered.done():
                    answered.set_result(answer)

    def _answer(self, posting: Posting, answer: Delivered) -> None:
        """Have an accepted message dispatched, even if its caller no longer waits."""
        if answer is Delivered.ACCEPTED:
            self._access.dispatch(addresses_of(posting))


def _fail(batch: Sequence[Waiting], error: Exception) -> None:
    for _, answered in batch:
        if not answered.done():
            answered.set_exception(error)


def addresses_of(posting: Posting) -> list[str]:
    """Where the message was posted."""
    return [place.address for place in posting.places]
