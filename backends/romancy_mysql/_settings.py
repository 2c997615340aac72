"""The settings in a `mysql://`, `mariadb://` or `tidb://` URL, checked before anything is connected.

    mysql://user:password@host:3306/database?option=value&…
    mysql://user:password@one:3306,other:3306/database
    tidb://user:password@host:4000/database

Of several hosts, one that is not `read_only` is used. A scheme of its own is for a server that
announces the version of another engine: one that names itself is recognised behind `mysql://` too.

| option | default | meaning |
|---|---|---|
| `prefix` | `romancy_` | the prefix of the tables' names |
| `pool_size` | 10 | connections at most: one for heartbeats, up to half for sessions, the rest for everything else |
| `pool_timeout` | 30 | seconds to wait for one of them |
| `timeout` | 30 | seconds a statement of Romancy's own may take |
| `connect_timeout` | 10 | seconds to connect in, for each host |
| `idle_timeout` | 60 | seconds after which the server ends a silent connection, a session between two statements too |
| `socket` | | path of the server's Unix socket, instead of host and port |
| `listen` | `on` | `off`: poll a few times a second instead of waiting in the server, on one more connection |
| `tls` | `prefer` | `off`; `prefer`; `require`: refuse a server without it; `verify`: and check its certificate |
| `durability` | `full` | `relaxed`: accept a server that does not write its log to the disk at every commit |
| `tls_ca` `tls_cert` `tls_key` | | PEM files: the CA of the server (default: the system's); the client's own |

`prefer` uses TLS wherever the server offers it, except on this very machine, where it is used only if the server
does not accept the password without it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from romancy.errors import StorageConfigurationError
from romancy.storage.hosts import Host
from romancy.storage.passwords import PasswordSource
from romancy.storage.sql import DEFAULT_PREFIX, check_prefix
from romancy.storage.sqlkit.options import Options
from romancy_mysql.engines import port_of

if TYPE_CHECKING:
    from romancy.storage.url import StorageURL

__all__ = ["TLS_MODES", "Settings", "read_settings"]

TLS_MODES = ("off", "prefer", "require", "verify")
_OPTIONS = {
    "prefix": DEFAULT_PREFIX,
    "pool_size": "10",
    "pool_timeout": "30",
    "timeout": "30",
    "connect_timeout": "10",
    "idle_timeout": "60",
    "socket": "",
    "listen": "on",
    "durability": "full",
    "tls": "prefer",
    "tls_ca": "",
    "tls_cert": "",
    "tls_key": "",
}
_SMALLEST_POOL = 3


class Settings(Struct, frozen=True, kw_only=True):
    """Where the server is, and how to connect to it."""

    where: str
    """The server in messages: the URL without its secrets, or one of its hosts while that is tried."""
    scheme: str
    """That of the URL, which may say what engine the server is."""
    hosts: tuple[Host, ...]
    """The hosts among which the primary is to be found. Empty: there is only one."""
    host: str
    port: int
    socket: str
    user: str
    password: str
    password_source: PasswordSource | None
    database: str
    prefix: str
    pool_size: int
    pool_timeout: float
    timeout: float
    connect_timeout: float
    idle_timeout: int
    listen: bool
    durable: bool
    tls: str
    tls_ca: str
    tls_cert: str
    tls_key: str
    cluster: bool = False
    """Whether the server was found to be one of several that each take writes."""

    @property
    def local(self) -> bool:
        """Whether the server is on this machine, so that the traffic cannot be intercepted."""
        if self.socket or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for stores that certainly share their tables."""
        return self.hosts, self.host, self.port, self.socket, self.database, self.prefix

    def at(self, host: Host) -> Settings:
        """The settings for this one of several hosts."""
        return replace(self, where=str(host), host=host.name, port=host.port or port_of(self.scheme))

    def __repr__(self) -> str:
        return f"Settings({self.where})"


def read_settings(url: StorageURL) -> Settings:
    """The URL's parts and options. An error names what is missing or malformed."""
    options = Options(url, _OPTIONS)
    if not url.database:
        raise StorageConfigurationError(
            f"storage URL {url}: names no database; write {url.scheme}://user@host/database"
        )
    if options["tls_key"] and not options["tls_cert"]:
        raise StorageConfigurationError(f"storage URL {url}: tls_key without tls_cert; give both")
    port = port_of(url.scheme)
    hosts = tuple(Host(host.name, host.port or port) for host in url.hosts)
    if len(hosts) > 1 and options["socket"]:
        raise options.refused("socket", "is given beside a list of hosts; give one of the two")
    return Settings(
        where=str(url),
        scheme=url.scheme,
        hosts=hosts if len(hosts) > 1 else (),
        host=url.host or "localhost",
        port=url.port or port,
        socket=options["socket"],
        user=url.user or "",
        password=url.password or "",
        password_source=url.password_source,
        database=url.database,
        prefix=check_prefix(options["prefix"]),
        pool_size=int(options.number("pool_size", _SMALLEST_POOL)),
        pool_timeout=options.number("pool_timeout"),
        timeout=options.number("timeout"),
        connect_timeout=options.number("connect_timeout"),
        idle_timeout=int(options.number("idle_timeout", 5)),
        listen=options.choice("listen", ("on", "off")) == "on",
        durable=options.choice("durability", ("full", "relaxed")) == "full",
        tls=options.choice("tls", TLS_MODES),
        tls_ca=options["tls_ca"],
        tls_cert=options["tls_cert"],
        tls_key=options["tls_key"],
    )
