"""The ASGI application: routes, the auth hook, and one place that turns every refusal into an answer."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route, Router

from romancy._headers import bringing, trace_of
from romancy.app import Romancy
from romancy.errors import RegistrationError, UsageError
from romancy.event import EventType
from romancy.http._accepting import Accepting, serving
from romancy.http._answers import answer, answer_of
from romancy.http._auth import admit, hook_of
from romancy.http._bodies import Bodies
from romancy.http._decisions import Known, decide
from romancy.http._failures import Causes
from romancy.http._fields import Fields
from romancy.http._given import kind_of
from romancy.http._going_back import GoingBack
from romancy.http._handlers import check_handler
from romancy.http._incoming import events_of
from romancy.http._limits import Turnstiles
from romancy.http._management import Management
from romancy.http._openapi import document
from romancy.http._pauses import Pauses
from romancy.http._permits import check_topic, let_in
from romancy.http._questions import Inbox
from romancy.http._rates import Pace
from romancy.http._refusal import refusal_of_status, unavailable
from romancy.http._requesting import Requesting
from romancy.http._schedules import Timetable
from romancy.http._waits import Waits
from romancy.http._webhooks import Webhook
from romancy.http._windows import Gathering
from romancy.web.answer_headers import INERT
from romancy.web.path_ids import AnyTextRoute

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

    from starlette.responses import Response
    from starlette.types import Message, Receive, Scope, Send

    from romancy.http._auth import Auth
    from romancy.http._decisions import Handler
    from romancy.http._routes import ManagementRoute
    from romancy.http._webhooks import Delivery, Verifier
    from romancy.web.visitor import Action

__all__ = ["Ingress", "asgi"]

F = TypeVar("F", bound="Handler")

_READY_WITHIN: Final = 2.0
_NOBODY: Final = "romancy-health"
_BEAT: Final = 15.0


def asgi(
    app: Romancy,
    *,
    path: str = "/",
    auth: Auth | Literal["local"] | None = None,
    events: Iterable[EventType[Any]] = (),
    max_body: int = 1024 * 1024,
    max_batch: int = 1000,
    max_waiting: int = 256,
    max_wait: float = 60.0,
    body_timeout: float = 30.0,
    write_timeout: float = 10.0,
) -> Ingress:
    """An ASGI application for this app: CloudEvents at `path`, and the other routes below it.

    Mount it in an application that opens the app (`Mount("/romancy", asgi(app, auth=…))`), or run it alone: then its
    lifespan opens the app. `auth` is called with each request but those for liveness and webhooks. It raises
    PermissionError to refuse; a `Visitor` that it returns says what this one may do. `auth="local"` answers this
    machine alone, as far as a request shows: peer and Host are loopback, no header says that a proxy passed it on, and
    no web page of another origin asks. So it trusts each program on this machine, also a proxy that adds no header, and
    everybody who reaches that. Without `auth` it raises UsageError. `events` are the types whose data is checked before
    it is accepted.

    Limits: `max_body` bytes in a body, which has to be complete within `body_timeout` seconds; `max_batch` events in a
    batch; `max_waiting` requests that wait for a result or a progress at the same time, a result for at most `max_wait`
    seconds. A write that takes longer than `write_timeout` seconds is answered with 503.
    """
    _check_app(app)
    return Ingress(
        app,
        path=path,
        auth=hook_of(auth),
        types=_types_of(events),
        bodies=Bodies(max_body, 64 * max_body, body_timeout),
        waits=Waits(max_waiting),
        accepting=Accepting(app, write_timeout),
        max_batch=max_batch,
        max_wait=max_wait,
    )


class Ingress:
    """An app over HTTP, as an ASGI application. `asgi` makes it."""

    def __init__(
        self,
        app: Romancy,
        *,
        path: str,
        auth: Auth,
        types: dict[str, EventType[Any]],
        bodies: Bodies,
        waits: Waits,
        accepting: Accepting,
        max_batch: int,
        max_wait: float,
    ) -> None:
        self.app = app
        self.auth = auth
        self._types = types
        self._bodies = bodies
        self._waits = waits
        self._accepting = accepting
        self._max_batch = max_batch
        self._handlers: dict[str, Handler] = {}
        self._prefix = _prefix(path)
        management = Management(app, types, accepting, bodies, waits, max_wait=max_wait, beat=_BEAT)
        managed = [
            *Pauses(app, accepting, bodies).routes(),
            *management.routes(),
            *Requesting(app, accepting, bodies, waits, max_wait=max_wait).routes(),
            *GoingBack(app, accepting, bodies).routes(),
            *Timetable(app, accepting, bodies).routes(),
            *Gathering(app, accepting, bodies).routes(),
            *Turnstiles(app, accepting, bodies).routes(),
            *Inbox(app, accepting, bodies).routes(),
            *Causes(app, accepting, bodies).routes(),
            *Pace(app, accepting).routes(),
        ]
        self._router = Router(self._routes(managed), redirect_slashes=False, lifespan=self._opened)

    def _routes(self, managed: Sequence[ManagementRoute]) -> list[Route]:
        prefix = self._prefix
        return [
            *(
                self._route(each, self._receive, "POST", needs="send")
                for each in dict.fromkeys((prefix or "/", f"{prefix}/"))
            ),
            self._route(f"{prefix}/health/live", self._live, "GET", asks=False),
            self._route(f"{prefix}/health/ready", self._ready, "GET"),
            self._route(f"{prefix}/openapi.json", self._described, "GET"),
            *(self._route(f"{prefix}{each.path}", each.endpoint, each.method, needs=each.needs) for each in managed),
        ]

    def _route(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        method: str,
        *,
        asks: bool = True,
        needs: Action | Literal["payloads"] | None = None,
    ) -> Route:
        """A route that turns refusals and faults into answers.

        `asks`: the hook is called first. `needs`: what the visitor has to be allowed.
        """

        async def answering(request: Request) -> Response:
            serving.set(f"{method} {path}")  # each request of a server runs in a context of its own
            try:
                if asks:
                    visitor = await admit(self.auth, request)
                    let_in(request, visitor, needs, self.app)
                self._check_condition(path, method)
                with bringing(trace_of(request.headers)):
                    return await endpoint(request)
            except ClientDisconnect:
                return answer({}, HTTPStatus.BAD_REQUEST)  # the client has left
            except Exception as error:  # noqa: BLE001 - each becomes an answer
                return answer_of(self._accepting.fault(error))

        return AnyTextRoute(path, answering, methods=[method])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        scope = {**scope, "app": self}  # so that the router raises where it has no route

        async def inert(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in INERT.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._router(scope, receive, inert)
        except HTTPException as error:
            refused = refusal_of_status(error.status_code)
            refused.headers = dict(error.headers or {})
            await answer_of(refused)(scope, receive, inert)

    # ── what the user declares ──────────────────────────────────────────────────────────────────────────────────

    def on(self, type: EventType[Any] | str, /) -> Callable[[F], F]:
        """Give the events of a type to a handler of your own, an `async def` that takes the `Event`.

        The sender gets 202 when it returns. If it returns a handle, the answer names the instance. A redelivered event
        comes again: derive ids from the event, as with `instance_id_of`. TerminalError tells the sender not to send the
        event again.
        """
        name = type.name if isinstance(type, EventType) else type
        if name in self._handlers:
            raise RegistrationError(f"there is a handler for events of type {name!r} already")

        def decorate(fn: F) -> F:
            check_handler(fn, f"events of type {name!r}")
            if isinstance(type, EventType):
                self._types[name] = type
            self._handlers[name] = fn
            return fn

        return decorate

    def webhook(
        self,
        path: str,
        *,
        verify: Verifier,
        event: EventType[Any] | str | Callable[[Delivery], EventType[Any] | str | None] | None = None,
        id: str | Callable[[Delivery], str] | None = None,
    ) -> Webhook:
        """A route for the signed requests of a provider, below the path of this application.

        Each delivery is sent as an event, of the type that the provider names or that `event` says; a function may
        answer None for a delivery of no interest. A redelivery, by the provider's id or by `id` (a header, or a
        function), is dropped. An event without a key is dropped if no workflow listens to it.

        As a decorator, it gives the deliveries to your own function, an `async def`, instead. The function is called
        again for a redelivery: start a workflow with `delivery.instance_id`, and it starts once.

        `verify` is a verifier, such as `GitHub(secret)`: only requests that it accepts are admitted.
        """
        full = f"{self._prefix}{_prefix(path)}"
        if any(isinstance(route, Route) and route.path == full for route in self._router.routes):
            raise RegistrationError(f"there is a route {full} already")
        hook = Webhook(full, verify, event, id, self._types, self.app.codecs.stored_size)

        async def deliver(request: Request) -> Response:
            return await self._deliver(hook, request)

        self._router.routes.insert(0, self._route(full, deliver, "POST", asks=False))
        return hook

    def drain(self) -> None:
        """From now on, answer 503 to requests that would write or wait, and end the waiting ones."""
        self._waits.over.set()

    # ── endpoints ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _receive(self, request: Request) -> Response:
        async with self._bodies.read(request) as body:
            found, is_batch = events_of(Fields(request.headers.raw), body, most=self._max_batch)
            known = Known(self.app.workflows, self._types, self._handlers, self.app.codecs.stored_size)
            for event in found:
                check_topic(request, event.type)
            decisions = [decide(event, known) for event in found]
            if is_batch:
                return await self._accepting.all_of(decisions)
            return answer(await self._accepting.one(decisions[0]), HTTPStatus.ACCEPTED)

    async def _deliver(self, hook: Webhook, request: Request) -> Response:
        async with self._bodies.read(request) as body:
            delivery = await hook.verified(Fields(request.headers.raw), body)
            if hook.handler is not None:
                return answer(await self._accepting.handled(hook.handler(delivery)), HTTPStatus.ACCEPTED)
            sending = hook.sending(delivery)
            if sending is None:
                return answer({"status": "ignored"})
            return answer(await self._accepting.one(sending), HTTPStatus.ACCEPTED)

    async def _live(self, _request: Request) -> Response:
        return answer({"status": "alive"})

    async def _ready(self, _request: Request) -> Response:
        self._check_stays()
        async with asyncio.timeout(_READY_WITHIN):
            await self.app.get_instance(_NOBODY)
        return answer({"status": "ready"})

    async def _described(self, _request: Request) -> Response:
        return answer(document(self._prefix, self.app.workflows))

    def _check_condition(self, path: str, method: str) -> None:
        """Raise Refused if the app's condition does not allow the request. Liveness needs nothing."""
        if path.endswith("/health/live"):
            return
        if not self.app.is_open:
            raise unavailable("the app is not open; send this again later")
        if method == "POST" or path.endswith(("/result", "/progress")):
            self._check_stays()

    def _check_stays(self) -> None:
        if self._waits.over.is_set() or self.app.is_draining:
            raise unavailable("the server is about to stop; send this to another one, or later")

    @asynccontextmanager
    async def _opened(self, _: Any) -> AsyncGenerator[None]:
        """The lifespan of an application that runs alone. A mounted one has none: its host opens the app."""
        if self.app.is_open:
            yield
            return
        async with self.app:
            yield
            self.drain()


def _check_app(app: Any) -> None:
    if not isinstance(app, Romancy):
        raise UsageError(f"asgi() takes an app, not {kind_of(app)}; write app = Romancy(url) and asgi(app)")


def _types_of(events: Iterable[Any]) -> dict[str, EventType[Any]]:
    given: list[Any] = [None]
    with suppress(TypeError):  # not iterable
        given = list(events)
    if not all(isinstance(each, EventType) for each in given):
        raise UsageError(
            'events= takes a list of event types, which say what their data is; write events=[EventType("paid", Paid)]'
        )
    return {each.name: each for each in given}


def _prefix(path: str) -> str:
    if not path.startswith("/") or "{" in path:
        raise UsageError(f"a path begins with a slash and has no braces, unlike {path!r}")
    return path.rstrip("/")
