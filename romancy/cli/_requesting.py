"""`request`: asks an instance, and prints the answer of its body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from romancy.cli._database import database, operating, running
from romancy.cli._duration import duration
from romancy.cli._printing import say
from romancy.errors import RequestTimeoutError

if TYPE_CHECKING:
    from datetime import timedelta

    from romancy.messages.requests import Asked

__all__ = ["decoded", "request"]


@click.command()
@database
@click.argument("instance_id", metavar="ID")
@click.argument("name", metavar="NAME")
@click.argument("data", metavar="[JSON]", required=False)
@click.option("--timeout", type=duration, default="30s", show_default=True, help="How long to wait; 0s: not at all.")
@click.option("--id", help="An id of yours: the request is handled once, and the same id finds the same answer.")
@running
async def request(
    url: str | None,
    app: str | None,
    instance_id: str,
    name: str,
    data: str | None,
    *,
    timeout: timedelta,
    id: str | None,
) -> None:
    """Ask an instance, and print the reply of its handler as JSON."""
    async with operating(url, app) as operator:
        payload: Any = None if data is None else decoded(data)
        asked: Asked[Any] = await operator.ask(instance_id, name, payload, id=id)
        again = f"`romancy request {instance_id} {name} --id {asked.id}` asks for the answer again"
        if not timeout:
            say(f"accepted; {again}")
            return
        try:
            reply = await asked.reply(timeout)
        except RequestTimeoutError as error:
            raise RequestTimeoutError(f"{error}; {again}") from None
    click.echo(msgspec.json.encode(reply).decode())


def decoded(data: str) -> object:
    """The data that was given as JSON. Raises UsageError of click."""
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"the data is no JSON ({error}); a text needs its quotes: '\"text\"'") from None
