"""Warnings of a run: errors that no code handled, such as those of a task that was never awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from romancy.serialization import describe_exception

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Complaint", "complaint"]


class Complaint(str):
    """A warning with the text of the exception; `brief` is the same without that text."""

    __slots__ = ("brief",)

    brief: str

    def __new__(cls, text: str, brief: str) -> Self:
        made = super().__new__(cls, text)
        made.brief = brief
        return made


def complaint(context: Mapping[str, Any]) -> Complaint:
    """The warning for a context that asyncio passes to a loop's exception handler."""
    error, task = context.get("exception"), context.get("future")
    message = str(context.get("message", "unhandled error"))
    if message.endswith("exception was never retrieved"):
        message = f"{_called(task)} has failed, and no code awaits it"
    if not isinstance(error, BaseException):
        return Complaint(message, message)
    brief = f"{message}: {type(error).__name__}"
    info = describe_exception(error)
    return Complaint(f"{brief}: {info.message}\n{info.report}", brief)


def _called(task: Any) -> str:
    name = getattr(getattr(task, "get_coro", lambda: None)(), "__qualname__", "")
    return f"the task of {name}" if name else "a future"
