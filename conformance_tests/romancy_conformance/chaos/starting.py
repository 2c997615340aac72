"""Starts of a program by its workflow's name, or in the place of an instance that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from romancy_conformance.chaos.workflows import call_of, chaos_program

if TYPE_CHECKING:
    from romancy import Romancy
    from romancy_conformance.chaos.programs import Program

__all__ = ["Renewal", "start_by_name"]

_LATER = 86_400.0


async def start_by_name(app: Romancy, program: Program) -> None:
    """Start by an app without the workflow's code."""
    named = app.workflow(chaos_program.name).options(instance_id=program.path)
    await app.start(named, program=msgspec.to_builtins(program), run=0)


class Renewal:
    """Starts a program for later, ends that instance, and starts it again in its place; call it until it succeeds.

    What was done is not done again: a start whose answer was lost may come late, and a second end would end that one.
    """

    def __init__(self, app: Romancy, program: Program) -> None:
        self._app = app
        self._program = program
        self._begun = self._ended = False

    async def __call__(self) -> None:
        if not self._begun:
            await self._app.start_many([call_of(self._program, delay=_LATER)])
            self._begun = True
        if not self._ended:
            await self._app.terminate(self._program.path)
            self._ended = True
        await self._app.start_many([call_of(self._program)], if_exists="restart_failed")
