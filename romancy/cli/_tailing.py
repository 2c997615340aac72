"""`tail`: what a stream of an instance holds, as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from romancy.cli._database import database, operating, running
from romancy.cli._printing import as_json, clean, json_option, say
from romancy.status import TERMINAL_STATUSES
from romancy.stream import fields_of_item

if TYPE_CHECKING:
    from romancy.cli._database import Operator
    from romancy.stream import StreamItem

__all__ = ["TAILING"]


@click.command()
@database
@click.argument("instance_id", metavar="ID")
@click.argument("stream", required=False)
@click.option("--settled", is_flag=True, help="Only what is final, once it is.")
@click.option("--no-follow", is_flag=True, help="Only what is there now.")
@click.option("--after", metavar="OFFSET", help="Only what follows an item, by the offset it bore with --json.")
@json_option
@running
async def tail(
    *,
    url: str | None,
    app: str | None,
    instance_id: str,
    stream: str | None,
    settled: bool,
    no_follow: bool,
    after: str | None,
    json_lines: bool,
) -> None:
    """What a stream of an instance holds, until the instance ends.

    Without STREAM: the only one that it has. Texts are printed behind each other, other data as JSON, one a line.
    """
    async with operating(url, app) as operator:
        if stream is None:
            names = await operator.streams_of(instance_id)
            if len(names) != 1:
                has = f"it has {', '.join(map(clean, names))}" if names else "nothing has written to one"
                raise click.UsageError(f"name a stream: {has}")
            stream = names[0]
        else:
            await _say_what_there_is(operator, instance_id, stream)
        async for item in operator.stream_of(instance_id, stream, after=after, follow=not no_follow, settled=settled):
            _print(item, json_lines=json_lines)


async def _say_what_there_is(operator: Operator, instance_id: str, stream: str) -> None:
    """Say that nothing is in a stream, whose name may be mistyped. Raises UsageError if nothing can come."""
    names = await operator.streams_of(instance_id)
    if stream in names:
        return
    has = f"it has {', '.join(map(clean, names))}" if names else "nothing has written to one"
    found = await operator.get_instance(instance_id)
    if found is not None and found.status in TERMINAL_STATUSES:
        raise click.UsageError(f"instance {instance_id} has ended without a stream {clean(stream)}: {has}")
    say(f"(nothing has written to {clean(stream)} yet: {has})")


def _print(item: StreamItem[object], *, json_lines: bool) -> None:
    if json_lines:
        as_json({**fields_of_item(item), "offset": item.offset})
    elif item.kind == "data" and isinstance(item.data, str):
        click.echo("\n".join(map(clean, item.data.split("\n"))), nl=False)
    elif item.kind == "data":
        click.echo(clean(msgspec.json.encode(item.data).decode()))
    elif item.kind == "settled":
        click.echo()
    elif item.kind == "discard":
        click.echo()
        say(f"(what {item.source or 'nothing has ended'} wrote does not count)")


TAILING = (tail,)
