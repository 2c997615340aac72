"""The way of an app's calls to its database: whether they may be made here and now, and as whom they write."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Final

from romancy._deadlines import ANSWER_WITHIN, Deadlines
from romancy._lists import Lists
from romancy.core import not_in_a_workflow
from romancy.engine import ActingWorker, ActsAs, Answers, hides, refuse_to_wait, stored_size, what_blocks
from romancy.engine.surroundings import here
from romancy.errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.engine import ActsUnder, Dispatcher, Worker
    from romancy.registry import Registry
    from romancy.storage.protocol import Store

__all__ = ["Access", "check_place", "instead_of"]


class Access:
    """The open database of an app. A call asks for the store once, and passes it on."""

    def __init__(self, answer_within: float = ANSWER_WITHIN, manager: ActingWorker | None = None) -> None:
        self.deadlines = Deadlines(answer_within, self._what_blocks)
        self.store: Store | None = None
        """The store while the app is open. A call takes it from `opened` or `to_write`, which check the call."""
        self.worker: Worker | None = None
        """The worker of this app while it is open, if it has one."""
        self.dispatcher: Dispatcher | None = None
        self.manager = manager
        """The row under which calls that manage instances write if no worker runs here. None: one row for each call."""
        self.answers = Answers()
        """Who waits for the answers of instances."""
        self.registry: Registry | None = None
        """The code that this process has, if it has any."""
        self._home: asyncio.AbstractEventLoop | None = None
        self._lists: Lists
        self._acting = ActingWorker()
        self._numbers = itertools.count(1)
        self._token = here().token()

    def open(self, store: Store, home: asyncio.AbstractEventLoop | None, lists: Lists | None = None) -> None:
        """From now on, calls may be made on this loop; on any loop if it is None."""
        self.store, self._home, self._lists = store, home, lists or Lists(store)

    def lists(self) -> Lists:
        """Where lists, searches and counts are read. Raises what `opened` raises."""
        store = self.opened()
        return self._lists if self._lists.elsewhere else Lists(store)

    def opened(self, call: str = "") -> Store:
        """The store. Raises UsageError if the app is not open or belongs to another loop, and why its worker failed.

        Raises NonDeterminismError in a workflow, with what a body does in place of this `call` of the app.
        """
        if self.store is None:
            raise UsageError("this app is not open: use it inside `async with app:`")
        if self._home is not None and asyncio._get_running_loop() is not self._home:  # noqa: SLF001 - None without a loop
            check_place(self._home, call)
        if self.worker is not None and self.worker.failed is not None:
            raise self.worker.failed
        return self.store

    def to_write(self, what: str, *instance_ids: str) -> Store:
        """The store, for a call that writes. Raises UsageError if the write would wait for the caller's own session."""
        store = self.opened(what)
        refuse_to_wait(store, what, instance_ids)
        return store

    def _what_blocks(self) -> str:
        return "" if self.store is None else what_blocks(self.store)

    @property
    def hides(self) -> bool:
        """Whether codecs of the app hide data from the database."""
        return hides(self.opened())

    def stored_size(self, raw: bytes) -> int:
        """How many bytes are stored for a value."""
        return stored_size(self.opened(), raw)

    # ── who writes ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def actor(self) -> ActsUnder:
        """Under whose row calls that manage instances write: the worker's, or one of their own."""
        return self.manager if self.worker is None else _writing(self.worker)

    async def writes_as(self, store: Store) -> ActsAs:
        """The token to write under (the worker's or that of this app's own row), and the database's time."""
        return await self._acting.look(store) if self.worker is None else _writing(self.worker)

    async def give_up_row(self, store: Store) -> None:
        """Remove the rows under which calls wrote. If the database is away, they expire."""
        for acting in (self._acting, self.manager):
            if acting is not None:
                with contextlib.suppress(StorageError):
                    await acting.leave(store)

    async def close_lists(self) -> None:
        """Close the standby from which lists were read, if there is one."""
        await self._lists.close()

    def stamp(self) -> str:
        """A new id of a delivery. Those of one app sort by the order in which they were made."""
        return f"{next(self._numbers):016x}{self._token}"

    def nonce(self) -> str:
        """A new name of a writer, by which a start knows its own row."""
        return f"{self._token}.{next(self._numbers)}"

    # ── who is told ─────────────────────────────────────────────────────────────────────────────────────────────

    def dispatch(self, addresses: Iterable[str], session: object = None) -> None:
        """Dispatch these addresses, after the caller's transaction if there is one."""
        if self.dispatcher is None:
            return
        if session is None:
            self.dispatcher.ask(addresses)
        else:
            self.dispatcher.ask_later(addresses)

    def sweep(self) -> None:
        """Soon route posted messages, and those that ended instances had taken."""
        if self.dispatcher is not None:
            self.dispatcher.sweep()

    def stir(self) -> None:
        """Let this app's worker claim: an instance may be due now."""
        if self.worker is not None:
            self.worker.claiming.look()


_INSTEAD: Final = {
    **dict.fromkeys(("start", "run"), "begin a child with `await ctx.start(workflow, …)`"),
    **dict.fromkeys(("send", "signal"), "send it with `await ctx.send(name, data, …)`"),
    **dict.fromkeys(("ask", "request"), "ask with `await ctx.instance(id).request(…)`"),
    "entity": "call it with `await ctx.entity(kind, key).…`",
    **dict.fromkeys(("answer", "refuse"), "a body asks, with `await ctx.ask(question)`; answer in an activity"),
    "publish": "publish it with `await ctx.channel(name).publish(data)`",
}


def instead_of(call: str) -> str:
    """What a body does in place of this call of an app."""
    return _INSTEAD.get(call, "move it into an activity")


def check_place(home: asyncio.AbstractEventLoop | None, call: str = "") -> None:
    """Raise NonDeterminismError in a workflow, and UsageError on another loop than the app's."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:  # there is no running loop: handles can be made without one
        here = None
    if here is home is not None:
        return  # a workflow runs on a loop of its own
    not_in_a_workflow(f"app.{call}" if call else "a method of the app", instead_of(call))
    if here is not None:
        raise UsageError(
            "this app was opened on another event loop: from a thread use "
            "`asyncio.run_coroutine_threadsafe(app.start(…), loop).result()`, or open an app there"
        )


def _writing(worker: Worker) -> ActsAs:
    return ActsAs(worker.leases.token, worker.clock.now())
