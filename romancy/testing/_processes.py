"""Runs workers as processes of their own, which are killed after a commit."""

from __future__ import annotations

import asyncio
import base64
import secrets
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from romancy.app import Romancy
from romancy.engine.life_numbers import derived_life, lives_from
from romancy.engine.worker.rest import is_at_rest
from romancy.errors import UsageError, WorkflowCancelledError, WorkflowFailedError
from romancy.serialization import loads
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.passing import changed_by
from romancy.testing._dying import DEAD, die
from romancy.testing._mortal import Death, Mortal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.handle import Handle
    from romancy.storage.protocol import Store
    from romancy.workflow import Call, Workflow

__all__ = ["MOST_COMMITS", "Ended", "Processes", "main"]

MOST_COMMITS: Final = 1000
"""A workflow that makes more commits in one run is taken for one that never ends."""

_IDLE: Final = 5.0
"""Seconds after which a worker without anything to do gives up waiting for the end of its workflow."""
_A_MOMENT: Final = 0.05
_OPEN: Final = tuple(status for status in Status if status not in TERMINAL_STATUSES)


class Order(msgspec.Struct):
    """The order for a worker process."""

    url: str
    path: list[str]
    """Where modules are found."""
    workflows: list[tuple[str, str]]
    """The module and the qualified name of each; the first one is run."""
    instance_id: str
    input: str
    number: int
    """The place at which the process kills itself; 0: at none."""
    fresh: bool = True
    """Whether this is the first process of a run: it removes the instances of the run before."""


class Ended(NamedTuple):
    """How a run ended, and where its first process was killed."""

    where: str
    result: str


class _MortalApp(Romancy):
    """An app whose process dies at a chosen place."""

    def __init__(self, order: Order, workflows: list[Workflow[..., Any]]) -> None:
        super().__init__(order.url, workflows=workflows, check_at_start=False, drain_timeout=0.0)
        self.death = Death(_kill_this_process)
        self._settings = replace(self._settings, stage=self.death.stage, around=self._mortal)

    def _mortal(self, store: Store) -> Store:
        return changed_by(store, Mortal, self.death)

    async def forget(self, instance_id: str) -> None:
        """Remove the instance of that id and all that it has started."""
        gone = {instance_id}
        parents = {each.instance_id: each.parent_id async for each in self.iter_instances()}
        for _ in parents:
            more = {each for each, parent in parents.items() if parent in gone} - gone
            if not more:
                break
            gone |= more
        await self.purge(*gone)

    async def never_ends(self) -> str:
        """Wait until the worker has made too many commits, or has nothing to do. Returns which."""
        idle = 0.0
        while idle < _IDLE:
            if self.death.too_many.is_set():
                return f"it has made {MOST_COMMITS} commits and has not ended"
            await asyncio.sleep(_A_MOMENT)
            idle = idle + _A_MOMENT if await self._has_nothing_to_do() else 0.0
        return "it waits for something that no process sends"

    async def _has_nothing_to_do(self) -> bool:
        worker = self._access.worker
        if worker is None or not is_at_rest(worker):
            return False
        page = await self.list_instances(status=_OPEN)
        return all(each.wakes_at is None for each in page.instances)


def _kill_this_process(where: str) -> None:
    print(where, flush=True)  # noqa: T201 - the other process reads it
    die()


class Processes:
    """Runs of a workflow on a database, each by a process that dies and one that continues."""

    def __init__(self, url: str, workflows: Sequence[Workflow[..., Any] | type]) -> None:
        self._url = url
        self._workflows = [_place(workflow) for workflow in workflows]
        self._instance_id = f"crash-test-{secrets.token_hex(4)}"

    async def run(self, call: Call[Any], number: int) -> Ended | None:
        """How the workflow ended: its result or its error. None if there are fewer places."""
        order = Order(
            url=self._url,
            path=_places_of_modules(),
            workflows=sorted(self._workflows, key=lambda place: place != _place(call.workflow)),
            instance_id=self._instance_id,
            input=base64.b64encode(bytes(call.encode())).decode(),
            number=number,
        )
        code, said, told = await self._process(order)
        where = ""
        if number and code == 0:
            return None
        if number and code == DEAD:
            where = said.splitlines()[-1]
            order.number, order.fresh = 0, False
            code, said, told = await self._process(order)
        if code:
            raise AssertionError(f"a worker of workflow {call.workflow.name} ended with {code}:\n{told}")
        return Ended(where, said.splitlines()[-1])

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
            await process.communicate()
            raise
        assert process.returncode is not None  # noqa: S101 - it has ended
        return process.returncode, said.decode(), told.decode()


def _places_of_modules() -> list[str]:
    return [str(Path(each).absolute()) for each in sys.path]


def _place(workflow: Workflow[..., Any] | type) -> tuple[str, str]:
    """Where a workflow, or a class of entities, is found."""
    fn = workflow if isinstance(workflow, type) else workflow.fn
    if "<locals>" in fn.__qualname__:
        raise UsageError(f"workflow {fn.__name__} is defined inside of a function, where no other process finds it")
    return fn.__module__, fn.__qualname__


def main() -> None:
    """Carry out the order from stdin, and print how the workflow ended."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.path[:] = order.path
    try:
        print(asyncio.run(_carry_out(order)))  # noqa: T201 - the other process reads it
    except AssertionError as error:
        raise SystemExit(str(error)) from None


async def _carry_out(order: Order) -> str:
    workflows = [_found(*place) for place in order.workflows]
    workflow = workflows[0].options(instance_id=order.instance_id)
    positional, named = workflow.signature.decode_arguments(base64.b64decode(order.input))
    app = _MortalApp(order, workflows)
    with lives_from(derived_life):
        async with app:
            if order.fresh:
                await app.forget(order.instance_id)
            app.death.after(order.number, most=MOST_COMMITS)
            handle = await app.start(workflow, *positional, **named)
            return await _ended(app, handle, order.instance_id)


async def _ended(app: _MortalApp, handle: Handle[Any], instance_id: str) -> str:
    """How it ended. Raises AssertionError for a workflow that does not end."""
    ending, vain = asyncio.create_task(_result_of(handle, instance_id)), asyncio.create_task(app.never_ends())
    await asyncio.wait([ending, vain], return_when=asyncio.FIRST_COMPLETED)
    for task in (ending, vain):
        task.cancel()
    await asyncio.wait([ending, vain])
    if ending.cancelled():
        waits = "; ".join(await handle.explain())
        raise AssertionError(f"the workflow does not end: {vain.result()}. {waits}")
    return ending.result()


async def _result_of(handle: Handle[Any], instance_id: str) -> str:
    try:
        result = await handle.result()
    except (WorkflowFailedError, WorkflowCancelledError) as error:
        return f"{type(error).__name__}: {str(error).replace(instance_id, 'it')}"
    assert handle.workflow is not None  # noqa: S101 - the handle was made with it
    return repr(loads(handle.workflow.signature.encode_result(result), Any, "result"))


def _found(module: str, name: str) -> Any:
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
