"""The command `undelivered`: lists, sends or removes events and messages of channels that no workflow has received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
import msgspec

from romancy.cli._asking import confirm
from romancy.cli._database import database, operating, running
from romancy.cli._duration import duration
from romancy.cli._printing import as_json, clean, json_option, say, time_of, wrapped
from romancy.cli._untaken_events import KeptEvent, kept_by_instances
from romancy.core import Message
from romancy.engine import decode_message
from romancy.errors import CodecError, HistoryVersionError, RomancyError
from romancy.insight import ago, many
from romancy.storage.routing import (
    KeptMessage,
    Spread,
    address_of_channel,
    address_of_key,
    instance_of_address,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import timedelta

    from romancy.storage.protocol import Store
    from romancy.storage.router import Router

__all__ = ["undelivered"]

_AT_ONCE: Final = 500


class Choice(NamedTuple):
    """The messages that the options choose."""

    type: str | None
    address: str | None


@click.command()
@database
@click.option("--type", "type_", metavar="TYPE", help="Only events of this type.")
@click.option("--key", metavar="KEY", help="Only events with this key; goes with --type.")
@click.option("--channel", metavar="NAME", help="Only messages of this channel.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="List at most so many.")
@click.option("--send", is_flag=True, help="Look for receivers again.")
@click.option("--purge", is_flag=True, help="Remove all messages older than --older-than without a waiting receiver.")
@click.option("--older-than", type=duration, metavar="AGE", help="With --purge: how old, as in 7d.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@running
async def undelivered(  # noqa: PLR0913 - click gives them by name
    url: str | None,
    app: str | None,
    type_: str | None,
    key: str | None,
    channel: str | None,
    *,
    limit: int,
    send: bool,
    purge: bool,
    older_than: timedelta | None,
    yes: bool,
    json_lines: bool,
) -> None:
    """Events and messages that no workflow has received.

    It also lists what was sent to an instance that has not taken it: no worker has, or the instance waits for another
    event; and what a workflow or an activity has sent to an instance that had ended.

    An event with a key, and a message of a channel without broadcast subscribers, is kept until a workflow waits for
    it: by default for seven days (Romancy(keep_undelivered=…)). Workers then send it by themselves. --send does so at
    once, without a worker.
    """
    chosen = _chosen(type_, key, channel)
    if send and purge:
        raise click.UsageError("give --send or --purge, not both")
    if purge and chosen != Choice(None, None):
        raise click.UsageError("--purge removes all that is old enough; leave out --type, --key and --channel")
    if purge and older_than is None:
        raise click.UsageError("give --purge an age: --older-than 7d")
    if older_than is not None and not purge:
        raise click.UsageError("--older-than goes with --purge")
    async with operating(url, app) as operator:
        store = operator.store
        if send:
            await _send(store.services.router, chosen)
        elif purge and older_than is not None:
            await _purge(store, older_than, yes=yes)
        else:
            await _list(store, chosen, key, limit, json_lines=json_lines)


def _chosen(type: str | None, key: str | None, channel: str | None) -> Choice:
    if key is not None and type is None:
        raise click.UsageError("--key goes with --type")
    if channel is not None and type is not None:
        raise click.UsageError("give --type or --channel, not both")
    if channel is not None:
        return Choice(None, address_of_channel(channel))
    return Choice(type, None if type is None or key is None else address_of_key(type, key))


async def _send(router: Router, chosen: Choice) -> None:
    """Dispatch one address after the other, and print the addresses whose interests cannot be read here."""
    sent, done = 0, set[str]()
    async for message in _kept(router, chosen):
        more = message.address not in done
        done.add(message.address)
        while more:
            try:
                dispatched = await router.dispatch([message.address])
            except RomancyError as error:
                say(f"{message.address}: {error}")
                break
            sent, more = sent + dispatched.delivered, dispatched.more
            for address, reason in dispatched.held_up.items():
                say(f"{address}: {reason}")
    say(f"{many(sent, 'message')} sent to waiting receivers")


async def _purge(store: Store, age: timedelta, *, yes: bool) -> None:
    if not yes:
        confirm("these messages have not been received; remove those without a waiting receiver?")
    before = (await store.services.reading.census()).now - round(age.total_seconds() * 1_000_000)
    count = gone = await store.services.router.expire(before, limit=_AT_ONCE)
    while gone:
        gone = await store.services.router.expire(before, limit=_AT_ONCE)
        count += gone
    say(f"{many(count, 'message')} removed")


async def _list(store: Store, chosen: Choice, key: str | None, limit: int, *, json_lines: bool) -> None:
    now, count = (await store.services.reading.census()).now, 0
    async for message in _all(store, chosen, key):
        if count == limit:
            say(f"the first {limit}; --limit shows more")
            break
        count += 1
        if json_lines:
            as_json(_record(message) if isinstance(message, KeptMessage) else message.record())
        else:
            told = _lines(message, now) if isinstance(message, KeptMessage) else message.lines(now)
            click.echo("\n".join(told))
    if not count:
        say("nothing is undelivered" if chosen == Choice(None, None) else "nothing of this choice is undelivered")


async def _all(store: Store, chosen: Choice, key: str | None) -> AsyncIterator[KeptMessage | KeptEvent]:
    async for message in _kept(store.services.router, chosen):
        yield message
    if chosen.address is not None:
        async for message in _kept(store.services.router, Choice(chosen.type, None)):
            if instance_of_address(message.address) is not None and _is_at(message, chosen.address, key):
                yield message
    if chosen.type is not None or chosen.address is None:
        async for event in kept_by_instances(store, chosen.type, key):
            yield event


async def _kept(router: Router, chosen: Choice) -> AsyncIterator[KeptMessage]:
    """The messages that wait for one receiver, without those for all listeners, which only wait for a dispatch."""
    after = ""
    while page := await router.kept(address=chosen.address, after=after, limit=_AT_ONCE):
        after = page[-1].message_id
        for message in page:
            if message.spread is not Spread.EVERY and (chosen.type is None or _is_of(message, chosen.type)):
                yield message


def _is_at(kept: KeptMessage, address: str, key: str | None) -> bool:
    """Whether a message that was sent to an instance is of the channel, or has the key, of this address."""
    message = _read(kept)
    if message is not None and message.topic.kind == "channel":
        return address_of_channel(message.topic.name) == address
    return message is not None and key is not None and message.topic.key == key


def _is_of(message: KeptMessage, type: str) -> bool:
    if instance_of_address(message.address) is not None:
        read = _read(message)
        return read is not None and (read.topic.kind, read.topic.name) == ("event", type)
    return message.address.startswith((f"k/{len(type)}/{type}/", f"h/{len(type)}/{type}/"))


def _lines(kept: KeptMessage, now: int) -> Iterator[str]:
    message = _read(kept)
    yield clean(_id(kept, message))
    receiver = instance_of_address(kept.address)
    if message is None:
        about = f"sealed by a codec (give --app), at {kept.address}"
    else:
        topic = message.topic
        key = "" if topic.key is None else f", key {topic.key}"
        who = f", from {message.source}" if message.source else f", by {message.sender}" if message.sender else ""
        about = f"{topic.kind} {topic.name}{key}{who}"
    too_late = "" if receiver is None else f"; sent to {receiver}, which had ended or did not exist"
    yield wrapped(f"{about}, {ago(kept.at, now)}{too_late}", "    ", 2)


def _record(kept: KeptMessage) -> dict[str, Any]:
    message = _read(kept)
    topic = None if message is None else message.topic
    return {
        "id": _id(kept, message),
        "type": topic.name if topic is not None and topic.kind == "event" else None,
        "key": topic and topic.key,
        "channel": topic.name if topic is not None and topic.kind == "channel" else None,
        "source": message and message.source,
        "sender": message and message.sender,
        "instance_id": instance_of_address(kept.address),
        "data": message and msgspec.json.decode(message.data),
        "sealed": message is None,
        "sent_at": time_of(kept.at),
    }


def _id(kept: KeptMessage, message: Message | None) -> str:
    """The id that the sender gave or got."""
    return message.id if message is not None and message.id else kept.message_id


def _read(kept: KeptMessage) -> Message | None:
    """The message; None if it is sealed, or not known to this version."""
    try:
        message = decode_message(kept.body)
    except (CodecError, HistoryVersionError):
        return None
    return message if isinstance(message, Message) else None
