"""Windows from outside: calls that come to one start, and the window of a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from romancy.starting.starts import Starts
from romancy.windows.declared import ask_to_batch, ask_to_debounce, batch_terms, debounce_terms, of_window
from romancy.windows.handle import WindowHandle
from romancy.windows.listing import page_of_windows

if TYPE_CHECKING:
    from romancy.retry import Duration
    from romancy.windows.asking import Asking
    from romancy.windows.listing import WindowPage
    from romancy.windows.records import Ask, Kind, Of
    from romancy.workflow import Call, Workflow

__all__ = ["Windows"]

T = TypeVar("T")


class Windows(Starts):
    """Makes calls of which several come to one start."""

    _windows: Asking
    """Brings calls to their windows. It is made anew when the app is opened."""

    async def debounce(
        self,
        call: Call[T],
        key: str | int,
        /,
        *,
        wait: Duration,
        max_wait: Duration | None = None,
        id: str | None = None,
        session: object = None,
    ) -> WindowHandle[T]:
        """Start this workflow once calls for this key have rested for `wait`, with the arguments of the last call.

        `call` is `workflow.bind(…)`, with the options of the start. The call is durable when this returns, and any
        worker that knows the workflow starts it: once for all calls of a window, which opens with the first of them. If
        they do not rest, it closes `max_wait` after the first. `wait` and `max_wait` are those of the last call.

        With an `id` of yours, a repeated call has no effect; that is remembered for at least five minutes. With
        `session=`, a connection or session in a transaction of your own, your commit makes the call.
        """
        self._access.opened("debounce")
        of, ask = ask_to_debounce(call, key, debounce_terms(wait, max_wait), id, self._access.stored_size)
        return await self._ask(of, ask, call.workflow, session, once=id is not None)

    async def batch(
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
    ) -> WindowHandle[T]:
        """Start this workflow with a list of items: once `size` of them have come for this key, or `within` is over.

        `wf` takes one list, and `item` is one of its members. They have the order in which the database received them.
        The time counts from the first one. A batch also closes when its items have 750 kB together, and an item of more
        than a megabyte is refused. Everything else is as in `debounce`.
        """
        self._access.opened("batch")
        of, ask = ask_to_batch(wf, item, key, batch_terms(size, within), id, self._access.stored_size)
        return await self._ask(of, ask, wf, session, once=id is not None)

    def window_handle(self, kind: Kind, wf: str, key: str | int, /) -> WindowHandle[Any]:
        """A handle of the window of "debounce" or "batch" calls for this workflow, by its name, and this key."""
        self._access.opened()
        return WindowHandle(self, of_window(kind, wf, key))

    async def windows(self, *, limit: int = 50, page_token: str | None = None) -> WindowPage:
        """A page of the windows that have calls, those that have begun last first.

        Of up to `limit` open windows, the log and the inbox are read, and those without calls are left out. So a page
        may have fewer, or none, although `next_page_token` says that another one follows.

        Raises CodecError if one was written with a codec that this app does not have.
        """
        return await page_of_windows(self, limit, page_token)

    async def _ask(self, of: Of, ask: Ask, wf: Workflow[..., T], session: object, *, once: bool) -> WindowHandle[T]:
        relay = None
        if session is None:
            await self._windows.ask(of, ask, once=once)
        else:
            relay = await self._windows.ask_in(session, of, ask, once=once)
        return WindowHandle(self, of, wf, ask.id, relay)
