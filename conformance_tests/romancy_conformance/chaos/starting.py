"""Starts of a program by its workflow's name, or in the place of an instance that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from romancy_conformance.chaos.workflows import call_of, chaos_program

if TYPE_CHECKING:
    from romancy import Romancy
    from romancy.storage.protocol import Store
    from romancy_conformance.chaos.programs import Program

__all__ = ["Renewal", "start_by_name"]

_LATER = 86_400.0


async def start_by_name(app: Romancy, program: Program) -> None:
    """Start by an app without the workflow's code."""
    named = app.workflow(chaos_program.name).options(instance_id=program.path)
    await app.start(named, program=msgspec.to_builtins(program), run=0)


class Renewal:
    """Starts a program for later, ends that instance, and starts it again in its place; call it until it succeeds."""

    def __init__(self, app: Romancy, store: Store, program: Program) -> None:
        self._app = app
        self._store = store
        self._program = program
        self._former = 0

    async def __call__(self) -> None:
        path = self._program.path
        if not self._former:
            await self._app.start_many([call_of(self._program, delay=_LATER)])
            self._former = await self._life()
        if await self._life() == self._former:
            await self._app.terminate(path)
            await self._app.start_many([call_of(self._program)], if_exists="restart_failed")

    async def _life(self) -> int:
        found = await self._store.read(self._program.path, limit=0)
        assert found is not None
        return found.instance.life
