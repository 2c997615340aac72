"""The command `ui`: the dashboard of a database, for the browser of the user who started it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from romancy.app import Romancy
from romancy.cli._apps import load
from romancy.cli._listening import address_of, listener_at
from romancy.cli._printing import say
from romancy.cli._private import refuse_private
from romancy.storage.url import is_url
from romancy.web.loopback import is_loopback

if TYPE_CHECKING:
    import socket

    from romancy.dashboard import Dashboard
    from romancy.dashboard._auth import OneTimeToken

__all__ = ["ui"]

_GRACE = 3.0


@click.command()
@click.argument("target", metavar="URL|MODULE:APP", envvar="ROMANCY_URL", required=False)
@click.option("--url", metavar="URL", help="The same as URL.")
@click.option("--app", metavar="MODULE:APP", help="The same as MODULE:APP.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--read-only", is_flag=True, help="Show everything and change nothing.")
def ui(*, target: str | None, url: str | None, app: str | None, host: str, port: int, read_only: bool) -> None:
    """Show a database in the browser, until Ctrl-C.

    It prints a link. The link opens the dashboard once, in one browser of this machine. With a URL alone, no code of
    yours is run; with MODULE:APP, the dashboard knows the app's workflows and codecs as well. APP may also be what
    romancy.dashboard.asgi(…) has returned.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    dashboard, token = _made(_chosen(target, url, app), read_only=read_only)
    if token is not None and not is_loopback(host):
        raise click.UsageError(
            f"{host} can be reached from other machines, and a token that is printed here is no protection there: "
            "give MODULE:APP of a dashboard of yours, made with asgi(app, auth=…)"
        )
    with listener_at(host, port) as listener:
        asyncio.run(_serve(dashboard, token, listener))


def _chosen(target: str | None, url: str | None, app: str | None) -> str:
    """The database that was named: in the command, else by ROMANCY_URL, else by the default of `--app`."""
    source = click.get_current_context().get_parameter_source
    given = {"target": target, "url": url, "app": app}
    written = [one for name, one in given.items() if one and source(name) is ParameterSource.COMMANDLINE]
    if len(written) > 1:
        raise click.UsageError("name one database: URL, MODULE:APP, --url or --app")
    chosen = [*written, *filter(None, (target, app))]
    if not chosen:
        raise click.UsageError("which database? Give URL or MODULE:APP, or set ROMANCY_URL")
    return chosen[0]


def _made(target: str, *, read_only: bool) -> tuple[Dashboard, OneTimeToken | None]:
    """The dashboard, with the token that opens it unless it has an `auth=` of its own."""
    try:
        from romancy.dashboard import Dashboard, asgi  # noqa: PLC0415 - needs the extra ui, and this command alone does
        from romancy.dashboard._auth import OneTimeToken  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from None
    token = OneTimeToken()
    if is_url(target):
        refuse_private(target)
        return asgi(target, auth=token, read_only=read_only), token
    found: Dashboard | Romancy = load(target, {Dashboard: "dashboard", Romancy: "app"})
    if isinstance(found, Romancy):
        refuse_private(found.url)
        return asgi(found, auth=token, read_only=read_only), token
    if read_only:
        raise click.UsageError("--read-only goes with a URL or an app; make the dashboard with asgi(…, read_only=True)")
    if found.guarded:
        return found, None
    found.auth = token
    return found, token


async def _serve(dashboard: Dashboard, token: OneTimeToken | None, listener: socket.socket) -> None:
    try:
        from romancy.cli._server import serve_dashboard  # noqa: PLC0415 - needs uvicorn, which the extra ui brings
    except ModuleNotFoundError as error:
        raise click.ClickException(f"ui needs {error.name}; install the extra: pip install 'romancy[ui]'") from None

    def began() -> None:
        click.echo(f"{address_of(listener)}/" + ("" if token is None else f"?token={token.token}"))
        say("the link opens the dashboard once; Ctrl-C ends it" if token is not None else "Ctrl-C ends it")

    await serve_dashboard(dashboard, listener, _GRACE, began=began)
