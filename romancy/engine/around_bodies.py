"""Puts the blocks of hooks around the bodies of workflows.

A block is entered and left by the task of the body, so that the body sees the context variables that it sets. The code
of a hook stands outside of the workflow: it runs in the loop of the app, and may start threads and look at the clock.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from romancy._microseconds import moment_of
from romancy.core import ContinueAsNew, RunDropped
from romancy.engine.blocks import Blocks
from romancy.hooks import Body, Hook

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from romancy.core import Commands
    from romancy.engine.clock import DatabaseClock
    from romancy.workflow import Workflow

__all__ = ["around_bodies"]


def around_bodies(
    hooks: Sequence[Hook], clock: DatabaseClock, worker_id: str
) -> Callable[[Workflow[..., object], Commands, Coroutine[Any, Any, Any]], Coroutine[Any, Any, Any]] | None:
    """What puts a body into the blocks of those hooks that have some. None: no hook has."""
    surround = [hook for hook in hooks if type(hook).around_body is not Hook.around_body]
    return partial(_around, surround, clock, worker_id) if surround else None


async def _around(
    hooks: Sequence[Hook],
    clock: DatabaseClock,
    worker_id: str,
    workflow: Workflow[..., object],
    commands: Commands,
    work: Coroutine[Any, Any, Any],
) -> Any:
    body, loop = _body(clock, worker_id, workflow, commands), commands.loop
    with loop.outside():
        blocks = Blocks(hooks, body, lambda hook: hook.around_body(body))
    error: BaseException | None = None
    try:
        return await work
    except (ContinueAsNew, GeneratorExit, RunDropped):
        raise  # the body has not failed
    except BaseException as raised:
        error = raised
        raise
    finally:
        with loop.outside():
            blocks.leave(error)
        del error


def _body(clock: DatabaseClock, worker_id: str, workflow: Workflow[..., object], commands: Commands) -> Body:
    started = commands.started

    def read() -> dict[str, object]:
        args, kwargs = workflow.signature.decode_arguments(started.input)
        return dict(zip(workflow.signature.names, args, strict=False)) | kwargs

    return Body(
        instance_id=commands.instance_id,
        workflow_name=workflow.name,
        run=started.run,
        at=moment_of(clock.now()),
        worker_id=worker_id,
        began_at=moment_of(commands.began),
        headers=started.headers,
        parent_id=None if started.parent is None else started.parent.instance_id,
        _read=read,
        _replays=lambda: commands.replaying,
    )
