"""The blocks that hooks put around an attempt or a body. An error of a hook is logged, and affects nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.engine.announcing import say_hook_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from romancy.hooks import ActivityStarted, Body, Hook

__all__ = ["Blocks"]


class Blocks:
    """The blocks of several hooks, which are entered when this is made."""

    def __init__(
        self,
        hooks: Iterable[Hook],
        of: ActivityStarted | Body,
        block: Callable[[Hook], AbstractContextManager[object]],
    ) -> None:
        self._of = of
        self._entered: list[tuple[Hook, AbstractContextManager[object]]] = []
        for hook in hooks:
            try:
                entered = block(hook)
                entered.__enter__()
            except Exception as error:  # noqa: BLE001 - an error of a hook affects nothing else
                self._complain(hook, error)
            else:
                self._entered.append((hook, entered))

    def leave(self, error: BaseException | None) -> None:
        """Leave the blocks, the last first. No block can swallow the error or replace it."""
        for hook, block in reversed(self._entered):
            try:
                if error is None:
                    block.__exit__(None, None, None)
                else:
                    block.__exit__(type(error), error, error.__traceback__)
            except BaseException as raised:
                if raised is error:
                    continue
                if not isinstance(raised, Exception):
                    raise
                self._complain(hook, raised)

    def _complain(self, hook: Hook, error: Exception) -> None:
        say_hook_failed(hook, type(self._of).__name__, error, self._of.instance_id, self._of)
