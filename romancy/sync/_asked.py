"""Accepted requests, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from romancy.sync._calling import Caller, Keeper

if TYPE_CHECKING:
    from romancy.messages.requests import Asked
    from romancy.retry import Duration


__all__ = ["SyncAsked"]

R_co = TypeVar("R_co", covariant=True)


class SyncAsked(Caller, Generic[R_co]):
    """A request that is accepted: it is durable, and kept until the body answers it. Holds no resources."""

    def __init__(self, keeper: Keeper, target: Asked[R_co]) -> None:
        self._its_keeper = keeper
        self._inner = target

    @property
    def _keeper(self) -> Keeper:
        return self._its_keeper

    @property
    def _target(self) -> Asked[R_co]:
        return self._inner

    @property
    def id(self) -> str:
        """The id of the request: yours, or the one that Romancy gave it. With it, anyone can ask again."""
        result: str = self._target.id
        return result

    @property
    def instance_id(self) -> str:
        """The instance that was asked."""
        result: str = self._target.instance_id
        return result

    def reply(self, timeout: Duration | None = None) -> R_co:
        """What the handler returned, once it has.

        Raises RequestFailedError if the handler raised an error, RequestRefusedError if the body refused the request,
        InstanceEndedError if the instance ended without an answer, and RequestUnansweredError if its run did and
        another followed. Raises RequestTimeoutError if no answer came within `timeout`: the request stays, and may be
        answered later.
        """
        result: R_co = self._call("reply", timeout)
        return result
