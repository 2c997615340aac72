"""Entities by their keys, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from romancy.sync._asked import SyncAsked
from romancy.sync._calling import Caller, Keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from romancy.retry import Duration
    from romancy.starting.entities import EntityHandle


__all__ = ["SyncEntityHandle"]

E = TypeVar("E")
P = ParamSpec("P")
R = TypeVar("R")


class SyncEntityHandle(Caller, Generic[E]):
    """An entity by its key. A handle holds no resources."""

    def __init__(self, keeper: Keeper, target: EntityHandle[E]) -> None:
        self._its_keeper = keeper
        self._inner = target

    @property
    def _keeper(self) -> Keeper:
        return self._its_keeper

    @property
    def _target(self) -> EntityHandle[E]:
        return self._inner

    @property
    def key(self) -> str:
        """The key of the entity."""
        result: str = self._target.key
        return result

    @property
    def instance_id(self) -> str:
        """The id of the instance that it is, for all that is done with instances."""
        result: str = self._target.instance_id
        return result

    def ask(
        self, method: Callable[Concatenate[E, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncAsked[R]:
        """Call a method without waiting for what it returns: `await handle.ask(Cart.add, "lamp")`.

        The call is durable when this returns, and `reply()` of the result waits. Raises what `app.entity` does.
        """
        return SyncAsked(self._keeper, self._call("ask", method, *args, **kwargs))

    def call(
        self, method: Callable[Concatenate[E, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call a method, and return what it returned: `await handle.call(Cart.add, "lamp")`. Raises what a call does.

        `(await handle.ask(Cart.add, "lamp")).reply(timeout)` waits no longer than the limit.
        """
        result: R = self._call("call", method, *args, **kwargs)
        return result

    def state(self) -> E | None:
        """The state that the last call has left. None: there is none, because nothing has changed it, or it is gone.

        It is read from the database, and what is changed in it changes nothing there.
        """
        result: E | None = self._call("state")
        return result

    def destroy(self, timeout: Duration | None = None) -> None:
        """End the entity after the calls that have come, and forget its state. A later call begins it anew."""
        self._call("destroy", timeout)
