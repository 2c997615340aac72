"""The hosts that a `postgresql://` URL names, or for a URL without one the environment, each with its port."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from romancy.errors import StorageConfigurationError
from romancy.storage.hosts import Host, parse_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.sqlkit.options import Options
    from romancy.storage.url import StorageURL

__all__ = ["read_hosts", "wanted_state"]

_STATES: Final = ("any", "primary", "read-write")
_OF_READERS: Final = ("standby", "prefer-standby", "read-only")
_LAST_PORT: Final = 65_535


def read_hosts(url: StorageURL, options: Options) -> tuple[Host, ...]:
    """The hosts with their ports. Empty: the driver takes host and port of the environment, or its defaults."""
    hosts = _of_option(url, options) if options["host"] else url.hosts or _of_environment(url)
    if options["port"]:
        if any(host.port is not None for host in hosts):
            raise options.refused("port", "is given beside a port in the URL; give one of the two")
        return _with_ports(url, hosts or (Host(""),), "port", options["port"])
    if len(hosts) > 1 and all(host.port is None for host in hosts) and (listed := os.environ.get("PGPORT")):
        return _with_ports(url, hosts, "PGPORT", listed)
    return hosts


def wanted_state(url: StorageURL, options: Options, *, several: bool) -> str | None:
    """What a server has to be, in the driver's words. None: the driver asks the environment."""
    said, wanted = "target_session_attrs", options["target_session_attrs"]
    if several and not wanted:
        said, wanted = "PGTARGETSESSIONATTRS", os.environ.get("PGTARGETSESSIONATTRS") or "primary"
    if wanted and wanted not in _STATES:
        reason = "looks for a server that only reads, and Romancy writes" if wanted in _OF_READERS else "is not known"
        raise _refused(url, said, wanted, f"{reason}; known are {', '.join(_STATES)}")
    return wanted or None


def _of_option(url: StorageURL, options: Options) -> tuple[Host, ...]:
    """The hosts of the option `host`, in place of the URL's, of which only the port counts."""
    if len(url.hosts) > 1:
        raise options.refused("host", "is given beside the hosts of the URL; give one of the two")
    names = options["host"].split(",")
    _refuse_empty(url, "host", names)
    return tuple(Host(name, url.port) for name in names)


def _of_environment(url: StorageURL) -> tuple[Host, ...]:
    """The hosts of PGHOST if it lists several: the driver alone would take any that answers, perhaps a standby."""
    texts = os.environ.get("PGHOST", "").split(",")
    if len(texts) == 1:
        return ()
    _refuse_empty(url, "PGHOST", texts)
    return tuple(Host(text) if text.startswith("/") else parse_host(text) or Host(text) for text in texts)


def _refuse_empty(url: StorageURL, said: str, names: Sequence[str]) -> None:
    if "" in names:
        raise _refused(url, said, ",".join(names), f"lists {len(names)} hosts; number {names.index('') + 1} is empty")


def _with_ports(url: StorageURL, hosts: Sequence[Host], said: str, listed: str) -> tuple[Host, ...]:
    """The hosts with the ports of a list, which may be one port for all."""
    ports = listed.split(",")
    if not all(text.isascii() and text.isdigit() and 0 < int(text) <= _LAST_PORT for text in ports):
        raise _refused(url, said, listed, f"is neither a port (1 to {_LAST_PORT}) nor a list of ports")
    if len(ports) not in (1, len(hosts)):
        reason = f"lists {len(ports)} ports for {len(hosts)} hosts; give one for all, or one for each"
        raise _refused(url, said, listed, reason)
    each = ports * len(hosts) if len(ports) == 1 else ports
    return tuple(Host(host.name, int(port)) for host, port in zip(hosts, each, strict=True))


def _refused(url: StorageURL, said: str, value: str, reason: str) -> StorageConfigurationError:
    return StorageConfigurationError(f"storage URL {url}: {said}={value!r} {reason}")
