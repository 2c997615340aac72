"""The server's engine and version, from what it announces and from the comment to it, which nobody can configure."""

from __future__ import annotations

import re

from msgspec import Struct

from romancy.errors import StorageConfigurationError
from romancy_mysql.engines import ENGINES, PLAIN, Engine

__all__ = ["Dialect", "check_product", "dialect_of"]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_UNKNOWN = (0, 0, 0)


class Dialect(Struct, frozen=True):
    """An engine, and the version of the server, whatever the URL's scheme says."""

    engine: Engine
    version: tuple[int, int, int]

    @property
    def name(self) -> str:
        """The name for people: `MySQL 9.7.4`. Some servers do not tell their version."""
        version = "" if self.version == _UNKNOWN else f" {'.'.join(map(str, self.version))}"
        return f"{self.engine.product}{version}{self.engine.addition}"


def dialect_of(server_version: str, where: str, *, scheme: str = "") -> Dialect:
    """The dialect of a server, from the version it announces. `StorageConfigurationError` if it is too old.

    `scheme`: that of the URL, for an engine that can be told to announce the version of another one.
    """
    announced = server_version.lower()
    engine = next((one for one in ENGINES if one is not PLAIN and one.known_by.announced in announced), PLAIN)
    if engine.known_by.tells_version_in_comment:
        return Dialect(engine, _UNKNOWN)
    said = next((one for one in ENGINES if one.known_by.scheme == scheme), engine) if scheme else engine
    if said is not engine:
        return Dialect(said, _UNKNOWN)
    behind = engine.known_by.before_version.match(server_version)
    found = _VERSION.match(server_version[behind.end() :] if behind else server_version)
    if found is None:
        raise StorageConfigurationError(f"{where}: the server calls its version {server_version!r}, which is not known")
    return Dialect(engine, _checked(engine, found, server_version, where))


def check_product(dialect: Dialect, comment: str, where: str) -> Dialect:
    """The dialect with its version. StorageConfigurationError if a server is not what its version or the URL says."""
    engine = dialect.engine
    told = next((one for one in ENGINES if (by := one.known_by.comment) is not None and by.match(comment)), None)
    if told is not None and told is not engine:
        raise StorageConfigurationError(
            f"{where}: this server is {told.product}, and calls itself {dialect.name}; {told.known_by.to_be_known}"
        )
    if engine.known_by.comment is None:
        return dialect
    found = engine.known_by.comment.match(comment)
    if found is None:
        raise StorageConfigurationError(f"{where}: {engine.known_by.otherwise.format(comment=comment)}")
    if not engine.known_by.tells_version_in_comment:
        return dialect
    return Dialect(engine, _checked(engine, found, found[1], where))


def _checked(engine: Engine, found: re.Match[str], announced: str, where: str) -> tuple[int, int, int]:
    """A version that was found. `StorageConfigurationError` if it is too old."""
    version = (int(found[1]), int(found[2]), int(found[3]))
    if version < engine.known_by.oldest:
        oldest = ".".join(map(str, engine.known_by.oldest))
        raise StorageConfigurationError(
            f"{where}: {engine.product} {announced} is too old; {oldest} is the oldest that works"
        )
    return version
