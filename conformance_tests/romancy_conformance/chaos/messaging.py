"""Operations that send: programs wait for what a sender outside, their children and they themselves send.

An address is the id of the program that receives, a slash and a key. It serves as the key of an event, as the type of
an event that goes to all that listen, and as the name of a channel. For an event to the outside it names the sender.
No two operations share one, so that it is determined who receives what.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from romancy.errors import EventTimeoutError
from romancy_conformance.chaos.interpreting import has_lasted, interpret, launch_cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Literal

    from romancy_conformance.chaos.interpreting import Handler, World
    from romancy_conformance.chaos.programs import Node

__all__ = ["LAST", "MESSAGES", "Post", "receiver_of"]

LAST = 0
"""The number that ends a helper."""
_SENDERS = (
    "tell", "tells", "tells_written", "tells_joined", "call", "calls", "publish", "publishes", "announce", "announces",
    "announces_lazily", "announces_written", "announces_joined",
)  # fmt: skip
_MANY = 100
_LONGEST = 10.0


class Post(Protocol):
    """The part of a world that sends and receives."""

    async def wait(self, address: str, timeout: float | None = None, least: int = 0) -> int:
        """Wait for an event with this key, and with at least this number. Raises EventTimeoutError."""
        ...

    async def tell(self, address: str, number: int) -> None:
        """Send an event with this key."""
        ...

    async def subscribe(self, type: str) -> None:
        """Listen to a type from now on."""
        ...

    async def heard(self, type: str) -> int:
        """Wait for the next event of a type."""
        ...

    async def unsubscribe(self, type: str) -> None:
        """Listen to the type no longer. What came and was not heard is dropped."""
        ...

    async def call(self, type: str, number: int) -> None:
        """Send an event to all that listen to its type."""
        ...

    async def join(self, channel: str, mode: Literal["broadcast", "competing"]) -> None:
        """Subscribe to a channel."""
        ...

    async def leave(self, channel: str) -> None:
        """End the subscription."""
        ...

    async def receive(self, channel: str, timeout: float | None = None, least: int = 0, *, direct: bool = False) -> int:
        """Wait for the next message with at least this number. Raises EventTimeoutError."""
        ...

    async def publish(self, channel: str, number: int) -> None:
        """Send a message to the subscribers."""
        ...

    async def answer(self, address: str, number: int) -> None:
        """Send a message on this channel to the program of the address alone."""
        ...

    async def announce(self, key: str, number: int) -> None:
        """Publish an event for the outside."""
        ...


def receiver_of(address: str) -> str:
    """Return the id of the program that an address belongs to."""
    return address.rpartition("/")[0]


async def _until_there(node: Node, take: Callable[[float], Awaitable[int]]) -> list[int]:
    """Take so many numbers, by waits that become longer. What goes back may come behind what was sent later."""
    found: list[int] = []
    seconds = node.seconds
    while len(found) < node.count:
        try:
            found.append(await take(seconds))
        except EventTimeoutError:
            seconds = min(2 * seconds, _LONGEST)
    return sorted(found)


async def _event_sent(world: World, node: Node) -> Any:
    return [await world.post.wait(node.key) for _ in range(node.count)]


async def _event_late(world: World, node: Node) -> Any:
    return await _until_there(node, lambda seconds: world.post.wait(node.key, seconds))


async def _event_left(world: World, node: Node) -> Any:
    """Cancel each wait that has taken too long."""
    return await _until_there(node, lambda seconds: _given_up(world.post.wait(node.key), seconds))


async def _given_up(wait: Awaitable[int], seconds: float) -> int:
    try:
        return await asyncio.wait_for(wait, seconds)
    except TimeoutError:
        raise EventTimeoutError("it was cancelled") from None


async def _event_none(world: World, node: Node) -> Any:
    since = world.now()
    try:
        await world.post.wait(node.key, node.seconds)
    except EventTimeoutError:
        return [node.key, has_lasted(world, since, node.seconds)]
    return "an event that nobody sent"


async def _event_told(world: World, node: Node) -> Any:
    """One task waits for what another one sends."""

    async def send() -> Any:
        done = await interpret(world, node.of[0])
        for number in range(1, node.count + 1):
            await world.post.tell(node.key, number)
        return done

    return await asyncio.gather(_event_sent(world, node), send())


async def _event_picked(world: World, node: Node) -> Any:
    """A condition leaves the first event to the second wait."""
    await world.post.tell(node.key, 1)
    await world.post.tell(node.key, _MANY)
    return [await world.post.wait(node.key, least=_MANY), await world.post.wait(node.key)]


async def _event_child(world: World, node: Node) -> Any:
    assert node.program is not None
    child = await world.launch(node.program)
    return [await _event_sent(world, node), await child.result()]


async def _event_inherited(world: World, node: Node) -> Any:
    """A child that waits for the key is cancelled, and then the event is sent: the next wait gets it."""
    assert node.program is not None
    ended = await launch_cancelled(world, node)
    await world.post.tell(node.key, 1)
    return [ended, await world.post.wait(node.key)]


async def _listen(world: World, node: Node) -> Any:
    """Subscribe, and begin a child that sends; other work comes between two waits."""
    assert node.program is not None
    await world.post.subscribe(node.key)
    child = await world.launch(node.program)
    found = [await world.post.heard(node.key)]
    beside = await interpret(world, node.of[0])
    found += [await world.post.heard(node.key) for _ in range(node.count - 1)]
    return [found, beside, await child.result()]


async def _listen_left(world: World, node: Node) -> Any:
    """Hear the first event, and leave the others unheard."""
    await world.post.subscribe(node.key)
    for number in range(1, node.count + 1):
        await world.post.call(node.key, number)
    heard = await world.post.heard(node.key)
    await world.post.unsubscribe(node.key)
    await interpret(world, node.of[0])
    return heard


async def _channel_direct(world: World, node: Node) -> Any:
    """What was sent again after a lost answer is there twice."""
    heard: list[int] = []
    while len(heard) < node.count:
        number = await world.post.receive(node.key, direct=True)
        if not heard or number != heard[-1]:
            heard.append(number)
    return heard


async def _channel_sent(world: World, node: Node) -> Any:
    """Receive what was perhaps published before the channel had a subscriber."""
    await world.post.join(node.key, "competing")
    found = [await world.post.receive(node.key) for _ in range(node.count)]
    await world.post.leave(node.key)
    return found


async def _channel_late(world: World, node: Node) -> Any:
    await world.post.join(node.key, "competing")
    return await _until_there(node, lambda seconds: world.post.receive(node.key, seconds))


async def _channel_left(world: World, node: Node) -> Any:
    """Leave the channel after each wait that has taken too long."""

    async def take(seconds: float) -> int:
        await world.post.join(node.key, "competing")
        try:
            return await world.post.receive(node.key, seconds)
        finally:
            await world.post.leave(node.key)

    return await _until_there(node, take)


async def _channel_picked(world: World, node: Node) -> Any:
    """A condition leaves the first message to the second wait."""
    await world.post.join(node.key, "competing" if node.count % 2 else "broadcast")
    await _publish_all(world, node.key, [1, _MANY])
    found = [await world.post.receive(node.key, least=_MANY), await world.post.receive(node.key)]
    await world.post.leave(node.key)
    return found


async def _channel_inherited(world: World, node: Node) -> Any:
    """A subscriber is cancelled, and then a message is published: the next subscriber gets it."""
    ended = await launch_cancelled(world, node)
    await world.post.publish(node.key, 1)
    await world.post.join(node.key, "competing")
    return [ended, await world.post.receive(node.key)]


async def _publish_all(world: World, channel: str, numbers: list[int]) -> None:
    for number in numbers:
        if number % 2:
            await world.post.publish(channel, number)
        else:
            await world.do("publishes", channel, number)


async def _channel_group(world: World, node: Node) -> Any:
    """All members of a group get every message, in the same order."""
    await world.post.join(node.key, "broadcast")
    members = [await world.launch(each.program) for each in node.of if each.program is not None]
    for _ in members:
        await world.post.receive(node.key, direct=True)
    await _publish_all(world, node.key, list(range(1, node.count + 1)))
    found = [await world.post.receive(node.key) for _ in range(node.count)]
    return [found, [await member.result() for member in members]]


async def _member(world: World, node: Node) -> Any:
    await world.post.join(node.key, "broadcast")
    await world.post.answer(node.key, 1)
    return [await world.post.receive(node.key) for _ in range(node.count)]


async def _channel_shared(world: World, node: Node) -> Any:
    """Each message goes to one of the helpers, who answer."""
    helpers = [await world.launch(each.program) for each in node.of if each.program is not None]
    await _publish_all(world, node.key, [*range(1, node.count + 1), *(LAST for _ in helpers)])
    found = sorted([await world.post.receive(node.key, direct=True) for _ in range(node.count)])
    return [found, [await helper.result() for helper in helpers]]


async def _helper(world: World, node: Node) -> Any:
    await world.post.join(node.key, "competing")
    while (number := await world.post.receive(node.key)) != LAST:
        await world.post.answer(node.key, number)
    return node.key


async def _over_begin(world: World, node: Node) -> Any:
    """Subscribe in one run, and begin a program that sends."""
    assert node.program is not None
    await world.post.subscribe(node.key)
    await world.post.join(node.key, "broadcast")
    await world.spawn(node.program)
    return node.key


async def _over_end(world: World, node: Node) -> Any:
    """Receive in a later run."""
    events = [await world.post.heard(node.key) for _ in range(node.count)]
    return [events, [await world.post.receive(node.key) for _ in range(node.count)]]


async def _outbox(world: World, node: Node) -> Any:
    return [await _send(world, each) for each in node.of]


async def _send(world: World, node: Node) -> Any:
    if node.op == "tell":
        await world.post.tell(node.key, node.count)
    elif node.op == "call":
        await world.post.call(node.key, node.count)
    elif node.op == "publish":
        await world.post.publish(node.key, node.count)
    elif node.op == "announce":
        await world.post.announce(node.key, node.count)
    else:
        await world.do(node.op, node.key, node.count)
    return node.count


MESSAGES: dict[str, Handler] = {
    "event_sent": _event_sent,
    "event_late": _event_late,
    "event_left": _event_left,
    "event_none": _event_none,
    "event_told": _event_told,
    "event_picked": _event_picked,
    "event_child": _event_child,
    "event_inherited": _event_inherited,
    "listen": _listen,
    "listen_left": _listen_left,
    "channel_direct": _channel_direct,
    "channel_sent": _channel_sent,
    "channel_late": _channel_late,
    "channel_left": _channel_left,
    "channel_picked": _channel_picked,
    "channel_inherited": _channel_inherited,
    "channel_group": _channel_group,
    "member": _member,
    "channel_shared": _channel_shared,
    "helper": _helper,
    "over_begin": _over_begin,
    "over_end": _over_end,
    "outbox": _outbox,
    **dict.fromkeys(_SENDERS, _send),
}
