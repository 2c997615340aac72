"""The settings in a `postgresql://` URL: the server, the connection, and the place of the tables."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from romancy.errors import StorageConfigurationError
from romancy.storage.passwords import asked
from romancy.storage.sql import DEFAULT_PREFIX, check_prefix
from romancy.storage.sqlkit.options import Options
from romancy_postgres._hosts import read_hosts, wanted_state
from romancy_postgres._listening import listen_url
from romancy_postgres.engines import PLAIN, as_pooled

if TYPE_CHECKING:
    from romancy.storage.hosts import Host  # noqa: TC004 - as the next one
    from romancy.storage.url import StorageURL  # noqa: TC004 - never read at run time: the struct is not decoded
    from romancy_postgres.engines import Engine  # noqa: TC004 - as the one before

__all__ = ["OPTIONS", "Settings", "read_settings"]

OPTIONS: Final = {
    "prefix": DEFAULT_PREFIX,
    "schema": "",
    "host": "",
    "port": "",
    "target_session_attrs": "",
    "pool_size": "10",
    "connect_timeout": "10",
    "session_idle_timeout": "30",
    "pooler": "none",
    "listen": "on",
    "listen_url": "",
    "sslmode": "",
    "sslrootcert": "",
    "durability": "full",
}
"""The options of the URL with their defaults. The package's docstring explains them."""

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_LARGEST_POOL = 1000


class Settings(Struct, frozen=True, kw_only=True):
    """A parsed and checked URL. Its `repr` hides the password, as the URL's does."""

    url: StorageURL
    where: str
    """The server in messages: the URL, or one of its hosts while that is tried."""
    hosts: tuple[Host, ...]
    """The hosts among which the primary is to be found. Empty: the only one is in `connect`."""
    watched: bool
    """Another server may take the place of this one, so that each new connection has to show which it is."""
    connect: dict[str, Any]
    """Arguments of `asyncpg.connect`, including the password, or what it has to call for the password."""
    prefix: str
    schema: str | None
    pool_size: int
    session_idle: float
    engine: Engine
    """That of a plain server, until the server was asked."""
    listen: bool
    listener: Settings | None
    """Where notifications are heard, if not at the server of the URL."""
    durable: bool
    """An acknowledged commit is on the disk, whatever the settings of the server, the database or the role."""

    def at(self, host: Host) -> Settings:
        """The settings for this one of several hosts."""
        return replace(self, where=str(host), connect=self.connect | {"host": host.name, "port": host.port})

    def speaking_to(self, engine: Engine) -> Settings:
        """The settings for a server that is this engine, on the same way to it."""
        return replace(self, engine=engine if self.engine.keeps_session else as_pooled(engine))

    def without_statements(self) -> Settings:
        """The settings where no prepared statements are kept."""
        return replace(self, connect=self.connect | {"statement_cache_size": 0})

    def __repr__(self) -> str:
        return f"Settings({self.url})"


def read_settings(url: StorageURL) -> Settings:
    """Check a URL. `StorageConfigurationError` names the option and its allowed values."""
    options = Options(url, OPTIONS)
    engine = as_pooled(PLAIN) if options.choice("pooler", ("none", "transaction")) == "transaction" else PLAIN
    schema = options["schema"]
    hosts = read_hosts(url, options)
    only, source = hosts[0] if hosts else None, url.password_source
    wanted = wanted_state(url, options, several=len(hosts) > 1)
    side = listen_url(url, options)
    return Settings(
        url=url,
        where=f"storage {url}",
        hosts=hosts if len(hosts) > 1 else (),
        watched=wanted not in (None, "any") and engine.keeps_session,
        connect={
            "host": None if only is None else only.name or None,
            "port": None if only is None else only.port,
            "target_session_attrs": wanted,
            "user": url.user,
            "password": url.password if source is None else partial(asked, source, f"storage {url}"),
            "database": url.database or None,
            "timeout": options.number("connect_timeout", most=600),
            "ssl": _encryption(url, options),
            "statement_cache_size": 200,
            "max_cacheable_statement_size": 0,  # any size: that of a commit with everything is near the default
            "max_cached_statement_lifetime": 0,
        },
        prefix=check_prefix(options["prefix"]),
        schema=_checked_schema(schema) if schema else None,
        pool_size=int(options.number("pool_size", 2, _LARGEST_POOL)),
        session_idle=options.number("session_idle_timeout", most=86_400),
        engine=engine,
        listen=options.choice("listen", ("on", "off")) == "on" and (side is not None or engine.keeps_session),
        listener=None if side is None else read_settings(side),
        durable=options.choice("durability", ("full", "relaxed")) == "full",
    )


def _checked_schema(schema: str) -> str:
    """The name. PostgreSQL keeps those that begin with `pg_` to itself, and another one for the standard's views."""
    check_prefix(schema, "schema")
    if schema.startswith("pg_") or schema == "information_schema":
        raise StorageConfigurationError(
            f"schema={schema}: PostgreSQL reserves schemas that begin with pg_, and information_schema, for itself; "
            "choose another name"
        )
    return schema


def _encryption(url: StorageURL, options: Options) -> ssl.SSLContext | str | None:
    """The driver's `ssl` argument: a mode by name, or a context for a certificate given by file."""
    mode = options["sslmode"]
    if not mode and not options["sslrootcert"]:
        return None
    mode = options.choice("sslmode", _SSL_MODES) if mode else "verify-full"
    if not options["sslrootcert"]:
        return mode
    if not mode.startswith("verify"):
        raise StorageConfigurationError(f"storage URL {url}: sslrootcert needs sslmode=verify-ca or verify-full")
    try:
        context = ssl.create_default_context(cafile=options["sslrootcert"])
    except OSError as error:
        raise options.refused("sslrootcert", f"cannot be read ({error.strerror})") from error
    context.check_hostname = mode == "verify-full"
    return context
