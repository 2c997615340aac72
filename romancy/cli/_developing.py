"""The command `dev`: a worker and the dashboard of an app, restarted whenever a Python file changes.

The parent process keeps the socket and the secret of the link, so that an open page stays valid. The worker and the
dashboard are one child process, which inherits both.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import secrets
from typing import TYPE_CHECKING, Final

import click

from romancy.cli._apps import load_app
from romancy.cli._child import inherited, stop_with_parent
from romancy.cli._listening import address_of, listener_at
from romancy.cli._printing import say
from romancy.cli._reloading import run_and_reload
from romancy.cli._working import at_work

if TYPE_CHECKING:
    import socket

    from romancy.app import Romancy

__all__ = ["dev"]

_GRACE: Final = 1.0
_TOKEN: Final = "ROMANCY_DEV_TOKEN"  # noqa: S105 - the name of a variable


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--quiet", is_flag=True, help="Log warnings only.")
@click.option("--listener", hidden=True, type=int, help="Be the worker, with this socket.")
def dev(target: str, port: int, quiet: bool, listener: int | None) -> None:  # noqa: FBT001 - click gives it by name
    """Run a worker and the dashboard, with reload.

    For development, until Ctrl-C. Both start again when a Python file below this folder changes. The command prints a
    link for the browser of this machine. The link and an open page stay valid after changes. While a file has an error,
    the command says so and waits for the next change. Each instance is replayed when it has ended, and a body that is
    not deterministic is logged as a warning.
    """
    if listener is None:
        _check_extra()
        _supervise(target, port, quiet=quiet)
        return
    with inherited(listener) as ours:
        stop_with_parent()
        level = logging.WARNING if quiet else logging.INFO
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        asyncio.run(_work(target, load_app(target), ours, os.environ[_TOKEN]))


def _check_extra() -> None:
    """Raise click.ClickException without the extra, here and once: the worker would be started again and again."""
    for name in ("romancy.dashboard", "romancy.cli._server"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = f"dev needs {error.name}; install the extra: pip install 'romancy[ui]'"
            raise click.ClickException(missing) from None


def _supervise(target: str, port: int, *, quiet: bool) -> None:
    token = secrets.token_urlsafe(32)
    with listener_at("127.0.0.1", port) as listener:
        click.echo(f"{address_of(listener)}/?token={token}")
        say("the link opens the dashboard; a change of a Python file starts everything again; Ctrl-C ends it")
        arguments = ["dev", target, "--listener", str(listener.fileno()), *(["--quiet"] if quiet else [])]
        run_and_reload(arguments, _GRACE, listener=listener, secrets={_TOKEN: token})


async def _work(target: str, made: Romancy, listener: socket.socket, token: str) -> None:
    from romancy.cli._server import serve_dashboard  # noqa: PLC0415 - needs uvicorn, which the extra ui brings
    from romancy.dashboard import asgi  # noqa: PLC0415 - needs the extra ui
    from romancy.dashboard._auth import LastingToken  # noqa: PLC0415 - the same

    dashboard = asgi(made, auth=LastingToken(token))

    async with made.with_worker(check_replay=True) as app:
        names = sorted(app.workflows)
        await serve_dashboard(dashboard, listener, _GRACE, began=lambda: say(at_work(target, names)))
        await app.drain(_GRACE)
