"""The oracle's events and channels: boxes of numbers, each with the waits for them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from romancy.errors import EventTimeoutError
from romancy_conformance.chaos.messaging import receiver_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

__all__ = ["Boxes", "PlainPost"]

_NEVER = 10_000_000.0


class Boxes:
    """All that was sent and not received, and who has subscribed, in the world without an engine."""

    def __init__(self) -> None:
        self.listeners: defaultdict[str, set[str]] = defaultdict(set)
        self.members: defaultdict[str, set[str]] = defaultdict(set)
        self._there: defaultdict[str, list[int]] = defaultdict(list)
        self._waits: defaultdict[str, list[tuple[int, asyncio.Future[int]]]] = defaultdict(list)

    def put(self, box: str, number: int) -> None:
        for least, wait in self._waits[box]:
            if number >= least and not wait.done():
                wait.set_result(number)
                return
        self._there[box].append(number)

    async def take(self, box: str, timeout: float | None = None, least: int = 0) -> int:
        """Take the first number that is large enough. Raises EventTimeoutError."""
        await asyncio.sleep(0)
        for number in self._there[box]:
            if number >= least:
                self._there[box].remove(number)
                return number
        wait: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waits = self._waits[box]
        waits.append((least, wait))
        try:
            async with asyncio.timeout(_NEVER if timeout is None else timeout):
                return await wait
        except BaseException as error:
            if wait.done() and not wait.cancelled():
                self.put(box, wait.result())
            if isinstance(error, TimeoutError):
                raise EventTimeoutError("nothing came") from None
            raise
        finally:
            waits.remove((least, wait))

    def send(self, kind: str, address: str, number: int) -> None:
        """Send by one of the ways there are: to a key, to a type, on a channel, or to one receiver."""
        if kind == "call":
            for path in self.listeners[address]:
                self.put(f"heard {path} {address}", number)
        elif kind == "publish" and self.members[address]:
            for path in self.members[address]:
                self.put(f"broadcast {path} {address}", number)
        else:
            self.put(f"{kind} {address}", number)

    def send_all(self, mail: Iterable[tuple[str, str, int]]) -> None:
        for kind, address, number in mail:
            self.send(kind, address, number)


class PlainPost:
    """Sends and receives for one program."""

    def __init__(self, path: str, boxes: Boxes, announced: dict[str, list[int]]) -> None:
        self._path = path
        self._boxes = boxes
        self._announced = announced

    async def wait(self, address: str, timeout: float | None = None, least: int = 0) -> int:
        return await self._boxes.take(f"tell {address}", timeout, least)

    async def tell(self, address: str, number: int) -> None:
        self._boxes.send("tell", address, number)

    async def subscribe(self, type: str) -> None:
        self._boxes.listeners[type].add(self._path)

    async def unsubscribe(self, type: str) -> None:
        self._boxes.listeners[type].discard(self._path)

    async def heard(self, type: str) -> int:
        return await self._boxes.take(f"heard {self._path} {type}")

    async def call(self, type: str, number: int) -> None:
        self._boxes.send("call", type, number)

    async def join(self, channel: str, mode: Literal["broadcast", "competing"]) -> None:
        await asyncio.sleep(0)
        if mode == "broadcast":
            self._boxes.members[channel].add(self._path)

    async def leave(self, channel: str) -> None:
        self._boxes.members[channel].discard(self._path)

    async def receive(self, channel: str, timeout: float | None = None, least: int = 0, *, direct: bool = False) -> int:
        if direct:
            assert receiver_of(channel) == self._path
            return await self._boxes.take(f"answer {channel}", timeout, least)
        if self._path in self._boxes.members[channel]:
            return await self._boxes.take(f"broadcast {self._path} {channel}", timeout, least)
        return await self._boxes.take(f"publish {channel}", timeout, least)

    async def publish(self, channel: str, number: int) -> None:
        self._boxes.send("publish", channel, number)

    async def answer(self, address: str, number: int) -> None:
        self._boxes.send("answer", address, number)

    async def announce(self, key: str, number: int) -> None:
        self._announced.setdefault(key, []).append(number)
