"""Windows of calls from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from romancy.sync._starts import SyncStarts
from romancy.sync._window import SyncWindowHandle

if TYPE_CHECKING:
    from romancy.retry import Duration
    from romancy.windows.listing import WindowPage
    from romancy.windows.records import Kind
    from romancy.workflow import Call, Workflow


__all__ = ["SyncWindows"]

T = TypeVar("T")


class SyncWindows(SyncStarts):
    """Makes calls of which several come to one start."""

    def debounce(
        self,
        call: Call[T],
        key: str | int,
        /,
        *,
        wait: Duration,
        max_wait: Duration | None = None,
        id: str | None = None,
        session: object = None,
    ) -> SyncWindowHandle[T]:
        """Start this workflow once calls for this key have rested for `wait`, with the arguments of the last call.

        `call` is `workflow.bind(…)`, with the options of the start. The call is durable when this returns, and any
        worker that knows the workflow starts it: once for all calls of a window, which opens with the first of them. If
        they do not rest, it closes `max_wait` after the first. `wait` and `max_wait` are those of the last call.

        With an `id` of yours, a repeated call has no effect; that is remembered for at least five minutes. With
        `session=`, a connection or session in a transaction of your own, your commit makes the call.
        """
        return SyncWindowHandle(
            self._keeper, self._call("debounce", call, key, wait=wait, max_wait=max_wait, id=id, session=session)
        )

    def batch(
        self,
        wf: Workflow[..., T],
        item: object,
        key: str | int,
        /,
        *,
        size: int,
        within: Duration,
        id: str | None = None,
        session: object = None,
    ) -> SyncWindowHandle[T]:
        """Start this workflow with a list of items: once `size` of them have come for this key, or `within` is over.

        `wf` takes one list, and `item` is one of its members. They have the order in which the database received them.
        The time counts from the first one. A batch also closes when its items have 750 kB together, and an item of more
        than a megabyte is refused. Everything else is as in `debounce`.
        """
        return SyncWindowHandle(
            self._keeper, self._call("batch", wf, item, key, size=size, within=within, id=id, session=session)
        )

    def window_handle(self, kind: Kind, wf: str, key: str | int, /) -> SyncWindowHandle[Any]:
        """A handle of the window of "debounce" or "batch" calls for this workflow, by its name, and this key."""
        return SyncWindowHandle(self._keeper, self._call("window_handle", kind, wf, key))

    def windows(self, *, limit: int = 50, page_token: str | None = None) -> WindowPage:
        """A page of the windows that have calls, those that have begun last first.

        Of up to `limit` open windows, the log and the inbox are read, and those without calls are left out. So a page
        may have fewer, or none, although `next_page_token` says that another one follows.

        Raises CodecError if one was written with a codec that this app does not have.
        """
        result: WindowPage = self._call("windows", limit=limit, page_token=page_token)
        return result
