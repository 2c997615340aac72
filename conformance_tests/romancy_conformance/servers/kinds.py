"""The names used throughout this package: databases, backends, and the error for a server that is unavailable."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """A database that needs a server."""

    POSTGRES = "postgres"
    MYSQL = "mysql"
    MARIADB = "mariadb"
    TIDB = "tidb"

    @property
    def built(self) -> bool:
        """Whether its server is built from sources: tests run on it if the environment asks for it by name."""
        return self is Kind.TIDB

    @property
    def scheme(self) -> str:
        return "postgresql" if self is Kind.POSTGRES else self.value

    @property
    def first_database(self) -> str:
        """Return a database that every server of this kind has."""
        return "postgres" if self is Kind.POSTGRES else "mysql"

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
