"""Runs workers as processes of their own, which are killed after a commit."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import secrets
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from romancy.app import Romancy
from romancy.errors import UsageError, WorkflowCancelledError, WorkflowFailedError
from romancy.serialization import loads
from romancy.testing._mortal import Mortal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.workflow import Call, Workflow

__all__ = ["Processes", "main"]

_KILLED: Final = -signal.SIGKILL


class Order(msgspec.Struct):
    """The order for a worker process."""

    url: str
    path: list[str]
    """Where modules are found."""
    workflows: list[tuple[str, str]]
    """The module and the qualified name of each; the first one is run."""
    instance_id: str
    input: str
    commit: int


class _MortalApp(Romancy):
    """An app whose process dies after a commit."""

    commit = 0

    async def _begin(self, store: Store) -> None:
        mortal: Any = Mortal(store, lambda: os.kill(os.getpid(), signal.SIGKILL))
        if self.commit:
            mortal.dies_after(self.commit)
        await super()._begin(mortal)


class Processes:
    """Runs of a workflow on a database, each by a process that dies and one that continues."""

    def __init__(self, url: str, workflows: Sequence[Workflow[..., Any]]) -> None:
        self._url = url
        self._workflows = [_place(workflow) for workflow in workflows]
        self._label = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def run(self, call: Call[Any], commit: int) -> Any:
        """How the workflow ended: its result or its error. None if it makes fewer commits."""
        order = Order(
            url=self._url,
            path=_places_of_modules(),
            workflows=sorted(self._workflows, key=lambda place: place != _place(call.workflow)),
            instance_id=f"crash-test-{self._label}-{next(self._numbers)}",
            input=base64.b64encode(bytes(call.encode())).decode(),
            commit=commit,
        )
        code, said, told = await self._process(order)
        if commit and code == 0:
            return None
        if commit and code == _KILLED:
            order.commit = 0
            code, said, told = await self._process(order)
        if code:
            raise AssertionError(f"a worker of workflow {call.workflow.name} ended with {code}:\n{told}")
        return said.splitlines()[-1]

    async def _process(self, order: Order) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "romancy.testing",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, told = await process.communicate(msgspec.json.encode(order))
        except BaseException:
            process.kill()
            raise
        assert process.returncode is not None  # noqa: S101 - it has ended
        return process.returncode, said.decode(), told.decode()


def _places_of_modules() -> list[str]:
    return [str(Path(each).absolute()) for each in sys.path]


def _place(workflow: Workflow[..., Any]) -> tuple[str, str]:
    fn = workflow.fn
    if "<locals>" in fn.__qualname__:
        raise UsageError(f"workflow {workflow.name} is defined inside of a function, where no other process finds it")
    return fn.__module__, fn.__qualname__


def main() -> None:
    """Carry out the order from stdin, and print how the workflow ended."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.path[:] = order.path
    print(asyncio.run(_carry_out(order)))  # noqa: T201 - the other process reads it


async def _carry_out(order: Order) -> str:
    workflows = [_found(*place) for place in order.workflows]
    app = _MortalApp(order.url, workflows=workflows, check_at_start=False, drain_timeout=0.0)
    app.commit = order.commit
    workflow = workflows[0].options(instance_id=order.instance_id)
    positional, named = workflow.signature.decode_arguments(base64.b64decode(order.input))
    async with app:
        handle = await app.start(workflow, *positional, **named)
        try:
            result = await handle.result()
        except (WorkflowFailedError, WorkflowCancelledError) as error:
            return f"{type(error).__name__}: {str(error).replace(order.instance_id, 'it')}"
    return repr(loads(workflow.signature.encode_result(result), Any, "result"))


def _found(module: str, name: str) -> Any:
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
