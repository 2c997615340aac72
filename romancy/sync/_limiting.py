"""Limits from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.sync._retained import SyncRetainedByDefault

if TYPE_CHECKING:
    from romancy.managing.lanes import Lane
    from romancy.retry import Duration


__all__ = ["SyncLimiting"]


class SyncLimiting(SyncRetainedByDefault):
    """Reads and changes limits."""

    def limits(self, name: str | None = None) -> list[Lane]:
        """What is taken and who waits under each limit and key, the most crowded first; of up to 1,000 of them.

        A limit for which an operator has chosen something is listed even if nobody is there.
        """
        result: list[Lane] = self._call("limits", name)
        return result

    def change_limit(
        self, name: str, *, concurrency: int | None = None, rate: tuple[int, Duration] | None = None
    ) -> None:
        """Let this hold for every key of the limit, in the place of what the code declares, until it is reset.

        Who is inside already stays inside. Deploys do not change it. A paused limit stays paused.
        """
        self._call("change_limit", name, concurrency=concurrency, rate=rate)

    def pause_limit(self, name: str) -> None:
        """Give no more places of this limit, until it is resumed. Who is inside goes on."""
        self._call("pause_limit", name)

    def resume_limit(self, name: str) -> None:
        """Give places of this limit again."""
        self._call("resume_limit", name)

    def reset_limit(self, name: str) -> None:
        """Let what the code declares hold again."""
        self._call("reset_limit", name)

    def free_places(self, instance_id: str) -> list[str]:
        """Give back the places of an instance that is stuck or never ends, and return the limits.

        The instance does not hear of it, and goes on as if it had them. If the call is interrupted, call it again: it
        also has the lanes looked at whose places were given back by then. Raises InstanceNotFoundError.
        """
        result: list[str] = self._call("free_places", instance_id)
        return result
