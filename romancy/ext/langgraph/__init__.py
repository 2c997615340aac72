"""LangGraph: a graph whose nodes and tasks are steps of a workflow.

It needs the extra: `pip install 'romancy[langgraph]'`. `durable(graph)` is a copy that is durable in the body of a
workflow, and anywhere else is what the graph was. `DurableMiddleware` does the same for LangChain's agents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from romancy.ext.langgraph._durable import durable
    from romancy.ext.langgraph._invoke import invoke
    from romancy.ext.langgraph._options import StepOptions
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith(("langgraph", "langchain_core")):
        raise
    raise ModuleNotFoundError(
        f"romancy.ext.langgraph needs {error.name}; install the extra: pip install 'romancy[langgraph]'",
        name=error.name,
    ) from None

if TYPE_CHECKING:
    from romancy.ext.langgraph._middleware import DurableMiddleware

__all__ = ["DurableMiddleware", "StepOptions", "durable", "invoke"]


def __getattr__(name: str) -> Any:
    """The middleware when it is asked for: it alone needs langchain."""
    if name != "DurableMiddleware":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from romancy.ext.langgraph._middleware import DurableMiddleware  # noqa: PLC0415 - it alone needs langchain

    return DurableMiddleware
