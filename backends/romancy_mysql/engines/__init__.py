"""The engines that speak MySQL's wire, each in a module of its own that is found by being here.

Such a module has an `ENGINE`, with `engine.py` for what may be otherwise. Nothing outside of this folder names one.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Final, cast

from romancy_mysql.engines import galera
from romancy_mysql.engines.engine import Engine, Errors
from romancy_mysql.engines.galera import IS_NODE, IS_READY, as_node

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ENGINES", "ERRORS", "IS_NODE", "IS_READY", "PLAIN", "Engine", "as_node", "port_of"]


def _found() -> Iterator[Engine]:
    for module in iter_modules(__path__):
        engine = getattr(import_module(f"{__name__}.{module.name}"), "ENGINE", None)
        if engine is not None:
            yield cast("Engine", engine)


def _united(parts: list[Errors]) -> Errors:
    """The errors of all engines. What an error means does not depend on the engine, which may be unknown by then."""
    return Errors(
        transient=frozenset[int]().union(*(one.transient for one in parts)),
        mismatches=frozenset[int]().union(*(one.mismatches for one in parts)),
        refused_values=frozenset[int]().union(*(one.refused_values for one in parts)),
        overruns=frozenset[int]().union(*(one.overruns for one in parts)),
        detached=frozenset[int]().union(*(one.detached for one in parts)),
        unavailable={code: told for one in parts for code, told in one.unavailable.items()},
        misconfigured={code: told for one in parts for code, told in one.misconfigured.items()},
        worded=tuple(worded for one in parts for worded in one.worded),
    )


ENGINES: Final = tuple(_found())
(PLAIN,) = (one for one in ENGINES if not one.known_by.announced)
"""The engine of a server that announces no word of another one, and of one that was not asked yet."""
ERRORS: Final = _united([galera.ERRORS, *(one.errors for one in ENGINES)])


def port_of(scheme: str) -> int:
    """The usual port behind a URL with this scheme."""
    return next((one.known_by.port for one in ENGINES if one.known_by.scheme == scheme), PLAIN.known_by.port)
