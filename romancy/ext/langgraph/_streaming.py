"""What a node has written for those who stream its graph, put into the stream by the body.

LangGraph's writer hands it over as from another thread, which a body refuses, although a body has one thread.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

from inspect import getclosurevars, isfunction
from typing import TYPE_CHECKING, Any

from langgraph._internal import _constants as names
from langgraph.config import get_config

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_body"]


def in_body(writer: Callable[[Any], None]) -> Callable[[Any], None]:
    """The writer, for use in the body."""
    queue: Any = getclosurevars(writer).nonlocals.get("stream") if isfunction(writer) else None
    if not hasattr(queue, "put_nowait"):
        return writer

    def writes(value: Any) -> None:
        space: str = get_config().get(names.CONF, {})[names.CONFIG_KEY_CHECKPOINT_NS]
        queue.put_nowait((tuple(space.split(names.NS_SEP)[:-1]), "custom", value))

    return writes
