"""Passwords that a function gives for each new connection, such as tokens that are valid for minutes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeAlias

from romancy.errors import StorageConfigurationError, StorageUnavailableError

__all__ = ["PasswordSource", "asked"]

PasswordSource: TypeAlias = Callable[[], str | Awaitable[str]]


async def asked(source: PasswordSource, where: str) -> str:
    """The password for a new connection to the server `where`. Errors name no more than types."""
    try:
        answer: Any = source()
        if isawaitable(answer):
            answer = await answer
    except Exception as error:
        raise StorageUnavailableError(f"{where}: password= gave no password, but {type(error).__name__}") from error
    if not isinstance(answer, str):
        raise StorageConfigurationError(f"{where}: password= has to return a string, not {type(answer).__name__}")
    return answer
