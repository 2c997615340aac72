"""What ended attempts left behind (sessions, messages, callbacks), from their ends to the appends that carry these."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from romancy.engine.activities.runner import ENDS
from romancy.engine.decide import in_order
from romancy.engine.pending_append import NO_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from romancy.core import Input
    from romancy.engine.activities.port import Port
    from romancy.engine.instance import Live
    from romancy.engine.pending_append import Given

__all__ = ["Ports"]


class Ports:
    """Those of one worker, by the input that says how the attempt ended."""

    def __init__(self) -> None:
        self.of: dict[int, tuple[Input, Port]] = {}
        """By the id of an input, which is held so that no other one can get its id."""
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def empty(self) -> bool:
        """Whether nothing that ended attempts have left open waits for its input to be fed."""
        return not self.of

    def put(self, event: Input, port: Port) -> None:
        """The input will be fed: this goes with it."""
        self.of[id(event)] = event, port

    def keep(self, inputs: Sequence[Given], ports: Mapping[int, Port]) -> None:
        """These inputs will be fed again: what their attempts left behind goes with them."""
        for index, port in ports.items():
            self.put(inputs[index][0], port)

    def take(self, live: Live) -> tuple[list[Given], Mapping[int, Port]]:
        """The inputs of the next append, with their ports by place: all that wait, in the order of their times.

        One whose attempt holds a session goes alone, and first if nothing else can be written before the session ends.
        """
        fitting = 1 if len(live.inputs) == 1 else in_order(live.inputs)
        if not self.of:
            inputs, live.inputs = live.inputs[:fitting], live.inputs[fitting:]
            return inputs, NO_PORTS
        ports = {index: self.of[id(event)][1] for index, (event, _) in enumerate(live.inputs) if id(event) in self.of}
        sessions = [index for index, port in ports.items() if port.opened is not None]
        first, count = 0, fitting if not sessions else min(fitting, max(1, sessions[0]))
        if sessions and ports[sessions[0]] is live.holder:
            first, count = sessions[0], 1
        inputs = live.inputs[first : first + count]
        del live.inputs[first : first + count]
        for event, _ in inputs:
            self.of.pop(id(event), None)
        return inputs, {index - first: port for index, port in ports.items() if first <= index < first + count}

    def of_fed(
        self, inputs: Sequence[Given], ports: Mapping[int, Port], dropped: Iterable[Input]
    ) -> Mapping[int, Port]:
        """Those of inputs that the run took; the end of an attempt that nobody wanted any more is in no log."""
        unwanted = {id(event) for event in dropped}
        lost = {index for index in ports if id(inputs[index][0]) in unwanted}
        self.give_up([ports[index] for index in lost])
        return {index: port for index, port in ports.items() if index not in lost}

    def carry_over(self, live: Live) -> list[Given]:
        """Take the ends of attempts that nobody could feed yet, for the run that is brought back in place of this one.

        What has been done is not done again. Where a session is open it is: its transaction goes with the run.
        """
        ends = [given for given in live.inputs if isinstance(given[0], ENDS) and not self._has_session(given[0])]
        taken = {id(event) for event, _ in ends}
        live.inputs = [given for given in live.inputs if id(given[0]) not in taken]
        return ends

    def _has_session(self, event: Input) -> bool:
        kept = self.of.get(id(event))
        return kept is not None and kept[1].opened is not None

    def forget(self, inputs: Iterable[Given]) -> None:
        """These inputs will not be fed: nothing that their attempts wrote, sent or wanted called has happened."""
        if self.of:
            self.give_up([self.of.pop(id(event))[1] for event, _ in inputs if id(event) in self.of])

    def give_up(self, ports: Iterable[Port]) -> None:
        """Roll back their sessions."""
        for port in ports:
            ending = asyncio.get_running_loop().create_task(port.give_up())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def given_up(self) -> None:
        """Return when all that was given up is rolled back."""
        if self._ending:
            await asyncio.wait(self._ending)
