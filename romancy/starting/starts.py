"""Starts from outside, alone or with a message. `Starter` carries them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from romancy._followed import Followed
from romancy._named_workflows import workflow_named
from romancy.registry import Registry
from romancy.retry import seconds
from romancy.starting.checks import OURS, IfExists, check_if_exists, check_workflow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from romancy.event import EventType
    from romancy.handle import Handle
    from romancy.messages.requests import Asked
    from romancy.request import RequestType
    from romancy.retry import Duration
    from romancy.starting.starter import Starter
    from romancy.workflow import Call, Workflow

__all__ = ["Starts"]

P = ParamSpec("P")
D = TypeVar("D")
R = TypeVar("R")
T = TypeVar("T")


class Starts(Followed):
    """Starts the workflows that an app knows, and those of others by their names."""

    _workflows: Iterable[Workflow[..., Any] | type] | None
    """Those that the app was given. None: all that were declared."""
    _starter: Starter
    """Starts instances. It is made anew when the app is opened."""

    @property
    def workflows(self) -> Mapping[str, Workflow[..., Any]]:
        """The workflows that this app knows, by name. Without a `workflows` option, those declared so far."""
        return (
            self._registry.workflows if self._access.store is not None else Registry.collect(self._workflows).workflows
        )

    def workflow(self, name: str) -> Workflow[..., Any]:
        """The workflow of that name, to be started, by the name alone if this app does not have its code.

        Its arguments are then given by name, and its result is plain JSON. Instances wait for a worker that knows it.
        """
        return workflow_named(self.workflows, name)

    @overload
    async def start(self, wf: Workflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    @overload
    async def start(
        self, wf: Workflow[..., T], /, *args: Any, session: object, if_exists: IfExists = "return", **kwargs: Any
    ) -> Handle[T]: ...
    @overload
    async def start(self, wf: Workflow[..., T], /, *args: Any, if_exists: IfExists, **kwargs: Any) -> Handle[T]: ...
    @overload
    async def start(self, wf: str, /, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    async def start(self, wf: Workflow[Any, Any] | str, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start a workflow, given as such or by name (`app.workflow(name)`). It is durable when this returns.

        With an instance id of yours (`wf.options(instance_id=…)`), starting again returns the same instance, open or
        ended, if the workflow and the input are the same. If they are not, InstanceConflictError is raised.
        `if_exists="refuse"` raises it for every taken id, also if an earlier call of yours took the id and its answer
        was lost. A call that may be repeated therefore needs the default.

        `if_exists="restart_ended"` replaces an ended instance of the same workflow by a new one with this input.
        `"restart_failed"` does so only if the instance failed or was cancelled. One commit does both, so that the id is
        never free. The log, the result and the messages of the old instance are removed. In all other cases both do as
        the default does. `"replace"` also replaces an open instance: it is terminated first, with its open children,
        and nothing is undone. It cannot be given with `session=`.

        If the call is cancelled, or the database does not answer in time, the start is withdrawn: it does not happen
        later. Only one that was sent, and whose answer is missing, may have happened; `app.handle(instance_id)` finds
        it by an id of yours.

        With `session=`, a connection or session in a transaction of your own, your commit makes the start durable. A
        workflow with a parameter named `session` or `if_exists` gets it as an argument. For such a workflow use
        `start_many([wf.bind(…)], session=…)`, which also keeps the types of the arguments.
        """
        wf = self.workflow(wf) if isinstance(wf, str) else check_workflow(wf)
        if_exists: IfExists = "return"
        if kwargs:
            ours = {name: kwargs.pop(name) for name in OURS if name in kwargs and name not in wf.signature.names}
            if ours.get("session") is not None:
                (handle,) = await self.start_many((wf.bind(*args, **kwargs),), **ours)
                return handle
            check_if_exists(if_exists := ours.get("if_exists", "return"))
        self._access.opened("start")
        return await self._starter.start(wf, args, kwargs, if_exists)

    async def start_many(
        self, calls: Iterable[Call[T]], /, *, session: object = None, if_exists: IfExists = "return"
    ) -> list[Handle[T]]:
        """Start several workflows, each as `start` does; with `session=`, in your own transaction.

        Without `session=`, they are written together: up to 1,000 starts (4 MB) in one commit, more in several. This is
        for speed and is not atomic. If an id is taken by another workflow or input, the other instances are started,
        and one InstanceConflictError names all such ids (`conflicts`) and all instances that exist now (`started`).
        Repeating the call with a corrected list is safe if the ids are yours. Arguments that do not fit start nothing.
        """
        check_if_exists(if_exists)
        store = self._access.opened("start")
        return await self._starter.start_many(store, calls, session, if_exists)

    @overload
    async def run(self, wf: Workflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def run(self, wf: Workflow[..., T], /, *args: Any, if_exists: IfExists, **kwargs: Any) -> T: ...
    @overload
    async def run(self, wf: str, /, *args: Any, **kwargs: Any) -> Any: ...
    async def run(self, wf: Workflow[Any, Any] | str, /, *args: Any, **kwargs: Any) -> Any:
        """Start a workflow and return its result."""
        return await (await self.start(wf, *args, **kwargs)).result()

    async def signal_with_start(
        self,
        call: Call[T],
        event: EventType[Any] | str,
        data: object = None,
        /,
        *,
        key: str | None = None,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> Handle[T]:
        """Send a signal to an instance (`wf.options(instance_id=…).bind(…)`), and start it first if it does not exist.

        One commit starts the instance with the signal in its inbox. An existing instance keeps its input. An instance
        of another workflow raises InstanceConflictError, and an ended one InstanceEndedError. With an `id` any caller
        may repeat the call: the signal is delivered once.

        With `if_exists="restart_ended"` or `"restart_failed"` an ended instance is replaced as in `start`, unless it
        has received this very signal. `"refuse"` and `"replace"` raise UsageError.

        A start that finds no place under a limit with `full="skip"` raises StartSkippedError, as in `start`.
        """
        check_if_exists(if_exists)
        store = self._access.opened("start")
        return await self._starter.start_or_signal(store, call, event, data, key=key, id=id, if_exists=if_exists)

    @overload
    async def ask_with_start(
        self,
        call: Call[Any],
        type: RequestType[None, R],
        data: None = None,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> Asked[R]: ...
    @overload
    async def ask_with_start(
        self,
        call: Call[Any],
        type: RequestType[D, R],
        data: D,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> Asked[R]: ...
    @overload
    async def ask_with_start(
        self,
        call: Call[Any],
        type: str,
        data: object = None,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> Asked[Any]: ...
    async def ask_with_start(
        self,
        call: Call[Any],
        type: RequestType[Any, Any] | str,
        data: object = None,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> Asked[Any]:
        """Send a request to an instance, as `ask` does, and start it first if it does not exist.

        One commit starts the instance with the request in its inbox. All else is as in `signal_with_start`.
        """
        check_if_exists(if_exists)
        store = self._access.opened("start")
        return await self._starter.start_or_ask(store, call, type, data, id=id, if_exists=if_exists)

    @overload
    async def request_with_start(
        self,
        call: Call[Any],
        type: RequestType[None, R],
        data: None = None,
        /,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> R: ...
    @overload
    async def request_with_start(
        self,
        call: Call[Any],
        type: RequestType[D, R],
        data: D,
        /,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> R: ...
    @overload
    async def request_with_start(
        self,
        call: Call[Any],
        type: str,
        data: object = None,
        /,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> Any: ...
    async def request_with_start(
        self,
        call: Call[Any],
        type: RequestType[Any, Any] | str,
        data: object = None,
        /,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> Any:
        """Send a request to an instance, start it first if it does not exist, and return the reply."""
        limit = None if timeout is None else seconds(timeout, "timeout")
        given: Any = type  # with the data that belongs to it, as the overloads say
        asked: Asked[Any] = await self.ask_with_start(call, given, data, id=id, if_exists=if_exists)
        return await asked.reply(limit)
