"""Brings calls to their windows, on behalf of an app."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from hashlib import sha256, shake_256
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import msgspec
from msgspec.structs import replace

from romancy._sizes import fitting_together
from romancy.activity import Activity
from romancy.channel import message_on
from romancy.context import WorkflowContext  # noqa: TC001 - the workflow's types are read
from romancy.engine.announcing import given as given_headers
from romancy.errors import InstanceConflictError, StorageUnavailableError
from romancy.retry import RetryPolicy
from romancy.windows.keeper import KEEPER, keeper_of, leaves_others_alone, versions_of
from romancy.windows.records import RELAY, TOLD, Ask, Of, State
from romancy.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from romancy._access import Access
    from romancy.starting.starter import Starter

__all__ = ["BUILT_IN", "LINGERS", "Asking"]

_AT_ONCE: Final = 4
_BESIDE: Final = shake_256().hexdigest(12_000).encode()
"""As long as all else that a window keeps, however well that is compressed."""

LINGERS: Final[ContextVar[int]] = ContextVar("romancy_window_lingers", default=300_000_000)
"""How many microseconds a window goes on after its last call: so long it knows what it was told, and has started. Tests
begin windows that end soon.
"""


def _relay(bring: Callable[[Of, Ask], Awaitable[None]] | None, version: str) -> Workflow[[Of, Ask], None]:
    """The workflow that brings the call of a caller's transaction to its window, once the transaction is committed.

    The message itself cannot be a part of that transaction: an instance that ends does not see what is not committed.
    """

    async def bring_it(of: Of, ask: Ask) -> None:
        if bring is not None:
            await bring(of, ask)

    activity: Activity[[Of, Ask], None] = Activity(bring_it, name=f"{RELAY}.bring", retry=RetryPolicy(max_attempts=0))

    async def relay(ctx: WorkflowContext, of: Of, ask: Ask) -> None:  # noqa: ARG001 - a workflow has a context
        await activity(of, ask)

    return Workflow(relay, name=RELAY, version=version)


BUILT_IN: Final[tuple[Workflow[..., Any], ...]] = (KEEPER, _relay(None, "1"))
"""The workflows of windows, to replay or to look at whatever is there."""


class Asking:
    """The calls of one open app for windows."""

    starter: Starter
    """Starts windows. The app sets it, once it has one."""

    def __init__(self, access: Access, workflows: Iterable[str]) -> None:
        names = frozenset(workflows)
        self._access = access
        self._lines: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """For each window the calls under way: more of them at once would only wait for one another's locks."""
        self._keeper = keeper_of(names)
        self._relay = leaves_others_alone(_relay(self._bring, versions_of(names)), names)
        self.workflows: tuple[Workflow[..., Any], ...] = (self._keeper, self._relay)
        """What the worker of this app knows of windows."""

    async def ask(self, of: Of, ask: Ask, *, once: bool) -> None:
        """Bring a call to its window, by one commit. `once`: a call with the same id has no effect.

        The window begins with the first call, and again with the first one after its end.
        """
        ask = self._fitting(of, ask)
        message = message_on(TOLD, ask, None, None, id=ask.id if once else "", stored=self._access.stored_size)
        first = self._keeper.options(instance_id=of.instance_id).bind(of, State(of=of, lingers=LINGERS.get()), None)
        line = self._lines.setdefault(of.instance_id, asyncio.Semaphore(_AT_ONCE))
        try:
            async with asyncio.timeout(self._access.deadlines.seconds):
                await line.acquire()
        except TimeoutError:
            raise StorageUnavailableError(
                f"{of.kind} of {of.name!r}: the call was not made, because those before it have not been answered yet; "
                "try again"
            ) from None
        try:
            await self.starter.start_or_tell(first, message, of.kind)
        finally:
            line.release()

    async def ask_in(self, session: object, of: Of, ask: Ask, *, once: bool) -> str:
        """Let the commit of the caller's transaction bring the call. Returns the id of the instance that does so."""
        ask = self._fitting(of, ask)
        marked = sha256(ask.id.encode()).hexdigest()[:16] if once else ask.id
        instance_id = f"{of.kind}-call:{of.name}:{marked}"
        call = self._relay.options(instance_id=instance_id).bind(of, ask)
        with suppress(*((InstanceConflictError,) if once else ())):
            await self.starter.start_many(self._access.opened(of.kind), [call], session, "return")
        return instance_id

    def _fitting(self, of: Of, ask: Ask) -> Ask:
        """The call with all its headers. Raises PayloadTooLargeError if no run of a window could begin with it."""
        ask = replace(ask, headers=dict(given_headers(ask.headers)))
        what = f"{of.kind} of workflow {of.workflow}: a call, with what its window keeps beside it"
        fitting_together(msgspec.json.encode(ask), _BESIDE, what, self._access.stored_size)
        return ask

    async def _bring(self, of: Of, ask: Ask) -> None:
        await self.ask(of, ask, once=True)
