"""Keeps the sessions, messages and callbacks of ended attempts until their ends are appended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from romancy.engine.decide import how_many_fit
from romancy.engine.unwritten import NO_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from romancy.core import Input
    from romancy.engine.activities.port import Port
    from romancy.engine.inbox import Given
    from romancy.engine.instance import Live

__all__ = ["Ports"]


class Ports:
    """Ports of ended attempts, keyed by their end event."""

    def __init__(self) -> None:
        self.of: dict[int, tuple[Input, Port]] = {}
        """Keyed by the `id()` of an input.

        The entry holds the input, so that no other object can get the same `id()`.
        """
        self._ending: set[asyncio.Task[None]] = set()

    def ended(self, event: Input, port: Port) -> None:
        """The attempt of this port has ended. Keep the port, if it leaves something, until its input is fed."""
        port.has_ended()
        if port.leaves_something:
            self.put(event, port)

    def put(self, event: Input, port: Port) -> None:
        """Keep the port until its input is fed."""
        self.of[id(event)] = event, port

    def take(self, live: Live) -> tuple[list[Given], Mapping[int, Port]]:
        """Take the inputs of the next append, in the order of their times, and their ports by position.

        The input of an attempt that holds a session is taken alone. It is taken first if nothing else can be written
        before the session ends.
        """
        live.sort_inputs()
        fitting = how_many_fit(live.inputs)
        if not self.of:
            return live.take_inputs(0, fitting), NO_PORTS
        ports = {index: self.of[id(event)][1] for index, (event, _) in enumerate(live.inputs) if id(event) in self.of}
        sessions = [index for index, port in ports.items() if port.opened is not None]
        first, count = 0, fitting if not sessions else min(fitting, max(1, sessions[0]))
        if sessions and ports[sessions[0]] is live.holder:
            first, count = sessions[0], 1
        inputs = live.take_inputs(first, first + count)
        for event, _ in inputs:
            self.of.pop(id(event), None)
        return inputs, {index - first: port for index, port in ports.items() if first <= index < first + count}

    def of_fed(
        self, inputs: Sequence[Given], ports: Mapping[int, Port], dropped: Iterable[Input]
    ) -> tuple[Mapping[int, Port], Mapping[int, Port]]:
        """The ports of the inputs that the run took, and those of the others.

        The log does not record the end of an unwanted attempt, so its session is rolled back.
        """
        unwanted = {id(event) for event in dropped}
        lost = {index: port for index, port in ports.items() if id(inputs[index][0]) in unwanted}
        self.give_up([port for port in lost.values() if port.opened is not None])
        return {index: port for index, port in ports.items() if index not in lost}, lost

    def take_of(self, event: Input) -> Port | None:
        """Take the port that is kept for this input, if there is one."""
        return self.of.pop(id(event), (None, None))[1]

    def forget(self, inputs: Iterable[Given]) -> None:
        """Discard the ports of inputs that will not be fed.

        No write, message or callback of their attempts takes effect.
        """
        if self.of:
            self.give_up([self.of.pop(id(event))[1] for event, _ in inputs if id(event) in self.of])

    def give_up(self, ports: Iterable[Port]) -> None:
        """Roll back the sessions of these ports."""
        for port in ports:
            ending = asyncio.get_running_loop().create_task(port.give_up())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def given_up(self) -> None:
        """Return when every session given up is rolled back."""
        if self._ending:
            await asyncio.wait(self._ending)
