"""Dependencies of activities that no log can hold (clients, pools, settings), named by their providers.

A provider is a plain or async function without parameters that returns the dependency, or yields it and cleans up
afterwards. An app opens each provider at most once, when it is first needed. The app closes the providers in reverse
order when it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Context

__all__ = ["Dependencies", "Dependency", "Depends", "dependencies_in", "dependencies_of", "is_dependency"]

T = TypeVar("T")
Provider = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Dependency:
    """The default of a parameter that takes a dependency."""

    provider: Provider

    def __repr__(self) -> str:
        return f"Depends({getattr(self.provider, '__qualname__', self.provider)})"


@overload
def Depends(provider: Callable[[], AsyncIterator[T]], /) -> T: ...
@overload
def Depends(provider: Callable[[], Iterator[T]], /) -> T: ...
@overload
def Depends(provider: Callable[[], Awaitable[T]], /) -> T: ...
@overload
def Depends(provider: Callable[[], T], /) -> T: ...
def Depends(provider: Provider, /) -> Any:  # noqa: N802 - reads as a mark on the parameter
    """The default of a keyword parameter of an activity or compensation that takes the result of `provider`."""
    if not callable(provider):
        raise UsageError(f"Depends needs a function that provides the thing, not {type(provider).__name__}")
    return Dependency(provider)


def is_dependency(default: object) -> bool:
    return isinstance(default, Dependency)


def dependencies_of(fn: Callable[..., Any]) -> dict[str, Provider]:
    """The parameters of `fn` that take dependencies, with their providers."""
    return dependencies_in(inspect.signature(fn).parameters.values())


def dependencies_in(parameters: Iterable[inspect.Parameter]) -> dict[str, Provider]:
    """Those of the parameters that take dependencies, with their providers."""
    return {its.name: its.default.provider for its in parameters if isinstance(its.default, Dependency)}


class Dependencies:
    """The opened providers of one app."""

    def __init__(self) -> None:
        self._overrides: dict[Provider, Provider] = {}
        self._opened: dict[Provider, Any] = {}
        self._locks: dict[Provider, asyncio.Lock] = {}
        self._stack = contextlib.AsyncExitStack()

    def provide(self, provider: Provider, thing: object) -> None:
        """Use this thing for `provider`, as long as nothing else overrides it."""
        self._overrides[provider] = lambda: thing

    @contextlib.contextmanager
    def override(self, provider: Provider, replacement: Provider) -> Generator[None, None, None]:
        """Use `replacement` for `provider` inside the block."""
        before = self._overrides.get(provider)
        self._overrides[provider] = replacement
        try:
            yield
        finally:
            if before is None:
                del self._overrides[provider]
            else:
                self._overrides[provider] = before

    async def resolve(self, wanted: Mapping[str, Provider], apart: Context | None = None) -> dict[str, Any]:
        """The value of each parameter. Opens each provider once, however many callers ask at a time.

        `apart`: the context to open providers in, if that must not be the caller's.
        """
        given = self._overrides
        return {name: await self._get(given.get(provider, provider), apart) for name, provider in wanted.items()}

    async def close(self) -> None:
        """Close everything opened, the latest first."""
        self._opened.clear()
        await self._stack.aclose()

    async def _get(self, provider: Provider, apart: Context | None) -> Any:
        async with self._locks.setdefault(provider, asyncio.Lock()):
            if provider not in self._opened:
                opening = self._open(provider)
                if apart is None:
                    self._opened[provider] = await opening
                else:
                    loop = asyncio.get_running_loop()
                    self._opened[provider] = await loop.create_task(opening, context=apart.copy())
        return self._opened[provider]

    async def _open(self, provider: Provider) -> Any:
        if inspect.isasyncgenfunction(provider):
            return await self._stack.enter_async_context(contextlib.asynccontextmanager(provider)())
        if inspect.isgeneratorfunction(provider):
            return self._stack.enter_context(contextlib.contextmanager(provider)())
        made: Any = provider()
        if inspect.isawaitable(made):
            return await made
        if hasattr(made, "__aenter__"):
            return await self._stack.enter_async_context(made)
        return made
