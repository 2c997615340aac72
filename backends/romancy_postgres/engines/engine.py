"""What may be otherwise on an engine that speaks PostgreSQL's wire. The defaults are what a server of its own does.

The adapter reads these fields and never asks which engine it is. Each engine is a value of its own module here. A field
says a fact about the server, and is named after it. Knows no connection and no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    import re

    import asyncpg

__all__ = ["Asked", "Check", "Engine", "Errors", "Opening", "Place", "Restated"]


class Place(Protocol):
    """What the URL says of the database."""

    @property
    def where(self) -> str: ...

    @property
    def schema(self) -> str | None: ...

    @property
    def durable(self) -> bool: ...


class Asked(Protocol):
    """A database that is asked by the names of scripts."""

    @property
    def settings(self) -> Place: ...

    def fetch(self, name: str, /, *arguments: object) -> Coroutine[Any, Any, list[asyncpg.Record]]: ...


Check = Callable[[Asked], Coroutine[Any, Any, None]]
"""Raises StorageConfigurationError if the server cannot be used as it is."""


class Opening(Struct, frozen=True, kw_only=True, eq=False):
    """What is checked once more when a store opens."""

    before: Check
    """Before the tables are there."""
    after: Check
    """When they are there."""


class Restated(NamedTuple):
    """An error that comes under a state that says something else, or nothing."""

    state: str
    words: re.Pattern[str]
    """Matches its text from the beginning."""
    means: str
    """The state that it has on a server of its own."""


class Errors(Struct, frozen=True, kw_only=True, eq=False):
    """The errors of an engine that others do not have, by what they mean. No state means two things on this wire."""

    restated: tuple[Restated, ...] = ()
    misconfigured: Mapping[str, str] = MappingProxyType({})
    """What to mend, by the error's state."""
    worded: Mapping[str, str] = MappingProxyType({})
    """What to mend, by what the error says under whatever state."""


class Engine(Struct, frozen=True, kw_only=True, eq=False):
    """One engine, as the adapter speaks to it."""

    extension: str = ""
    """By which it is known. Empty for the engine of all servers without such a one."""
    addition: str = ""
    """What follows the name and the version of the server. It names the extension's `{version}`."""
    opening: Opening | None = None
    errors: Errors = Errors()
    scripts: tuple[str, ...] = ()
    """Files of scripts that replace those of the same name under their heads, and add some."""

    gives_places: bool = True
    """Whether first appends take places under limits (`Capabilities.gives_places`)."""

    # ── connections ──
    settings: Mapping[str, str] = MappingProxyType({})
    """Further settings of each connection."""
    planning: Mapping[str, str] = MappingProxyType({})
    """The planner's settings for the statements of the engine, where they are others."""
    keeps_session: bool = True
    """Whether a connection is one session of the server. Otherwise each transaction may be in another one, in which
    others have left their settings: it makes its own, nothing is set back, and nobody hears a notification.
    """
    carries_settings: bool = True
    """Whether a statement may make its settings in a part of its own, where no session keeps them."""
    forgets_statements: str = ""
    """The warning where prepared statements are not kept. It names the server by `%s`."""
