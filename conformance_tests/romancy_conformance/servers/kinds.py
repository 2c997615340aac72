"""The names used throughout this package: databases, backends, and the error for a server that is unavailable."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """A database that needs a server."""

    POSTGRES = "postgres"
    MYSQL = "mysql"
    MARIADB = "mariadb"
    TIDB = "tidb"
    VITESS = "vitess"

    @property
    def built(self) -> bool:
        """Whether its server is built from sources: tests run on it if the environment asks for it by name."""
        return self in (Kind.TIDB, Kind.VITESS)

    @property
    def scheme(self) -> str:
        return {Kind.POSTGRES: "postgresql", Kind.VITESS: "mysql"}.get(self, self.value)

    @property
    def first_database(self) -> str:
        """Return a database that every server of this kind has."""
        return {Kind.POSTGRES: "postgres", Kind.VITESS: "whole"}.get(self, "mysql")

    @property
    def url_variable(self) -> str:
        """Return the environment variable that names a server to use instead of a private one."""
        return f"ROMANCY_TEST_{self.name}_URL"

    @property
    def suite_variable(self) -> str:
        """Return the environment variable that selects the server of another Debian suite."""
        return f"ROMANCY_TEST_{self.name}_SUITE"


class ServerUnavailableError(Exception):
    """A database server is unavailable here; the message says what was tried and what would help."""
