"""A conversation that the body of a workflow keeps in its memory, and that a replay makes again."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from agents import SessionSettings

from romancy.context import current_workflow, in_workflow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents import TResponseInputItem

__all__ = ["WorkflowSession"]


class WorkflowSession:
    """A session of runs in the body of a workflow: `RomancyRunner.run(agent, input, session=session)`.

    It reads and writes nothing: a replay makes it again. A run that recurs hands the items on as an argument:
    `chat.recur(await session.get_items())`, and begins with `WorkflowSession(items)`.
    """

    session_settings: SessionSettings | None

    def __init__(self, items: Iterable[TResponseInputItem] = (), *, session_id: str | None = None) -> None:
        """`items` are what was said before."""
        inside = current_workflow().instance_id if session_id is None and in_workflow() else "workflow"
        self.session_id = inside if session_id is None else session_id
        self.session_settings = SessionSettings()
        self._items = deepcopy(list(items))

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The items, or the last so many of them."""
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        if limit is None:
            return deepcopy(self._items)
        return deepcopy(self._items[-limit:]) if limit > 0 else []

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Keep copies of these."""
        self._items += deepcopy(items)

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the last one and return it. None: there is none."""
        return self._items.pop() if self._items else None

    async def clear_session(self) -> None:
        """Forget all."""
        self._items.clear()
