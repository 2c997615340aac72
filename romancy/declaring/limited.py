"""What happens within limits: the body of a workflow, a call of an activity, and a section of a body."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from romancy.errors import PlaceExpiredError
from romancy.limit import turn_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from types import TracebackType

    from romancy.core import Commands
    from romancy.limit import Wanted

__all__ = ["Section", "within", "within_all"]

_SECOND: Final = 1_000_000


async def _placed(commands: Commands, wanted: Wanted, *, whole: bool = False) -> str:
    """Wait for a place, and return its id. Raises PlaceExpiredError if it does not come in time."""
    answer = commands.place(wanted, whole=whole)
    if not answer.expires:
        return str(await answer)
    limit = asyncio.timeout(answer.expires / _SECOND)
    try:
        async with limit:
            return str(await answer)
    except TimeoutError:
        if not limit.expired():
            raise
        raise PlaceExpiredError(
            f"limit {wanted.limit!r}{f' with the key {wanted.key!r}' if wanted.key else ''}: no place came within "
            f"{answer.expires / _SECOND:g} s",
            limit=wanted.limit,
            key=wanted.key,
        ) from None


async def within_all(
    commands: Commands, declared: Sequence[Wanted], begin: Callable[[], Coroutine[Any, Any, Any]]
) -> Any:
    """Run the body of a workflow once it has all of its places. They belong to the run until it ends."""
    last = turn_of("", executing=False)
    while (wanted := commands.next_of_the_whole(declared, last)) is not None:
        await _placed(commands, wanted, whole=True)
        last = turn_of(wanted.limit, executing=wanted.executing)
    commands.inside = True
    return await begin()


async def within(commands: Commands, wanted: Sequence[Wanted], call: Callable[[], Awaitable[Any]]) -> Any:
    """Make a call once it has all of its places, and give them back when the call has ended."""
    places: list[str] = []
    try:
        for one in wanted:
            places.append(await _placed(commands, one))  # noqa: PERF401 - a failure gives back those that are there
        return await call()
    finally:
        for place in reversed(places):
            commands.free(place)


class Section:
    """A part of a body that runs with a place: `async with ctx.limit(…)`."""

    __slots__ = ("_commands", "_place", "_wanted")

    def __init__(self, commands: Commands, wanted: Wanted) -> None:
        self._commands = commands
        self._wanted = wanted
        self._place = ""

    async def __aenter__(self) -> None:
        self._place = await _placed(self._commands, self._wanted)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._commands.free(self._place)
