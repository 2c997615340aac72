"""Starlette and FastAPI: the app opens and closes with the web application, and handlers find it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from romancy.app import Romancy
from romancy.errors import UsageError

try:
    # FastAPI reads the annotation of a dependency when the program runs.
    from starlette.requests import HTTPConnection  # noqa: TC002
except ImportError as error:
    raise ImportError(f"{error}; install the extra: pip install 'romancy[http]'", name=error.name) from error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

__all__ = ["lifespan", "opened_app"]

_KEY: Final = "romancy"


def lifespan(
    app: Romancy, then: Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]] | None = None
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """A lifespan for `Starlette(lifespan=…)` or `FastAPI(lifespan=…)` that opens the app, and closes it at the end.

    `then` is a lifespan of yours, which begins when the app is open and ends before it is closed. What it yields is
    part of `request.state`, as always. Give the lifespan to the outermost application: mounted ones have none.
    """

    @asynccontextmanager
    async def opened(host: Any) -> AsyncGenerator[dict[str, Any]]:
        async with app:
            if then is None:
                yield {_KEY: app}
                return
            async with then(host) as state:
                yield {**(state or {}), _KEY: app}

    return opened


def opened_app(connection: HTTPConnection) -> Romancy:
    """The app of the web application that serves this request: `app: Annotated[Romancy, Depends(opened_app)]`.

    Raises UsageError if that was made without the lifespan, or by a test client that does not run it.
    """
    app = getattr(connection.state, _KEY, None)
    if not isinstance(app, Romancy):
        raise UsageError(
            "this web application has no open app: make it with `lifespan=romancy.ext.starlette.lifespan(app)`. A "
            "mounted application has that of the outermost one, and a test client runs it in a `with` block"
        )
    return app
