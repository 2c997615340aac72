"""The names everything here is spoken of by: databases, backends, and what is said when one cannot be had."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """A database that needs a server."""

    POSTGRES = "postgres"
    MYSQL = "mysql"
    MARIADB = "mariadb"

    @property
    def scheme(self) -> str:
        return "postgresql" if self is Kind.POSTGRES else self.value

    @property
    def first_database(self) -> str:
        """A database that every server of this kind has."""
        return "postgres" if self is Kind.POSTGRES else "mysql"

    @property
    def url_variable(self) -> str:
        """The environment variable that names a server to use instead of a private one."""
        return f"ROMANCY_TEST_{self.name}_URL"

    @property
    def suite_variable(self) -> str:
        """The environment variable that asks for the server of another Debian suite."""
        return f"ROMANCY_TEST_{self.name}_SUITE"


class ServerUnavailableError(Exception):
    """A database server cannot be had here; the message says what was tried and what would help."""
