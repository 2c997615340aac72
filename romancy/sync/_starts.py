"""Starts from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from romancy.sync._asked import SyncAsked
from romancy.sync._calling import Caller
from romancy.sync._handle import SyncHandle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from romancy.event import EventType
    from romancy.request import RequestType
    from romancy.retry import Duration
    from romancy.starting.checks import IfExists
    from romancy.workflow import Call, Workflow


__all__ = ["SyncStarts"]

P = ParamSpec("P")
D = TypeVar("D")
R = TypeVar("R")
T = TypeVar("T")


class SyncStarts(Caller):
    """Starts the workflows that an app knows, and those of others by their names."""

    @property
    def workflows(self) -> Mapping[str, Workflow[..., Any]]:
        """The workflows that this app knows, by name. Without a `workflows` option, those declared so far."""
        result: Mapping[str, Workflow[..., Any]] = self._target.workflows
        return result

    def workflow(self, name: str) -> Workflow[..., Any]:
        """The workflow of that name, to be started, by the name alone if this app does not have its code.

        Its arguments are then given by name, and its result is plain JSON. Instances wait for a worker that knows it.
        """
        result: Workflow[..., Any] = self._target.workflow(name)
        return result

    @overload
    def start(self, wf: Workflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SyncHandle[T]: ...

    @overload
    def start(
        self, wf: Workflow[..., T], /, *args: Any, session: object, if_exists: IfExists = "return", **kwargs: Any
    ) -> SyncHandle[T]: ...

    @overload
    def start(self, wf: Workflow[..., T], /, *args: Any, if_exists: IfExists, **kwargs: Any) -> SyncHandle[T]: ...

    @overload
    def start(self, wf: str, /, *args: Any, **kwargs: Any) -> SyncHandle[Any]: ...

    def start(self, wf: Workflow[Any, Any] | str, /, *args: Any, **kwargs: Any) -> SyncHandle[Any]:
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
        return SyncHandle(self._keeper, self._call("start", wf, *args, **kwargs))

    def start_many(
        self, calls: Iterable[Call[T]], /, *, session: object = None, if_exists: IfExists = "return"
    ) -> list[SyncHandle[T]]:
        """Start several workflows, each as `start` does; with `session=`, in your own transaction.

        Without `session=`, they are written together: up to 1,000 starts (4 MB) in one commit, more in several. This is
        for speed and is not atomic. If an id is taken by another workflow or input, the other instances are started,
        and one InstanceConflictError names all such ids (`conflicts`) and all instances that exist now (`started`).
        Repeating the call with a corrected list is safe if the ids are yours. Arguments that do not fit start nothing.
        """
        return [
            SyncHandle(self._keeper, one)
            for one in self._call("start_many", calls, session=session, if_exists=if_exists)
        ]

    @overload
    def run(self, wf: Workflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    def run(self, wf: Workflow[..., T], /, *args: Any, if_exists: IfExists, **kwargs: Any) -> T: ...

    @overload
    def run(self, wf: str, /, *args: Any, **kwargs: Any) -> Any: ...

    def run(self, wf: Workflow[Any, Any] | str, /, *args: Any, **kwargs: Any) -> Any:
        """Start a workflow and return its result."""
        return self._call("run", wf, *args, **kwargs)

    def signal_with_start(
        self,
        call: Call[T],
        event: EventType[Any] | str,
        data: object = None,
        /,
        *,
        key: str | None = None,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> SyncHandle[T]:
        """Send a signal to an instance (`wf.options(instance_id=…).bind(…)`), and start it first if it does not exist.

        One commit starts the instance with the signal in its inbox. An existing instance keeps its input. An instance
        of another workflow raises InstanceConflictError, and an ended one InstanceEndedError. With an `id` any caller
        may repeat the call: the signal is delivered once.

        With `if_exists="restart_ended"` or `"restart_failed"` an ended instance is replaced as in `start`, unless it
        has received this very signal. `"refuse"` and `"replace"` raise UsageError.

        A start that finds no place under a limit with `full="skip"` raises StartSkippedError, as in `start`.
        """
        return SyncHandle(
            self._keeper, self._call("signal_with_start", call, event, data, key=key, id=id, if_exists=if_exists)
        )

    @overload
    def ask_with_start(
        self,
        call: Call[Any],
        type: RequestType[None, R],
        data: None = None,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> SyncAsked[R]: ...

    @overload
    def ask_with_start(
        self,
        call: Call[Any],
        type: RequestType[D, R],
        data: D,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> SyncAsked[R]: ...

    @overload
    def ask_with_start(
        self,
        call: Call[Any],
        type: str,
        data: object = None,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> SyncAsked[Any]: ...

    def ask_with_start(
        self,
        call: Call[Any],
        type: RequestType[Any, Any] | str,
        data: object = None,
        /,
        *,
        id: str | None = None,
        if_exists: IfExists = "return",
    ) -> SyncAsked[Any]:
        """Send a request to an instance, as `ask` does, and start it first if it does not exist.

        One commit starts the instance with the request in its inbox. All else is as in `signal_with_start`.
        """
        return SyncAsked(self._keeper, self._call("ask_with_start", call, type, data, id=id, if_exists=if_exists))

    @overload
    def request_with_start(
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
    def request_with_start(
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
    def request_with_start(
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

    def request_with_start(
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
        return self._call("request_with_start", call, type, data, timeout=timeout, id=id, if_exists=if_exists)
