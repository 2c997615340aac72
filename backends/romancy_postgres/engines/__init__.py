"""The engines that speak PostgreSQL's wire, each in a module of its own that is found by being here.

Such a module has an `ENGINE`, with `engine.py` for what may be otherwise. Nothing outside of this folder names one.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Final, cast

from romancy_postgres.engines import pgbouncer
from romancy_postgres.engines.engine import Engine, Errors
from romancy_postgres.engines.pgbouncer import DROPPED, as_pooled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DROPPED", "ENGINES", "ERRORS", "PLAIN", "Engine", "as_pooled", "with_extensions"]


def _found() -> Iterator[Engine]:
    for module in iter_modules(__path__):
        engine = getattr(import_module(f"{__name__}.{module.name}"), "ENGINE", None)
        if engine is not None:
            yield cast("Engine", engine)


def _united(parts: list[Errors]) -> Errors:
    """The errors of all engines. What an error means does not depend on the engine, which may be unknown by then."""
    return Errors(
        restated=tuple(one for part in parts for one in part.restated),
        misconfigured={state: told for part in parts for state, told in part.misconfigured.items()},
        worded={words: told for part in parts for words, told in part.worded.items()},
    )


ENGINES: Final = tuple(_found())
(PLAIN,) = (one for one in ENGINES if not one.extension)
"""The engine of a server without the extension of another one, and of one that was not asked yet."""
ERRORS: Final = _united([pgbouncer.ERRORS, *(one.errors for one in ENGINES)])


def with_extensions(versions: Mapping[str, str]) -> Engine:
    """The engine of a server with these extensions."""
    return next((one for one in ENGINES if one.extension in versions), PLAIN)
