"""The command `serve`: an app over HTTP, in a server that begins and ends with it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import click

from romancy.app import Romancy
from romancy.cli._apps import load
from romancy.cli._duration import duration
from romancy.cli._listening import address_of, listener_at
from romancy.cli._printing import say
from romancy.web.loopback import is_loopback

if TYPE_CHECKING:
    import socket
    from datetime import timedelta

    from romancy.http import Ingress

__all__ = ["serve"]


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--drain", type=duration, help="How long requests and activities have to end.  [default: 30s]")
@click.option("--quiet", is_flag=True, help="Log warnings only.")
def serve(target: str, host: str, port: int, drain: timedelta | None, quiet: bool) -> None:  # noqa: FBT001 - by name
    """Serve an app over HTTP until SIGTERM or Ctrl-C.

    APP is an app, or what romancy.http.asgi(app, auth=…) has returned. An app, or auth="local", is served to this
    machine alone: no proxy may stand in front of it.
    When it is told to stop, it refuses new requests, ends those that wait, and then drains its worker, if the app has
    one. A second signal ends it at once.
    """
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    http = _load(target)
    _check_place(http, target, host)
    with listener_at(host, port) as listener:
        asyncio.run(_serve(http, listener, 30.0 if drain is None else drain.total_seconds()))


def _load(target: str) -> Ingress:
    try:
        from romancy.http import Ingress, asgi  # noqa: PLC0415 - needs the extra http, and this command alone does
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from None
    found: Ingress | Romancy = load(target, {Ingress: "http", Romancy: "app"})
    return found if isinstance(found, Ingress) else asgi(found, auth="local")


def _check_place(http: Ingress, target: str, host: str) -> None:
    """Refuse to listen on other addresses than loopback with an app that answers this machine alone."""
    if _is_local(http) and not is_loopback(host):
        raise click.UsageError(
            f"{host} can be reached from other machines, and {target} is for this machine alone: make it with "
            "asgi(app, auth=bearer(token)), or with auth=anyone if something in front of it protects it"
        )


def _is_local(http: Ingress) -> bool:
    """Whether it answers this machine alone."""
    from romancy.http._auth import local  # noqa: PLC0415 - needs the extra http

    return http.auth is local


async def _serve(http: Ingress, listener: socket.socket, grace: float) -> None:
    try:
        from romancy.cli._server import serve_until_told  # noqa: PLC0415 - needs uvicorn, which is no dependency
    except ModuleNotFoundError as error:
        raise click.ClickException(f"serve needs {error.name}: pip install uvicorn") from None

    def began() -> None:
        say(f"serves at {address_of(listener)}")
        if _is_local(http):
            say("for programs on this machine: before a proxy gets it, make it with asgi(app, auth=bearer(token))")

    async def ending(told: bool) -> None:  # noqa: FBT001 - as it is called
        if told:
            say(f"told to stop: requests and activities have {grace:g} s to end")
        http.drain()

    async with http.app as app:
        await serve_until_told(http, listener, grace, began=began, ending=ending)
        await app.drain(grace)
    say("server has stopped")
