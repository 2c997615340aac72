"""The children of a workflow, as its code sees them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.core import Commands

__all__ = ["ChildHandle", "ChildWorkflow"]

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


class ChildWorkflow(Protocol[P, T_co]):
    """A workflow that another workflow can start."""

    def launch(self, commands: Commands, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> ChildHandle[Any]: ...

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...


class ChildHandle(Generic[T_co]):
    """A running child workflow. Await `result()`, or let the child run by itself."""

    def __init__(self, instance_id: str, answer: asyncio.Future[Any], stop: Callable[[], None]) -> None:
        self.instance_id = instance_id
        self._answer = answer
        self._stop = stop
        answer.add_done_callback(_noticed)

    def __hash__(self) -> int:
        return hash(self._answer)  # a number of the run: a set of children has the same order on every replay

    async def result(self) -> T_co:
        """What the child returned.

        Raises WorkflowFailedError or WorkflowCancelledError if the child ended otherwise. Cancelling the wait does not
        cancel the child.
        """
        return await asyncio.shield(self._answer)

    def cancel(self) -> None:
        """Ask the child to stop. `result()` says how it ended."""
        self._stop()


def _noticed(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()
