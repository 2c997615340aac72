"""Calls entities from outside, and reads their states."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from romancy._named_workflows import workflow_named
from romancy.core import Message
from romancy.entity import DESTROY, method_in
from romancy.entity_calls import Calls, entity_of, refuse_circle
from romancy.messages.requests import of_method
from romancy.retry import seconds
from romancy.starting.starts import Starts
from romancy.storage.limits import check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from romancy.entity import Entity
    from romancy.messages.requests import Asked
    from romancy.retry import Duration

__all__ = ["Entities", "EntityHandle"]

E = TypeVar("E")
P = ParamSpec("P")
R = TypeVar("R")


class EntityHandle(Generic[E]):
    """An entity by its key. A handle holds no resources."""

    __slots__ = ("_app", "_call_id", "_declared", "_instance_id", "_key")

    def __init__(self, app: Entities, declared: Entity[E], key: str, call_id: str | None) -> None:
        self._app = app
        self._declared = declared
        self._key = key
        self._call_id = call_id
        self._instance_id = declared.id_of(key)
        if call_id is not None:
            check_id(call_id, "id of the call")

    @property
    def key(self) -> str:
        """The key of the entity."""
        return self._key

    @property
    def instance_id(self) -> str:
        """The id of the instance that it is, for all that is done with instances."""
        return self._instance_id

    async def ask(
        self, method: Callable[Concatenate[E, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Asked[R]:
        """Call a method without waiting for what it returns: `await handle.ask(Cart.add, "lamp")`.

        The call is durable when this returns, and `reply()` of the result waits. Raises what `app.entity` does.
        """
        return await self.asked(self._declared.name_of(method), args, kwargs)

    async def call(
        self, method: Callable[Concatenate[E, P], Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call a method, and return what it returned: `await handle.call(Cart.add, "lamp")`. Raises what a call does.

        `(await handle.ask(Cart.add, "lamp")).reply(timeout)` waits no longer than the limit.
        """
        return await (await self.ask(method, *args, **kwargs)).reply()

    async def asked(self, name: str, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Asked[Any]:
        """As `ask`, of a method by its name."""
        declared, instance_id = self._declared, self._instance_id
        refuse_circle(instance_id)
        access = self._app._access  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app itself
        data = declared.call(name, args, kwargs or {}, access.stored_size)
        id = "" if self._call_id is None else f"{name}:{self._call_id}"
        workflow = declared.workflow.options(instance_id=instance_id)
        request, reply = Message(topic=declared.topic, data=data, id=id), declared.reply_of(name)
        made = await self._app._starter.ask_entity(workflow.bind(self._key), request, reply)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app itself
        return of_method(made, f"{declared.cls.__qualname__}.{name or 'destroy'}")

    async def state(self) -> E | None:
        """The state that the last call has left. None: there is none, because nothing has changed it, or it is gone.

        It is read from the database, and what is changed in it changes nothing there.
        """
        store = self._app._access.opened("entity")  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app itself
        found = await store.read(self._instance_id, limit=0)
        if found is None or found.instance.workflow_name != self._declared.name:
            return None
        return self._declared.state_in(found.instance.input)

    async def destroy(self, timeout: Duration | None = None) -> None:
        """End the entity after the calls that have come, and forget its state. A later call begins it anew."""
        await (await self.asked(DESTROY)).reply(timeout)

    def __repr__(self) -> str:
        return f"<handle of the entity {self._instance_id}>"


async def _answer(handle: EntityHandle[Any], timeout: float | None, name: str, /, *args: Any, **kwargs: Any) -> Any:
    """Call a method by its name, and return what it returned."""
    return await (await handle.asked(name, args, kwargs)).reply(timeout)


class Entities(Starts):
    """Calls entities, wherever they run."""

    def entity(self, kind: type[E], key: str, /, *, id: str | None = None, timeout: Duration | None = None) -> E:
        """The entity with this key, to be called: `await app.entity(Cart, "7").add("lamp")`.

        Calls of one key are carried out one at a time, in the order in which they came. The first one begins the
        entity. A call returns what the method returned, once that and the state are durable.

        Raises RequestFailedError if the method raised an error, or left what cannot be stored: the state is then as
        before. Raises InstanceEndedError if the entity was cancelled, terminated or has failed. Raises
        RequestTimeoutError if no answer came within `timeout`: the call stays, and may be answered later. With an `id`,
        a method is called once with it, and later calls of this id find its answer, from any process, as long as the
        log of the entity is kept. Raises EntityCircleError if an entity would wait for itself.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        call = partial(_answer, self.entity_handle(kind, key, id=id), limit)
        return cast("E", Calls(entity_of(kind), key, call))

    async def _ask_entity(
        self, workflow: str, key: str, instance_id: str, request: Message, declared: Any
    ) -> Asked[Any]:
        """Call an entity by the name of its workflow, whose code this app need not have."""
        named = workflow_named(self._registry.workflows, workflow).options(instance_id=instance_id)
        made = await self._starter.ask_entity(named.bind(key=key), request, declared)
        return of_method(made, f"{workflow}.{method_in(request) or 'destroy'}")

    def entity_handle(self, kind: type[E], key: str, /, *, id: str | None = None) -> EntityHandle[E]:
        """A handle of an entity, which need not exist yet: its state, its end, and calls that are not awaited."""
        return EntityHandle(self, entity_of(kind), key, id)
