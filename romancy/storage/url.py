"""Storage URLs: parsed once, never printed with their secrets."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from romancy.errors import StorageConfigurationError
from romancy.storage.hosts import Host, cut_hosts, parse_host
from romancy.storage.passwords import PasswordSource

__all__ = ["StorageURL", "is_url", "parse_url"]

_SERVERS: Final = frozenset({"mariadb", "mysql", "postgres", "postgresql"})
_SAME_FILE: Final = frozenset({"aiosqlite", "pysqlite"})
"""Drivers of SQLite that write a plain file. Others do not: a file made by `pysqlcipher` is encrypted."""
_FILE: Final = re.compile(r"(?:[a-z]:[\\/])?[^:@]+\.(?:db|sqlite|sqlite3)", re.IGNORECASE | re.DOTALL)
"""A path of a file that stands for a URL. What could hold a password is none."""
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}")
_DRIVE: Final = re.compile(r"sqlite[^:/]*://[a-z]:[\\/]", re.IGNORECASE)
_NAMEABLE: Final = re.compile(r"[\w+.-]{1,40}")


class StorageURL(Struct, frozen=True, kw_only=True):
    """A parsed storage URL. `str()` and `repr()` hide the password."""

    scheme: str
    user: str | None = None
    password: str | None = None
    host: str | None = None
    """The only host, or the first of several, with its port."""
    port: int | None = None
    hosts: tuple[Host, ...] = ()
    """All hosts. More than one only for PostgreSQL, MySQL and MariaDB."""
    password_source: PasswordSource | None = None
    """Gives the password of each new connection, in place of `password`. Not in any text of the URL."""
    path: str = ""
    """The path after the host, percent-decoded, with its leading slash."""
    options: dict[str, str] = {}
    original: str = ""

    @property
    def database(self) -> str:
        """The path without its leading slash: the database's name on a server."""
        return self.path.removeprefix("/")

    def without_driver(self) -> StorageURL:
        """The URL without the driver that its scheme names for SQLAlchemy, as in `postgresql+asyncpg://`.

        The driver is removed only if that changes nothing about what the URL reaches.
        """
        scheme, _, driver = self.scheme.partition("+")
        known = scheme in _SERVERS or (scheme == "sqlite" and driver in _SAME_FILE)
        return replace(self, scheme=scheme) if driver and known else self

    def with_password_of(self, source: PasswordSource) -> StorageURL:
        """The URL with a function for the password. Raises StorageConfigurationError where there can be none."""
        if self.scheme.partition("+")[0] not in _SERVERS:
            raise StorageConfigurationError(
                f"storage URL {self}: {self.scheme}:// takes no password=; postgresql://, mysql:// and mariadb:// do"
            )
        if self.password is not None:
            raise StorageConfigurationError(f"storage URL {self}: has a password beside password=; give one of the two")
        return replace(self, password_source=source)

    def take_options(self, known: dict[str, str]) -> dict[str, str]:
        """The options with these defaults. An unknown option raises an error that lists the known ones."""
        unknown = sorted(set(self.options) - set(known))
        if unknown:
            raise StorageConfigurationError(
                f"storage URL {self}: unknown option {unknown[0]!r}; known are {', '.join(sorted(known)) or 'none'}"
            )
        return known | self.options

    def __str__(self) -> str:
        secret = ":***" if self.password is not None else ""
        at = f"{self.user or ''}{secret}@" if self.user is not None else ""
        lone_port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{at}{','.join(map(str, self.hosts)) or lone_port}{self.path}"

    def __repr__(self) -> str:
        return f"StorageURL({str(self)!r})"


def is_url(text: str) -> bool:
    """Whether a text is meant to be a URL, well-formed or not, or the path of a file that stands for one."""
    scheme = _scheme_of(text)
    slashes = scheme is not None and text[len(scheme) :].startswith((":/", "//"))  # `memory:app` may be a module's
    return "://" in text or slashes or _FILE.fullmatch(text) is not None


def names_a_database(text: str) -> bool:
    """Whether a text is meant to be a URL of a known scheme, which an id of the user's hardly is."""
    scheme = _scheme_of(text)
    return scheme is not None and text[len(scheme) :].startswith((":/", "//"))


def _scheme_of(text: str) -> str | None:
    """The known scheme that a text begins with, also if it is no URL otherwise: `sqlite:/x.db`, `postgres//host/x`."""
    word = _WORD.match(text)
    scheme = "" if word is None else word[0].lower()
    known = scheme.partition("+")[0] in {*_SERVERS, "sqlite", "memory"}
    return scheme if known and text[len(scheme) :].startswith((":", "/")) else None


def parse_url(url: str) -> StorageURL:
    """Parse a URL, or the path of a file that ends in `.db`, `.sqlite` or `.sqlite3`, which stands for `sqlite:///PATH`.

    A malformed URL is refused without repeating it, because it may hold a password.
    """
    if not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped code calls this too
        raise StorageConfigurationError(f"storage URL: must be a string, not {type(url).__name__}")
    if "://" not in url:
        if _FILE.fullmatch(url):
            return StorageURL(scheme="sqlite", path=f"/{url}", original=f"sqlite:///{quote(url)}")
        scheme = _scheme_of(url)
        problem = "no scheme" if scheme is None else f"{scheme} needs :// behind it"
        raise StorageConfigurationError(
            f"storage URL: {problem}; write e.g. sqlite:///orders.db or postgresql://user@host/database"
        )
    scheme = url.partition("://")[0].lower().partition("+")[0]
    single, listed = cut_hosts(url) if scheme == "sqlite" or scheme in _SERVERS else (url, [])
    try:
        parts = urlsplit(single)
        port = parts.port
    except ValueError as error:
        if _DRIVE.match(url):
            raise StorageConfigurationError(
                "storage URL: a drive of Windows is read as a host; write three slashes before it, as in "
                "sqlite:///C:/data/orders.db"
            ) from None
        raise StorageConfigurationError(
            "storage URL: host or port is malformed; percent-encode special characters in the password"
        ) from error
    if not parts.scheme:  # the standard library finds no scheme there, and leaves the whole text in the path
        written = url.partition("://")[0]
        named = f" {written!r}" if _NAMEABLE.fullmatch(written) else ""
        raise StorageConfigurationError(
            f"storage URL: the text before ://{named} is no scheme; write e.g. postgresql://user@host/database"
        )
    options = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in options]
    if len(names) != len(set(names)):
        raise StorageConfigurationError("storage URL: an option is given twice; keep one")
    host = unquote(parts.hostname) if parts.hostname is not None else None
    return StorageURL(
        scheme=parts.scheme,
        user=unquote(parts.username) if parts.username is not None else None,
        password=unquote(parts.password) if parts.password is not None else None,
        host=host,
        port=port,
        hosts=_several(scheme, listed) if listed else () if host is None else (Host(host, port),),
        path=unquote(parts.path),
        options=dict(options),
        original=url,
    )


def _several(scheme: str, texts: list[str]) -> tuple[Host, ...]:
    """The hosts of a list. An error names a host by its place."""
    if scheme not in _SERVERS:
        raise StorageConfigurationError(
            f"storage URL: {scheme}:// takes no list of hosts; postgresql://, mysql:// and mariadb:// do"
        )
    hosts = [(text, parse_host(text)) for text in texts]
    for number, (text, host) in enumerate(hosts, start=1):
        if host is None:
            problem = "is malformed; percent-encode special characters in the password" if text else "is empty"
            raise StorageConfigurationError(f"storage URL: host {number} of {len(texts)} {problem}")
    return tuple(host for _, host in hosts if host is not None)
